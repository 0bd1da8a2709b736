"""Fuzzing of the estimators: their parameters, and the rows that they get."""

import copy
import math

import numpy as np
import scipy.sparse
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError

import fastopt

from .odd import NUMBERS, RAW, same, works_or_explains

ESTIMATORS = (fastopt.MLPClassifier, fastopt.MLPRegressor)

#: What scikit-learn and NumPy say of rows, in words that its users know, and of parameters.
KNOWN = ("inhomogeneous", "argument must be", "not a valid", "float() argument", "not supported between")
RAW_OF_ROWS = [part for part in RAW if part not in KNOWN]

SIZES = st.sampled_from(
    [
        (5,), 5, (4, 3), [], (), 0, (0,), (-1,), -3, "abc", "5", ("a",), (2.5,), 2.5, (3.0,), None, (None,),
        True,
        (True,), math.nan, (math.nan,), (math.inf,), ((3,),), [[3, 4]], np.array([3]), np.array([[3]]),
        np.array([2.5]), {3}, {3: 4}, range(2, 4), (10**13,), (10**30,), 1 + 2j, (1 + 2j,), object(),
        (object(),),
        b"ab", np.int8(3), (np.float32(3),), iter([3]), lambda: 3,
    ]
)  # fmt: skip

WORDS = st.sampled_from(
    "adam sgd lbfgs lamb relu tanh identity logistic gelu constant adaptive invscaling auto cpu cuda cuda:7 "
    "squared_error poisson ADAM é".split()
    + ["", " "]
)

#: None of these makes a fit long: `max_iter`, `max_fun` and `verbose` are drawn here alone.
SHORT = {
    "max_iter": st.sampled_from([0, 1, 2, -1, 2.5, None, "a", True, np.int64(2), math.nan, math.inf]),
    "max_fun": st.sampled_from([1, 5, 0, -1, None, "a", 2.5]),
    "hidden_layer_sizes": SIZES,
    "checkpoint": st.sampled_from([None, 3, b"x", object(), ["a"]]),
    "learning_rate": WORDS,
    "n_jobs": st.sampled_from([None, 1, 2, -1, 0, 1.5, "a", 10**9, -(10**9), True]),
    "progress": st.sampled_from([False, None, "a", 3, []]),
}


def rows(n=24):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    return X, (X[:, 0] > 0).astype(int)


@st.composite
def parameter_cases(draw, is_long):
    cls = draw(st.sampled_from(ESTIMATORS))
    names = sorted(cls(random_state=0).get_params())
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    # scikit-learn's own check of a range ends in NumPy's TypeError for an int beyond float64.
    numbers = NUMBERS.filter(lambda value: type(value) is not int or abs(value) < 2**1000)
    values = {name: draw(SHORT.get(name, st.one_of(numbers, WORDS))) for name in chosen}
    return cls, values, draw(st.sampled_from([np.float64, np.float32])), draw(st.booleans())


def check_parameters(case):
    """Any parameters can be shown; a fit with them works or says why not, and leaves rows as they were."""
    cls, values, dtype, is_partial = case
    network = works_or_explains(lambda: cls(**{"max_iter": 2, "hidden_layer_sizes": (4,), **values}))
    if network is None:
        return
    repr(network)
    X, y = rows()
    X = X.astype(dtype)
    before = copy.deepcopy((X, y))
    options = {"classes": [0, 1]} if is_partial and cls is fastopt.MLPClassifier else {}
    fit = network.partial_fit if is_partial and hasattr(network, "partial_fit") else network.fit
    if fit == network.fit:
        options = {}
    fitted = works_or_explains(lambda: fit(X, y, **options), also=(AttributeError,) if is_partial else ())
    assert same((X, y), before), "fit wrote to its rows"
    if fitted is not None:
        assert works_or_explains(lambda: network.predict(X)) is not None
    else:
        works_or_explains(lambda: network.predict(X), also=(NotFittedError,))


