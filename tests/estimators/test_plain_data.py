"""What skips scikit-learn's validation gives what that gives: its values, attributes, messages and errors."""

import warnings

import numpy as np
import pytest
import scipy.sparse

from fastopt import MLPClassifier, MLPRegressor
from fastopt.neural_network import plain_data

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
pd = pytest.importorskip("pandas")
RNG = np.random.default_rng(0)
A = RNG.standard_normal((8, 3)).round(2)
Y = np.array([0, 1, 2, 1] * 2)
NAMED = pd.DataFrame(A, columns=["a", "b", "c"])
NETWORK = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}


def with_value(value, at=(0, 0)):
    X = A.copy()
    X[at] = value
    return X


def unsorted():
    X = scipy.sparse.csr_array(np.where(A > 0, A, 0))
    X.indices[:2], X.data[:2] = X.indices[:2][::-1].copy(), X.data[:2][::-1].copy()
    X.has_sorted_indices = False
    return X


ROWS = {
    "float64": A,
    "float32": A.astype("f"),
    "float16": A.astype("e"),
    "longdouble": A.astype("g"),
    "big-endian": A.astype(">f8"),
    "integers": (10 * A).astype(int),
    "booleans": A > 0,
    "complex": A + 0j,
    "objects": A.astype(object),
    "strings": A.astype(str),
    "Fortran": np.asfortranarray(A),
    "strided": np.repeat(A, 2, axis=1)[:, ::2],
    "read-only": np.broadcast_to(A[:1], A.shape),
    "matrix": A.view(type("Sub", (np.ndarray,), {})),
    "masked": np.ma.masked_less(A, -1),
    "one row": A[:1],
    "no rows": A[:0],
    "no columns": A[:, :0],
    "another number of columns": A[:, :2],
    "one dimension": A[0],
    "three dimensions": A[None],
    "NaN": with_value(np.nan),
    "infinity": with_value(-np.inf, (3, 1)),
    "overflowing sum": with_value(1e308) + with_value(1e308, (1, 0)),
    "list": A.tolist(),
    "list of integers": (10 * A).astype(int).tolist(),
    "list of tuples": list(map(tuple, A.tolist())),
    "list of arrays": list(A),
    "list of booleans": (A > 0).tolist(),
    "list of large integers": [[2**70, 1, 2]] * 8,
    "list of strings": A.astype(str).tolist(),
    "ragged list": [[1.0, 2.0], [3.0]],
    "list with None": [[1.0, None, 3.0]] * 8,
    "list with NaN": with_value(np.nan).tolist(),
    "flat list": A[0].tolist(),
    "empty list": [],
    "tuple": tuple(A.tolist()),
    "csr_array": scipy.sparse.csr_array(np.where(A > 0, A, 0)),
    "csr_matrix": scipy.sparse.csr_matrix(np.where(A > 0, A, 0).astype("f")),
    "csr of integers": scipy.sparse.csr_array((10 * A).astype(int)),
    "csr with NaN": scipy.sparse.csr_array(with_value(np.nan)),
    "csr without entries": scipy.sparse.csr_array((8, 3)),
    "unsorted csr": unsorted(),
    "csc_array": scipy.sparse.csc_array(A),
    "coo_array": scipy.sparse.coo_array(A),
    "DataFrame": NAMED,
    "DataFrame, float32": NAMED.astype("f"),
    "DataFrame, mixed": NAMED.astype({"a": "f", "b": int}),
    "DataFrame, nullable": NAMED.astype("Float64"),
    "DataFrame, sparse": NAMED.astype(pd.SparseDtype(float, 0.0)),
    "DataFrame, other order": NAMED[["c", "a", "b"]],
    "DataFrame, other names": NAMED.rename(columns={"a": "d"}),
    "DataFrame, fewer columns": NAMED[["a", "b"]],
    "DataFrame, numbers for names": pd.DataFrame(A),
    "DataFrame, mixed names": pd.DataFrame(A, columns=["a", 1, 2]),
    "DataFrame, NaN": pd.DataFrame(with_value(np.nan), columns=["a", "b", "c"]),
}
LABELS = {
    "integers": Y,
    "int8": Y.astype("i1"),
    "unsigned": Y.astype("u4"),
    "floats": Y.astype(float),
    "other floats": Y + 0.5,
    "NaN": np.where(Y == 1, np.nan, Y),
    "booleans": Y > 0,
    "strings": np.array(["a", "bb", "c"])[Y],
    "objects": np.array(["a", "bb", "c"], object)[Y],
    "objects of integers": Y.astype(object),
    "objects with None": np.array(["a", None, "c"], object)[Y],
    "unknown": Y + 1,
    "unknown strings": np.array(["a", "bbb", "c"])[Y],
    "list": Y.tolist(),
    "list of strings": np.array(["a", "bb", "c"])[Y].tolist(),
    "list of mixed": ["a", 1, "c", 1] * 2,
    "ragged list": [[1], [1, 2]] * 4,
    "list with None": [0, None, 2, 1] * 2,
    "tuple": tuple(Y.tolist()),
    "column": Y[:, None],
    "indicators": np.eye(3, dtype=int)[Y],
    "several columns": np.stack([A[:, 0], A[:, 1]], axis=1),
    "too few": Y[:-1],
    "none": None,
    "number": 1,
    "Series": pd.Series(Y),
    "Series of strings": pd.Series(np.array(["a", "bb", "c"])[Y]),
    "Series of categories": pd.Series(np.array(["a", "bb", "c"])[Y], dtype="category"),
    "Series, nullable": pd.Series(Y, dtype="Int64"),
    "real numbers": A[:, 0],
    "real numbers, float32": A[:, 0].astype("f"),
    "real list": A[:, 0].tolist(),
    "real Series": pd.Series(A[:, 0]),
    "infinity": with_value(np.inf)[:, 0],
    "complex": Y + 0j,
}
WEIGHTS = {
    "float64": RNG.random(8),
    "float32": RNG.random(8).astype("f"),
    "integers": Y,
    "list": [1.0] * 8,
    "number": 2.0,
    "zeros": np.zeros(8),
    "negative": -RNG.random(8),
    "strided": RNG.random(16)[::2],
    "NaN": np.full(8, np.nan),
    "too few": np.ones(7),
    "column": np.ones((8, 1)),
}


