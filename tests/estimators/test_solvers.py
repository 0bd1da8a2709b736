"""The ``solver`` argument: names, objects, messages; and the other arguments that are not scikit-learn's."""

import re
import warnings

import numpy as np
import pytest
import sklearn.neural_network as sk
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

import fastopt
from fastopt import SGD, Adam, AdamW, Lion, MLPClassifier, MLPRegressor

X, Y = make_classification(n_samples=100, n_features=6, random_state=0)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 4, "random_state": 0, "batch_size": 20}


def by_hand(optimizer, alpha=0.0001, epochs=4):
    """Train the same network with the optimizer's own stepper and NumPy gradients: an independent loop."""
    start = sk.MLPClassifier(**SMALL | {"max_iter": 1, "learning_rate_init": 1e-300}).fit(X, Y)
    W1, W2 = (w.copy() for w in start.coefs_)
    b1, b2 = (b.copy() for b in start.intercepts_)
    state = np.random.RandomState(0)
    for array in (W1, b1, W2, b2):
        state.uniform(size=array.size)
    weights, biases = optimizer.bind([W1, W2]), _without_decay(optimizer).bind([b1, b2])
    order = np.arange(100)
    for _ in range(epochs):
        permutation = np.arange(100)
        state.shuffle(permutation)
        order = order[permutation]
        for first in range(0, 100, 20):
            rows = order[first : first + 20]
            hidden = np.maximum(X[rows] @ W1 + b1, 0)
            delta = 1 / (1 + np.exp(-(hidden @ W2 + b2))) - Y[rows, None]
            back = (delta @ W2.T) * (hidden > 0)
            gradients = [(X[rows].T @ back + alpha * W1) / 20, (hidden.T @ delta + alpha * W2) / 20]
            weights.step(gradients)
            biases.step([back.mean(axis=0), delta.mean(axis=0)])
    return W1, b1, W2, b2


def _without_decay(optimizer):
    return clone(optimizer).set_params(weight_decay=0.0)


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(lr=0.1),
        SGD(lr=0.1, momentum=0.9, weight_decay=0.1),
        Adam(lr=0.01),
        AdamW(lr=0.01, weight_decay=0.5),
        Lion(lr=0.01, weight_decay=0.1),
    ],
    ids=repr,
)
def test_an_optimizer_object_trains_as_its_own_stepper_does(optimizer):
    clf = MLPClassifier(solver=optimizer, **SMALL).fit(X, Y)
    W1, b1, W2, b2 = by_hand(optimizer)
    for actual, expected in zip(clf.coefs_ + clf.intercepts_, [W1, W2, b1, b2], strict=True):
        # 20 steps in float64 with another order of summation; Lion's sign would show any real difference.
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in fastopt.list_optimizers() if n not in ("sgd", "adam", "lbfgs")])
def test_a_name_takes_learning_rate_init_and_the_optimizers_defaults(name):
    by_name = MLPClassifier(solver=name, learning_rate_init=0.01, **SMALL).fit(X, Y)
    optimizer = fastopt.get_optimizer(name, lr=0.01)
    by_object = MLPClassifier(solver=optimizer, **SMALL).fit(X, Y)
    for a, b in zip(by_name.coefs_, by_object.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["ADAM", "Sgd", "LBFGS", "AdamW", "NESTEROV"])
def test_names_ignore_case_and_may_be_aliases(name):
    upper = MLPClassifier(solver=name, **SMALL).fit(X, Y)
    lower = MLPClassifier(solver=name.lower(), **SMALL).fit(X, Y)
    np.testing.assert_array_equal(upper.coefs_[0], lower.coefs_[0])


def test_the_strings_sgd_and_adam_are_not_the_torch_forms():
    epsilon_hat = MLPClassifier(solver="adam", epsilon=0.1, **SMALL).fit(X, Y)
    torch_form = MLPClassifier(solver=Adam(eps=0.1), **SMALL).fit(X, Y)
    assert not np.allclose(epsilon_hat.coefs_[0], torch_form.coefs_[0])


def test_momentum_may_be_one_as_in_scikit_learn():
    settings = SMALL | {"solver": "sgd", "momentum": 1.0, "learning_rate_init": 0.01}
    ours, theirs = MLPClassifier(**settings).fit(X, Y), sk.MLPClassifier(**settings).fit(X, Y)
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-9)


@pytest.mark.parametrize(
    ("solver", "hint"),
    [("adma", "Did you mean 'adam'?"), ("lbfg", "Did you mean 'lbfgs'?"), (AdamW, "Did you mean AdamW()?")],
)
def test_a_wrong_solver_is_answered_with_the_right_one(solver, hint):
    with pytest.raises(ValueError, match=re.escape(hint)) as raised:
        MLPClassifier(solver=solver).fit(X, Y)
    message = str(raised.value)
    assert message.startswith("The 'solver' parameter of MLPClassifier must be a str among {'acprop', ")
    assert f"Got {solver!r} instead." in message
    assert "'lbfgs'" in message
    assert "'lion'" in message


