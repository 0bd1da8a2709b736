"""Calls with few rows, of fastopt and of scikit-learn: what there is to do beside the arithmetic.

    python bench/bench_calls.py [--cases S1 S2] [--json results/calls.json]

With the networks of S1, hidden (32, 16), and of S2, (100, 100), as classifiers and regressors, float32:
``partial_fit`` of one row, a stream of 1,000 calls of 32 rows from a new network on, ``predict`` of one
row and of 100,000. The losses of the whole stream must agree within 2 %. Ratios are medians over
alternating runs.
"""

import argparse
import functools

import numpy as np
from _measure import compare, measure, measure_after_rest, write_json
from fit_cases import CASES
from sklearn import neural_network

import fastopt

#: Calls of a stream, and their rows.
_STREAM = 1000, 32


def _stream(network, X, y, **first):
    """Train a new network on one batch after the other."""
    n_calls, n_rows = _STREAM
    for i in range(n_calls):
        at = i * n_rows % (len(X) - n_rows)
        network.partial_fit(X[at : at + n_rows], y[at : at + n_rows], **first)
        first = {}
    return network


def _timed_calls(make, X, y, first):
    """Return functions that make a pair of calls, ours and scikit-learn's, by what they do."""
    modules = fastopt, neural_network
    trained = [_stream(make(module), X, y, **first) for module in modules]
    many = np.random.default_rng(0).standard_normal((100_000, X.shape[1]), np.float32)
    # Both add up 1,000 steps in float32, in other orders.
    np.testing.assert_allclose(*(network.loss_curve_ for network in trained), rtol=0.02)
    return {
        "partial_fit of one row": [functools.partial(one.partial_fit, X[:1], y[:1]) for one in trained],
        "stream of 1,000 x 32 rows": [
            lambda module=module: _stream(make(module), X, y, **first) for module in modules
        ],
        "predict of one row": [functools.partial(one.predict, X[:1]) for one in trained],
        "predict of 100,000 rows": [functools.partial(one.predict, many) for one in trained],
    }


def bench_calls(names):
    """Time calls with few rows, whose arguments take longer to look at than to compute with."""
    rows = {}
    for name in names:
        case = CASES[name]
        X, labels = case.load(None)
        for kind, y, first in (
            ("MLPClassifier", labels, {"classes": [0, 1]}), ("MLPRegressor", X[:, 0].copy(), {})
        ):  # fmt: skip

            def make(module, kind=kind, case=case):
                return getattr(module, kind)(hidden_layer_sizes=case.hidden, random_state=0)

            for what, calls in _timed_calls(make, X, y, first).items():
                # A stream takes seconds: three runs are enough, and nothing has to be repeated within one.
                times = measure_after_rest(calls, 3, 0.02) if "stream" in what else measure(calls, 7)
                row = rows[f"{name}, {kind}, {what}"] = compare(times, 0, 1)
                print(
                    f"{name} {kind:<14} {what:<26} {row['ours'] * 1e6:10.1f} us "
                    f"{row['ratio']:5.1f}x scikit-learn",
                    flush=True,
                )
    return rows


def main():
    """Time the calls and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", default=["S1", "S2"], choices=["S1", "S2"])
    parser.add_argument("--json", help="where to write the rows")
    options = parser.parse_args()
    rows = bench_calls(options.cases)
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
