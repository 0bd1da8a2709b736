"""Wrappers as the solvers of estimators."""

import pickle

import numpy as np
import pytest
from reference.wrapped import WRAPPED
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV

import fastopt
from fastopt import (
    EMA,
    SGD,
    Adam,
    AdamW,
    Clip,
    MLPClassifier,
    MultiSteps,
)
from fastopt.schedules import linear

X, Y = make_classification(n_samples=100, n_features=6, random_state=0)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 5, "random_state": 0, "batch_size": 20, "tol": 0}


def layers(clf):
    return [*clf.coefs_, *clf.intercepts_]


def batches(n_epochs, n_rows=100, size=20):
    """Yield the mini-batches of training without shuffling."""
    for _ in range(n_epochs):
        for first in range(0, n_rows, size):
            yield X[first : min(first + size, n_rows)], Y[first : min(first + size, n_rows)]


def gradients(params, rows, labels):
    """Return the gradients of a logistic loss behind one relu layer, without penalty."""
    W1, W2, b1, b2 = params
    hidden = np.maximum(rows @ W1 + b1, 0)
    delta = (1 / (1 + np.exp(-(hidden @ W2 + b2))) - labels[:, None]) / len(rows)
    back = (delta @ W2.T) * (hidden > 0)
    return [rows.T @ back, hidden.T @ delta, back.sum(0), delta.sum(0)]


@pytest.mark.parametrize("name", WRAPPED)
def test_an_estimator_trains_as_the_stepper_does(name):
    optimizer = WRAPPED[name]
    if isinstance(optimizer, MultiSteps):
        optimizer = MultiSteps(AdamW(lr=linear(0.1, 20), weight_decay=0.0), n=3)  # decay spares biases there
    # Six batches an epoch, so that gradients accumulated two or three at a time leave none over.
    settings = SMALL | {"shuffle": False, "alpha": 0.0, "solver": optimizer, "batch_size": 16}
    # The start: a rate so small that nothing moves.
    start = MLPClassifier(**settings | {"max_iter": 1, "solver": SGD(lr=1e-300)}).fit(X[:96], Y[:96])
    params = [np.array(p) for p in layers(start)]
    stepper = optimizer.bind(params)
    for rows, labels in batches(5, 96, 16):
        stepper.step(gradients(params, rows, labels))
    stepper.eval()
    clf = MLPClassifier(**settings).fit(X[:96], Y[:96])
    for ours, theirs in zip(layers(clf), params, strict=True):
        # 30 steps with another order of summation.
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-11)


def test_the_fitted_model_is_the_average_and_training_goes_on_from_the_weights():
    settings = SMALL | {"solver": EMA(Adam(lr=0.02), decay=0.9)}
    whole = MLPClassifier(**settings)
    pieces = MLPClassifier(**settings)
    for _ in range(4):
        whole.partial_fit(X, Y, classes=[0, 1])
        pieces = pickle.loads(pickle.dumps(pieces.partial_fit(X, Y, classes=[0, 1])))
    plain = MLPClassifier(**settings | {"solver": Adam(lr=0.02)})
    for _ in range(4):
        plain.partial_fit(X, Y, classes=[0, 1])
    assert whole.loss_curve_ == pieces.loss_curve_
    # The weights of training are those of Adam alone: the average is not fed back.
    np.testing.assert_allclose(whole.loss_curve_, plain.loss_curve_, rtol=1e-12)
    assert not np.allclose(whole.coefs_[0], plain.coefs_[0])
    np.testing.assert_array_equal(whole.coefs_[0], pieces.coefs_[0])


def test_clip_norm_and_clip_value_are_clip():
    for solver in ("sgd", Adam(lr=0.01)):
        by_argument = MLPClassifier(solver=solver, clip_norm=0.1, clip_value=0.05, **SMALL).fit(X, Y)
        if solver == "sgd":
            solver = SGD(lr=0.001, momentum=0.9, nesterov=True, lr_in_momentum=True)
        by_object = MLPClassifier(solver=Clip(solver, norm=0.1, value=0.05), **SMALL).fit(X, Y)
        assert by_argument.loss_curve_ == by_object.loss_curve_
    assert by_argument.loss_curve_ != MLPClassifier(solver=Adam(lr=0.01), **SMALL).fit(X, Y).loss_curve_
    with pytest.raises(ValueError, match="'clip_norm' parameter of MLPClassifier"):
        MLPClassifier(clip_norm=0).fit(X, Y)


def test_clipping_keeps_a_rate_that_is_far_too_high_from_diverging():
    rng = np.random.default_rng(0)
    rows, target = rng.normal(size=(200, 4)) * 100, rng.normal(size=200) * 1000
    settings = SMALL | {"solver": SGD(lr=0.01), "activation": "identity"}
    with pytest.raises(ValueError, match="non-finite"), pytest.warns(UserWarning, match="the loss is"):
        fastopt.MLPRegressor(**settings).fit(rows, target)
    assert np.isfinite(fastopt.MLPRegressor(clip_norm=1.0, **settings).fit(rows, target).loss_)


def test_schedules_grids_and_studies_reach_inside():
    ours = MLPClassifier(solver=EMA(Adam(lr=0.05)), learning_rate="linear", **SMALL).fit(X, Y)
    theirs = MLPClassifier(solver=EMA(Adam(lr=linear(0.05))), **SMALL).fit(X, Y)
    assert ours.loss_curve_ == theirs.loss_curve_
    search = GridSearchCV(
        MLPClassifier(solver=EMA(Adam(), decay=0.5), **SMALL), {"solver__optimizer__lr": [1e-9, 0.05]}, cv=2
    )
    assert search.fit(X, Y).best_params_ == {"solver__optimizer__lr": 0.05}


def test_a_warm_start_keeps_the_state_of_the_same_wrappers_only():
    settings = SMALL | {"warm_start": True, "reset_optimizer": False}
    clf = MLPClassifier(solver=EMA(Adam(lr=0.01)), **settings).fit(X, Y)
    assert clf.fit(X, Y)._optimizer.update.t == 50
    assert clf.set_params(solver=EMA(SGD(lr=0.01))).fit(X, Y)._optimizer.update.t == 25


def test_to_sklearn_converts_a_clipped_network_without_its_state():
    clf = MLPClassifier(clip_norm=0.1, **SMALL).fit(X, Y)
    np.testing.assert_array_equal(clf.to_sklearn().predict(X), clf.predict(X))
