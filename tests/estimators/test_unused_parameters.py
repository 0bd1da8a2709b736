"""Every pair of parameter and solver: it has an effect, or a warning or an error names the parameter."""

import inspect
import re
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV

import fastopt
from fastopt import EMA, SAM, SGD, Adam, AdamW, MLPClassifier, MLPRegressor
from fastopt.schedules import cosine

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_classification(n_samples=80, n_features=5, random_state=0)
SMALL = {"hidden_layer_sizes": (4,), "max_iter": 12, "random_state": 0, "batch_size": 20, "tol": 1e-3}

SOLVERS = {
    "lbfgs": "lbfgs",
    "sgd": "sgd",
    "adam": "ADAM",
    "adamw": "adamw",
    "an object": AdamW(lr=0.01),
    "a wrapper": EMA(SGD(lr=0.1), decay=0.5),
    "by layers": fastopt.LAMB(lr=0.01),
    "a closure": SAM(SGD(lr=0.1)),
}

# A value that is not the default, and what has to be set beside it for it to matter.
CHANGES = {
    "hidden_layer_sizes": (3, {}),
    "activation": ("tanh", {}),
    "init": ("he_normal", {}),
    "alpha": (1.0, {}),
    "batch_size": (7, {}),
    "learning_rate": (cosine(), {}),
    "learning_rate_init": (0.05, {}),
    "power_t": (0.1, {"learning_rate": "invscaling"}),
    "max_iter": (3, {}),
    "shuffle": (False, {}),
    "random_state": (1, {}),
    "tol": (10.0, {"n_iter_no_change": 2}),
    "momentum": (0.3, {}),
    "nesterovs_momentum": (False, {}),
    "early_stopping": (True, {}),
    "validation_fraction": (0.5, {"early_stopping": True}),
    "beta_1": (0.2, {}),
    "beta_2": (0.7, {}),
    "epsilon": (0.1, {}),
    "n_iter_no_change": (1, {"tol": 0.5}),
    "max_fun": (2, {}),
    "restore_best_weights": (True, {}),
    "warmup": (0.5, {}),
    "clip_norm": (0.01, {}),
    "clip_value": (0.001, {}),
    "class_weight": ({0: 1, 1: 9}, {}),
    "scoring": ("loss", {"early_stopping": True, "tol": 0.1, "n_iter_no_change": 1}),
    "loss": ("focal", {}),
    "focal_gamma": (0.5, {"loss": "focal"}),
    "label_smoothing": (0.2, {}),
    "dropout": (0.5, {}),
    "weight_decay": (5.0, {}),
    "max_norm": (0.1, {}),
    "input_scale": (True, {}),
    "learning_rate_factors": ({"weights": 0.5}, {}),
    "dtype": ("float32", {}),
}
# Those whose effect is not on the weights; each has a test of its own.
ELSEWHERE = {
    *("solver", "verbose", "warm_start", "n_jobs", "device", "progress", "reset_optimizer"),
    *("checkpoint", "checkpoint_every", "max_time", "n_members"),
}


def test_the_matrix_is_complete():
    parameters = set(inspect.signature(MLPClassifier).parameters)
    assert parameters == set(CHANGES) | ELSEWHERE


