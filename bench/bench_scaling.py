"""Seconds of an epoch against rows, width, depth, batch size and threads; fastopt beside scikit-learn.

    python bench/bench_scaling.py [rows width depth batch threads] [--quick]
                                  [--json results/scaling.json] [--plot results/scaling.png]

One point of each sweep is the same network: 10,000 rows of 64 features, hidden (64, 64), batches of 128,
float32, Adam; threads are counted on a wider one. Losses must agree within 5 % before a time is believed.
"""

import argparse
import functools

import numba
import numpy as np
from _measure import measure, run_sections
from fit_cases import Case, fit_ours, fit_sklearn, table

from fastopt.display import style

BASE = {"rows": 10_000, "width": 64, "depth": 2, "batch": 128, "threads": None}
SWEEPS = {
    "rows": (300, 1000, 3000, 10_000, 30_000, 100_000),
    "width": (4, 8, 16, 32, 64, 128, 256, 512, 1024),
    "depth": (1, 2, 3, 4, 6, 8),
    "batch": (4, 8, 16, 32, 64, 128, 256, 512, 1024),
    "threads": tuple(sorted({1, *(2**k for k in range(1, 8) if 2**k <= numba.config.NUMBA_NUM_THREADS)})),
}
LABELS = {
    "rows": "rows",
    "width": "units of each of 2 hidden layers",
    "depth": "hidden layers of 64 units",
    "batch": "rows of a batch",
    "threads": "threads (2 layers of 512)",
}


def measure_point(settings, repeats):
    """Return seconds of an epoch by library, after checking that the losses agree."""
    hidden = (settings["width"],) * settings["depth"]
    case = Case("scaling", "", None, hidden, settings["batch"], 1)
    X, y = table(settings["rows"], 64)
    calls = {
        "fastopt": functools.partial(fit_ours, case, X, y, n_jobs=settings["threads"]),
        "scikit-learn": functools.partial(fit_sklearn, case, X, y),
    }
    if settings["threads"]:
        del calls["scikit-learn"]  # it has no such argument
    losses = [call().loss_ for call in calls.values()]
    np.testing.assert_allclose(losses, losses[0], rtol=0.05)
    return dict(zip(calls, np.median(measure(list(calls.values()), repeats), axis=0).tolist(), strict=True))


def sweep(name, options):
    """Measure one sweep; return its rows."""
    rows = []
    for value in SWEEPS[name]:
        if options.quick and value > 10_000:
            continue
        wider = {"width": 512} if name == "threads" else {}
        seconds = measure_point(BASE | wider | {name: value}, 3 if options.quick else 5)
        rows.append({name: value, **seconds})
        print(
            f"{name:>8} {value:>7} " + "  ".join(f"{k} {v * 1e3:9.2f} ms" for k, v in seconds.items()),
            flush=True,
        )
    return rows


def plot(rows, path):
    """Draw one panel for each sweep."""
    with style.theme():
        figure, axes = style.pyplot().subplots(1, len(rows), figsize=(3.6 * len(rows), 3.4), sharey=False)
        styles = style.line_styles(["fastopt", "scikit-learn"], yardsticks=["scikit-learn"])
        for ax, (name, points) in zip(np.atleast_1d(axes), rows.items(), strict=True):
            for library in styles:
                line = [(p[name], p[library]) for p in points if library in p]
                if line:
                    ax.plot(*zip(*line, strict=True), label=library, **styles[library])
            ax.set(xscale="log", yscale="log", xlabel=LABELS[name])
            if name in ("depth", "threads"):
                ax.set_xticks([p[name] for p in points], [str(p[name]) for p in points])
                ax.minorticks_off()
            if name == "threads":
                ax.set_yscale("linear")
                ax.set_ylim(0, 1.1 * max(p["fastopt"] for p in points))
        first = np.atleast_1d(axes)[0]
        first.set_ylabel("seconds of an epoch")
        first.legend()
        figure.savefig(path)


def main():
    """Run the sweeps, print their tables and draw them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer repeats, nothing beyond 10,000 rows")
    parser.add_argument("--plot", help="where to write the picture")
    sections = {name: functools.partial(sweep, name) for name in SWEEPS}
    options, rows = run_sections(parser, sections, list(SWEEPS))
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
