"""``activation=`` with a name for each hidden layer, wherever an estimator's parameters go."""

import numpy as np
import pytest
import scipy.sparse
from reference.saved_models import LABELS, NUMBERS, X
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import fastopt
from fastopt import MLPClassifier, MLPRegressor
from fastopt.study import OptimizerStudy

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (6, 4), "batch_size": 16, "max_iter": 4, "random_state": 0, "tol": 0.0}
MIXED = ("gelu", "relu")


def weights(model):
    return b"".join(a.tobytes() for a in model.coefs_ + model.intercepts_)


@pytest.mark.parametrize("solver", ["adam", "lbfgs", fastopt.SAM(fastopt.SGD(lr=0.1))], ids=str)
def test_the_same_name_for_each_layer_is_that_name(solver):
    settings = SMALL | {"solver": solver, "batch_size": "auto"}
    one = MLPClassifier(activation="relu", **settings).fit(X, LABELS)
    for activation in (("relu", "relu"), ["relu", "relu"]):
        each = MLPClassifier(activation=activation, **settings).fit(X, LABELS)
        assert weights(each) == weights(one)
        np.testing.assert_array_equal(each.predict_proba(X[:3]), one.predict_proba(X[:3]))


@pytest.mark.parametrize("kind", ["dense", "csr"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_predictions_are_those_of_numpy(kind, dtype):
    rows = (scipy.sparse.csr_array(X) if kind == "csr" else X).astype(dtype)
    model = MLPRegressor(activation=("softplus", "softsign"), **SMALL).fit(rows, NUMBERS)
    (W1, W2, W3), (b1, b2, b3) = model.coefs_, model.intercepts_
    a = np.log1p(np.exp(X @ W1 + b1)) @ W2 + b2
    expected = a / (1 + np.abs(a)) @ W3 + b3
    # Three products, each of sums of a few terms.
    np.testing.assert_allclose(model.predict(rows), expected.ravel(), rtol=0, atol=50 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(model.predict(rows[:2]), model.predict(rows)[:2])  # few rows at once


def test_it_goes_where_other_parameters_go():
    model = MLPClassifier(activation=MIXED, **SMALL)
    assert model.get_params()["activation"] == MIXED
    assert "activation=('gelu', 'relu')" in repr(model)
    assert clone(model).activation == MIXED
    search = GridSearchCV(model, {"activation": [MIXED, "tanh"], "init": ["auto", "he_normal"]}, cv=2)
    assert search.fit(X, LABELS).best_params_["activation"] in (MIXED, "tanh")
    study = OptimizerStudy(model, {"adam": {}, "sgd": {}}, lr=0.01, n_seeds=2, max_epochs=2)
    assert study.fit(X, LABELS).best_params_.keys() == {"adam", "sgd"}


def test_files_and_checkpoints_hold_it(tmp_path):
    pytest.importorskip("safetensors")
    model = MLPClassifier(activation=MIXED, **SMALL).fit(X, LABELS)
    fastopt.save(model, tmp_path / "model")
    again = fastopt.load(tmp_path / "model")
    assert again.activation == MIXED
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    settings = SMALL | {"checkpoint": tmp_path / "fit", "activation": MIXED}
    first = MLPClassifier(**settings).fit(X, LABELS)
    assert weights(MLPClassifier(**settings).fit(X, LABELS)) == weights(first) == weights(model)
    for other in ({"activation": "gelu"}, {"init": "he_normal"}):
        with pytest.raises(ValueError, match=f"{next(iter(other))} was "):
            MLPClassifier(**settings | other).fit(X, LABELS)


@pytest.mark.parametrize(
    ("activation", "message"),
    [
        (("gelu",), r"activation=\('gelu',\) has 1 entries for 2 hidden layers"),
        (["relu", "swish"], "activation='swish' is not registered"),
        (["relu", 1], r"activation=\['relu', 1\] must be the name"),
        (3, "'activation' parameter of MLPClassifier must be a str among"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_changes(activation, message):
    model = MLPClassifier(**SMALL).fit(X, LABELS)
    before = weights(model)
    with pytest.raises(ValueError, match=message):
        model.set_params(activation=activation).fit(X, LABELS)
    assert weights(model) == before


def test_scikit_learn_takes_one_name():
    model = MLPClassifier(activation=["tanh", "tanh"], init="he_normal", **SMALL).fit(X, LABELS)
    with pytest.warns(
        UserWarning, match="scikit-learn has no init='he_normal': the converted estimator pred"
    ):
        theirs = model.to_sklearn()
    assert theirs.activation == "tanh"
    np.testing.assert_allclose(theirs.predict_proba(X), model.predict_proba(X), rtol=0, atol=1e-14)
    mixed = MLPClassifier(activation=["tanh", "relu"], **SMALL).fit(X, LABELS)
    with pytest.raises(ValueError, match=r"scikit-learn has no activation=\('tanh', 'relu'\)"):
        mixed.to_sklearn()


def test_the_names_are_listed():
    assert {"gelu", "relu", "snake"} <= {*fastopt.list_activations()}
    assert fastopt.list_activations() == sorted(fastopt.list_activations())
