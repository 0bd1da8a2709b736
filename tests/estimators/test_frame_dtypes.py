"""Frames, labels and images keep the type of their numbers: float32 stays so, whole labels stay whole."""

import datetime
import tracemalloc

import numpy as np
import pytest

import fastopt
from fastopt import MLPClassifier, MLPRegressor, TabularMLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
pd = pytest.importorskip("pandas")
RNG = np.random.default_rng(0)
N = 40
A = RNG.standard_normal((N, 2)).astype(np.float32)
WHOLE = RNG.integers(-9, 9, N).astype(np.int8)
Y = np.arange(N) % 2
SMALL = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}
MATRIX = np.column_stack([A, WHOLE, WHOLE > 0]).astype(np.float32)


def pandas_frame(numbers, whole, flag):
    frame = pd.DataFrame(A, columns=["a", "b"]).astype(numbers)
    return frame.assign(c=pd.array(WHOLE, dtype=whole), d=pd.array(WHOLE > 0, dtype=flag))


def polars_frame(**casts):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": A[:, 0], "b": A[:, 1], "c": WHOLE, "d": WHOLE > 0})
    return frame.with_columns(**{name: pl.col(name).cast(getattr(pl, to)) for name, to in casts.items()})


def arrow_table(whole="int8"):
    pa = pytest.importorskip("pyarrow")
    columns = {"a": A[:, 0], "b": A[:, 1], "c": pa.array(WHOLE, whole), "d": WHOLE > 0}
    return pa.table(columns)


def arrow_pandas():
    pytest.importorskip("pyarrow")
    return pandas_frame("float32[pyarrow]", "int8[pyarrow]", "bool[pyarrow]")


FLOAT32 = {
    "pandas": lambda: pandas_frame("float32", "int8", "bool"),
    "pandas nullable": lambda: pandas_frame("Float32", "Int8", "boolean"),
    "pandas arrow": arrow_pandas,
    "pandas both": lambda: pandas_frame("Float32", "int16", "bool"),
    "polars": polars_frame,
    "polars uint16": lambda: polars_frame(d="UInt16"),
    "pyarrow": arrow_table,
    "pyarrow batch": lambda: arrow_table().to_batches()[0],
}
#: Whole numbers of 32 bits and more are not exact in float32.
FLOAT64 = {
    "pandas nullable": lambda: pandas_frame("Float32", "Int32", "boolean"),
    "pandas float64": lambda: pandas_frame("float64", "Int8", "bool"),
    "polars": lambda: polars_frame(c="Int32"),
    "polars float64": lambda: polars_frame(a="Float64"),
    "pyarrow": lambda: arrow_table("int64"),
}


@pytest.mark.parametrize("make", FLOAT32.values(), ids=FLOAT32.keys())
def test_frames_of_float32_are_the_array_of_float32(make):
    frame = make()
    ours = MLPClassifier(**SMALL).fit(frame, Y)
    plain = MLPClassifier(**SMALL).fit(MATRIX, Y)
    assert ours.coefs_[0].dtype == np.float32
    np.testing.assert_array_equal(ours.coefs_[0], plain.coefs_[0])
    np.testing.assert_array_equal(ours.predict_proba(frame), plain.predict_proba(MATRIX))
    assert ours.predict_proba(frame).dtype == np.float32
    if hasattr(ours, "feature_names_in_"):
        assert ours.feature_names_in_.tolist() == ["a", "b", "c", "d"]
        with pytest.raises(ValueError, match="feature names should match"):
            ours.predict(pd.DataFrame(MATRIX, columns=["a", "b", "c", "e"]))
    regressor = MLPRegressor(**SMALL).fit(frame, A[:, 0], X_val=frame, y_val=A[:, 0])
    assert regressor.predict(frame).dtype == np.float32


@pytest.mark.parametrize("make", FLOAT64.values(), ids=FLOAT64.keys())
def test_frames_that_float32_does_not_hold_are_float64(make):
    ours = MLPClassifier(**SMALL).fit(make(), Y)
    plain = MLPClassifier(**SMALL).fit(MATRIX.astype(np.float64), Y)
    np.testing.assert_array_equal(ours.coefs_[0], plain.coefs_[0])
    assert MLPClassifier(dtype="float32", **SMALL).fit(make(), Y).coefs_[0].dtype == np.float32


def test_booleans_beside_floats_are_numbers():
    frame = pd.DataFrame({"a": A[:, 0].astype(float), "flag": WHOLE > 0})
    for one in (frame, frame.astype(object), frame.astype({"flag": "boolean"})):
        ours = MLPClassifier(**SMALL).fit(one, Y)
        plain = MLPClassifier(**SMALL).fit(frame.to_numpy(float), Y)
        np.testing.assert_array_equal(ours.predict_proba(one), plain.predict_proba(frame.to_numpy(float)))