def test_an_optimizers_value_out_of_range_is_named_in_fit():
    clf = MLPClassifier(solver=AdamW(lr=-1.0))
    with pytest.raises(ValueError, match="lr"):
        clf.fit(X, Y)


def test_a_grid_search_reaches_into_the_optimizer():
    search = GridSearchCV(MLPClassifier(solver=AdamW(), **SMALL), {"solver__lr": [1e-6, 0.05]}, cv=2)
    search.fit(X, Y)
    assert search.best_params_ == {"solver__lr": 0.05}
    assert search.best_estimator_.solver == AdamW(lr=0.05)


def test_a_grid_search_tries_optimizers():
    search = GridSearchCV(MLPClassifier(**SMALL), {"solver": [Adam(lr=1e-7), Lion(lr=0.01), "adamw"]}, cv=2)
    assert search.fit(X, Y).best_params_["solver"] == Lion(lr=0.01)


def test_a_rate_far_below_the_methods_own_is_warned_of():
    words = r"solver='Prodigy' takes learning_rate_init=0.001 .* own is 1.0, .* solver=Prodigy\(lr=1.0\)"
    with pytest.warns(UserWarning, match=words):
        MLPClassifier(solver="Prodigy", **SMALL).fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        MLPClassifier(solver="prodigy", learning_rate_init=1.0, **SMALL).fit(X, Y)
        MLPClassifier(solver="adamax", **SMALL).fit(X, Y)


@pytest.mark.parametrize("solver", ["sgd", "SGD"])
def test_a_warm_up_of_scikit_learns_rules_is_refused_in_any_case_of_letters(solver):
    clf = MLPClassifier(solver=solver, learning_rate="invscaling", warmup=0.1, **SMALL)
    with pytest.raises(ValueError, match=r"warmup=0.1 does not go with learning_rate='invscaling'"):
        clf.fit(X, Y)


def test_parameters_of_a_solver_that_is_a_name_are_refused_with_advice():
    search = GridSearchCV(MLPClassifier(), {"solver__lr": [0.1]}, cv=2)
    with pytest.raises(ValueError, match=r"solver='adam' is a name .*'solver__lr'.*solver=fastopt.Adam\(\)"):
        search.fit(X, Y)
    clf = MLPClassifier().set_params(solver=Adam(), solver__lr=0.1)
    assert clf.solver == Adam(lr=0.1)


def test_fitting_leaves_the_optimizer_object_alone():
    optimizer = SGD(lr=0.1, momentum=0.9)
    clf = MLPClassifier(solver=optimizer, **SMALL).fit(X, Y)
    assert clf.solver is optimizer
    assert optimizer == SGD(lr=0.1, momentum=0.9)
    assert clone(clf).solver == optimizer
    assert clone(clf).solver is not optimizer


def test_the_repr_shows_the_optimizer():
    clf = MLPClassifier(solver=AdamW(lr=0.01, weight_decay=0.1))
    assert repr(clf) == "MLPClassifier(solver=AdamW(lr=0.01, weight_decay=0.1))"
    assert "AdamW" in clf._repr_html_()


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_cannot_be_had_is_an_error_in_fit_that_names_the_extra(device):
    clf = MLPClassifier(device=device)
    with pytest.raises(RuntimeError, match=r"fastopt\[cuda12\]"):
        clf.fit(X, Y)


def test_device_auto_falls_back_to_the_processor():
    clf = MLPClassifier(device="auto", **SMALL).fit(X, Y)
    assert clf.device_ == "cpu"


@pytest.mark.parametrize("device", ["gpu", "cuda:", "CPU", ""])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(ValueError, match=r"must be 'cpu', 'auto', 'cuda' or 'cuda:N'"):
        MLPClassifier(device=device).fit(X, Y)


@pytest.mark.parametrize("n_jobs", [0, 1.5, "all"])
def test_an_impossible_n_jobs_is_refused(n_jobs):
    with pytest.raises(ValueError, match="'n_jobs' parameter of MLPRegressor"):
        MLPRegressor(n_jobs=n_jobs).fit(X, Y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_the_bits_do_not_depend_on_the_number_of_threads(solver, dtype):
    rs = np.random.RandomState(0)
    data = rs.standard_normal((900, 60)).astype(dtype)
    labels = (data[:, :3].sum(axis=1) > 0).astype(int)
    # Wide enough that several threads take part.
    settings = {"hidden_layer_sizes": (150, 80), "max_iter": 3, "random_state": 0, "batch_size": 300}
    first, *others = [
        MLPClassifier(solver=solver, n_jobs=n, **settings).fit(data, labels) for n in (1, 2, 2, -1, None)
    ]
    for other in others:
        for a, b in zip(first.coefs_, other.coefs_, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(first.predict_proba(data), other.predict_proba(data))
