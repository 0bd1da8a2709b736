"""`TableEncoder` on frames of pandas, polars and pyarrow: the same table gives the same numbers."""

import datetime as dt

import numpy as np
import pytest
import scipy.sparse

from fastopt.tabular import TableEncoder

pd = pytest.importorskip("pandas")

COLUMNS = {
    "whole": [1, None, 3, 3],
    "fraction": [1.5, float("nan"), None, 2.0],
    "flag": [True, None, False, True],
    "word": ["a", "b", None, "c"],
    "moment": [dt.datetime(2020, 1, 1, 12), None, dt.datetime(1960, 1, 1), dt.datetime(2000, 5, 5)],
    "day": [dt.date(2020, 1, 1), None, dt.date(1970, 1, 2), dt.date(2000, 5, 5)],
    "span": [dt.timedelta(seconds=3), None, dt.timedelta(days=1), dt.timedelta(microseconds=263_208_874)],
    "clock": [dt.time(1, 2, 3), None, dt.time(4), dt.time(5)],
    "nothing": [None] * 4,
}
LEVELS = ["x", "y", None, "z"]


def of_pandas():
    return pd.DataFrame({**COLUMNS, "level": pd.Categorical(LEVELS)})


def of_pandas_nullable():
    return of_pandas().convert_dtypes()


def of_pandas_arrow():
    pa = pytest.importorskip("pyarrow")
    return of_pyarrow().to_pandas(types_mapper=pd.ArrowDtype).astype({"nothing": pd.ArrowDtype(pa.null())})


def of_polars():
    pl = pytest.importorskip("polars")
    return pl.DataFrame(COLUMNS, strict=False).with_columns(pl.Series("level", LEVELS, pl.Categorical))


def of_pyarrow():
    pa = pytest.importorskip("pyarrow")
    table = pa.table({name: pa.array(values, from_pandas=True) for name, values in COLUMNS.items()})
    return table.append_column("level", pa.array(LEVELS).dictionary_encode())


def of_objects():
    return np.array([*COLUMNS.values(), LEVELS], dtype=object).T


@pytest.mark.parametrize("make", [of_pandas_nullable, of_pandas_arrow, of_polars, of_pyarrow, of_objects])
def test_every_frame_gives_the_same_numbers(make):
    settings = {"numeric_scaler": None, "dtype": "float64"}
    expected = TableEncoder(**settings).fit(of_pandas())
    found = TableEncoder(**settings).fit(make())
    for mine, its in zip(found.columns_, expected.columns_, strict=True):
        assert mine == its
    np.testing.assert_array_equal(found.transform(make()), expected.transform(of_pandas()))
    kinds = {column["column"]: column["kind"] for column in expected.describe()}
    assert list(kinds.values()) == [
        *("number", "number", "boolean", "text", "date", "date", "duration", "duration", "empty", "text")
    ]
    by_name = dict(zip(expected.get_feature_names_out(), expected.transform(of_pandas()).T, strict=True))
    assert by_name["whole"].tolist() == [1, 3, 3, 3]
    assert by_name["moment"].tolist()[::3] == [18262.5, dt.date(2000, 5, 5).toordinal() - 719163]
    assert by_name["span"].tolist()[2:] == [86400, 263.208874]
    assert by_name["level_missing"].tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("make", [of_pandas, of_pandas_nullable, of_pandas_arrow, of_polars])
def test_single_rows_give_what_all_rows_give(make):
    frame = make()
    encoder = TableEncoder().fit(frame)
    rows = np.vstack([encoder.transform(frame[i : i + 1]) for i in range(len(frame))])
    np.testing.assert_array_equal(rows, encoder.transform(frame))
    # Categories of intervals, and so many rows that columns are asked for their type.
    bins = pd.DataFrame({"bin": pd.cut(np.arange(99), 3), "n": np.arange(99), "w": "a"})
    encoder = TableEncoder().fit(bins)
    np.testing.assert_array_equal(encoder.transform(bins[98:]), encoder.transform(bins)[98:])