@pytest.mark.parametrize("kind", ["Float32", "Int8", "boolean", "polars", "pyarrow"])
def test_missing_values_are_refused_as_in_arrays(kind):
    if kind == "polars":
        frame = polars_frame().with_columns(c=pytest.importorskip("polars").lit(None))
    elif kind == "pyarrow":
        pa = pytest.importorskip("pyarrow")
        frame = arrow_table().append_column("e", pa.array([None] * N, pa.bool_()))
    else:
        frame = pandas_frame("Float32", "Int8", "boolean")
        name = {"Float32": "a", "Int8": "c", "boolean": "d"}[kind]
        frame.loc[3, name] = pd.NA
    with pytest.raises(ValueError, match="Input X contains NaN"):
        MLPClassifier(**SMALL).fit(frame, Y)
    fitted = MLPClassifier(**SMALL).fit(np.zeros((N, frame.shape[1]), np.float32), Y)
    with pytest.raises(ValueError, match="Input X contains NaN"), pytest.warns(UserWarning, match="names"):
        fitted.predict(frame)


def test_dates_are_refused_in_words_whatever_holds_them():
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    days = np.arange("2024-01-01", "2024-12-31", dtype="datetime64[D]")[:N]
    moments, frame = days.astype("datetime64[us]"), pd.DataFrame(A, columns=["a", "b"])
    held = [
        frame.assign(day=moments),
        frame.astype("Float32").assign(day=pd.Series(moments).dt.tz_localize("UTC")),
        polars_frame().with_columns(day=pl.lit(datetime.date(2024, 1, 1))),
        polars_frame().select(day=pl.lit(pl.Series(moments))),
        arrow_table().append_column("day", pa.array(days)),
        np.column_stack([moments, moments]),
    ]
    for X in held:
        what = "X" if isinstance(X, np.ndarray) else "column 'day' of X"
        with pytest.raises(TypeError, match=rf"{what} holds dates .* Make numbers of them"):
            MLPClassifier(**SMALL).fit(X, Y)
    with pytest.raises(TypeError, match="holds durations"):
        MLPRegressor(**SMALL).fit(frame.assign(late=moments - moments[0]), Y)
    with pytest.raises(TypeError, match=r"pass X\.collect\(\)"):
        MLPClassifier(**SMALL).fit(polars_frame().lazy(), Y)


def test_a_frame_without_rows_is_refused():
    with pytest.raises(ValueError, match="0 sample"):
        MLPClassifier(**SMALL).fit(polars_frame().clear(), [])


LABELS = {
    "Int64": (Y, "Int64", [0, 1], "i"),
    "Int8": (Y, "Int8", [0, 1], "i"),
    "boolean": (Y > 0, "boolean", [False, True], "b"),
    "int64[pyarrow]": (Y, "int64[pyarrow]", [0, 1], "i"),
    "bool[pyarrow]": (Y > 0, "bool[pyarrow]", [False, True], "b"),
    "string": (np.where(Y, "u", "v"), "string", ["u", "v"], "UO"),  # the bag's are objects, as they came
}


@pytest.mark.parametrize(("values", "dtype", "classes", "kind"), LABELS.values(), ids=LABELS.keys())
def test_labels_keep_their_kind(values, dtype, classes, kind):
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    labels = pd.array(values, dtype=dtype)
    for y in (pd.Series(labels), labels):
        for estimator in (
            MLPClassifier(**SMALL),
            MLPClassifier(**SMALL, n_members=2),
            TabularMLPClassifier(n_members=2, max_iter=2, random_state=0),
        ):
            fitted = estimator.fit(A, y)
            assert fitted.classes_.tolist() == classes
            assert fitted.classes_.dtype.kind in kind
            assert fitted.classes_.dtype.kind == fitted.predict(A[:2]).dtype.kind
            assert fitted.score(A, y) == np.mean(fitted.predict(A) == values)
    first = MLPClassifier(**SMALL).partial_fit(A, pd.Series(labels), classes=classes)
    assert first.partial_fit(A, pd.Series(labels)).classes_.tolist() == classes


def test_labels_beside_frames_and_several_of_them():
    frame = pandas_frame("Float32", "Int8", "boolean")
    one = MLPClassifier(**SMALL).fit(frame, pd.Series(Y, dtype="Int64"))
    assert one.classes_.tolist() == [0, 1]
    assert one.classes_.dtype.kind == "i"
    several = pd.DataFrame({"u": pd.array(Y > 0, dtype="boolean"), "v": pd.array(Y < 1, dtype="boolean")})
    fitted = MLPClassifier(**SMALL).fit(frame, several)
    np.testing.assert_array_equal(fitted.classes_, [0, 1])
    assert fitted.predict(frame).shape == (N, 2)
    targets = pd.DataFrame({"u": A[:, 0], "v": A[:, 1]}).astype("Float32")
    np.testing.assert_array_equal(
        MLPRegressor(**SMALL).fit(frame, targets).coefs_[0], MLPRegressor(**SMALL).fit(MATRIX, A).coefs_[0]
    )


