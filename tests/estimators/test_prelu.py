"""Estimators whose activations learn slopes: every way to train, keep, copy and change them.

``tests/engine/test_slopes.py`` has torch as the oracle of the numbers.
"""

import pickle

import numpy as np
import pytest
import scipy.sparse
from reference import own_functions
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import fastopt
from fastopt import MLPClassifier, MLPRegressor
from fastopt.neural_network import parameters
from fastopt.rules.activations import ACTIVATIONS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rs = np.random.RandomState(0)
X = rs.standard_normal((120, 6)) * (rs.uniform(size=(120, 6)) < 0.7)
Y = X[:, 0] * X[:, 1] - np.abs(X[:, 2])
LABELS = np.digitize(Y, [-1.0, 0.0])
WEIGHT = rs.uniform(0.2, 2.0, 120)


def classifier(**changes):
    given = {"activation": "prelu", "max_iter": 8, "batch_size": 32, "random_state": 0}
    return MLPClassifier((9, 5), **given | changes)


def slopes_of(model):
    return np.concatenate(model.slopes_)


@pytest.mark.parametrize(
    "activation", [ACTIVATIONS["prelu"], own_functions.LEARNT_SOFTSIGN], ids=lambda a: a.name
)
@pytest.mark.parametrize("rows", [X, scipy.sparse.csr_array(X)], ids=["dense", "csr"])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
def test_the_estimators_gradient_is_the_slope_of_its_loss(activation, rows, weight, monkeypatch):
    monkeypatch.setitem(ACTIVATIONS, activation.name, activation)
    model = classifier(activation=activation.name, alpha=0.1).fit(X, LABELS)
    packed = parameters.pack(model._layout, model._parameters())
    assert packed.size == sum(a.size for a in model.coefs_ + model.intercepts_ + model.slopes_)
    encoded = np.eye(3)[LABELS]

    def loss_and_gradient(at):
        return model._loss_grad_lbfgs(at, rows, encoded, weight)

    gradient = loss_and_gradient(packed)[1]
    for place in [
        *range(0, packed.size - 14, 7),
        *range(packed.size - 14, packed.size),
    ]:  # slopes are the last
        step = np.zeros_like(packed)
        step[place] = 1e-6
        expected = (loss_and_gradient(packed + step)[0] - loss_and_gradient(packed - step)[0]) / 2e-6
        assert gradient[place] == pytest.approx(expected, rel=1e-6, abs=1e-8), place


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "solver",
    [
        "sgd",
        "adam",
        "lbfgs",
        "lamb",
        "muon",
        fastopt.Clip(fastopt.Adam(), 0.5),
        fastopt.SAM(fastopt.SGD(0.05)),
    ],
    ids=lambda s: s if isinstance(s, str) else type(s).__name__,
)
def test_every_kind_of_solver_learns_slopes_from_a_quarter_on(solver, dtype):
    still = classifier(solver="sgd", learning_rate_init=1e-30, max_iter=1).fit(X.astype(dtype), LABELS)
    assert all((slopes == 0.25).all() for slopes in still.slopes_)  # He et al. (2015), and torch
    model = classifier(solver=solver, max_iter=60)
    if solver == "lbfgs":
        model.set_params(batch_size="auto")  # it would say that it takes all rows
    model.fit(X.astype(dtype), LABELS, WEIGHT)
    assert [s.shape for s in model.slopes_] == [(9,), (5,)]
    assert all(s.dtype == dtype for s in model.slopes_)
    assert (slopes_of(model) != 0.25).mean() > 0.9
    assert model.loss_ < 0.95 * still.loss_


def test_layers_without_slopes_have_none():
    model = classifier(activation=("prelu", "tanh")).fit(X, LABELS)
    assert model.slopes_[0].shape == (9,)
    assert model.slopes_[1] is None
    assert classifier(activation="relu").fit(X, LABELS).slopes_ == [None, None]
    assert MLPClassifier((), activation="prelu", max_iter=2).fit(X, LABELS).slopes_ == []


def test_few_rows_many_rows_and_sparse_rows_agree():
    model = classifier().fit(X, LABELS)
    together = model.predict_proba(X)
    singly = np.concatenate([model.predict_proba(row[None]) for row in X[:20]])
    # The same sums in another order.
    np.testing.assert_allclose(singly, together[:20], rtol=1e-13)
    np.testing.assert_allclose(model.predict_proba(scipy.sparse.csr_array(X)), together, rtol=1e-13)