def _tables():
    X, _ = rows()
    frozen = X.copy()
    frozen.flags.writeable = False
    bad = scipy.sparse.csr_array(np.where(X > 0, X, 0.0))
    bad.indices = bad.indices + 3
    backwards = scipy.sparse.csr_array(np.where(X > 0, X, 0.0))
    backwards.indptr = backwards.indptr[::-1].copy()
    sparse = scipy.sparse.csr_array(np.where(X > 0, X, 0.0))
    return [
        X, X.astype("f"), np.asfortranarray(X), X[::2], X[:, :0], X[:0], X[:1], X[0], X.reshape(4, 6, 4),
        X[::-1],
        frozen, X.tolist(), X.astype(int), X.astype(bool), X.astype(complex), X.astype(object),
        X.astype("U5"),
        np.where(X > 2, np.nan, X), np.where(X > 1, np.inf, X), X * 1e300, X * 1e38, X * 1e-320, sparse,
        sparse.tocsc(), sparse.tocoo(), bad, backwards, scipy.sparse.csr_array((24, 10**9)), None, "abc", 3,
        [],
        [[]], [[1, 2], [3]], object(), {}, np.ma.masked_array(X), np.matrix(X), X.astype(">f8"),
        X.astype("f2"),
        np.zeros(24, dtype=[("a", float)]), X.astype("M8[s]"), X[:, :2], np.repeat(X, 3, axis=0), iter([1]),
    ]  # fmt: skip


def _targets():
    X, y = rows()
    return [
        y, y.astype(float), y.astype(str), y.astype(bool), y.astype(object), y[:, None], np.c_[y, 1 - y],
        y[:5],
        X[:, 0], X, np.zeros(24), np.arange(24), np.where(y, np.nan, 0.0), np.where(y, np.inf, 0.0),
        y.tolist(),
        ["a", None] * 12, None, [], "abc", 3, y - 5, y * 1e300, scipy.sparse.csr_array(np.c_[y, y]), object(),
        y.astype("M8[D]"), [{}] * 24, [[1], [1, 2]] * 12, y.astype(complex), np.repeat(y, 3),
        y.astype(np.uint8),
        np.array([0, 2**62] * 12), np.zeros((24, 0)), np.zeros((0,)), y.astype("f2"), -X[:, 0] ** 2,
    ]  # fmt: skip


def _weights():
    return [
        None, np.ones(24), np.zeros(24), -np.ones(24), np.full(24, np.nan), np.ones(3), np.ones((24, 2)),
        2.0, "a",
        [1] * 24, np.full(24, 1e300), np.full(24, 1e-300), np.ones(24, complex), [None] * 24, np.eye(24)[0],
        np.full(24, np.inf), [], np.ones(24, bool), {}, np.ones(72),
    ]  # fmt: skip


@st.composite
def row_cases(draw, is_long):
    def one(make):
        return st.integers(0, len(make()) - 1).map(lambda i: make()[i])

    cls = draw(st.sampled_from(ESTIMATORS))
    settings = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "solver": st.sampled_from(
                    ["adam", "sgd", "lbfgs", fastopt.Clip(fastopt.Adam(), norm=1.0), "lamb"]
                ),
                "early_stopping": st.booleans(),
                "batch_size": st.sampled_from([1, 7, 10**9]),
                "warm_start": st.booleans(),
                "loss": st.just("poisson") if cls is fastopt.MLPRegressor else st.nothing(),
            },
        )
        if cls is fastopt.MLPRegressor
        else st.fixed_dictionaries(
            {},
            optional={
                "solver": st.sampled_from(["adam", "sgd", "lbfgs", "lamb"]),
                "early_stopping": st.booleans(),
                "batch_size": st.sampled_from([1, 7, 10**9]),
            },
        )
    )
    X, y, weights = draw(one(_tables)), draw(one(_targets)), draw(one(_weights))
    return cls, settings, X, y, weights, draw(one(_tables)), draw(st.booleans())


def check_rows(case):
    """Any rows, targets and weights are taken or refused in words, and left as they were."""
    cls, settings, X, y, weights, others, is_partial = case
    network = cls(hidden_layer_sizes=(4,), max_iter=2, random_state=0, **settings)
    fixed = [a for a in (X, y, weights, others) if not hasattr(a, "__next__")]
    before = copy.deepcopy(fixed)
    fit = network.fit
    if is_partial and settings.get("solver") != "lbfgs":
        fit = network.partial_fit
    fitted = works_or_explains(lambda: fit(X, y, sample_weight=weights), raw=RAW_OF_ROWS)
    if fitted is not None:
        for name in ("predict", "predict_proba", "score"):
            if hasattr(network, name):
                works_or_explains(
                    lambda name=name: getattr(network, name)(*([X, y] if name == "score" else [others])),
                    raw=RAW_OF_ROWS,
                )
    assert same(before, fixed), "rows, targets or weights were changed"
