"""Ensembles (``n_members``): the oracle of each member is the estimator that is fitted alone, bit for bit."""

import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import estimator_checks_generator

from fastopt import LBFGS, AdamW, MLPClassifier, MLPRegressor, load, save
from fastopt.neural_network import compiled_epochs
from fastopt.schedules import cosine

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, LABELS = make_classification(300, 12, n_informative=8, n_classes=3, random_state=0)
_, NUMBERS = make_regression(300, 12, n_targets=2, noise=5.0, random_state=0)
NUMBERS = NUMBERS / NUMBERS.std()


def classifier(**params):
    return MLPClassifier((16, 8), **{"n_members": 3, "random_state": 5, "max_iter": 12, **params})


def alone(ensemble, member):
    """Return the same estimator, not fitted, of the one network that ``member`` is to be."""
    return clone(ensemble).set_params(n_members=1, random_state=member.random_state)


def assert_same(one, other):
    for mine, theirs in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for name in ("loss_", "n_iter_", "t_", "best_loss_", "loss_curve_", "validation_scores_"):
        assert vars(one).get(name) == vars(other).get(name), name


SIDE_BY_SIDE = {
    "adam": {},
    "patience": {"n_iter_no_change": 2, "tol": 0.05, "max_iter": 40},
    "lower rates": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 1},
    "dropout": {"dropout": 0.2, "label_smoothing": 0.1, "class_weight": "balanced"},
    "schedules": {"solver": AdamW(lr=cosine(0.01, 60), weight_decay=0.1), "warmup": 0.1},
    "programs": {"clip_norm": 0.5, "max_norm": 2.0},
    "in their order": {"shuffle": False},
    "slopes": {"activation": "prelu"},
    "scale and rates": {"input_scale": True, "learning_rate_factors": "fan_in", "init": "realmlp"},
    "time": {"max_time": 600.0},
}
ONE_BY_ONE = {
    "early stopping": {"early_stopping": True, "n_iter_no_change": 3},
    "lbfgs": {"solver": "lbfgs"},
    "the best loss": {"restore_best_weights": True},
    "averages": {"solver": "schedulefreeadamw"},
    "plateau": {"learning_rate": "plateau"},
    "Python in each step": {"solver": LBFGS(max_iter=1)},
}


@pytest.mark.parametrize("how", [*SIDE_BY_SIDE, *ONE_BY_ONE])
def test_each_member_is_the_network_that_is_fitted_alone(how, monkeypatch):
    calls, train_members = [], compiled_epochs.train_members
    monkeypatch.setattr(
        compiled_epochs, "train_members", lambda *args: (calls.append(args), train_members(*args))
    )
    ensemble = classifier(**(SIDE_BY_SIDE | ONE_BY_ONE)[how]).fit(X, LABELS)
    assert len(calls) == (how in SIDE_BY_SIDE)
    assert len({member.random_state for member in ensemble.members_}) == 3
    for member in ensemble.members_:
        assert_same(member, alone(ensemble, member).fit(X, LABELS))
    probabilities = np.mean([member.predict_proba(X) for member in ensemble.members_], axis=0)
    np.testing.assert_array_equal(ensemble.predict_proba(X), probabilities)
    np.testing.assert_array_equal(ensemble.predict(X), ensemble.classes_[probabilities.argmax(axis=1)])
    assert ensemble.loss_ == pytest.approx(np.mean([one.loss_ for one in ensemble.members_]), rel=1e-15)
    assert ensemble.n_iter_ == max(member.n_iter_ for member in ensemble.members_)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_sparse_rows_weights_and_float32_for_any_number_of_threads(n_jobs):
    sparse = scipy.sparse.csr_matrix(np.where(np.abs(X) > 1, X, 0).astype("f"))
    weight = np.random.RandomState(0).uniform(0.5, 2, len(X))
    ensemble = classifier(n_jobs=n_jobs).fit(sparse, LABELS, weight)
    assert ensemble.predict_proba(sparse).dtype == np.float32
    for member in ensemble.members_:
        assert_same(member, alone(ensemble, member).fit(sparse, LABELS, weight))


