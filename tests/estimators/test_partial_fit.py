"""Streams of small batches: the quick path for plain arrays, and what is kept between calls."""

import gc
import threading
import weakref

import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network as sk

import fastopt
from fastopt import MLPClassifier, MLPRegressor
from fastopt.neural_network import validation

RS = np.random.RandomState(0)
X = RS.standard_normal((120, 6))
CODES = np.digitize(X[:, 0] + X[:, 1], [-0.5, 0.5])

TARGETS = {
    "binary": (MLPClassifier, (CODES > 0).astype(int)),
    "bool": (MLPClassifier, CODES > 0),
    "multiclass": (MLPClassifier, CODES.astype(np.uint8) * 7),
    "strings": (MLPClassifier, np.array(["b", "c", "a"])[CODES]),
    "number": (MLPRegressor, X[:, 0] ** 2),
    "float32": (MLPRegressor, (X[:, 0] ** 2).astype(np.float32)),
    "numbers": (MLPRegressor, X[:, :3] ** 2),
}


def start(cls, y, data=X, **settings):
    settings = {"hidden_layer_sizes": (5, 4), "random_state": 0} | settings
    known = {"classes": np.unique(y)} if hasattr(cls, "predict_proba") else {}
    return cls(**settings).partial_fit(data[:30], y[:30], **known)


def stream(model, data, y, n_rows, change=lambda part: part):
    for first in range(30, 120, n_rows):
        rows = slice(first, first + n_rows)
        model.partial_fit(change(data[rows]), change(y[rows]))
    return model


def assert_same(one, other):
    np.testing.assert_array_equal(one._params, other._params)
    assert one.loss_curve_ == other.loss_curve_
    assert one.t_ == other.t_


@pytest.fixture
def without_scikit_learn(monkeypatch):
    """Return what makes scikit-learn's validation of data an error from then on."""

    def refuse(*args, **kwargs):
        raise AssertionError("the generic path")

    def begin():
        monkeypatch.setattr(validation, "validate_data", refuse)

    return begin


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_rows", [1, 7])
@pytest.mark.parametrize("name", TARGETS)
def test_plain_arrays_take_the_quick_path_to_the_same_bits(name, n_rows, dtype, without_scikit_learn):
    cls, y = TARGETS[name]
    data = X.astype(dtype)
    generic = stream(start(cls, y, data), data, y, n_rows, lambda part: tuple(part.tolist()))
    quick = start(cls, y, data)
    without_scikit_learn()
    assert_same(stream(quick, data, y, n_rows), generic)
    with pytest.raises(AssertionError, match="the generic path"):
        quick.partial_fit(tuple(data[:7].tolist()), y[:7])


@pytest.mark.parametrize(
    "settings",
    [{"random_state": 3}, {"random_state": None}, {"random_state": "state"}, {"shuffle": False}],
    ids=str,
)
@pytest.mark.parametrize("name", ["multiclass", "number"])
def test_streams_train_as_scikit_learns(name, settings):
    cls, y = TARGETS[name]
    models = []
    for library in (fastopt, sk):
        given = dict(settings)
        if given.get("random_state") == "state":
            given["random_state"] = np.random.RandomState(5)
        np.random.seed(11)  # noqa: NPY002  what random_state=None draws from
        model = start(getattr(library, cls.__name__), y, batch_size=4, **given)
        models.append(stream(model, X, y, 9))
    for a, b in zip(models[0].coefs_, models[1].coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-12)  # rounding of another BLAS, in 24 steps
    np.testing.assert_allclose(models[0].loss_curve_, models[1].loss_curve_, rtol=1e-9)


REFUSED = {
    "another label": ("binary", lambda y: y + 1),
    "a label between": ("multiclass", lambda y: y + 1),
    "another string": ("strings", lambda y: np.char.add(y, "x")),
    "too few": ("binary", lambda y: y[:-1]),
    "too few numbers": ("number", lambda y: y[:-1]),
    "NaN": ("number", lambda y: y * np.nan),
    "infinity": ("numbers", lambda y: y + np.inf),
    "three axes": ("number", lambda y: y.reshape(-1, 1, 1)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_scikit_learns_words_and_changes_nothing(case):
    name, change = REFUSED[case]
    cls, y = TARGETS[name]
    messages = []
    for library in (fastopt, sk):
        model = start(getattr(library, cls.__name__), y)
        before = [w.copy() for w in model.coefs_]
        with pytest.raises(ValueError) as raised:  # noqa: PT011  the messages are compared
            model.partial_fit(X[30:40], change(y[30:40]))
        messages.append(str(raised.value))
        for w, old in zip(model.coefs_, before, strict=True):
            np.testing.assert_array_equal(w, old)
    assert messages[0] == messages[1]


def test_a_negative_count_is_refused_on_the_quick_path():
    reg = start(MLPRegressor, X[:, 0] ** 2, loss="poisson")
    with pytest.raises(ValueError, match="loss='poisson' needs y >= 0"):
        reg.partial_fit(X[:5], np.full(5, -1.0))


def test_given_classes_may_be_repeated_but_not_changed():
    cls, y = TARGETS["binary"]
    clf = start(cls, y)
    expected = start(cls, y).partial_fit(X[:9], y[:9])
    assert_same(clf.partial_fit(X[:9], y[:9], classes=[0, 1]), expected)
    with pytest.raises(ValueError, match="is not the same as on last call to partial_fit"):
        clf.partial_fit(X[:9], y[:9], classes=[0, 2])


def test_no_data_is_kept_alive():
    cls, y = TARGETS["number"]
    reg = start(cls, y)
    data, targets = X[:50].copy(), y[:50].copy()
    known = [weakref.ref(data), weakref.ref(targets)]
    reg.partial_fit(data, targets)
    del data, targets
    gc.collect()
    assert [ref() for ref in known] == [None, None]


@pytest.mark.parametrize("is_sparse", [False, True])
def test_a_buffer_that_is_filled_anew_for_every_call_is_read_anew(is_sparse):
    # 80 columns: from 64 on, the engine looks for zeros, and remembers how many of which rows it found.
    rows = RS.standard_normal((60, 80)) * (RS.uniform(size=(60, 80)) < np.linspace(0.02, 1, 60)[:, None])
    y = rows[:, 0].copy()
    pack = scipy.sparse.csr_array if is_sparse else np.array
    fresh, reused = (MLPRegressor(hidden_layer_sizes=(5,), random_state=0) for _ in range(2))
    buffer = pack(rows[:10])
    for first in range(0, 60, 10):
        part = pack(rows[first : first + 10])
        fresh.partial_fit(part, y[first : first + 10])
        if is_sparse:
            buffer.data, buffer.indices, buffer.indptr = part.data, part.indices, part.indptr
        else:
            buffer[...] = part
        reused.partial_fit(buffer, y[first : first + 10])
    assert_same(reused, fresh)


def test_models_of_one_shape_take_turns_and_run_in_threads():
    cls, y = TARGETS["multiclass"]
    expected = [stream(start(cls, y, random_state=seed), X, y, 1) for seed in range(4)]
    turns = [start(cls, y, random_state=seed) for seed in range(4)]
    for row in range(30, 120):
        for model in turns:
            model.partial_fit(X[row : row + 1], y[row : row + 1])
            model.predict(X[:3])  # its trainer has buffers for three rows
    threads, models = [], [start(cls, y, random_state=seed) for seed in range(4)]
    for model in models:
        threads.append(threading.Thread(target=stream, args=(model, X, y, 1)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    for one, other, wanted in zip(turns, models, expected, strict=True):
        assert_same(one, wanted)
        assert_same(other, wanted)
