"""Training and predicting with fastopt, scikit-learn and torch: same data, same arguments, same loss.

    python bench/bench_fit.py [--cases S1 S2 ...] [--quick] [--data mnist.npz] [--json results/fit.json]

S1-S5  one fit, float32 (S3 and S4 are MNIST, S5 is sparse); torch's plain loop with fused Adam, with one
       thread or all, whichever is quicker
S6     GridSearchCV of 36 fits of S1's size with two jobs, the workers started before the clock
S7     predict_proba of one row and of 100,000 rows, with S2's network

Final losses must agree within 5 % and accuracies within 2 points before a time is believed. Ratios are
medians over alternating runs. Compilation happens before the clock; ``bench_conditions.py`` reports it.
"""

import argparse
import functools
import itertools
import os
import warnings

import numpy as np
import scipy.linalg.blas
from _measure import compare, measure, write_json
from fit_cases import CASES, fit_ours, fit_sklearn, fit_torch
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

import fastopt


def sgemm_flops(n=2048):
    """Return the operations per second of SciPy's BLAS, which Numba and fastopt call, on all threads."""
    a = np.asfortranarray(np.random.default_rng(0).standard_normal((n, n), np.float32))
    product = np.empty_like(a)
    call = functools.partial(scipy.linalg.blas.sgemm, 1.0, a, a, c=product, overwrite_c=True)
    return 2 * n**3 / np.median(measure([call], 5))


def network_flops(case, n_features, n_outputs):
    """Return the operations of one row's training step: forward, weight gradients, and the way back."""
    sizes = [n_features, *case.hidden, n_outputs]
    products = [a * b for a, b in itertools.pairwise(sizes)]
    return 2 * (2 * sum(products) + sum(products[1:]))


def believe(case, X, y):
    """Check that the libraries reach the same loss and accuracy; return the losses by library."""
    ours, theirs = fit_ours(case, X, y), fit_sklearn(case, X, y)
    losses = {"fastopt": ours.loss_, "scikit-learn": theirs.loss_}
    assert abs(ours.score(X, y) - theirs.score(X, y)) < 0.02
    if case.name != "S5":
        losses["torch"] = fit_torch(case, X, y, 1, same_order=True)
    for library, loss in losses.items():
        np.testing.assert_allclose(loss, ours.loss_, rtol=0.05, err_msg=f"{case.name}: {library}")
    return losses


def bench_case(case, options):
    """Check one of S1-S5 and time it."""
    X, y = case.load(options.data)
    losses = believe(case, X, y)
    calls = [lambda: fit_ours(case, X, y), lambda: fit_sklearn(case, X, y)]
    if "torch" in losses:
        counts = sorted({1, os.cpu_count()})
        calls += [functools.partial(fit_torch, case, X, y, k) for k in counts]
    times = measure(calls, 3 if options.quick else 7)
    row = {"losses": losses, "sklearn": compare(times, 0, 1)}
    report = f"{row['sklearn']['ours']:8.4f} s {row['sklearn']['ratio']:6.1f}x scikit-learn"
    if "torch" in losses:
        best = min(range(2, len(calls)), key=lambda column: np.median(times[:, column]))
        row["torch"] = compare(times, 0, best) | {"n_threads": counts[best - 2]}
        report += f" {row['torch']['ratio']:6.1f}x torch ({counts[best - 2]} threads)"
    if case.name == "S4":
        flops = network_flops(case, X.shape[1], 10) * len(X) * case.epochs
        row["flops"], row["sgemm_flops"] = flops / row["sklearn"]["ours"], sgemm_flops()
        report += f"; {row['flops'] / 1e9:.0f} GFLOP/s of sgemm's {row['sgemm_flops'] / 1e9:.0f}"
    print(f"{case.name}  {report}   {case.what}", flush=True)
    return row


def bench_search(options):
    """S6: time a grid search."""
    case = CASES["S1"]
    X, y = case.load(None)
    grid = {"alpha": [1e-4, 1e-3, 1e-2], "learning_rate_init": [1e-3, 3e-3, 1e-2, 3e-2]}

    def search(module):
        return GridSearchCV(case.network(module), grid, cv=3, n_jobs=2).fit(X, y)

    os.environ["PYTHONWARNINGS"] = "ignore"  # of the workers: networks that have not converged
    scores = [search(module).best_score_ for module in (fastopt, neural_network)]
    assert abs(scores[0] - scores[1]) < 0.02
    row = compare(
        measure([lambda: search(fastopt), lambda: search(neural_network)], 3 if options.quick else 5), 0, 1
    )
    print(
        f"S6  {row['ours']:8.4f} s {row['ratio']:6.1f}x scikit-learn   GridSearchCV(n_jobs=2), 36 fits of S1"
    )
    return row


def bench_predict(options):
    """S7: time predict_proba."""
    case = CASES["S2"]
    X, y = case.load(None)
    ours, theirs = fit_ours(case, X, y), fit_sklearn(case, X, y)
    rows = {}
    for n in (1, 100_000):
        A = np.random.default_rng(0).standard_normal((n, X.shape[1]), np.float32)
        np.testing.assert_allclose(ours.predict_proba(A), theirs.predict_proba(A), atol=1e-3)
        calls = [functools.partial(network.predict_proba, A) for network in (ours, theirs)]
        row = rows[str(n)] = compare(measure(calls, 5 if options.quick else 15), 0, 1)
        print(
            f"S7  {row['ours'] * 1e6:8.1f} us {row['ratio']:5.1f}x scikit-learn   predict_proba of {n:,} rows"
        )
    return rows


def main():
    """Run the cases and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    everything = [*CASES, "S6", "S7"]
    parser.add_argument("--cases", nargs="+", default=everything, choices=everything)
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--data", help="MNIST as .npz with X_train, y_train, X_test, y_test; for S3 and S4")
    parser.add_argument("--json", help="where to write the rows")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = {}
    for name in options.cases:
        if name in CASES:
            rows[name] = bench_case(CASES[name], options)
        else:
            rows[name] = (bench_search if name == "S6" else bench_predict)(options)
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
