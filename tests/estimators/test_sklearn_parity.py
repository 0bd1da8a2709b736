"""The same numbers as scikit-learn, for the same arguments and random_state.

Tolerances: scikit-learn multiplies matrices with NumPy's BLAS and we with SciPy's, and fused
multiply-adds round differently, so equality is to rounding, which training amplifies a little. In float64
the coefficients must agree to 1e-6 and the loss curves to 1e-8, relatively.
"""

import warnings

import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network as sk
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import LabelBinarizer

import fastopt
from fastopt.neural_network.class_labels import _fitted_binarizer

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

COMMON = {"hidden_layer_sizes": (12, 7), "random_state": 3, "max_iter": 12, "batch_size": 32}


def binary():
    return make_classification(n_samples=211, n_features=9, n_informative=5, random_state=1)


def multiclass():
    X, y = make_classification(n_samples=211, n_features=9, n_informative=6, n_classes=4, random_state=2)
    return X, np.array([3, 5, 8, 13])[y]  # strings with early stopping fail in scikit-learn before 1.9


def multilabel():
    X, y = make_multilabel_classification(n_samples=211, n_features=9, n_classes=3, random_state=3)
    return X / 10, y


def single_output():
    X, y = make_regression(n_samples=211, n_features=9, noise=1.0, random_state=4)
    return X, y / y.std()


def two_outputs():
    X, y = make_regression(n_samples=211, n_features=9, n_targets=2, noise=1.0, random_state=5)
    return X, y / y.std()


def counts():
    X, _ = single_output()
    return X, np.random.RandomState(6).poisson(np.exp(X[:, 0] / 2)).astype(float)


CLASSIFIER = [binary, multiclass, multilabel]
REGRESSOR = [single_output, two_outputs]

SETTINGS = {
    "adam": {},
    "adam_tanh": {"activation": "tanh", "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-6},
    "adam_logistic": {"activation": "logistic", "alpha": 0.1, "learning_rate_init": 0.01},
    "adam_no_hidden_layer": {"hidden_layer_sizes": ()},
    "adam_early_stopping": {"early_stopping": True, "max_iter": 60, "n_iter_no_change": 3, "tol": 1e-2},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05},
    "sgd_without_nesterov": {"solver": "sgd", "nesterovs_momentum": False, "learning_rate_init": 0.05},
    "sgd_without_momentum": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1},
    "sgd_without_shuffle": {"solver": "sgd", "shuffle": False, "activation": "identity"},
    "sgd_invscaling": {
        "solver": "sgd", "learning_rate": "invscaling", "power_t": 0.3, "learning_rate_init": 0.5,
    },
    "sgd_adaptive": {
        "solver": "sgd", "learning_rate": "adaptive", "tol": 1e-2, "n_iter_no_change": 1, "max_iter": 40,
        "learning_rate_init": 0.1,
    },
    "sgd_early_stopping": {"solver": "sgd", "early_stopping": True, "learning_rate_init": 0.05},
    "stops_at_a_plateau": {"tol": 0.5, "n_iter_no_change": 2, "max_iter": 100},
    "lbfgs": {"solver": "lbfgs"},
    "lbfgs_tanh": {"solver": "lbfgs", "activation": "tanh", "alpha": 1.0},
}  # fmt: skip


def pair(kind, settings):
    """The two libraries' estimators with the same arguments."""
    arguments = COMMON | settings
    return getattr(fastopt, kind)(**arguments), getattr(sk, kind)(**arguments)


def kind_of(data):
    return "MLPClassifier" if data in CLASSIFIER else "MLPRegressor"


def assert_same_model(ours, theirs, rtol=1e-6, curve_rtol=1e-8):
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            # A coefficient may pass through zero: below 1e-3 of the layer's largest, compare with that.
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * 1e-3 * np.abs(b).max(), err_msg=name)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.t_ == theirs.t_
    assert ours.out_activation_ == theirs.out_activation_
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=curve_rtol)
    for name in ("loss_curve_", "validation_scores_", "best_loss_", "best_validation_score_"):
        assert hasattr(ours, name) == hasattr(theirs, name), name
        expected = getattr(theirs, name, None)
        if expected is None:
            assert getattr(ours, name, None) is None, name
        else:
            np.testing.assert_allclose(getattr(ours, name), expected, rtol=curve_rtol, err_msg=name)


