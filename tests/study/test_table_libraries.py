"""Why tables are read as they are: what libraries make of cells that people write, beside what is made here.

A test that fails because a library has learnt to read such cells says that ours can go.
"""

import csv
import warnings

import numpy as np
import pytest

from fastopt.datasets import model_tables, text_dates
from fastopt.datasets.separators import separator_of

pd = pytest.importorskip("pandas")
N = 60
VALUES = np.random.default_rng(0).normal(loc=2000, scale=500, size=N).round(2)


def table(column):
    """Return a column of text as `fastopt fit` reads it from a file, and what kind it is."""
    frame = pd.DataFrame({"column": column, "other": np.arange(N) * 0.7, "y": np.arange(N) % 2})
    frame.to_csv("table.csv", index=False)
    data = model_tables.load_training("table.csv", "y")
    return data.X["column"], data.form.kinds["column"]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def german(value):
    return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))


NUMBERS = {
    "decimal comma": lambda v: f"{v:.2f}".replace(".", ","),
    "thousands": lambda v: f"{v:,.2f}",
    "points between thousands": german,
    "percent": lambda v: f"{v:.2f}%",
    "amounts": lambda v: f"${v:,.2f}",
}


@pytest.mark.parametrize("written", NUMBERS.values(), ids=NUMBERS.keys())
@pytest.mark.parametrize("parse_numbers", [False, True])
def test_skrub_leaves_numbers_that_people_write_as_text(written, parse_numbers):
    skrub = pytest.importorskip("skrub")
    column = [written(value) for value in VALUES]
    theirs = skrub.Cleaner(parse_numbers=parse_numbers).fit_transform(pd.DataFrame({"column": column}))
    assert theirs["column"].tolist() == column
    ours, kind = table(column)
    assert kind == "number"
    np.testing.assert_array_equal(ours, VALUES)


def test_skrub_makes_gaps_of_classes_called_none():
    skrub = pytest.importorskip("skrub")
    column = np.resize(["None", "NA", "other"], N)
    theirs = skrub.Cleaner().fit_transform(pd.DataFrame({"column": column}))
    assert theirs["column"].isna().sum() == 2 * N // 3
    ours, kind = table(column)
    assert kind == "text"
    assert ours.tolist() == column.tolist()


def test_skrub_reads_no_dates_that_are_written_in_two_ways():
    skrub = pytest.importorskip("skrub")
    days = pd.date_range("2024-01-13", periods=N)
    column = [f"{day:%Y-%m-%d}" if i % 2 else f"{day:%d-%b-%Y}" for i, day in enumerate(days)]
    theirs = skrub.Cleaner().fit_transform(pd.DataFrame({"column": column}))
    assert theirs["column"].tolist() == column
    ours, kind = table(column)
    assert kind == "date"
    assert ours.tolist() == days.tolist()


def test_pandas_takes_days_for_months_where_it_can():
    texts = pd.Series(["1/2/2024", "31/1/2024"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pd.to_datetime(texts, format="mixed")
    assert theirs.dt.month.tolist() == [1, 1]  # the first is a day of February
    ours = text_dates.read(texts, text_dates.day_first(texts))
    assert ours.dt.month.tolist() == [2, 1]


def lines(header, row):
    return "\n".join([header, *(row(i) for i in range(N))])


def test_the_sniffer_of_python_takes_signs_within_names_and_values_for_separators():
    german_names = lines("price, EUR;size, m;y", lambda i: "1,5;2,5;1")
    quoted = lines('"price ""net"", EUR";"y"', lambda i: f"{i},5;1")
    for text in (german_names, quoted):
        assert csv.Sniffer().sniff(text, ",;\t|").delimiter == ","
        assert separator_of(text) == (";", 0)
    assert csv.Sniffer().sniff(lines("word", lambda i: f"hello{i}")).delimiter in "helo"
    assert separator_of(lines("word", lambda i: f"hello{i}")) == (",", 0)


def test_polars_and_pyarrow_do_not_look_for_the_separator():
    pl, arrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow.csv")
    text = lines("a;y", lambda i: f"{i};1").encode()
    assert pl.read_csv(text).shape[1] == 1
    assert arrow.read_csv(__import__("io").BytesIO(text)).num_columns == 1
    assert separator_of(text.decode()) == (";", 0)