def test_missing_labels_are_refused():
    for dtype in ("Int64", "boolean"):
        y = pd.Series([None, *(Y[1:] > 0)], dtype=dtype)
        with pytest.raises(ValueError, match="y contains NaN"):
            MLPClassifier(**SMALL).fit(A, y)


@pytest.mark.parametrize("kind", ["uint8", "bool", "int64", "float64", "list", "sparse"])
def test_dtype_says_in_what_is_computed(kind):
    import scipy.sparse

    numbers = np.abs(10 * A).astype(np.uint8)
    X = numbers.tolist() if kind == "list" else numbers.astype(kind) if kind != "sparse" else numbers
    X = scipy.sparse.csr_array(numbers.astype(float)) if kind == "sparse" else X
    plain = (numbers > 0 if kind == "bool" else numbers).astype(np.float32)
    ours = MLPClassifier(dtype="float32", **SMALL).fit(X, Y)
    theirs = MLPClassifier(**SMALL).fit(scipy.sparse.csr_array(plain) if kind == "sparse" else plain, Y)
    np.testing.assert_array_equal(ours.coefs_[0], theirs.coefs_[0])
    assert ours.predict_proba(X).dtype == np.float32
    np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(plain))
    assert MLPRegressor(dtype="float64", **SMALL).fit(plain, Y).predict(plain).dtype == np.float64


def test_dtype_of_a_network_stays():
    ours = MLPClassifier(warm_start=True, **SMALL).fit(A, Y)
    with pytest.raises(ValueError, match="dtype='float64', but the network to be trained further is float32"):
        ours.set_params(dtype="float64").fit(A, Y)
    assert ours.predict_proba(A).dtype == np.float64  # what was asked for last
    assert ours.set_params(warm_start=False).fit(A, Y).coefs_[0].dtype == np.float64
    with pytest.raises(ValueError, match="'dtype' parameter of MLPClassifier must be"):
        MLPClassifier(dtype="float16").fit(A, Y)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"too large for dtype\('float32'\)"):
        MLPClassifier(dtype="float32", **SMALL).fit(A.astype(float) * 1e300, Y)


def test_dtype_is_saved_and_comes_with_rows_on_disk(tmp_path):
    ours = MLPClassifier(dtype="float32", **SMALL).fit(A.astype(float), Y)
    fastopt.save(ours, tmp_path / "model")
    loaded = fastopt.load(tmp_path / "model")
    assert loaded.dtype == "float32"
    np.testing.assert_array_equal(loaded.predict_proba(A.astype(float)), ours.predict_proba(A))
    source = fastopt.data.BlockSource(A.astype(float), Y)
    assert MLPClassifier(dtype="float32", **SMALL).fit(source).predict_proba(source).dtype == np.float32


@pytest.mark.parametrize(("dtype", "times"), [("float32", 4), (None, 8)])
def test_images_take_four_times_their_bytes_where_float32_is_asked_for(dtype, times):
    images = np.zeros((20_000, 784), np.uint8)
    y = np.arange(len(images)) % 2
    clf = MLPClassifier(dtype=dtype, **SMALL | {"max_iter": 1}).fit(images[:300], y[:300])  # compiled
    tracemalloc.start()
    try:
        clf.fit(images, y).predict(images)
        peak = tracemalloc.get_traced_memory()[1] / images.nbytes
    finally:
        tracemalloc.stop()
    assert times <= peak < times + 0.5  # what else a fit takes: targets, the order of the rows, a batch


@pytest.mark.parametrize("kind", ["object", "NA", "string", "list", "polars"])
@pytest.mark.parametrize("cls", [MLPClassifier, TabularMLPClassifier])
def test_missing_labels_among_texts_are_refused(cls, kind):
    texts = ["a", None] * 10
    if kind in ("NA", "string"):
        y = pd.Series(["a", pd.NA] * 10, dtype="string" if kind == "string" else object)
    elif kind == "polars":
        y = pytest.importorskip("polars").Series(texts)
    else:
        y = texts if kind == "list" else np.array(texts, object)
    with pytest.raises(ValueError, match=r"Input y contains NaN \((None|<NA>)\): leave out such rows"):
        cls().fit(np.ones((20, 2)), y)