def outcome(call):
    """Return what a call returns or raises, its warnings, and what it leaves in the estimator."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            returned = call()
        except Exception as error:
            returned = type(error), str(error)
    told = [(w.category, str(w.message)) for w in caught]
    if isinstance(returned, (MLPClassifier, MLPRegressor)):
        known = vars(returned)
        names = ("n_features_in_", "feature_names_in_", "classes_", "loss_curve_", "_params", "n_outputs_")
        returned = {name: known.get(name) for name in names}
    return returned, told, getattr(returned, "dtype", None)


def by_scikit_learn(monkeypatch, call):
    """Return the outcome of a call with scikit-learn's validation only."""
    with monkeypatch.context() as patch:
        for name in ("rows", "vector", "targets", "codes", "weights"):
            patch.setattr(plain_data, name, lambda *args, **settings: None)
        return outcome(call)


@pytest.fixture
def same(monkeypatch):
    """Return a function that compares the outcome of a call with that by scikit-learn's validation."""

    def compare(call):
        np.testing.assert_equal(outcome(call), by_scikit_learn(monkeypatch, call))

    return compare


@pytest.mark.parametrize("name", ROWS)
def test_rows(name, same):
    X = ROWS[name]
    n = X.shape[0] if hasattr(X, "shape") else len(X)
    y = np.resize(Y, n)
    same(lambda: MLPClassifier(**NETWORK).fit(X, y))
    same(lambda: MLPRegressor(**NETWORK).fit(X, y))
    for fitted in (A, A.astype("f"), NAMED, pd.DataFrame(A)):
        same(lambda fitted=fitted: MLPClassifier(**NETWORK).fit(fitted, Y).predict_proba(X))
        same(lambda fitted=fitted: MLPClassifier(**NETWORK).fit(fitted, Y).partial_fit(X, y))
        same(lambda fitted=fitted: MLPRegressor(**NETWORK).fit(fitted, Y).partial_fit(X, y))


@pytest.mark.parametrize("name", LABELS)
def test_targets(name, same):
    y = LABELS[name]
    same(lambda: MLPClassifier(**NETWORK).fit(A, y))
    same(lambda: MLPRegressor(**NETWORK).fit(A, y))
    for known in ("integers", "floats", "booleans", "strings", "objects", "indicators"):
        same(lambda known=known: MLPClassifier(**NETWORK).fit(A, LABELS[known]).partial_fit(A, y))
    for known in ("real numbers", "several columns"):
        same(lambda known=known: MLPRegressor(**NETWORK).fit(A, LABELS[known]).partial_fit(A, y))


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(name, same):
    weights = WEIGHTS[name]
    for kind in (MLPClassifier, MLPRegressor):
        same(lambda kind=kind: kind(**NETWORK).fit(A, Y, sample_weight=weights))
        same(lambda kind=kind: kind(**NETWORK).fit(A, Y).partial_fit(A, Y, sample_weight=weights))


def test_names_are_forgotten_with_rows_that_have_none(same):
    same(lambda: MLPClassifier(**NETWORK).fit(NAMED, Y).fit(A, Y))
    assert not hasattr(MLPClassifier(**NETWORK).fit(NAMED, Y).fit(A, Y), "feature_names_in_")


def test_rows_with_none_are_not_predicted():
    """scikit-learn leaves such lists to NumPy, where its products raise a TypeError."""
    for kind in (MLPClassifier, MLPRegressor):
        with pytest.raises(ValueError, match="X contains NaN"):
            kind(**NETWORK).fit(A, Y).predict([[1.0, None, 3.0]])


@pytest.mark.parametrize(
    "X", [A, A.astype("f"), A.tolist(), ROWS["csr_array"], ROWS["Fortran"], NAMED], ids=lambda X: str(type(X))
)
def test_plain_rows_are_recognised(X, monkeypatch):
    networks = [kind(**NETWORK).fit(X if X is NAMED else A, Y) for kind in (MLPClassifier, MLPRegressor)]

    def refused(*args, **settings):
        raise AssertionError("scikit-learn's validation was called")

    monkeypatch.setattr("fastopt.neural_network.validation.validate_data", refused)
    for network in networks:
        network.predict(X)
        network.partial_fit(X, Y)
        network.partial_fit(X, Y.tolist(), sample_weight=np.ones(8))
        if X is not NAMED:
            network.fit(X, Y)
