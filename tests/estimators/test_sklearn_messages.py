"""Errors and warnings are scikit-learn's, word for word, for the same misuse."""

import math
import re
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.neural_network as sk

import fastopt
from fastopt.rules.losses import REGRESSION_LOSSES

RS = np.random.RandomState(0)
X = RS.standard_normal((60, 4))
BINARY, THREE, REAL = (X[:, 0] > 0).astype(int), RS.randint(3, size=60), X[:, 0]
LABELS = (RS.uniform(size=(60, 3)) > 0.5).astype(int)


def classifier(library, **settings):
    return library.MLPClassifier(**{"hidden_layer_sizes": (3,), "max_iter": 3, "random_state": 0} | settings)


def regressor(library, **settings):
    return library.MLPRegressor(**{"hidden_layer_sizes": (3,), "max_iter": 3, "random_state": 0} | settings)


def outcome(action, library):
    """What a user sees: the exception, and the warnings that are not NumPy's about overflow."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            action(library)
            error = None
        except Exception as exception:
            error = type(exception).__name__, _sorted_sets(str(exception))
    return error, [(w.category.__name__, str(w.message)) for w in caught if w.category is not RuntimeWarning]


def _sorted_sets(text):
    # scikit-learn prints allowed strings in the order of a set, which differs from one set to the next.
    return re.sub(r"\{[^}]*\}", lambda m: str(sorted(m.group()[1:-1].split(", "))), text)


BAD_SETTINGS = [
    {"alpha": -1}, {"batch_size": 0}, {"batch_size": "x"},
    {"learning_rate_init": 0}, {"power_t": -1}, {"max_iter": 0}, {"max_iter": 1.5}, {"shuffle": "x"},
    {"random_state": "x"}, {"tol": -1}, {"verbose": -1}, {"warm_start": "y"}, {"momentum": 2},
    {"nesterovs_momentum": 3}, {"early_stopping": "n"}, {"validation_fraction": 1}, {"beta_1": 1},
    {"beta_2": -0.1}, {"epsilon": 0}, {"n_iter_no_change": 0}, {"max_fun": 0}, {"hidden_layer_sizes": 0},
    {"hidden_layer_sizes": (10, 0)}, {"hidden_layer_sizes": [3, -1]}, {"hidden_layer_sizes": "a"},
    {"batch_size": 100}, {"early_stopping": True, "validation_fraction": 0},
    {"early_stopping": True, "validation_fraction": 0.99}, {"solver": "lbfgs", "max_iter": 1},
    {"solver": "lbfgs", "max_fun": 1},
]  # fmt: skip

BAD_ROWS = {
    "1d": X[:, 0], "3d": X[:, :, None], "nan": np.where(X > 1, np.nan, X), "inf": np.where(X > 1, np.inf, X),
    "no features": X[:, :0], "no rows": X[:0], "strings": np.full(X.shape, "a"), "complex": X.astype(complex),
    "none": None, "other width": X[:, :3], "fewer": X[:50],
    "sparse nan": sp.csr_array(np.where(X > 1, np.nan, X)),
}  # fmt: skip

BAD_TARGETS = {
    "real": REAL, "none": None, "short": BINARY[:5], "column": BINARY[:, None],
    "nan": np.where(BINARY, np.nan, 1), "inf": np.where(BINARY, np.inf, 1), "empty": [],
    "mixed": np.array([1, "a"] * 30, object),
    "3d": np.zeros((60, 2, 2)), "multiclass-multioutput": np.column_stack([THREE, THREE]),
    "complex": BINARY.astype(complex),
}  # fmt: skip

BAD_WEIGHTS = {
    "short": np.ones(5), "2d": np.ones((60, 1)), "nan": np.full(60, np.nan),
    "string": "a",
}  # fmt: skip


def binary(library):
    """A classifier after its first `partial_fit`."""
    return classifier(library).partial_fit(X, BINARY, classes=[0, 1])


def warm(library):
    return classifier(library, warm_start=True).fit(X, THREE)


SEQUENCES = {
    "no classes": lambda lib: classifier(lib).partial_fit(X, BINARY),
    "other classes": lambda lib: binary(lib).partial_fit(X, BINARY, classes=[1, 2]),
    "unseen label": lambda lib: binary(lib).partial_fit(X, BINARY + 1),
    "unseen label at first": lambda lib: classifier(lib).partial_fit(X, BINARY + 1, classes=[0, 1]),
    "partial_fit with early stopping": lambda lib: regressor(lib, early_stopping=True).partial_fit(X, REAL),
    "partial_fit with lbfgs": lambda lib: classifier(lib, solver="lbfgs").partial_fit(X, BINARY),
    "partial_fit of another width": lambda lib: binary(lib).partial_fit(X[:, :2], BINARY),
    "partial_fit of reals": lambda lib: classifier(lib).partial_fit(X, REAL, classes=[0, 1]),
    "multilabel after binary": lambda lib: binary(lib).partial_fit(X, LABELS),
    "warm start with fewer classes": lambda lib: warm(lib).fit(X, BINARY),
    "warm start with labels": lambda lib: warm(lib).fit(X, LABELS),
    "warm start of another width": lambda lib: warm(lib).fit(X[:, :2], THREE),
    "not fitted": lambda lib: classifier(lib).predict(X),
    "not fitted, scored": lambda lib: regressor(lib).score(X, REAL),
    "a rare class": lambda lib: classifier(lib, early_stopping=True).fit(X[:5], [0, 0, 0, 0, 1]),
    "too few rows of a class": lambda lib: classifier(lib, early_stopping=True).fit(X[:5], [0, 0, 0, 1, 1]),
    "too few rows": lambda lib: regressor(lib, early_stopping=True).fit(X[:5], REAL[:5]),
    "one row": lambda lib: regressor(lib, early_stopping=True).fit(X[:1], REAL[:1]),
    "no loss curve": lambda lib: classifier(lib, solver="lbfgs").fit(X, BINARY).loss_curve_,
    "no coefs": lambda lib: classifier(lib).coefs_,
}


def assert_same_outcome(action):
    ours, theirs = outcome(action, fastopt), outcome(action, sk)
    assert ours == theirs
    return ours


def test_an_unknown_loss_is_answered_with_all_losses_that_there_are():
    ours, theirs = (outcome(lambda lib: regressor(lib, loss="x").fit(X, REAL), lib) for lib in (fastopt, sk))
    names = r"\[[^]]*\]"
    assert ours[0][0] == theirs[0][0] == "InvalidParameterError"
    assert re.sub(names, "", ours[0][1]) == re.sub(names, "", theirs[0][1])
    assert [eval(name) for name in eval(re.search(names, ours[0][1])[0])] == sorted(REGRESSION_LOSSES)


@pytest.mark.parametrize("make", [classifier, regressor])
def test_an_unknown_activation_is_answered_with_all_activations_that_there_are(make):
    ours, theirs = (
        outcome(lambda lib: make(lib, activation="x").fit(X, BINARY), lib) for lib in (fastopt, sk)
    )
    names = r"\[[^]]*\]"
    assert ours[0][0] == theirs[0][0] == "InvalidParameterError"
    assert re.sub(names, "", ours[0][1]).replace(", an instance of 'list' or an instance of 'tuple'", "") == (
        re.sub(names, "", theirs[0][1])
    )
    assert [eval(name) for name in eval(re.search(names, ours[0][1])[0])] == fastopt.list_activations()


@pytest.mark.parametrize("settings", BAD_SETTINGS, ids=str)
@pytest.mark.parametrize(
    ("make", "y"), [(classifier, BINARY), (regressor, REAL)], ids=["classifier", "regressor"]
)
def test_of_settings(make, y, settings):
    error, heard = assert_same_outcome(lambda library: make(library, **settings).fit(X, y))
    assert error or heard


@pytest.mark.parametrize("rows", BAD_ROWS.values(), ids=BAD_ROWS.keys())
@pytest.mark.parametrize("action", ["fit", "predict", "partial_fit"])
def test_of_rows(action, rows):
    if action == "fit":
        assert_same_outcome(lambda library: classifier(library).fit(rows, BINARY))
        assert_same_outcome(lambda library: regressor(library).fit(rows, REAL))
    else:
        arguments = (rows,) if action == "predict" else (rows, BINARY)
        assert_same_outcome(lambda library: getattr(classifier(library).fit(X, BINARY), action)(*arguments))


@pytest.mark.parametrize("y", BAD_TARGETS.values(), ids=BAD_TARGETS.keys())
def test_of_targets(y):
    for make in (classifier, regressor):
        assert_same_outcome(lambda library, make=make: make(library).fit(X, y))


@pytest.mark.parametrize("weight", BAD_WEIGHTS.values(), ids=BAD_WEIGHTS.keys())
def test_of_sample_weights(weight):
    error, _ = assert_same_outcome(lambda library: classifier(library).fit(X, THREE, weight))
    assert error


@pytest.mark.parametrize("action", SEQUENCES.values(), ids=SEQUENCES.keys())
def test_of_sequences(action):
    error, _ = assert_same_outcome(action)
    assert error


def test_a_first_argument_that_is_no_loss_is_answered_with_the_order_of_arguments():
    words = r"The 'loss' parameter of MLPRegressor must be a str among \{'absolute_error', .*"
    words += r"Got \(64,\) instead. loss is the first argument, as in scikit-learn; "
    words += r".*MLPRegressor\(hidden_layer_sizes=\(64,\)\)"
    with pytest.raises(ValueError, match=words):
        fastopt.MLPRegressor((64,)).fit(X, REAL)


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_an_unknown_argument_names_the_class_that_was_called(name):
    with pytest.raises(TypeError, match=rf"^{name} has no argument 'alhpa'\. Did you mean 'alpha'\?$"):
        getattr(fastopt, name)(alhpa=1)


def test_of_weights_that_are_all_zero():
    # From scikit-learn 1.9 on; before, it divides by zero.
    with pytest.raises(ValueError, match=r"^Sample weights must contain at least one non-zero number\.$"):
        classifier(fastopt).fit(X, THREE, np.zeros(60))


@pytest.mark.parametrize("sizes", [(2.5,), (None,), [[3, 4]], (1 + 2j,), (math.nan,)])
def test_odd_layer_sizes_are_named_where_scikit_learn_shows_pythons_own_sentence(sizes):
    network = fastopt.MLPClassifier(sizes)
    with pytest.raises(TypeError, match="hidden_layer_sizes must be whole numbers > 0, one for each"):
        network.fit(X, BINARY)