def test_a_validation_set_and_what_is_monitored_on_it():
    ensemble = classifier(scoring="loss").fit(X[:200], LABELS[:200], X_val=X[200:], y_val=LABELS[200:])
    for member in ensemble.members_:
        one = alone(ensemble, member).fit(X[:200], LABELS[:200], X_val=X[200:], y_val=LABELS[200:])
        assert_same(member, one)
        assert member.validation_loss_curve_ == one.validation_loss_curve_


def test_a_warm_start_goes_on_with_the_same_members():
    ensemble = classifier(warm_start=True, max_iter=4).fit(X, LABELS)
    members = ensemble.members_
    singles = [alone(ensemble, member).fit(X, LABELS) for member in members]
    ensemble.set_params(alpha=0.1).fit(X, LABELS)
    assert all(one is other for one, other in zip(ensemble.members_, members, strict=True))
    for member, single in zip(members, singles, strict=True):
        assert_same(member, single.set_params(alpha=0.1).fit(X, LABELS))


def test_numbers_are_the_means_of_the_members():
    for params in ({}, {"loss": "quantile", "quantile": [0.1, 0.5, 0.9]}, {"loss": "poisson"}):
        ensemble = MLPRegressor(hidden_layer_sizes=(8,), n_members=3, random_state=0, max_iter=8, **params)
        y = np.abs(NUMBERS) if params.get("loss") == "poisson" else NUMBERS
        ensemble.fit(X, y)
        members = [member.predict(X) for member in ensemble.members_]
        found = ensemble.predict(X)
        if "quantile" not in params:
            np.testing.assert_array_equal(found, np.mean(members, axis=0))
        assert found.shape == members[0].shape
        for member in ensemble.members_:
            assert_same(member, alone(ensemble, member).fit(X, y))


def test_deviations_are_those_of_the_mixture():
    """The moments of a mixture of normal distributions in equal parts, drawn: 1/sqrt(n) of Monte Carlo."""
    ensemble = MLPRegressor("gaussian_nll", (8,), n_members=4, random_state=0, max_iter=8).fit(X, NUMBERS)
    mean, std = ensemble.predict(X[:5], return_std=True)
    rs, n = np.random.RandomState(0), 200_000
    draws = np.concatenate(
        [rs.normal(*member.predict(X[:5], return_std=True), size=(n, 5, 2)) for member in ensemble.members_]
    )
    np.testing.assert_allclose(mean, draws.mean(axis=0), atol=5 * std.max() / np.sqrt(4 * n))
    np.testing.assert_allclose(std, draws.std(axis=0), rtol=5 / np.sqrt(4 * n))