def test_columns_are_found_by_their_names():
    frame = of_pandas()
    encoder = TableEncoder().fit(frame)
    expected = encoder.transform(frame)
    turned = frame[frame.columns[::-1]]
    np.testing.assert_array_equal(encoder.transform(turned), expected)
    numbers = pd.DataFrame({"a": [1.0, 2.0, 5.0], "b": [4, 6, 5]})
    encoder = TableEncoder().fit(numbers)
    np.testing.assert_array_equal(encoder.transform(numbers[["b", "a"]]), encoder.transform(numbers))
    with pytest.raises(ValueError, match=r"(?s)should match.*unseen at fit time:\n- c\n"):
        encoder.transform(numbers.assign(c=1))
    with pytest.raises(ValueError, match=r"(?s)should match.*now missing:\n- b\n"):
        encoder.transform(numbers[["a"]])
    with pytest.warns(UserWarning, match="X does not have valid feature names, but TableEncoder was fitted"):
        encoder.transform(numbers.to_numpy())
    with pytest.raises(ValueError, match="more than one column of the name 'a'"):
        TableEncoder().fit(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_names_that_are_no_text_are_places():
    frame = pd.DataFrame({0: [1.0, 2.0], 1: ["a", "b"]})
    encoder = TableEncoder().fit(frame)
    assert encoder.get_feature_names_out().tolist() == ["x0", "x1_b"]
    np.testing.assert_array_equal(encoder.transform(frame)[:, 1], [-1, 1])


def test_categories_of_other_things_than_text():
    frame = pd.DataFrame({"bin": pd.cut([1, 2, 3, 9], 3), "year": pd.Categorical([2020, 2021, 2020, 2022])})
    encoder = TableEncoder().fit(frame)
    names = encoder.get_feature_names_out().tolist()
    assert names == ["bin_(6.333, 9.0]", "year_2020", "year_2021", "year_2022"]
    expected = encoder.transform(frame)
    np.testing.assert_array_equal(expected[:, 0], [-1, -1, -1, 1])
    # The numbers by themselves are the same levels; categories of numbers are numbers where numbers were.
    np.testing.assert_array_equal(encoder.transform(frame.assign(year=[2020, 2021, 2020, 2022])), expected)
    numbers = frame[["year"]].astype(int)
    encoder = TableEncoder().fit(numbers)
    np.testing.assert_array_equal(encoder.transform(frame[["year"]]), encoder.transform(numbers))


def test_a_level_that_no_row_has_is_none():
    frame = pd.DataFrame(
        {"c": pd.Categorical(["a", "b", "a"], categories=["a", "b", "c"]), "n": [1.0, 2.0, 3.0]}
    )
    assert TableEncoder().fit(frame).get_feature_names_out().tolist() == ["n", "c_b"]


def test_sparse_columns_and_dummies_become_a_sparse_matrix():
    words = pd.Series(np.random.default_rng(0).integers(0, 120, 1000).astype(str))
    dummies = pd.get_dummies(words)
    encoder = TableEncoder().fit(dummies)
    found = encoder.transform(dummies)
    assert scipy.sparse.issparse(found)
    np.testing.assert_array_equal(found.toarray(), dummies.to_numpy())
    sparse = pd.get_dummies(words, sparse=True, dtype=float)
    encoder = TableEncoder(numeric_scaler=None).fit(sparse)
    np.testing.assert_array_equal(encoder.transform(sparse).toarray(), dummies.to_numpy())


def test_set_output_gives_frames():
    frame = of_pandas()
    found = TableEncoder().set_output(transform="pandas").fit_transform(frame)
    assert found.columns.tolist()[:2] == ["whole", "fraction"]
    assert found.index.equals(frame.index)


def test_what_is_no_table_of_rows_is_refused():
    with pytest.raises(ValueError, match=r"0 sample\(s\) \(shape=\(0, 1\)\)"):
        TableEncoder().fit(pd.DataFrame({"a": []}))
    with pytest.raises(ValueError, match=r"Expected a 2-dimensional|Expected 2D array"):
        TableEncoder().fit(pd.Series([1.0]))
    with pytest.raises(TypeError, match="column 'a' holds Period"):
        TableEncoder().fit(pd.DataFrame({"a": pd.PeriodIndex(["2020", "2021"], freq="Y")}))
    pl = pytest.importorskip("polars")
    with pytest.raises(TypeError, match="collect"):
        TableEncoder().fit(pl.LazyFrame({"a": [1]}))
