"""Networks whose parameters only `fit` knows, in studies and range tests, which call `partial_fit`."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import SGDClassifier
from sklearn.utils.class_weight import compute_class_weight

from fastopt import MLPClassifier, MLPRegressor
from fastopt.study import OptimizerStudy, range_test
from fastopt.study.epoch_by_epoch import for_partial_fit

X, Y = load_iris(return_X_y=True)
ROWS = np.r_[0:50, 50:80, 100:110]  # of three classes 50, 30 and 10
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y[ROWS]]
LABELS = np.stack([Y[ROWS] > 0, Y[ROWS] > 1], axis=1).astype(int)


def by_hand(y):
    classes = np.unique(y)
    return dict(zip(classes, compute_class_weight("balanced", classes=classes, y=y), strict=True))


@pytest.mark.parametrize("y", [Y[ROWS], NAMES, Y[ROWS] > 0], ids=["int", "str", "bool"])
def test_balanced_classes_weigh_in_a_study_what_scikit_learn_computes(y):
    curves = []
    for class_weight in ("balanced", by_hand(y), None):
        network = MLPClassifier((4,), class_weight=class_weight)
        study = OptimizerStudy(network, ["adam"], lr=[0.01, 0.03], n_seeds=2, n_tuning_seeds=1, max_epochs=2)
        curves.append(study.fit(X[ROWS], y, X_val=X, y_val=y[np.arange(len(X)) % len(y)]).curves_["loss"])
        assert study.configured().class_weight == class_weight
    np.testing.assert_array_equal(curves[0], curves[1])
    assert (curves[0] != curves[2]).all()


def test_balanced_classes_weigh_in_a_range_test_too():
    losses = [
        range_test(
            MLPClassifier((4,), class_weight=weights, random_state=0), X[ROWS], Y[ROWS], n_steps=20
        ).losses
        for weights in ("balanced", by_hand(Y[ROWS]))
    ]
    np.testing.assert_array_equal(*losses)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_epoch_of_partial_fit_is_one_of_fit():
    for network in (MLPClassifier((4,), class_weight="balanced", max_iter=1, random_state=0),):
        for y in (Y[ROWS], LABELS):
            classes = np.unique(y) if y.ndim == 1 else np.arange(2)
            stepped = for_partial_fit(type(network)(**network.get_params(deep=False)), y)
            stepped.partial_fit(X[ROWS], y, classes=classes)
            assert stepped.loss_curve_ == network.fit(X[ROWS], y).loss_curve_
    other = SGDClassifier(class_weight="balanced", max_iter=1, tol=None, random_state=0)
    stepped = for_partial_fit(SGDClassifier(**other.get_params()), Y[ROWS])
    stepped.partial_fit(X[ROWS], Y[ROWS], classes=np.unique(Y))
    np.testing.assert_array_equal(stepped.coef_, other.fit(X[ROWS], Y[ROWS]).coef_)


def test_what_only_early_stopping_uses_is_left_out_without_a_warning():
    network = MLPRegressor(
        hidden_layer_sizes=(4,),
        scoring="neg_mean_squared_error",
        early_stopping=True,
        validation_fraction=0.3,
    )
    study = OptimizerStudy(network, ["adam"], lr=0.01, n_seeds=2, max_epochs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        study.fit(X, Y)
    configured = study.configured()
    assert (configured.scoring, configured.early_stopping, configured.validation_fraction) == (
        "neg_mean_squared_error",
        True,
        0.3,
    )


def test_parameters_of_a_network_are_refused_in_its_own_words():
    with pytest.raises(ValueError, match="loss is the first argument, as in scikit-learn"):
        OptimizerStudy(MLPRegressor((4,)), ["adam"]).fit(X, Y)
