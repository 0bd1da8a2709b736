"""``dropout``, ``weight_decay`` and ``max_norm`` of the estimators."""

import pickle
import re

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV

import fastopt
from fastopt import EMA, SAM, SGD, Adam, AdamW, MLPClassifier, MLPRegressor
from fastopt.schedules import cosine, flat_cos, linear, plateau

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Parameters of .*learning_rate_init|.*momentum=0.0|.*may hardly learn"),
]

X, Y = make_classification(n_samples=150, n_features=6, n_informative=4, random_state=0)
SMALL = {"hidden_layer_sizes": (16, 8), "batch_size": 40, "max_iter": 5, "random_state": 0, "tol": 0.0}


def fitted(data=X, **settings):
    return MLPClassifier(**SMALL | settings).fit(data, Y)


def same(one, other):
    return np.array_equal(one._params, other._params)


def test_no_dropout_draws_no_number_and_changes_no_bit():
    plain = fitted()
    for none in (0.0, 0, (0.0, 0.0, 0.0), np.zeros(3)):
        assert same(fitted(dropout=none), plain)
    assert not same(fitted(dropout=1e-3), plain)
    assert not same(fitted(dropout=linear(0.0, 100, 0.5)), plain)


@pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize("settings", [{}, {"solver": SAM(SGD(lr=0.1))}, {"early_stopping": True}], ids=str)
def test_bits_do_not_depend_on_threads(settings, kind):
    settings = {
        "dropout": (0.1, 0.5, flat_cos(0.3)),
        "hidden_layer_sizes": (200, 100),
        "batch_size": 64,
    } | settings
    one, two = (fitted(kind(X), n_jobs=n, **settings) for n in (1, 2))
    assert same(one, two)


def test_epochs_one_by_one_are_those_that_are_compiled_together(capsys):
    for dropout in (0.3, (0.1, 0.2, cosine(0.5)), (0.0, plateau(0.4, patience=0), 0.0)):
        together, alone = fitted(dropout=dropout), fitted(dropout=dropout, verbose=True)
        assert same(together, alone)
        assert together.loss_curve_ == alone.loss_curve_


def test_partial_fit_goes_on_through_pickles_files_and_copies(tmp_path):
    settings = {"dropout": (0.1, 0.3, linear(0.5, 20, 0.1)), "shuffle": False}
    whole, parts = fitted(**settings), MLPClassifier(**SMALL | settings)
    for i in range(5):
        parts.partial_fit(X, Y, classes=[0, 1])
        if i == 1:
            parts = pickle.loads(pickle.dumps(parts))
        if i == 3:
            pytest.importorskip("safetensors")
            fastopt.save(parts, tmp_path / "net", optimizer=True)
            parts = fastopt.load(tmp_path / "net")
    assert same(parts, whole)
    assert parts._optimizer.dropout.t == 5 * 4


def test_a_warm_start_goes_on_with_the_masks_as_with_the_optimizer():
    settings = {"dropout": 0.3, "shuffle": False, "warm_start": True}
    kept, reset = fitted(reset_optimizer=False, **settings), fitted(**settings)
    seed = kept._optimizer.dropout.seed
    kept.fit(X, Y)
    assert (kept._optimizer.dropout.t, kept._optimizer.dropout.seed) == (40, seed)
    reset.fit(X, Y)
    assert reset._optimizer.dropout.t == 20


def test_dropout_is_for_training_alone():
    network = fitted(dropout=0.5)
    p = network.predict_proba(X)
    np.testing.assert_array_equal(network.predict_proba(X), p)
    plain = MLPClassifier(**SMALL).fit(X, Y)
    plain.coefs_, plain.intercepts_ = network.coefs_, network.intercepts_
    np.testing.assert_array_equal(plain.predict_proba(X), p)


