"""``max_time``: a fit that stops when its time is over, and leaves a model."""

import re
import time

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from fastopt import MLPClassifier, MLPRegressor
from fastopt.engine import monotonic_clock
from fastopt.engine.cpu import batch_runner

X, Y = load_digits(return_X_y=True)
ENDLESS = {"max_iter": 10**9, "n_iter_no_change": np.inf, "tol": 0.0, "random_state": 0}
STOPPED = r"Stopped after max_time=.* seconds in iteration \d+, and the optimization hasn't converged"


@pytest.fixture
def ticks(monkeypatch):
    """A clock that is a second later each time it is read, and batches that run one by one."""
    at = [0.0]

    def now():
        at[0] += 1.0
        return at[0]

    monkeypatch.setattr(monotonic_clock, "now", now)
    monkeypatch.setattr(batch_runner, "_SLICE_FLOPS", 1)


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_layer_sizes": (4,), "batch_size": 900},  # epochs in compiled code
        {"hidden_layer_sizes": (64,), "early_stopping": True},
        {"hidden_layer_sizes": (16,), "solver": "lamb"},
    ],
)
def test_a_fit_ends_soon_after_its_time_and_can_be_used(settings):
    MLPClassifier(**settings, max_iter=1).fit(X, Y)  # compiles
    clf, began = MLPClassifier(max_time=0.3, **ENDLESS | settings), time.perf_counter()
    with pytest.warns(ConvergenceWarning, match=STOPPED):
        clf.fit(X, Y)
    took = time.perf_counter() - began
    # Slices of batches take 0.1 s; on a busy machine several times as much.
    assert 0.3 <= took < 10
    assert len(clf.loss_curve_) == clf.n_iter_ == len(clf.history_["loss"])
    assert clf.loss_curve_[-1] < clf.loss_curve_[0]
    assert clf.history_["seconds"][-1] >= 0.3 - 0.1  # the last slice began before the end
    assert clf.predict(X).shape == Y.shape
    if clf.early_stopping:
        assert clf.best_validation_score_ == max(clf.validation_scores_)


@pytest.mark.parametrize("solver", ["adam", "lamb", "shampoo"])  # batch loop, program, and Python steps
@pytest.mark.parametrize("fit", ["fit", "partial_fit"])
def test_the_last_epoch_ends_between_two_batches(solver, fit, ticks):
    # The clock ticks when the call begins and after each batch: 3 of 5 batches.
    clf = MLPClassifier((8,), solver=solver, batch_size=100, shuffle=False, max_time=3.0, **ENDLESS)
    y = Y[:500]
    with pytest.warns(ConvergenceWarning, match=re.escape("max_time=3.0 seconds in iteration 1")):
        getattr(clf, fit)(X[:500], y, **{"classes": np.arange(10)} if fit == "partial_fit" else {})
    assert clf.n_iter_ == 1
    n_visited = clf.t_
    assert 0 < n_visited < 500
    assert n_visited % 100 == 0
    fewer = MLPClassifier((8,), solver=solver, batch_size=100, shuffle=False, **ENDLESS | {"max_iter": 1})
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        fewer.fit(X[:n_visited], y[:n_visited])
    np.testing.assert_array_equal(clf._params, fewer._params)
    assert clf.loss_ == fewer.loss_


def test_lbfgs_stops_between_two_iterations(ticks):
    reg = MLPRegressor(hidden_layer_sizes=(8,), solver="lbfgs", max_time=9.0, max_iter=500, random_state=0)
    with pytest.warns(ConvergenceWarning, match=STOPPED):
        reg.fit(X, Y)
    assert 1 < reg.n_iter_ < 9  # it is read when an iteration is recorded, and asked whether to stop
    shorter = MLPRegressor(hidden_layer_sizes=(8,), solver="lbfgs", max_iter=reg.n_iter_, random_state=0)
    with pytest.warns(ConvergenceWarning, match="failed to converge"):
        shorter.fit(X, Y)
    np.testing.assert_array_equal(reg._params, shorter._params)
    assert reg.loss_ == shorter.loss_


def test_a_fit_that_ends_before_says_nothing_of_time():
    with pytest.warns(ConvergenceWarning, match="Maximum iterations") as caught:
        MLPClassifier((4,), max_time=600, max_iter=3).fit(X, Y)
    assert len(caught) == 1


def test_a_checkpoint_goes_on_with_another_call_and_its_own_time(tmp_path, ticks):
    pytest.importorskip("safetensors")
    settings = {"batch_size": 300, "random_state": 0, "max_iter": 6, "tol": 0.0}
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        whole = MLPClassifier((8,), **settings).fit(X, Y)
    clf = MLPClassifier((8,), checkpoint=tmp_path / "fit", max_time=4.0, **settings)
    calls, seconds = 0, 0.0
    while calls == 0 or clf.n_iter_ < 6:
        with pytest.warns(ConvergenceWarning, match=f"{STOPPED}|Maximum iterations"):
            clf.fit(X, Y)
        calls += 1
        assert clf.history_["seconds"][-1] > seconds  # of all calls
        seconds = clf.history_["seconds"][-1]
    assert calls > 1
    np.testing.assert_array_equal(clf._params, whole._params)
    assert clf.loss_curve_ == whole.loss_curve_
    clf.set_params(max_time=None).fit(X, Y)  # is complete, and may have another max_time
    assert clf.loss_curve_ == whole.loss_curve_


@pytest.mark.parametrize("value", [0, -1.0, "1 h"])
def test_other_values_are_refused(value):
    with pytest.raises(ValueError, match="'max_time' parameter of MLPClassifier"):
        MLPClassifier(max_time=value).fit(X, Y)