def assert_same_predictions(ours, theirs, X, rtol=1e-6):
    expected, actual = theirs.predict(X), ours.predict(X)
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    if hasattr(theirs, "predict_proba"):
        np.testing.assert_array_equal(actual, expected)
        np.testing.assert_allclose(
            ours.predict_proba(X), theirs.predict_proba(X), rtol=rtol, atol=rtol * 1e-3
        )
    else:
        np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("data", CLASSIFIER + REGRESSOR, ids=lambda d: d.__name__)
def test_fit_gives_scikit_learns_model(data, settings):
    X, y = data()
    ours, theirs = pair(kind_of(data), settings)
    ours.fit(X, y)
    theirs.fit(X, y)
    assert_same_model(ours, theirs)
    assert_same_predictions(ours, theirs, X)


@pytest.mark.parametrize("settings", ["adam", "sgd_invscaling", "sgd_early_stopping", "lbfgs"])
def test_poisson_loss_gives_scikit_learns_model(settings):
    X, y = counts()
    ours, theirs = pair("MLPRegressor", SETTINGS[settings] | {"loss": "poisson", "learning_rate_init": 0.01})
    assert_same_model(ours.fit(X, y), theirs.fit(X, y))
    assert_same_predictions(ours, theirs, X)


@pytest.mark.parametrize("settings", ["adam", "adam_early_stopping", "sgd", "lbfgs"])
@pytest.mark.parametrize("data", [binary, multiclass, multilabel, two_outputs], ids=lambda d: d.__name__)
def test_sample_weights_give_scikit_learns_model(data, settings):
    X, y = data()
    weight = np.random.RandomState(0).uniform(0.1, 3.0, len(X))
    ours, theirs = pair(kind_of(data), SETTINGS[settings])
    assert_same_model(ours.fit(X, y, weight), theirs.fit(X, y, weight))


@pytest.mark.parametrize("container", [scipy.sparse.csr_matrix, scipy.sparse.csc_array], ids=["csr", "csc"])
@pytest.mark.parametrize("settings", ["adam", "adam_early_stopping", "sgd", "lbfgs"])
@pytest.mark.parametrize("data", [binary, multiclass, single_output], ids=lambda d: d.__name__)
def test_sparse_data_give_scikit_learns_model(data, settings, container):
    X, y = data()
    X[np.abs(X) < 0.7] = 0.0
    ours, theirs = pair(kind_of(data), SETTINGS[settings])
    X = container(X)
    assert_same_model(ours.fit(X, y), theirs.fit(X, y))
    assert_same_predictions(ours, theirs, X)


@pytest.mark.parametrize("settings", ["adam", "sgd_invscaling", "adam_early_stopping", "lbfgs"])
@pytest.mark.parametrize("data", [multiclass, two_outputs], ids=lambda d: d.__name__)
def test_warm_starts_continue_as_scikit_learns(data, settings):
    X, y = data()
    # Patience never runs out: there scikit-learn's warm start stops after one epoch, a defect we do not have.
    ours, theirs = pair(kind_of(data), SETTINGS[settings] | {"warm_start": True, "n_iter_no_change": 1000})
    for max_iter in (5, 3, 8):
        ours.set_params(max_iter=max_iter).fit(X, y)
        theirs.set_params(max_iter=max_iter).fit(X, y)
        assert_same_model(ours, theirs)


@pytest.mark.parametrize("settings", ["adam", "sgd", "sgd_adaptive", "sgd_invscaling"])
@pytest.mark.parametrize("data", [binary, multiclass, multilabel, single_output], ids=lambda d: d.__name__)
def test_repeated_partial_fits_give_scikit_learns_model(data, settings):
    X, y = data()
    ours, theirs = pair(kind_of(data), SETTINGS[settings])
    more = {"classes": np.unique(y)} if data in CLASSIFIER and data is not multilabel else {}
    if data is multilabel:
        more = {"classes": [0, 1, 2]}
    for start in range(0, 200, 40):
        rows = slice(start, start + 40)
        assert_same_model(
            ours.partial_fit(X[rows], y[rows], **more), theirs.partial_fit(X[rows], y[rows], **more)
        )