def test_files_pickles_and_clones(tmp_path):
    for model, y in ((classifier(), LABELS), (MLPRegressor(n_members=2, max_iter=3), NUMBERS)):
        model.fit(X, y)
        save(model, tmp_path / "model")
        for again in (load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
            np.testing.assert_array_equal(again.predict(X), model.predict(X))
            assert again.get_params() == model.get_params()
            for one, other in zip(again.members_, model.members_, strict=True):
                assert_same(one, other)
        assert not hasattr(clone(model), "members_")


def test_another_number_of_networks_begins_anew_and_leaves_nothing():
    model = classifier().fit(X, LABELS).set_params(n_members=1).fit(X, LABELS)
    assert not hasattr(model, "members_")
    assert_same(model, classifier(n_members=1).fit(X, LABELS))
    model.set_params(n_members=2).fit(X, LABELS)
    assert len(model.members_) == 2
    for name in ("coefs_", "intercepts_", "history_", "best_iteration_", "loss_curve_"):
        assert not hasattr(model, name)
    with pytest.raises(AttributeError, match=r"see members_\[0\].coefs_"):
        _ = model.coefs_
    with pytest.raises(AttributeError, match="an ensemble has no history"):
        _ = model.history_


def test_what_an_ensemble_cannot_do_is_refused_in_words(tmp_path):
    assert not hasattr(classifier(), "partial_fit")
    with pytest.raises(AttributeError) as refused:
        classifier().partial_fit(X, LABELS, classes=[0, 1, 2])
    assert "partial_fit trains one network, and n_members=3" in str(refused.value.__cause__)
    with pytest.raises(ValueError, match="n_members=3 does not go with checkpoint="):
        classifier(checkpoint=tmp_path / "file").fit(X, LABELS)
    fitted = classifier().fit(X, LABELS)
    with pytest.raises(ValueError, match="n_members=1, but it has been fitted with 3"):
        clone(fitted).fit(X, LABELS).set_params(n_members=1).partial_fit(X, LABELS)
    with pytest.raises(ValueError, match="n_members=2, but it has been fitted with 3"):
        fitted.set_params(n_members=2, warm_start=True).fit(X, LABELS)
    with pytest.raises(ValueError, match="convert each of members_"):
        fitted.to_sklearn()
    with pytest.raises(ValueError, match="n_members"):
        classifier(n_members=0).fit(X, LABELS)


def test_callbacks_are_refused():
    callback = pytest.importorskip("sklearn.callback", exc_type=ImportError)
    with pytest.raises(ValueError, match="does not go with callbacks"):
        classifier().set_callbacks(callback.ProgressBar()).fit(X, LABELS)


def test_time_is_for_all_members_together():
    for params in ({}, {"early_stopping": True}):
        model = MLPClassifier((64,), n_members=3, max_iter=10**6, tol=0, n_iter_no_change=np.inf, **params)
        with pytest.warns(ConvergenceWarning, match="max_time"):
            model.set_params(max_time=0.6).fit(X, LABELS)
        seconds = [member.history_["seconds"][-1] for member in model.members_]
        assert min(member.n_iter_ for member in model.members_) > 0
        assert (
            sum(seconds) if params else max(seconds) < 2.0
        )  # the promise is 0.6, and some for a busy machine


def test_warnings_about_parameters_come_once():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classifier(momentum=0.5, max_iter=200, tol=0.1).fit(X, LABELS)
    assert ["momentum=0.5" in str(one.message) for one in caught] == [True]


def test_ctrl_c_leaves_an_ensemble_that_predicts():
    """In a process of its own, where Ctrl-C comes from outside."""
    script = """
import _thread, threading, warnings, numpy as np
from fastopt import MLPClassifier
warnings.simplefilter("ignore")
rs = np.random.RandomState(0)
X, y = rs.standard_normal((2000, 20)), rs.randint(3, size=2000)
MLPClassifier((64, 64), n_members=3, max_iter=1).fit(X, y)
for params in {}, {"early_stopping": True}:
    model = MLPClassifier((64, 64), n_members=3, max_iter=10**6, n_iter_no_change=np.inf, **params)
    threading.Timer(0.7, _thread.interrupt_main).start()
    model.fit(X, y)
    print(len(model.members_), model.predict(X[:5]).shape)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    # The shell's child may ignore SIGINT, which Python then does not handle either.
    run = f"import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n{script}"
    done = subprocess.run(
        [sys.executable, "-c", run], env=environment, capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout.split("\n")[:2] == ["3 (5,)", "1 (5,)"]


def test_ctrl_c_before_the_first_epoch_is_over_leaves_the_first_parameters(monkeypatch, tmp_path):
    def interrupted(*args):
        raise KeyboardInterrupt

    ensemble = classifier(max_iter=3).fit(X, LABELS)
    monkeypatch.setattr(compiled_epochs, "train_members", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        ensemble.fit(X, LABELS)
    assert ensemble.n_iter_ == 0
    assert not hasattr(ensemble, "loss_")  # nor has a single network one then
    save(ensemble, tmp_path / "ensemble")
    for one in (pickle.loads(pickle.dumps(ensemble)), load(tmp_path / "ensemble")):
        assert np.array_equal(one.predict_proba(X), ensemble.predict_proba(X))


@pytest.mark.parametrize("model", [MLPClassifier((4,), n_members=2), MLPRegressor(n_members=2, max_iter=20)])
def test_scikit_learns_checks(model):
    """Those that are of ensembles as well: fits that are repeated, subsets of rows, pickles, names, tags."""
    names = ("dict_unchanged", "idempotent", "subset", "pickle", "dataframe", "dtype", "n_features_in", "nan")
    n_checked = 0
    for estimator, check in estimator_checks_generator(model.set_params(max_iter=20, random_state=0)):
        if any(name in check.func.__name__ for name in names):
            check(estimator)
            n_checked += 1
    assert n_checked > 8
