"""Training with fastopt and with JAX, its strongest peer on a CPU: same data, weights, order and optimizer.

    python bench/bench_jax.py [--cases S1 S2 ...] [--quick] [--data mnist.npz] [--json results/jax.json]

JAX trains as ``jax_network.py`` writes it down: a compiled scan over the batches of an epoch, or of all
epochs in one call, whichever is quicker. Its data already lie on its device. S1 is timed once more with each
fit after a quarter of a second's rest, as in a notebook, where caches and clock are cold.

First one epoch in float64 must give the same loss in both to 1e-7: sums are added up in another order, and
hundreds of steps of Adam enlarge the difference. In float32 this reaches 1e-3 within an epoch of MNIST, so
that there the losses of all epochs need only agree within 2 %. Ratios are medians over alternating runs; what
JAX takes to compile is shown apart.
"""

import argparse
import dataclasses
import time

import jax
import numpy as np
from _measure import compare, measure, measure_after_rest, write_json
from fit_cases import CASES, LEARNING_RATE, fit_ours
from jax_network import JaxFit

import fastopt

#: Seconds of sleep before each fit of "S1 after a rest".
_REST = 0.25
_AFTER_REST = f"S1 after {_REST} s"
_EPOCHS_AT_ONCE = {"by epoch": JaxFit.by_epoch, "at once": JaxFit.at_once}


def _ours(case, X, y):
    # The same form of Adam as Optax's; solver="adam" adds epsilon as scikit-learn does.
    return fit_ours(case, X, y, solver=fastopt.Adam(lr=LEARNING_RATE))


def believe(case, X, y):
    """Check that both libraries do the same; return the largest relative differences of their losses."""
    first = dataclasses.replace(case, epochs=1)
    X64 = X.astype(np.float64)
    with jax.enable_x64(True):
        exact = _difference(JaxFit(first, X64, y).by_epoch(same_order=True), _ours(first, X64, y), 1e-7)
    rounded = [
        _difference(way(JaxFit(case, X, y), same_order=True), _ours(case, X, y), 0.02)
        for way in _EPOCHS_AT_ONCE.values()
    ]
    return {"float64, first epoch": exact, "float32": max(rounded)}


def _difference(losses, ours, tolerance):
    np.testing.assert_allclose(losses, ours.loss_curve_, rtol=tolerance)
    return float(np.abs(losses / np.array(ours.loss_curve_) - 1).max())


def _seconds_to_compile(case, X, y):
    """Return what JAX's first fit takes beyond the second, by way of training."""
    jax.clear_caches()
    fit, seconds = JaxFit(case, X, y), {}
    for name, way in _EPOCHS_AT_ONCE.items():
        times = []
        for _ in range(2):
            start = time.perf_counter()
            way(fit)
            times.append(time.perf_counter() - start)
        seconds[name] = times[0] - times[1]
    return seconds


def _summary(times):
    """Summarise the columns of times: ours, then JAX's by way of training."""
    quickest = 1 + int(np.argmin(np.median(times[:, 1:], axis=0)))
    return compare(times, 0, quickest) | {"epochs": list(_EPOCHS_AT_ONCE)[quickest - 1]}


def bench_case(name, options):
    """Check a case and time it; return its rows, by name."""
    case = CASES[name]
    X, y = case.load(options.data)
    row = {"differences": believe(case, X, y), "seconds_to_compile": _seconds_to_compile(case, X, y)}
    fit = JaxFit(case, X, y)
    calls = [lambda: _ours(case, X, y)]
    calls += [lambda way=way: way(fit) for way in _EPOCHS_AT_ONCE.values()]
    rows = {name: row | _summary(measure(calls, 3 if options.quick else 9))}
    if name == "S1":
        rows[_AFTER_REST] = _summary(measure_after_rest(calls, 9 if options.quick else 41, _REST))
    for label, shown in rows.items():
        print(
            f"{label:<16} {shown['ours']:8.4f} s, JAX {shown['theirs']:8.4f} s ({shown['epochs']}): "
            f"{shown['ratio']:5.1f}x   {case.what}"
        )
    compiling = ", ".join(f"{way} {seconds:.1f} s" for way, seconds in row["seconds_to_compile"].items())
    print(f"{'':<16} JAX compiles first: {compiling}", flush=True)
    return rows


def main():
    """Run the cases and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    everything = ["S1", "S2", "S3", "S4"]
    parser.add_argument("--cases", nargs="+", default=everything, choices=everything)
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--data", help="MNIST as .npz with X_train, y_train, X_test, y_test; for S3 and S4")
    parser.add_argument("--json", help="where to write the rows")
    options = parser.parse_args()
    rows = {}
    for name in options.cases:
        rows |= bench_case(name, options)
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
