"""What wrappers cost: Adam wrapped against Adam alone, on the same float32 arrays, in alternating runs.

    python bench/bench_wrappers.py [wrappers] [--quick] [--json bench/results/wrappers.json]

Beside each ratio stands that of the bytes that both must move. Every wrapper is checked before it is timed:
on one thread and on all it gives the same bits. The results are checked in the tests, against oracles.
"""

import argparse

import numpy as np
from _measure import compare, measure, run_sections

from fastopt import (
    EMA,
    SWA,
    Adam,
    AdaptiveClip,
    Cautious,
    Centralize,
    Clip,
    GradientNoise,
    Lookahead,
    MultiSteps,
    SkipNonFinite,
)

#: Bytes of an Adam step per float32 parameter: w, g and two moments read, all but g written.
_ADAM = 28

#: label -> how Adam is wrapped, and the bytes that this adds per parameter and step.
WRAPPERS = {
    "Clip(norm)": (lambda adam: Clip(adam, norm=1.0), 4),
    "Clip(tensor_norm)": (lambda adam: Clip(adam, tensor_norm=1.0), 4),
    "Clip(value)": (lambda adam: Clip(adam, value=1.0), 0),
    "AdaptiveClip": (AdaptiveClip, 8),
    "Centralize": (Centralize, 4),
    "GradientNoise": (GradientNoise, 0),
    "SkipNonFinite": (SkipNonFinite, 4),
    "SkipNonFinite(Clip(norm))": (lambda adam: SkipNonFinite(Clip(adam, norm=1.0)), 4),
    "MultiSteps(n=4)": (lambda adam: MultiSteps(adam, n=4), None),
    "EMA": (EMA, 8),
    "SWA": (SWA, 8),
    "Lookahead(k=5)": (Lookahead, 8 / 5),
    "Cautious": (Cautious, 20),
    "Cautious(scale=False)": (lambda adam: Cautious(adam, scale=False), 0),
    "EMA(Clip(norm))": (lambda adam: EMA(Clip(adam, norm=1.0)), 12),
}


def steps(wrap, sizes):
    """Return one step of Adam and one of Adam wrapped, after the check."""
    rng = np.random.default_rng(0)
    start, grads = ([rng.standard_normal(size, np.float32) for size in sizes] for _ in range(2))
    ends, calls = [], []
    for optimizer, n_threads in ((Adam(), None), (wrap(Adam()), 1), (wrap(Adam()), None)):
        arrays = [w.copy() for w in start]
        stepper = optimizer.bind(arrays, n_threads=n_threads)
        for _ in range(5):
            stepper.step(grads)
        ends.append(arrays)
        calls.append(lambda step=stepper.step: step(grads))
    for one, all_ in zip(*ends[1:], strict=True):
        np.testing.assert_array_equal(one, all_)
    return [calls[0], calls[2]]


def bench_wrappers(options):
    """Time each wrapper; return the rows."""
    rows = {}
    print(f"{'parameters':>10} {'wrapper':>26} {'us':>9} {'x Adam':>7} {'bytes':>6}")
    for side in (50, 500) if options.quick else (50, 500, 1600):
        sizes = [(side, side)] * 4
        n = 4 * side * side
        for label, (wrap, added) in WRAPPERS.items():
            row = compare(measure(steps(wrap, sizes), 5 if options.quick else 15), 0, 1)
            floor = row["bytes"] = None if added is None else (_ADAM + added) / _ADAM
            rows[f"{label} {n}"] = row | {"parameters": n}
            shown = "" if floor is None else f"{floor:6.2f}"
            print(
                f"{n:>10} {label:>26} {row['theirs'] * 1e6:9.1f} {row['ratio']:7.2f} {shown:>6}", flush=True
            )
    return rows


SECTIONS = {"wrappers": bench_wrappers}


def main():
    """Run the section and print its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer repeats, nothing beyond 1 million")
    run_sections(parser, SECTIONS, ["wrappers"])


if __name__ == "__main__":
    main()
