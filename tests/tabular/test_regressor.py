"""What is particular to the regressor: losses, quantiles, several targets, intervals and deviations."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_diabetes
from sklearn.metrics import d2_pinball_score, r2_score

from fastopt import TabularMLPRegressor

X, Y = load_diabetes(return_X_y=True)
QUICK = {"max_iter": 31, "hidden_layer_sizes": (16,), "n_members": 5, "random_state": 0}


def noisy(n, seed=0):
    """Return rows of a curve with noise that grows with one of its columns."""
    rs = np.random.RandomState(seed)
    rows = rs.uniform(-1, 1, (n, 3))
    return rows, np.sin(3 * rows[:, 0]) + rows[:, 1] + (0.3 + 0.3 * rows[:, 2]) * rs.standard_normal(n)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "log_cosh", "quantile"])
@pytest.mark.parametrize(("scale", "shift"), [(1e-6, 0.0), (1e4, -1e6)])
def test_scale_and_place_of_the_targets_do_not_matter(loss, scale, shift):
    regr = TabularMLPRegressor(**QUICK, loss=loss)
    expected = regr.fit(X, Y).predict(X)
    moved = regr.fit(X, Y * scale + shift).predict(X)
    # Standardised targets differ by roundings of float32, which training multiplies.
    np.testing.assert_allclose((moved - shift) / scale, expected, atol=0.02 * Y.std())


@pytest.mark.parametrize("loss", ["poisson", "gamma", "tweedie"])
def test_positive_targets(loss):
    regr = TabularMLPRegressor(**QUICK, loss=loss).fit(X, Y * 1e5)
    assert regr.oof_score_ > 0.3
    with pytest.raises(ValueError, match="needs y"):
        regr.fit(X, Y - Y.max())


def test_predictions_stay_in_the_range_of_the_training_targets():
    regr = TabularMLPRegressor(**QUICK).fit(X, Y)
    far = regr.predict(X * 100)
    assert Y.min() <= far.min() <= far.max() <= Y.max()


def test_a_constant_target_is_predicted():
    regr = TabularMLPRegressor(**QUICK).fit(X, np.full(len(X), 7.0))
    np.testing.assert_array_equal(regr.predict(X), np.full(len(X), 7.0))
    assert regr.predict(X, return_std=True)[1].max() == 0


def test_several_targets_have_a_column_each():
    both = np.c_[Y, X[:, 2] * 1000]
    regr = TabularMLPRegressor(**QUICK).fit(X, both)
    predicted, deviations = regr.predict(X, return_std=True)
    assert predicted.shape == deviations.shape == regr.oof_predictions_.shape == both.shape
    assert regr.predict_interval(X[:4]).shape == (4, 2, 2)
    assert r2_score(both, regr.oof_predictions_, multioutput="raw_values").min() > 0.3


def test_quantiles_of_a_list_are_covered_and_do_not_cross():
    rows, y = noisy(1500)
    levels = [0.1, 0.5, 0.9]
    regr = TabularMLPRegressor(n_members=5, max_iter=62, random_state=0, loss="quantile", quantile=levels)
    regr.fit(rows, y)
    assert regr.predict(rows[:5]).shape == (5, 3)
    assert (np.diff(regr.oof_predictions_, axis=1) >= 0).all()
    below = (y[:, np.newaxis] <= regr.oof_predictions_).mean(axis=0)
    np.testing.assert_allclose(below, levels, atol=0.04)  # four standard errors of 1,500 rows
    scores = [d2_pinball_score(y, regr.oof_predictions_[:, i], alpha=a) for i, a in enumerate(levels)]
    assert regr.oof_score_ == pytest.approx(np.mean(scores))
    assert regr.score(rows, y) > regr.oof_score_
    with pytest.raises(ValueError, match=r"not a list \(quantile=\[0.1, 0.5, 0.9\]\)"):
        regr.predict_interval(rows)


def test_quantiles_of_several_targets_are_those_of_each():
    both = np.c_[Y, -Y]
    regr = TabularMLPRegressor(**QUICK, loss="quantile", quantile=[0.2, 0.8]).fit(X, both)
    predicted = regr.predict(X)
    assert predicted.shape == (442, 2, 2)
    covered = (both[:, :, np.newaxis] <= regr.oof_predictions_).mean(axis=0)
    np.testing.assert_allclose(covered, [[0.2, 0.8]] * 2, atol=0.1)


def test_intervals_cover_new_rows():
    """CV+ is guaranteed for 1 - 2 alpha - sqrt(2 / n): 0.74 of 0.9 for 500 rows. Typical is the coverage."""
    covered = {0.5: [], 0.9: []}
    for seed in range(3):
        rows, y = noisy(500, seed)
        new, truth = noisy(4000, seed + 10)
        regr = TabularMLPRegressor(
            n_members=10, max_iter=62, hidden_layer_sizes=(32, 32), random_state=seed
        ).fit(rows, y)
        for coverage, shares in covered.items():
            low, high = regr.predict_interval(new, coverage).T
            shares.append(((low <= truth) & (truth <= high)).mean())
        predicted, deviation = regr.predict(new, return_std=True)
        # Residuals are about normal: what is told fits what happens.
        assert ((truth - predicted) ** 2).mean() ** 0.5 == pytest.approx(deviation.mean(), rel=0.15)
    for coverage, shares in covered.items():
        # For given training rows the coverage has a standard deviation of sqrt(0.25 / 500) = 0.022 at most:
        # three of them.
        assert coverage - 0.067 < np.mean(shares) < coverage + 0.067, shares


def test_intervals_with_a_validation_set_are_split_conformal():
    rows, y = noisy(600)
    regr = TabularMLPRegressor(**QUICK).fit(rows[:300], y[:300], X_val=rows[300:], y_val=y[300:])
    residuals = np.sort(np.abs(y[300:] - regr.predict(rows[300:])))
    expected = residuals[int(np.ceil(0.8 * 301)) - 1]
    new = noisy(50, seed=2)[0]
    middle = regr.predict(new)
    # Members' predictions are clipped to the range of y before their mean is taken, as the mean is after.
    np.testing.assert_allclose(
        regr.predict_interval(new, 0.8), np.c_[middle - expected, middle + expected], rtol=1e-4
    )


def test_intervals_need_residuals_and_a_coverage():
    few = TabularMLPRegressor(**QUICK | {"n_members": 2}).fit(X, Y)
    with pytest.raises(ValueError, match=r"as many networks as folds \(n_members=2, 5 folds\)"):
        few.predict_interval(X)
    with pytest.raises(ValueError, match="return_std=True needs a residual of each row"):
        few.predict(X, return_std=True)
    assert np.isnan(few.oof_predictions_).mean() == pytest.approx(0.6, abs=0.01)  # of three folds
    with pytest.raises(ValueError, match=r"coverage=1\.5"):
        few.predict_interval(X, coverage=1.5)


def test_outliers_move_a_robust_loss_less():
    rows, y = noisy(400)
    spoilt = y.copy()
    spoilt[::20] += 30
    truth = np.sin(3 * rows[:, 0]) + rows[:, 1]
    errors = {
        loss: np.abs(TabularMLPRegressor(**QUICK, loss=loss).fit(rows, spoilt).predict(rows) - truth).mean()
        for loss in ("squared_error", "absolute_error")
    }
    assert errors["absolute_error"] < 0.7 * errors["squared_error"]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"loss": "gaussian_nll"}, "loss"),
        ({"loss": "log_loss"}, "loss"),
        ({"loss": "quantile", "quantile": [0.9, 0.1]}, "rising numbers"),
        ({"loss": "quantile", "quantile": 1.5}, "quantile"),
        ({"target_scaler": "log"}, "target_scaler"),
    ],
)
def test_parameters_that_cannot_be_are_named(parameters, words):
    with pytest.raises(ValueError, match=words):
        TabularMLPRegressor(**parameters).fit(X, Y)


@pytest.mark.parametrize("unit", [1e-300, 1e200])
def test_targets_whose_squares_are_no_numbers_are_refused(unit):
    with pytest.raises(ValueError, match="squares of such numbers are beyond float64: multiply it"):
        TabularMLPRegressor().fit([[1.0], [2.0], [3.0]], [1 * unit, -1 * unit, 2 * unit])


def test_a_list_of_quantiles_is_scored_on_sparse_rows_and_checks_the_targets():
    X = np.random.RandomState(0).normal(size=(60, 3))
    y = X[:, 0]
    regr = TabularMLPRegressor(
        loss="quantile",
        quantile=[0.2, 0.8],
        n_members=2,
        n_cv=2,
        hidden_layer_sizes=4,
        max_iter=6,
        random_state=0,
    ).fit(X, y)
    assert regr.score(scipy.sparse.csr_matrix(X), y) == regr.score(X, y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        regr.score(X, y[:-1])
    with pytest.raises(ValueError, match="NaN"):
        regr.score(X, np.append(y[:-1], np.nan))


def test_bounds_ascend_for_every_coverage():
    rs = np.random.RandomState(0)
    X = rs.normal(size=(200, 3))
    regr = TabularMLPRegressor(n_members=4, n_cv=4, hidden_layer_sizes=8, max_iter=31, random_state=0)
    regr.fit(X, X[:, 0])
    low, high = regr.predict_interval(X, coverage=0.001).T
    assert (low <= high).all()