def outcome(**settings):
    """Return the weights after a fit, and the warnings about what has no effect."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clf = MLPClassifier(**SMALL | settings).fit(X, Y)
    unused = [str(w.message) for w in caught if "that have no effect here" in str(w.message)]
    assert len(unused) <= 1  # once a fit
    assert all(w.filename == __file__ for w in caught if "no effect here" in str(w.message))
    return np.concatenate([w.ravel() for w in clf.coefs_]), "".join(unused)


def is_named(name, words):
    return re.search(rf"\b{name}=", words) is not None


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())
def test_a_changed_parameter_has_an_effect_or_is_named(solver, name):
    value, beside = CHANGES[name]
    settings = {"solver": solver} | beside
    if name == "restore_best_weights" and solver != "lbfgs":
        settings |= one_that_ends_badly(solver)
    plain, _ = outcome(**settings)
    try:
        changed, words = outcome(**settings | {name: value})
    except (TypeError, ValueError) as error:
        changed, words = plain, str(error)  # a refusal
    has_effect = plain.shape != changed.shape or not np.array_equal(plain, changed)
    assert has_effect != is_named(name, words)


def one_that_ends_badly(solver):
    """Return settings under which the last epoch is not the best."""
    settings = {"solver": clone(solver, safe=False), "learning_rate_init": 3.0, "tol": 0.0, "max_iter": 40}
    if not isinstance(solver, str):
        settings["solver"].innermost.set_params(lr=3.0)
    curve = MLPClassifier(**SMALL | settings).fit(X, Y).loss_curve_
    worse = next(k for k in range(1, len(curve)) if curve[k] > min(curve[:k]))
    return settings | {"max_iter": worse + 1}


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())
def test_what_is_left_at_its_default_is_never_named(solver):
    assert outcome(solver=solver, batch_size="auto")[1] == ""


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"solver": AdamW(), "learning_rate_init": 0.1},
            r"solver=AdamW\(lr=0.001\) has its own: set solver__lr",
        ),
        ({"solver": EMA(Adam()), "beta_2": 0.9}, r"has its own: set solver__optimizer__betas"),
        ({"solver": "adamw", "epsilon": 0.1}, r"epsilon=0.1 \(pass an object, solver=AdamW\(eps=...\)\)"),
        ({"solver": "adamw", "momentum": 0.1}, r"momentum=0.1 \(of solver='sgd' only\)"),
        ({"solver": "adam", "max_fun": 3}, r"max_fun=3 \(of solver='lbfgs' only\)"),
        (
            {"solver": "adam", "learning_rate": "adaptive"},
            r"learning_rate='adaptive' \(of solver='sgd' only; see",
        ),
        ({"solver": "sgd", "power_t": 0.3}, r"power_t=0.3 \(of learning_rate='invscaling' only\)"),
        ({"validation_fraction": 0.3}, r"validation_fraction=0.3 \(of early_stopping=True only\)"),
        ({"reset_optimizer": False}, r"reset_optimizer=False \(of warm_start=True only\)"),
        (
            {"learning_rate": cosine(0.1), "learning_rate_init": 0.1},
            r"learning_rate_init=0.1 \(learning_rate=cosine\(value=0.1\) has values of its own\)",
        ),
        (
            {"solver": "lbfgs", "batch_size": 7, "warmup": 0.1, "beta_1": 0.5},
            r"batch_size=7, warmup=0.1 \(solver='lbfgs' takes all rows at once .*\); beta_1=0.5 \(of",
        ),
    ],
)
def test_the_warning_says_what_to_do(settings, words):
    with pytest.warns(UserWarning, match=words) as caught:
        MLPRegressor(hidden_layer_sizes=(3,), max_iter=2, **settings).fit(X, Y)
    assert sum("no effect here" in str(w.message) for w in caught) == 1


def test_a_search_over_the_wrong_rate_says_so():
    search = GridSearchCV(
        MLPClassifier(solver=AdamW(), **SMALL), {"learning_rate_init": [1e-5, 1e-1]}, cv=2, refit=False
    )
    with pytest.warns(UserWarning, match=r"learning_rate_init=1e-05 .*set solver__lr") as caught:
        search.fit(X, Y)
    assert {w.filename for w in caught if "no effect" in str(w.message)} == {__file__}


def test_partial_fit_warns_in_its_first_call_only():
    clf = MLPClassifier((3,), momentum=0.3)
    with pytest.warns(UserWarning, match="momentum=0.3"):
        clf.partial_fit(X, Y, classes=[0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf.partial_fit(X, Y)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())
def test_every_solver_prints_its_losses(solver, capsys):
    clf = MLPClassifier(solver=solver, verbose=True, **SMALL | {"max_iter": 3}).fit(X, Y)
    printed = capsys.readouterr().out.splitlines()
    assert [line.partition(",")[0] for line in printed] == [f"Iteration {n + 1}" for n in range(clf.n_iter_)]
    assert printed[-1].endswith(f"loss = {clf.loss_:.8f}")


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())
def test_every_solver_goes_on_under_a_warm_start(solver):
    clf = MLPClassifier(solver=solver, warm_start=True, **SMALL | {"max_iter": 2}).fit(X, Y)
    first = clf.coefs_[0].copy()
    assert clf.fit(X, Y).loss_ < clf.set_params(warm_start=False).fit(X, Y).loss_
    np.testing.assert_array_equal(clf.coefs_[0], first)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())
def test_every_solver_passes_on_the_number_of_threads(solver, monkeypatch):
    from fastopt.engine import devices
    from fastopt.engine.thread_cache import ThreadCache
    from fastopt.neural_network import kept_trainers

    monkeypatch.setattr(kept_trainers, "_trainers", ThreadCache(8))  # none of an earlier test
    asked = []

    class Asked(devices.Trainer):
        def __init__(self, *args, n_threads, **kwargs):
            asked.append(n_threads)
            super().__init__(*args, n_threads=n_threads, **kwargs)

    monkeypatch.setattr(devices, "Trainer", Asked)
    MLPClassifier(solver=solver, n_jobs=1, **SMALL | {"max_iter": 1}).fit(X, Y)
    assert set(asked) == {1}
