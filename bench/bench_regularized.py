"""What dropout, GELU and label smoothing add to a fit, alone and together.

    python bench/bench_regularized.py [--cases S2 S4] [--quick] [--data mnist.npz] [--json out.json]

The plain fit is that of ``bench_fit.py``. Ratios are medians over alternating runs; compilation comes before.
"""

import argparse
import functools

from _measure import compare, measure, write_json
from fit_cases import CASES, fit_ours

_ADDED = {
    "dropout 0.1": {"dropout": 0.1},
    "gelu": {"activation": "gelu"},
    "label smoothing 0.1": {"label_smoothing": 0.1},
}
_ADDED["all three"] = {key: value for settings in _ADDED.values() for key, value in settings.items()}


def bench_case(name, options):
    """Time a case; return its rows, by what is added."""
    case = CASES[name]
    X, y = case.load(options.data)
    calls = [functools.partial(fit_ours, case, X, y, **settings) for settings in ({}, *_ADDED.values())]
    times = measure(calls, 5 if options.quick else 15)
    rows = {added: compare(times, 0, column) for column, added in enumerate(_ADDED, 1)}
    for added, row in rows.items():
        low, high = row["quartiles"]
        print(
            f"{name}  {row['ours']:8.4f} s, with {added:<20} {row['ratio']:5.2f}x ({low:.2f} to {high:.2f})",
            flush=True,
        )
    return rows


def main():
    """Run the cases and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", default=["S2", "S4"], choices=["S1", "S2", "S3", "S4"])
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--data", help="MNIST as .npz with X_train, y_train, X_test, y_test; for S3 and S4")
    parser.add_argument("--json", help="where to write the rows")
    options = parser.parse_args()
    rows = {name: bench_case(name, options) for name in options.cases}
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