@pytest.mark.parametrize("settings", ["adam", "sgd", "adam_tanh", "adam_early_stopping"])
@pytest.mark.parametrize("data", [binary, multiclass, single_output], ids=lambda d: d.__name__)
def test_float32_stays_float32_and_agrees_with_scikit_learn_to_its_precision(data, settings):
    X, y = data()
    X = X.astype(np.float32)
    ours, theirs = pair(kind_of(data), SETTINGS[settings])
    ours.fit(X, y)
    theirs.fit(X, y)
    assert {a.dtype for a in ours.coefs_ + ours.intercepts_} == {np.dtype(np.float32)}
    # float32 has 1.2e-7; a dozen epochs (for which scikit-learn mixes in float64) leave more.
    assert_same_model(ours, theirs, rtol=1e-4, curve_rtol=1e-5)
    assert_same_predictions(ours, theirs, X, rtol=1e-4)


def test_a_float32_lbfgs_fit_stays_float32():
    X, y = binary()
    X = X.astype(np.float32)
    ours, theirs = pair("MLPClassifier", SETTINGS["lbfgs"])
    ours.fit(X, y)
    theirs.fit(X, y)
    assert {a.dtype for a in ours.coefs_} == {np.dtype(np.float32)}
    for a, b in zip(ours.coefs_, theirs.coefs_, strict=True):
        # Both evaluate in float32, whose rounding 12 iterations of line searches amplify.
        np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-3)
    assert ours.n_iter_ == theirs.n_iter_


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.uint8, np.float16])
def test_predictions_on_another_dtype_follow_scikit_learns_promotion(dtype):
    X, y = single_output()
    X = np.abs(X * 10)
    ours, theirs = pair("MLPRegressor", {})
    ours.fit(X.astype(np.float32), y)
    theirs.fit(X.astype(np.float32), y)
    expected, actual = theirs.predict(X.astype(dtype)), ours.predict(X.astype(dtype))
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)  # two float32 models, see above


@pytest.mark.parametrize("data", [binary, multiclass], ids=lambda d: d.__name__)
def test_a_refit_draws_from_a_shared_random_state_as_scikit_learn(data):
    X, y = data()
    for estimators in [pair(kind_of(data), {"max_iter": 3})]:
        for estimator in estimators:
            estimator.set_params(random_state=np.random.RandomState(5)).fit(X, y)
            estimator.fit(X, y)
    assert_same_model(*estimators)


@pytest.mark.parametrize("settings", ["adam", "stops_at_a_plateau", "adam_early_stopping", "sgd_adaptive"])
def test_verbose_prints_scikit_learns_text(settings, capsys):
    X, y = binary()
    texts = []
    for estimator in pair("MLPClassifier", SETTINGS[settings] | {"verbose": True}):
        estimator.fit(X, y)
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert "Iteration 1, loss = " in texts[0]


@pytest.mark.parametrize(
    ("settings", "rows"), [("adam", 211), ("sgd", 20), ("lbfgs", 211), ("adam_early_stopping", 211)]
)
def test_the_warnings_are_scikit_learns(settings, rows):
    X, y = binary()
    heard = []
    changes = {"max_iter": 2} | ({"batch_size": "auto"} if settings == "lbfgs" else {})  # or ours would warn
    for estimator in pair("MLPClassifier", SETTINGS[settings] | changes):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            estimator.fit(X[:rows], y[:rows])
        heard.append([(w.category, str(w.message)) for w in caught])
    assert heard[0] == heard[1]
    assert any(category is ConvergenceWarning for category, _ in heard[0])


@pytest.mark.parametrize(
    "y",
    [
        np.arange(8) % 2,
        np.arange(9, dtype=np.int8) % 3 - 5,
        np.zeros(4, int),
        np.arange(6) % 2 == 0,
        np.array(["a", "b", "a", "b"]),
        np.arange(4) / 2 // 1,
        np.eye(3, dtype=int),
    ],
)
def test_the_short_way_to_a_label_binarizer_leads_to_scikit_learns(y):
    ours, theirs = vars(_fitted_binarizer(y)), vars(LabelBinarizer().fit(y))
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value)
        assert type(ours[name]) is type(value)
