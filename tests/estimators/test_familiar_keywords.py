"""Keyword arguments of other libraries, refused in words that name ours."""

import inspect
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris

from fastopt import MLPClassifier, MLPRegressor
from fastopt.neural_network import familiar_keywords

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_iris(return_X_y=True)

# As XGBoost, LightGBM, CatBoost, Keras, skorch and torch have them, with the argument that does that here.
CONSTRUCTOR = {
    "n_estimators": (500, "max_iter=500"),
    "epochs": (20, "max_iter=20"),
    "max_epochs": (20, "max_iter=20"),
    "lr": (0.01, "learning_rate_init=0.01"),
    "optimizer": ("adam", "solver="),
    "hidden_sizes": ((64, 32), r"hidden_layer_sizes=\(64, 32\)"),
    "module": (object, "hidden_layer_sizes="),
    "patience": (5, "early_stopping=True, n_iter_no_change=4"),
    "early_stopping_rounds": (10, "early_stopping=True, n_iter_no_change=9"),
    "eval_metric": ("auc", "scoring="),
    "validation_split": (0.2, "validation_fraction="),
    "validation_data": (None, r"fit\(X, y, X_val=..., y_val=...\)"),
    "X_val": (X, r"fit\(X, y, X_val=..., y_val=...\)"),
    "betas": ((0.9, 0.95), r"beta_1=..., beta_2=... instead"),
    "random_seed": (0, "random_state=0"),
    "reg_lambda": (1.0, "alpha="),
    "callbacks": ([], r"set_callbacks\(...\)"),
    "time_limit": (60, "max_time="),
    "class_weights": ({}, "class_weight="),
    "maxiter": (3, "Did you mean 'max_iter'"),
}
FIT = {
    "eval_set": ([(X, Y)], r"fit\(X, y, X_val=..., y_val=...\); with MLPClassifier\(early_stopping=True\)"),
    "validation_data": ((X, Y), "X_val=..., y_val=..."),
    "early_stopping_rounds": (10, r"early_stopping=True, n_iter_no_change=9 to MLPClassifier\(...\)"),
    "epochs": (20, r"Pass max_iter=20 to MLPClassifier\(...\)"),
    "batch_size": (32, r"Pass batch_size=32 to MLPClassifier\(...\)"),
    "validation_split": (0.2, r"validation_fraction=... to MLPClassifier\(...\)"),
    "callbacks": ([], r"MLPClassifier\(...\).set_callbacks\(...\)"),
    "verbose": (0, r"verbose=... to MLPClassifier|verbose=0 to MLPClassifier"),
    "class_weight": ("balanced", r"class_weight='balanced' to MLPClassifier"),
    "eval_sample_weight": ([Y], "Pass sample_weight_val=..."),
    "sample_weights": (Y, "Pass sample_weight=..."),
    "init_model": (None, r"warm_start=True to MLPClassifier\(...\)"),
    "classes": (Y, "Only partial_fit has it"),
    "X_value": (X, "Did you mean 'X_val'"),
}


@pytest.mark.parametrize("name", CONSTRUCTOR)
def test_the_constructor_names_our_argument(name):
    value, message = CONSTRUCTOR[name]
    with pytest.raises(TypeError, match=f"^MLPClassifier has no argument '{name}'.*{message}"):
        MLPClassifier(**{name: value})


@pytest.mark.parametrize("name", FIT)
def test_fit_names_our_argument(name):
    value, message = FIT[name]
    with pytest.raises(TypeError, match=f"^MLPClassifier.fit has no argument '{name}'.*{message}"):
        MLPClassifier().fit(X, Y, **{name: value})


def test_what_is_not_known_anywhere_is_refused_as_well():
    with pytest.raises(TypeError, match=r"^MLPRegressor has no argument 'zzz'.$"):
        MLPRegressor(zzz=1)
    with pytest.raises(
        TypeError, match=r"^MLPClassifier.partial_fit has no argument 'epochs'. Pass max_iter=3"
    ):
        MLPClassifier().partial_fit(X, Y, classes=np.unique(Y), epochs=3)
    with pytest.raises(
        TypeError, match=r"^MLPClassifier.partial_fit has no argument 'X_val'. Only fit has it"
    ):
        MLPClassifier().partial_fit(X, Y, classes=np.unique(Y), X_val=X, y_val=Y)
    with pytest.raises(TypeError, match=r"^MLPRegressor.fit has no argument 'classes'.$"):
        MLPRegressor().fit(X, Y, classes=Y)


def test_set_params_and_searches_name_it_behind_scikit_learns_message():
    with pytest.raises(
        ValueError, match=r"(?s)^Invalid parameter 'lr' for.*Pass learning_rate_init=0.1 instead"
    ):
        MLPClassifier().set_params(lr=0.1)


def test_a_number_as_learning_rate_names_the_other_argument():
    with pytest.raises(ValueError, match=r"Got 0.01 instead. Did you mean learning_rate_init=0.01\?"):
        MLPClassifier(learning_rate=0.01).fit(X, Y)


def test_subclasses_are_named_and_signatures_are_kept():
    class Mine(MLPClassifier):
        pass

    with pytest.raises(TypeError, match=r"^Mine has no argument 'lr'"):
        Mine(lr=0.1)
    assert [*inspect.signature(Mine).parameters][:2] == ["hidden_layer_sizes", "activation"]
    model = MLPClassifier((3,), max_iter=2, alpha=0.1)
    for copy in (clone(model), pickle.loads(pickle.dumps(model))):
        assert copy.get_params() == model.get_params()
    assert "X_val" in inspect.signature(model.fit).parameters


def test_other_type_errors_are_left_as_they_are():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'X'"):
        MLPClassifier().fit()
    with pytest.raises(TypeError, match="whole numbers"):
        MLPClassifier((0.5,)).fit(X, Y)


def test_every_name_of_ours_exists_and_none_is_taken():
    parameters = {*inspect.signature(MLPClassifier).parameters, *inspect.signature(MLPRegressor).parameters}
    later = {"dropout", "init"}  # of which nothing is said where there are none
    assert {ours.split("=")[0] for ours in familiar_keywords._OURS.values()} <= parameters | later
    assert not {*familiar_keywords._OURS} & parameters