def test_clones_and_searches_take_rates_of_all_kinds():
    network = MLPClassifier(
        **SMALL | {"dropout": (0.1, flat_cos(0.3), 0.0), "max_norm": 2.0, "weight_decay": 0.1}
    )
    assert repr(clone(network)) == repr(network)
    grid = {"dropout": [0.0, 0.2, (0.1, 0.2, 0.3), cosine(0.2)], "max_norm": [None, 1.0]}
    search = GridSearchCV(network, grid, cv=2).fit(X, Y)
    assert len(search.cv_results_["params"]) == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dropout": (0.1, 0.2)}, "has 2 entries, and a network of 2 hidden layers needs 3"),
        ({"dropout": (0.1, 0.2, 1.0)}, r"dropout=1.0 must be in \[0, 1\)"),
        ({"dropout": 1.0}, r"'dropout' parameter of MLPClassifier must be a float in the range \[0.0, 1.0\)"),
        ({"dropout": linear(0.5, 4, 1.5)}, r"must be in \[0, 1\); it gives 1.0"),
        ({"max_norm": -1.0}, "'max_norm' parameter of MLPClassifier"),
        ({"weight_decay": -1.0}, "'weight_decay' parameter of MLPClassifier"),
        (
            {"weight_decay": 0.1, "solver": "lars"},
            r"solver='lars' has no decoupled weight decay; its own form",
        ),
        ({"weight_decay": 0.1, "solver": "ftrl"}, "solver='ftrl' has no decoupled weight decay; for an L2"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        fitted(**settings)


def test_what_has_no_effect_is_warned_of():
    with pytest.warns(UserWarning, match="weight_decay=0.1 .*has its own: set solver__weight_decay"):
        fitted(solver=AdamW(), weight_decay=0.1)
    with pytest.warns(UserWarning, match="no effect here: dropout=0.1, weight_decay=0.1, max_norm=1.0"):
        fitted(solver="lbfgs", dropout=0.1, weight_decay=0.1, max_norm=1.0, batch_size="auto")
    with pytest.warns(UserWarning, match=re.escape("that of the inputs is dropout=(rate,)")):
        fitted(hidden_layer_sizes=(), dropout=0.1)
    assert not same(fitted(hidden_layer_sizes=(), dropout=(0.1,)), fitted(hidden_layer_sizes=()))


def test_scikit_learns_estimator_predicts_the_same_and_trains_without():
    network = fitted(dropout=(0.0, 0.1, 0.0), max_norm=2.0)
    with (
        pytest.warns(UserWarning, match=r"no dropout=\(0.0, 0.1, 0.0\): the converted estimator predicts"),
        pytest.warns(UserWarning, match=r"no max_norm=2.0: the converted estimator predicts"),
    ):
        theirs = network.to_sklearn()
    np.testing.assert_allclose(theirs.predict_proba(X), network.predict_proba(X), rtol=1e-12)


def test_weight_decay_is_that_of_the_optimizer_object():
    settings = {"alpha": 0.01, "learning_rate_init": 0.02}
    pairs = {
        "adam": AdamW(lr=0.02, weight_decay=0.5, eps_mode="hat"),
        "adamw": AdamW(lr=0.02, weight_decay=0.5),
        "rmsprop": fastopt.RMSprop(lr=0.02, weight_decay=0.5, decoupled_weight_decay=True),
        "muon": fastopt.Muon(lr=0.02, weight_decay=0.5),
    }
    for name, optimizer in pairs.items():
        own = {"alpha": settings["alpha"], "solver": optimizer}
        assert same(fitted(solver=name, weight_decay=0.5, **settings), fitted(**own)), name
    assert same(fitted(solver="adamw"), fitted(solver=AdamW(lr=0.001)))  # its own 0.01


@pytest.mark.parametrize("solver", ["adamw", "sgd"])
def test_weight_decay_is_torchs(solver):
    """torch 2.13.0, executed: ``AdamW`` and, after decay by hand, ``SGD``; biases are spared."""
    torch = pytest.importorskip("torch")
    decay, rate = 0.5, 0.05
    y = X[:, :2] ** 2
    settings = {"activation": "tanh", "alpha": 0.0, "batch_size": len(X), "momentum": 0.0, "tol": 0.0}
    settings |= {"hidden_layer_sizes": (5,), "shuffle": False, "random_state": 0, "solver": solver}
    start = MLPRegressor(learning_rate_init=1e-300, max_iter=1, **settings).fit(X, y)  # the initial weights
    ours = MLPRegressor(learning_rate_init=rate, weight_decay=decay, max_iter=8, **settings).fit(X, y)
    weights = [torch.tensor(a, requires_grad=True) for a in start.coefs_]
    biases = [torch.tensor(a, requires_grad=True) for a in start.intercepts_]
    groups = [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]
    if solver == "adamw":
        theirs = torch.optim.AdamW(groups, lr=rate)
    else:
        theirs = torch.optim.SGD(biases + weights, lr=rate)
    for _ in range(8):
        theirs.zero_grad()
        p = torch.tanh(torch.tensor(X) @ weights[0] + biases[0]) @ weights[1] + biases[1]
        # scikit-learn's gradient leaves out the mean over outputs.
        (0.5 * ((p - torch.tensor(y)) ** 2).sum() / len(X)).backward()
        if solver == "sgd":
            with torch.no_grad():
                for w in weights:
                    w *= 1 - rate * decay
        theirs.step()
    for array, tensor in zip(ours.coefs_ + ours.intercepts_, weights + biases, strict=True):
        np.testing.assert_allclose(array, tensor.detach().numpy(), rtol=1e-10, atol=1e-12)  # roundings


@pytest.mark.parametrize(
    "solver", ["adam", "muon", Adam(), EMA(Adam(), decay=0.9), SAM(SGD(lr=0.5))], ids=str
)
def test_weights_stay_within_max_norm(solver):
    network = fitted(solver=solver, max_norm=0.25, learning_rate_init=0.02)
    largest = [np.sqrt((w**2).sum(axis=0)).max() for w in network.coefs_]
    assert max(largest) <= 0.25 * (1 + 1e-14)  # roundings of a sum, a root and a product
    assert min(largest) > 0.2
    assert any(np.abs(b).max() > 0 for b in network.intercepts_)


def test_max_norm_is_the_wrapper_inside_the_others():
    clip = {"clip_norm": 0.1}
    same_as = EMA(fastopt.Clip(fastopt.MaxNorm(Adam(), 0.5), norm=0.1), decay=0.9)
    assert same(
        fitted(solver=EMA(Adam(), decay=0.9), max_norm=0.5),
        fitted(solver=EMA(fastopt.MaxNorm(Adam(), 0.5), decay=0.9)),
    )
    assert same(
        fitted(solver=EMA(fastopt.Clip(Adam(), norm=0.1), decay=0.9), max_norm=0.5), fitted(solver=same_as)
    )
    assert same(
        fitted(solver=Adam(), max_norm=0.5, **clip),
        fitted(solver=fastopt.Clip(fastopt.MaxNorm(Adam(), 0.5), norm=0.1)),
    )
