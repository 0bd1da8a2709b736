"""Several epochs without Python between them: the same numbers as epoch by epoch, and only where they may."""

import _thread
import gc
import threading
import weakref

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import make_classification

from fastopt import (
    EMA,
    LAMB,
    SGD,
    Adam,
    AdamW,
    Clip,
    MLPClassifier,
    MLPRegressor,
    MultiSteps,
    NAdam,
    ScheduleFreeAdamW,
    schedules,
)
from fastopt.engine.cpu import several_epochs
from fastopt.neural_network import compiled_epochs

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = make_classification(n_samples=203, n_features=6, random_state=0)
SMALL = {"hidden_layer_sizes": (5, 4), "max_iter": 30, "random_state": 0, "batch_size": 20}


@pytest.fixture
def runs(monkeypatch):
    """Return a list to which each run of several epochs adds the number of losses that it leaves."""
    counts, train_epochs = [], several_epochs.train_epochs

    def counted(*args, losses, **settings):
        try:
            train_epochs(*args, losses=losses, **settings)
        finally:
            counts.append(len(losses))

    monkeypatch.setattr(several_epochs, "train_epochs", counted)
    return counts


#: What of an optimizer's state training changes.
_STATE = {"state", "scalars", "stepper", "pending"}


def left_by(fit, *args, **settings):
    """Return what a fit leaves behind that training decides, the next draw of its generator included."""
    network = fit(*args, **settings)
    update = network._optimizer.update
    numbers = {
        name: getattr(network, name)
        for name in ("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "_no_improvement_count")
    }
    return numbers | {
        "parameters": network._params,
        "state": {name: value for name, value in update.__getstate__().items() if name in _STATE},
        "steps": (update.t, network._optimizer.n_epochs, network._optimizer.learning_rate),
        "draw": network._random_state.random_sample(),
    }


def fit(x=X, y=Y, kind=MLPClassifier, sample_weight=None, **settings):
    return kind(**SMALL | settings).fit(x, y, sample_weight=sample_weight)


def warm_start():
    network = MLPClassifier(**SMALL | {"max_iter": 7, "warm_start": True}).fit(X, Y)
    return network.fit(X, Y)


def diverges():
    rising = SGD(lr=schedules.exponential(1e-4, 10.0, 20))
    network = MLPRegressor(**SMALL | {"solver": rising, "activation": "identity"})
    with pytest.raises(ValueError, match="non-finite"), np.errstate(all="ignore"):
        network.fit(X, X[:, 0])
    assert not np.isfinite(network.loss_)
    assert 1 < network.n_iter_ < 30
    return network


FITS = {
    "adam": lambda: fit(),
    "adam, float32": lambda: fit(X.astype("f")),
    "regressor": lambda: fit(y=X[:, 0], kind=MLPRegressor),
    "three classes": lambda: fit(y=np.arange(203) % 3),
    "sgd": lambda: fit(solver="sgd"),
    "adaptive": lambda: fit(solver="sgd", learning_rate="adaptive", tol=0.01, n_iter_no_change=2),
    "stops early": lambda: fit(tol=0.05, n_iter_no_change=3, max_iter=100),
    "never stops early": lambda: fit(tol=1.0, n_iter_no_change=np.inf),
    "diverges": diverges,
    "sparse": lambda: fit(scipy.sparse.csr_array(X * (X > 0))),
    "weights": lambda: fit(sample_weight=np.arange(203) % 4),
    "weights of 0": lambda: fit(sample_weight=np.arange(203) < 25, shuffle=False),
    "not shuffled": lambda: fit(shuffle=False),
    "its own generator": lambda: fit(random_state=np.random.RandomState(np.random.PCG64(3))),
    "schedule": lambda: fit(solver=AdamW(lr=schedules.cosine(0.01, 200)), warmup=0.1),
    "scalar state": lambda: fit(solver=NAdam(lr=0.01), alpha=0.0, tol=0.01, n_iter_no_change=3),
    "warm start": warm_start,
    "one row in a batch": lambda: fit(X[:5], Y[:5], batch_size=1),
    "whole gradients": lambda: fit(solver=LAMB(lr=0.01)),
    "wrapped": lambda: fit(solver=EMA(Clip(Adam(lr=0.01), norm=0.1), decay=0.9), tol=0.01),
    "gathers gradients": lambda: fit(solver=MultiSteps(Adam(lr=0.01), n=3)),
    "more steps than a table holds": lambda: fit(X[:50], Y[:50], batch_size=1, max_iter=200, tol=0.0),
}


@pytest.mark.parametrize("name", FITS)
def test_bits_are_those_of_training_epoch_by_epoch(name, runs, monkeypatch):
    compiled = left_by(FITS[name])
    assert max(runs) > 1
    monkeypatch.setattr(compiled_epochs, "can_follow", lambda training: False)
    expected = left_by(FITS[name])
    for key in expected:
        np.testing.assert_equal(compiled[key], expected[key], err_msg=key)


def test_the_global_generator_goes_on_where_numpy_would(runs, monkeypatch):
    draws = []
    for may in (True, False):
        monkeypatch.setattr(compiled_epochs, "can_follow", lambda training, may=may: may)
        np.random.seed(5)  # noqa: NPY002  it is the one that is meant
        fit(random_state=None)
        draws.append(np.random.random_sample())  # noqa: NPY002
    assert draws[0] == draws[1]
    assert runs == [30]


def test_a_small_fit_returns_to_python_once(runs):
    fit()
    assert runs == [30]


@pytest.mark.parametrize(
    "settings",
    [
        {"early_stopping": True},
        {"verbose": True},
        {"restore_best_weights": True},
        {"solver": "sgd", "learning_rate": "invscaling"},
        {"learning_rate": schedules.plateau(0.01)},
        {"solver": ScheduleFreeAdamW()},
        {"solver": MultiSteps(AdamW(lr=schedules.cosine(0.01, 2000)), n=3)},
    ],
    ids=repr,
)
def test_what_is_asked_after_each_epoch_is_asked(settings, runs):
    network = fit(**settings)
    assert runs == []
    assert len(network.loss_curve_) == network.n_iter_ == 30 or network.early_stopping


def test_ctrl_c_leaves_the_epochs_done(ctrl_c, runs):
    settings = {"max_iter": 10**7, "tol": 0.0, "n_iter_no_change": np.inf}
    fit()  # compiled before the clock
    timer = threading.Timer(0.3, _thread.interrupt_main)
    timer.start()
    with pytest.warns(UserWarning, match="interrupted by user"):
        interrupted = left_by(fit, **settings)
    assert interrupted["n_iter_"] == len(interrupted["loss_curve_"]) == sum(runs) - 30
    expected = left_by(fit, **settings | {"max_iter": interrupted["n_iter_"]})
    for key in expected:
        np.testing.assert_equal(interrupted[key], expected[key], err_msg=key)


def test_a_kept_trainer_keeps_no_data_and_serves_fits_of_any_size():
    rows = X.astype("f")
    memory = weakref.ref(rows)
    fit(rows)
    del rows
    gc.collect()
    assert memory() is None
    for n, batch_size in ((50, 50), (203, 7), (20, 20)):
        expected = fit(X[:n], Y[:n], batch_size=batch_size, hidden_layer_sizes=(5, 4), n_jobs=1)
        np.testing.assert_array_equal(fit(X[:n], Y[:n], batch_size=batch_size)._params, expected._params)
