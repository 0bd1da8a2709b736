"""CV+ against its definition, Barber, Candès, Ramdas and Tibshirani (2021), section 3 and its coverage."""

import math

import numpy as np
import pytest

from fastopt.tabular.intervals import cv_plus

RS = np.random.RandomState(0)


def by_definition(predictions, residuals, coverage):
    """Return the interval of one sample from all sums and differences, each sorted."""
    up = np.sort(np.concatenate([p + r for p, r in zip(predictions, residuals, strict=True)]))
    down = np.sort(np.concatenate([p - r for p, r in zip(predictions, residuals, strict=True)]))
    n, alpha = len(up), 1 - coverage
    upper = math.ceil(round((1 - alpha) * (n + 1), 9))
    lower = math.floor(round(alpha * (n + 1), 9))
    return (-np.inf, np.inf) if upper > n else (down[lower - 1], up[upper - 1])


@pytest.mark.parametrize("coverage", [0.1, 0.5, 0.8, 0.9, 0.975])
def test_bounds_are_those_of_the_definition(coverage):
    residuals = [np.abs(RS.standard_normal(n)) for n in (8, 8, 8, 8, 7)]  # 39 rows: 0.9 * 40 is 36
    predictions = RS.standard_normal((5, 20)) * 3
    lower, upper = cv_plus(predictions, residuals, coverage)
    expected = [by_definition(own, residuals, coverage) for own in predictions.T]
    # The search halves a range of about 10 thirty times.
    np.testing.assert_allclose(np.c_[lower, upper], expected, atol=1e-7)


def test_a_repeat_of_the_same_models_changes_nothing():
    residuals = [np.abs(RS.standard_normal(10)) for _ in range(4)]
    predictions = RS.standard_normal((4, 6))
    twice = cv_plus(np.tile(predictions, (2, 1)), residuals * 2, 0.8, n_repeats=2)
    np.testing.assert_allclose(twice, cv_plus(predictions, residuals, 0.8), atol=1e-8)


def test_a_weight_is_that_many_rows():
    residuals = [np.abs(RS.standard_normal(9)) for _ in range(3)]
    weights = [RS.randint(1, 4, 9).astype(float) for _ in range(3)]
    predictions = RS.standard_normal((3, 5))
    repeated = [np.repeat(r, w.astype(int)) for r, w in zip(residuals, weights, strict=True)]
    np.testing.assert_allclose(
        cv_plus(predictions, residuals, 0.7, weights=weights), cv_plus(predictions, repeated, 0.7), atol=1e-8
    )


def test_too_few_rows_for_the_coverage_give_infinite_bounds():
    lower, upper = cv_plus(np.zeros((2, 3)), [np.ones(4), np.ones(4)], 0.95)  # ceil(0.95 * 9) is 9 of 8
    assert (lower == -np.inf).all()
    assert (upper == np.inf).all()


def test_coverage_of_least_squares_is_what_the_theorem_says():
    """60 rows and 10 columns: residuals of the training rows would cover far too little."""
    n, k, coverage, hits = 60, 5, 0.9, []
    for seed in range(100):
        rs = np.random.RandomState(seed)
        X, noise = rs.standard_normal((n + 20, 10)), rs.standard_t(3, n + 20)
        y = X.sum(axis=1) + noise
        folds = np.arange(n) % k
        models = [np.linalg.lstsq(X[:n][folds != f], y[:n][folds != f], rcond=None)[0] for f in range(k)]
        residuals = [np.abs(y[:n] - X[:n] @ model)[folds == f] for f, model in enumerate(models)]
        lower, upper = cv_plus(np.array([X[n:] @ model for model in models]), residuals, coverage)
        hits.append((lower <= y[n:]) & (y[n:] <= upper))
    covered = np.mean(hits)
    # Guaranteed are 0.8 - sqrt(2 / 60) = 0.62; typical is 0.9, with a standard error of 0.01 over 100 tables.
    assert 0.87 < covered < 0.95