def test_slopes_are_views_of_the_network():
    model = classifier().fit(X, LABELS)
    with_slopes = model.predict_proba(X)
    for slopes in model.slopes_:
        slopes[...] = 0.0
    rectified = classifier(activation="relu").fit(X, LABELS)
    rectified.coefs_, rectified.intercepts_ = model.coefs_, model.intercepts_
    np.testing.assert_allclose(model.predict_proba(X), rectified.predict_proba(X), rtol=1e-13)
    assert np.abs(model.predict_proba(X) - with_slopes).max() > 1e-3
    model.slopes_ = [np.full(9, 1.0), np.full(5, 1.0)]
    linear = classifier(activation="identity").fit(X, LABELS)
    linear.coefs_, linear.intercepts_ = model.coefs_, model.intercepts_
    np.testing.assert_allclose(model.predict_proba(X), linear.predict_proba(X), rtol=1e-13)
    mixed = classifier(activation=("prelu", "tanh")).fit(X, LABELS)
    with pytest.raises(
        ValueError, match="item 1 is None: the activation of that hidden layer learns no slopes"
    ):
        mixed.slopes_[1] = np.zeros(5)
    model.slopes_ = [np.zeros(9), np.zeros(4)]
    with pytest.raises(
        ValueError, match=r"slopes_ with shapes \[\(9,\), \(4,\)\] do not belong to hidden layers"
    ):
        model.predict(X)


def test_training_goes_on_after_pickling_and_saving_with_the_same_bits(tmp_path):
    model = classifier(solver=fastopt.AdamW(weight_decay=0.1)).fit(X, LABELS)
    fastopt.save(model, tmp_path / "model", optimizer=True)
    copies = [pickle.loads(pickle.dumps(model)), fastopt.load(tmp_path / "model")]
    model.partial_fit(X, LABELS)
    for copy in copies:
        copy.partial_fit(X, LABELS)
        np.testing.assert_array_equal(copy._parameters(), model._parameters())
        np.testing.assert_array_equal(slopes_of(copy), slopes_of(model))


@pytest.mark.parametrize("solver", [fastopt.Adam(), fastopt.Muon()], ids=repr)
def test_states_of_layers_are_saved_with_slopes(solver, tmp_path):
    model = MLPRegressor("squared_error", (9,), "prelu", solver=solver, max_iter=3, random_state=0).fit(X, Y)
    fastopt.save(model, tmp_path / "model", optimizer=True)
    copy = fastopt.load(tmp_path / "model")
    np.testing.assert_array_equal(copy.partial_fit(X, Y).predict(X), model.partial_fit(X, Y).predict(X))


def test_warm_starts_clones_and_searches():
    model = classifier(warm_start=True, max_iter=4).fit(X, LABELS)
    before = slopes_of(model).copy()
    assert (slopes_of(model.fit(X, LABELS)) != before).any()
    assert not hasattr(clone(model), "slopes_")
    again = clone(model).set_params(warm_start=False, max_iter=8).fit(X, LABELS)
    np.testing.assert_array_equal(again._parameters(), classifier().fit(X, LABELS)._parameters())
    search = GridSearchCV(classifier(max_iter=3), {"activation": ["relu", "prelu", ("prelu", "tanh")]}, cv=2)
    assert np.isfinite(search.fit(X, LABELS).cv_results_["mean_test_score"]).all()


def test_early_stopping_restores_the_slopes_of_the_best_epoch():
    model = classifier(early_stopping=True, max_iter=60, n_iter_no_change=5, learning_rate_init=0.05)
    model.fit(X, LABELS)
    best = int(np.argmax(model.validation_scores_)) + 1
    assert best < model.n_iter_
    short = clone(model).set_params(max_iter=best, n_iter_no_change=99).fit(X, LABELS)
    np.testing.assert_array_equal(slopes_of(model), slopes_of(short))


def test_a_network_fitted_without_slopes_takes_none_on():
    model = classifier(activation="relu", warm_start=True).fit(X, LABELS).set_params(activation="prelu")
    for use in (lambda: model.fit(X, LABELS), lambda: model.predict(X)):
        with pytest.raises(
            ValueError, match=r"'prelu' learns slopes in the hidden layers \[0, 1\], but .* in \[\]"
        ):
            use()
    model.slopes_ = [np.full(9, 0.25), np.full(5, 0.25)]
    assert (slopes_of(model.fit(X, LABELS)) != 0.25).any()


def test_scikit_learn_has_no_counterpart():
    with pytest.raises(ValueError, match="scikit-learn has no activation='prelu'"):
        classifier().fit(X, LABELS).to_sklearn()
