"""Scores of out-of-fold predictions: values are scikit-learn's, intervals hold as often as they say."""

import numpy as np
import pytest
from scipy import stats
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import (
    accuracy_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)

from fastopt.tabular.out_of_fold import (
    classification_scores,
    constant,
    difference,
    on_folds,
    regression_scores,
    wilson,
)

RNG = np.random.default_rng(0)
CLASSES = np.array(["a", "b", "c"])


def classified(n, rng=RNG):
    y = rng.choice(CLASSES, n)
    p = rng.dirichlet(np.ones(3), n) + 0.3 * (y[:, np.newaxis] == CLASSES)
    return y, p / p.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("weights", [None, RNG.integers(1, 4, 80).astype(float)])
def test_values_are_scikit_learns(weights):
    y, p = classified(80)
    accuracy, loss = classification_scores(y, p, CLASSES, weights)
    assert accuracy.value == pytest.approx(accuracy_score(y, CLASSES[p.argmax(1)], sample_weight=weights))
    assert loss.value == pytest.approx(log_loss(y, p, sample_weight=weights))
    t = RNG.normal(size=80)
    guess = t + RNG.normal(size=80)
    r2, rmse, mae = regression_scores(t, guess, weights)
    assert r2.value == pytest.approx(r2_score(t, guess, sample_weight=weights))
    assert rmse.value == pytest.approx(root_mean_squared_error(t, guess, sample_weight=weights))
    assert mae.value == pytest.approx(mean_absolute_error(t, guess, sample_weight=weights))
    assert all(score.low < score.value < score.high for score in (accuracy, loss, r2, rmse, mae))


@pytest.mark.parametrize(("share", "n"), [(0.9, 30), (1.0, 12), (0.0, 12), (0.41, 1000)])
def test_wilsons_interval_is_scipys(share, n):
    expected = stats.binomtest(round(share * n), n).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson(round(share * n) / n, n), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_an_interval_holds_its_share_whatever_is_rounded(share):
    bounds = [wilson(share, n) for n in range(1, 3000)]
    assert all(low <= share <= high for low, high in bounds)


def test_intervals_hold_as_often_as_they_say():
    """Of samples of a known distribution: 95 % of 400, within three standard errors (3.3 points).

    R2 of few rows is skewed and its interval one of first order, so that a little less is expected.
    """
    rng, n_samples = np.random.default_rng(1), 400
    held = dict.fromkeys(("accuracy", "log loss", "R2", "RMSE", "difference"), 0)
    y, p = classified(200_000, rng)
    truth = {score.name: score.value for score in classification_scores(y, p, CLASSES)}
    truth |= {"R2": 0.8, "RMSE": 1.0, "difference": 0.8 - (1 - 2 / 5)}  # var(t) = 5
    for _ in range(n_samples):
        rows = rng.integers(0, len(y), 150)
        found = {score.name: score for score in classification_scores(y[rows], p[rows], CLASSES)}
        t = 2 * rng.normal(size=150)
        noise, more = rng.normal(size=(2, 150))
        scores = regression_scores(t + noise, t)
        other = regression_scores(t + noise, t + more)
        found |= {score.name: score for score in scores[:2]}
        for name in ("accuracy", "log loss", "R2", "RMSE"):
            held[name] += found[name].low <= truth[name] <= found[name].high
        _, low, high = difference(scores[0], other[0])
        held["difference"] += low <= truth["difference"] <= high
    for name, count in held.items():
        assert 0.917 <= count / n_samples <= 0.983, name


def test_a_difference_is_better_if_it_is_positive_and_cancels_what_is_shared():
    t = RNG.normal(size=300)
    noise = RNG.normal(size=300)
    good, bad = regression_scores(t + noise, t), regression_scores(t + noise, t + 0.3)
    for ours, theirs in zip(good, bad, strict=True):
        gain, low, high = difference(ours, theirs)
        assert gain > 0
        assert high - low < (ours.high - ours.low) + (theirs.high - theirs.low)
    assert difference(bad[0], good[0])[0] < 0


@pytest.mark.parametrize("weights", [None, RNG.integers(0, 4, 60).astype(float)])
def test_the_model_without_columns_is_scikit_learns_dummy(weights):
    y, t, X = RNG.choice(CLASSES, 60, p=[0.5, 0.3, 0.2]), RNG.normal(size=60), np.zeros((60, 1))
    dummy = DummyClassifier(strategy="prior").fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(constant(y, CLASSES, weights), dummy.predict_proba(X), rtol=1e-12)
    dummy = DummyRegressor().fit(X, t, sample_weight=weights)
    np.testing.assert_allclose(constant(t, None, weights)[:, 0], dummy.predict(X), rtol=1e-12)
    assert regression_scores(t, constant(t)[:, 0])[0].value == pytest.approx(0, abs=1e-12)


def test_predictions_on_folds_come_from_the_rows_outside_them():
    folds = np.array([0, 1, 1, 0, -1, 2])
    found = on_folds(folds, lambda rest, held_out: np.full(len(held_out), rest.sum()), 1)
    np.testing.assert_array_equal(found[:, 0], [8, 8, 8, 8, np.nan, 6])
