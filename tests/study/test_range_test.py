"""The learning-rate range test."""

import numpy as np
import pytest
import sklearn.neural_network as sk
from sklearn.datasets import load_iris, make_regression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastopt import SGD, Adam, MLPClassifier, MLPRegressor
from fastopt.display import LearningRateRangeDisplay, find_learning_rate
from fastopt.schedules import cosine
from fastopt.study import range_test

X, Y = load_iris(return_X_y=True)
NETWORK = MLPClassifier((16,), batch_size=32, random_state=3)


def test_a_quadratic_diverges_where_theory_says():
    """Without hidden layers and penalty the loss is a parabola, whose bound on the rate is known."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(256, 3))
    target = rows @ np.array([1.0, -2.0, 0.5])
    network = MLPRegressor(hidden_layer_sizes=(), solver=SGD(), alpha=0.0, batch_size=256)
    seen = range_test(network, rows, target, low=1e-3, high=1e3, n_steps=60, random_state=0)
    with_bias = np.column_stack([rows, np.ones(256)])
    bound = 2 / np.linalg.eigvalsh(with_bias.T @ with_bias / 256).max()
    # The rate grows by a quarter a step: some steps pass before divergence outweighs what was learnt.
    assert bound < seen.rates[-1] < 20 * bound
    assert 0.01 * bound < seen.suggestion < bound


def test_the_rates_grow_geometrically_and_the_average_is_bias_corrected():
    seen = range_test(NETWORK, X, Y, low=1e-5, high=1.0, n_steps=50)
    np.testing.assert_allclose(seen.rates, np.geomspace(1e-5, 1.0, 50)[: len(seen.rates)], rtol=1e-12)
    k = len(seen.losses)
    weights = 0.9 ** np.arange(k)[::-1]
    # The same sum in another order.
    assert seen.smoothed[-1] == pytest.approx(np.average(seen.losses, weights=weights), rel=1e-12)
    assert seen.suggestion in seen.rates


def test_the_estimator_is_not_changed_and_the_result_repeats():
    before = repr(NETWORK)
    first, second = range_test(NETWORK, X, Y), range_test(NETWORK, X, Y)
    np.testing.assert_array_equal(first.losses, second.losses)
    assert repr(NETWORK) == before
    assert not hasattr(NETWORK, "coefs_")
    assert not np.array_equal(range_test(NETWORK, X, Y, random_state=9).losses, first.losses)


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(StandardScaler(), NETWORK),
        MLPClassifier((16,), solver=Adam(lr=cosine(0.1))),
        MLPClassifier((16,), solver="sgd", learning_rate="adaptive", early_stopping=True, warmup=0.1),
    ],
    ids=["pipeline", "scheduled", "rules"],
)
def test_whatever_moves_the_rate_stands_back(estimator):
    seen = range_test(estimator, X, Y, random_state=0)
    assert seen.rates[0] == 1e-6
    assert 1e-4 < seen.suggestion < 10


def test_the_suggested_rate_trains_better_than_far_smaller_and_larger_ones():
    suggested, _ = find_learning_rate(NETWORK, X, Y)
    losses = {}
    for factor in (0.01, 1.0, 1000.0):
        rate = suggested * factor
        clf = MLPClassifier((16,), batch_size=32, random_state=3, max_iter=10, learning_rate_init=rate)
        with pytest.warns(UserWarning, match="Maximum iterations"):
            losses[factor] = clf.fit(X, Y).loss_
    assert losses[1.0] == min(losses.values())


def test_the_display_follows_scikit_learns():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    rows, target = make_regression(n_samples=100, n_features=4, random_state=0)
    _, ax = pyplot.subplots()
    display = LearningRateRangeDisplay.from_estimator(
        MLPRegressor(hidden_layer_sizes=(8,)), rows, target, ax=ax, random_state=0
    )
    assert display.ax_ is ax
    assert ax.get_xscale() == "log"
    np.testing.assert_array_equal(display.line_.get_ydata(), display.result.smoothed)
    assert any(f"{display.result.suggestion:.2g}" in t.get_text() for t in ax.get_legend().get_texts())
    pyplot.close(ax.figure)


@pytest.mark.parametrize(
    ("estimator", "options", "error", "words"),
    [
        (NETWORK, {"low": 0}, ValueError, "0 < low < high"),
        (NETWORK, {"high": np.inf}, ValueError, "0 < low < high"),
        (NETWORK, {"n_steps": 5}, ValueError, "at least 20"),
        (MLPClassifier((16,), solver=SGD(maximize=True), batch_size=150), {}, ValueError, "did not fall"),
        (NETWORK, {"low": 1e8, "high": 1e9}, ValueError, "exploded"),
        (MLPClassifier(solver="lbfgs"), {}, TypeError, "lbfgs"),
        (sk.MLPClassifier(), {}, TypeError, "a network of fastopt"),
    ],
)
def test_what_cannot_be_tested_is_refused(estimator, options, error, words):
    with pytest.raises(error, match=words):
        range_test(estimator, X, Y, **options)
