"""to_sklearn and from_sklearn: the same predictions, and the same training afterwards."""

import numpy as np
import pytest
import sklearn.neural_network as sk
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.exceptions import NotFittedError

import fastopt
from fastopt import AdamW, MLPClassifier, MLPRegressor, from_sklearn

X, Y = load_iris(return_X_y=True)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CASES = {
    "adam": ("MLPClassifier", {"solver": "adam"}, Y),
    "nesterov": ("MLPClassifier", {"solver": "sgd"}, Y),
    "plain_sgd": ("MLPClassifier", {"solver": "sgd", "momentum": 0.0}, Y),
    "invscaling": ("MLPRegressor", {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.2}, Y),
    "early_stopping": ("MLPRegressor", {"early_stopping": True}, Y),
    "lbfgs": ("MLPClassifier", {"solver": "lbfgs"}, np.array(["a", "b", "c"])[Y]),
    "poisson": ("MLPRegressor", {"loss": "poisson"}, Y),
    "binary": ("MLPClassifier", {"activation": "tanh"}, Y > 0),
}  # fmt: skip


def make(library, kind, settings):
    return getattr(library, kind)(hidden_layer_sizes=(6,), max_iter=15, random_state=0, **settings)


def assert_same(a, b, X=X):
    np.testing.assert_array_equal(a.predict(X)[:5], b.predict(X)[:5])
    for name in ("coefs_", "intercepts_"):
        for u, v in zip(getattr(a, name), getattr(b, name), strict=True):
            np.testing.assert_array_equal(u, v)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_", "loss_"):
        assert getattr(a, name) == getattr(b, name), name
    assert getattr(a, "loss_curve_", None) == getattr(b, "loss_curve_", None)


@pytest.mark.parametrize("case", CASES)
def test_to_sklearn_gives_the_same_model(case):
    kind, settings, y = CASES[case]
    ours = make(fastopt, kind, settings).fit(X, y)
    theirs = ours.to_sklearn()
    assert type(theirs) is getattr(sk, kind)
    for name in ("coefs_", "intercepts_"):
        for u, v in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            np.testing.assert_array_equal(u, v)
            assert not np.shares_memory(u, v)
    np.testing.assert_allclose(_numbers(theirs), _numbers(ours), rtol=1e-12)
    assert {k: v for k, v in ours.get_params().items() if k in theirs.get_params()} == theirs.get_params()
    assert vars(theirs).keys() <= vars(make(sk, kind, settings).fit(X, y)).keys()


def _numbers(estimator):
    return estimator.predict_proba(X) if hasattr(estimator, "predict_proba") else estimator.predict(X)


@pytest.mark.parametrize("case", CASES)
def test_from_sklearn_gives_the_same_model(case):
    kind, settings, y = CASES[case]
    theirs = make(sk, kind, settings).fit(X, y)
    ours = from_sklearn(theirs)
    assert type(ours) is getattr(fastopt, kind)
    np.testing.assert_allclose(_numbers(ours), _numbers(theirs), rtol=1e-12)
    assert ours.loss_ == theirs.loss_
    assert not np.shares_memory(ours.coefs_[0], theirs.coefs_[0])


@pytest.mark.parametrize("case", [c for c in CASES if c not in ("lbfgs", "early_stopping")])
def test_training_goes_on_across_the_border_as_if_there_were_none(case):
    kind, settings, y = CASES[case]
    expected = make(sk, kind, settings).fit(X, y).partial_fit(X, y).partial_fit(X, y)
    there_and_back = from_sklearn(make(sk, kind, settings).fit(X, y)).partial_fit(X, y)
    there_and_back = there_and_back.to_sklearn().partial_fit(X, y)
    for a, b in zip(there_and_back.coefs_, expected.coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)  # one of the epochs was computed by us
    np.testing.assert_allclose(there_and_back.loss_curve_, expected.loss_curve_, rtol=1e-10)
    assert there_and_back.t_ == expected.t_


def test_multilabel_and_float32_models_convert():
    data, labels = make_multilabel_classification(n_samples=60, n_features=8, random_state=0)
    data = data.astype(np.float32)
    ours = MLPClassifier((4,), max_iter=5, random_state=0).fit(data, labels)
    back = from_sklearn(ours.to_sklearn())
    assert back.coefs_[0].dtype == np.float32
    np.testing.assert_array_equal(back.predict_proba(data), ours.predict_proba(data))
    np.testing.assert_array_equal(back.predict(data), ours.to_sklearn().predict(data))


def test_a_solver_that_scikit_learn_lacks_is_replaced_with_a_warning():
    ours = MLPClassifier((4,), solver=AdamW(), max_iter=3, random_state=0).fit(X, Y)
    with pytest.warns(
        UserWarning, match=r"scikit-learn has no solver=AdamW\(lr=0.001\).*train with solver='adam'"
    ):
        theirs = ours.to_sklearn()
    assert theirs.solver == "adam"
    np.testing.assert_array_equal(theirs.predict(X), ours.predict(X))
    theirs.partial_fit(X, Y)


def test_what_is_not_fitted_or_not_an_mlp_is_refused():
    with pytest.raises(NotFittedError):
        MLPClassifier().to_sklearn()
    with pytest.raises(NotFittedError):
        from_sklearn(sk.MLPRegressor())
    with pytest.raises(
        TypeError, match="expected sklearn's MLPClassifier or sklearn's MLPRegressor, got MLPRegressor"
    ):
        from_sklearn(MLPRegressor())
