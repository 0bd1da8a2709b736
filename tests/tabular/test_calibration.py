"""The temperature is scikit-learn's, with a tenth of an observation in which every outcome is as likely."""

import numpy as np
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss

from fastopt.tabular.calibration import at_temperature, fit_temperature, log_loss

RS = np.random.RandomState(0)


def case(n, k, sharpness):
    """Return probabilities and outcomes that are drawn from them at another temperature."""
    logits = RS.standard_normal((n, k)) * 2
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    told = at_temperature(p, 1 / sharpness)
    drawn = (p.cumsum(axis=1) < RS.random_sample((n, 1))).sum(axis=1).clip(max=k - 1)
    return told, np.eye(k)[drawn]


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_temperature_is_scikit_learns(k, is_weighted):
    calibration = pytest.importorskip("sklearn.calibration")
    if not hasattr(calibration, "_TemperatureScaling"):
        pytest.skip("scikit-learn has temperature scaling from 1.8 on")
    told, targets = case(300, k, 2.5)
    weights = RS.random_sample(300) if is_weighted else None
    # Of what is added each row has the share 0.1 / (n + 0.1), as rows of every outcome with weights.
    shares = targets * 300 / 300.1 + 0.1 / 300.1 / k
    shares *= (np.ones(300) if weights is None else weights)[:, np.newaxis]
    theirs = calibration._TemperatureScaling()
    theirs.fit(np.log(np.repeat(told, k, axis=0)), np.tile(np.arange(k), 300), shares.ravel())
    # Both search to a precision of 1e-6 or so.
    assert fit_temperature(told, targets, weights) == pytest.approx(1 / theirs.beta_, rel=1e-4)


def test_many_rows_give_the_temperature_that_was_drawn_from():
    told, targets = case(20_000, 4, 2.0)
    assert fit_temperature(told, targets) == pytest.approx(2.0, rel=0.05)


def test_a_weight_of_two_is_two_rows_but_for_what_is_added():
    told, targets = case(200, 3, 2.0)
    twice = np.repeat(np.arange(200), np.arange(200) % 2 + 1)
    once = fit_temperature(told, targets, np.arange(200) % 2 + 1.0)
    assert once == pytest.approx(fit_temperature(told[twice], targets[twice]), rel=0.02)


def test_probabilities_that_are_all_right_stay_below_certainty():
    told = np.full((50, 2), [0.9, 0.1])
    sure = at_temperature(told, fit_temperature(told, np.full((50, 2), [1.0, 0.0])))
    # The least of the smoothed cross-entropy: half of what is added, spread over 50.1.
    assert sure[0, 1] == pytest.approx(0.05 / 50.1, rel=1e-3)


def test_nothing_to_learn_leaves_probabilities():
    assert fit_temperature(np.full((5, 3), 1 / 3), np.eye(3)[[0, 1, 2, 0, 1]]) == 1.0
    assert fit_temperature(np.ones((5, 1)), np.ones((5, 1))) == 1.0
    told = case(10, 3, 1.0)[0]
    np.testing.assert_allclose(at_temperature(told, 1.0), told, rtol=1e-12)


def test_certain_and_wrong_is_finite():
    told, targets = np.eye(2)[[0, 0, 1, 1, 0]], np.eye(2)[[0, 0, 1, 1, 1]]
    p = at_temperature(told, fit_temperature(told, targets))
    assert np.isfinite(p).all()
    assert (p > 0).all()


def test_log_loss_is_scikit_learns():
    told, targets = case(100, 3, 1.0)
    weights = RS.random_sample(100)
    theirs = sklearn_log_loss(targets.argmax(axis=1), told, sample_weight=weights)
    assert log_loss(told, targets, weights) == pytest.approx(theirs, rel=1e-9)
