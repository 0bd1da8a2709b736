"""What optimizers cost in training: a fit of S1 with each against plain Adam, in alternating runs.

    python bench/bench_optimizers.py [wrappers optimizers] [--quick] [--json bench/results/optimizers.json]

S1 is 1,000 x 10, hidden (32, 16), batches of 32, 50 epochs: 1,600 steps of few microseconds, where whatever
happens between two of them shows. ``wrappers`` are wrappers around Adam and Adam with a reduced state,
``optimizers`` all of the registry with their defaults, without L-BFGS, which is not made for batches. Those
marked * step in Python.
"""

import argparse
import warnings

import fit_cases
from _measure import compare, measure, run_sections

import fastopt
from fastopt import Adam
from fastopt.optimizers.base import OPTIMIZERS
from fastopt.stepping.layerwise_state import LayerwiseState

WRAPPERS = {
    "Clip(value)": lambda: fastopt.Clip(Adam(), value=0.1),
    "Clip(norm)": lambda: fastopt.Clip(Adam(), norm=1.0),
    "Clip(tensor_norm)": lambda: fastopt.Clip(Adam(), tensor_norm=1.0),
    "AdaptiveClip": lambda: fastopt.AdaptiveClip(Adam()),
    "Centralize": lambda: fastopt.Centralize(Adam()),
    "GradientNoise": lambda: fastopt.GradientNoise(Adam()),
    "SkipNonFinite": lambda: fastopt.SkipNonFinite(Adam()),
    "MultiSteps(n=4)": lambda: fastopt.MultiSteps(Adam(), n=4),
    "EMA": lambda: fastopt.EMA(Adam()),
    "SWA": lambda: fastopt.SWA(Adam()),
    "Lookahead": lambda: fastopt.Lookahead(Adam()),
    "Cautious": lambda: fastopt.Cautious(Adam()),
    "SAM": lambda: fastopt.SAM(Adam()),
    "ASAM": lambda: fastopt.ASAM(Adam()),
    "EMA(Clip(norm))": lambda: fastopt.EMA(fastopt.Clip(Adam(), norm=1.0)),
    "Adam(state_dtype='bfloat16')": lambda: Adam(state_dtype="bfloat16"),
    "Adam(state_dtype='int8')": lambda: Adam(state_dtype="int8"),
}
CASE = fit_cases.CASES["S1"]


def fit_with(optimizer, X, y):
    """Return a function that fits S1 with an optimizer, on one thread."""

    def fit():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some diverge with their default rates
            return CASE.network(fastopt, solver=optimizer, n_jobs=1).fit(X, y)

    return fit


def steps_in_python(fit):
    """Tell whether a fit makes its steps in Python, between mini-batches."""
    calls, apply = [], LayerwiseState.apply
    LayerwiseState.apply = lambda *args, **kwargs: (calls.append(1), apply(*args, **kwargs))[1]
    try:
        return not hasattr(fit()._optimizer, "update") or bool(calls)
    finally:
        LayerwiseState.apply = apply


def bench(optimizers, options):
    """Time fits with these optimizers; return the rows."""
    X, y = CASE.load(None)
    plain, rows = fit_with(Adam(), X, y), {}
    print(f"{'optimizer':>30} {'ms':>8} {'x Adam':>7}")
    for name, make in optimizers.items():
        fit = fit_with(make(), X, y)
        is_slow = steps_in_python(fit)
        row = compare(measure([plain, fit], 5 if options.quick else 15), 0, 1)
        rows[name] = row | {"steps_in_python": is_slow}
        print(f"{name + ' *' * is_slow:>30} {row['theirs'] * 1e3:8.2f} {row['ratio']:7.2f}", flush=True)
    return rows


SECTIONS = {
    "wrappers": lambda options: bench(WRAPPERS, options),
    "optimizers": lambda options: bench(
        {cls.__name__: cls for name, cls in sorted(OPTIMIZERS.items()) if name != "lbfgs"}, options
    ),
}


def main():
    """Run the sections and print their tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    run_sections(parser, SECTIONS, [*SECTIONS])


if __name__ == "__main__":
    main()
