"""Tables as people have them: what is plainly a number is read as one, and what was done is said."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fastopt import datasets
from fastopt._extras import MissingExtraError
from fastopt.datasets import DatasetError, files, text_numbers

N = 60
RNG = np.random.default_rng(0)
A, PRICE = RNG.normal(size=N).round(2), (1000 + 5000 * RNG.random(N)).round(2)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def saved(lines, name="table.csv", encoding="utf-8"):
    Path(name).write_bytes("\n".join(lines).encode(encoding))
    return name


def german(value):
    return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))


@pytest.mark.parametrize(
    ("written", "separator", "said"),
    [
        (german, ";", "decimal commas"),
        (lambda v: f'"{v:,.2f}"', ",", "thousands"),
        (lambda v: f'"${v:,.2f}"', ",", "amounts in $ with thousands"),
        (lambda v: f"{v:.2f} €", ",", "amounts in €"),
        (lambda v: f"{v:.2f}%", ",", "percent"),
        (lambda v: f"{v:,.2f}".replace(",", "'"), ",", "thousands"),
        (lambda v: f"{v:,.2f}".replace(",", "\u202f").replace(".", ","), ";", "decimal commas"),
    ],
    ids=["comma", "thousands", "dollar", "euro", "percent", "swiss", "french"],
)
def test_a_target_written_for_people_is_the_quantity_that_it_is(written, separator, said):
    lines = [f"a{separator}price", *(f"{a}{separator}{written(p)}" for a, p in zip(A, PRICE, strict=True))]
    data = datasets.load(saved(lines), "price")
    assert data.task == "regression"
    standardised = (PRICE - PRICE.mean()) / PRICE.std()
    np.testing.assert_allclose(data.y, standardised, rtol=0, atol=1e-6)  # float32
    assert any(note.startswith(f"Read as numbers, {said} (") for note in data.notes)


def test_features_are_read_like_targets_and_question_marks_are_missing():
    lines = [
        "rate,kind,y",
        *(f"{'?' if i % 9 == 0 else f'{a}%'},{'?' if i % 7 == 0 else 'k'},{i % 2}" for i, a in enumerate(A)),
    ]
    data = datasets.load(saved(lines), "y")
    expected = np.where(np.arange(N) % 9 == 0, np.nan, A)
    np.testing.assert_array_equal(data.X["rate"].to_numpy(), expected)
    np.testing.assert_array_equal(data.X["kind"].isna(), np.arange(N) % 7 == 0)
    assert any("'?' was taken as missing in 'rate'" in note for note in data.notes)


def test_a_point_between_thousands_is_known_by_the_decimal_commas_beside_it():
    lines = ["share;amount;y", *(f"0,{i + 10};{1 + i // 9}.{100 + i};{i % 2}" for i in range(N))]
    data = datasets.load(saved(lines), "y")
    assert data.X["share"][5] == 0.15
    assert data.X["amount"][5] == 1105


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["1,5", "12,25"], [1.5, 12.25]),
        (["1,234", "12"], [1234.0, 12.0]),
        (["−3.5", "+2", "1e3"], [-3.5, 2.0, 1000.0]),
        (["$-3.10", "-$2"], [-3.1, -2.0]),
        (["3", "inf", "NA", ""], [3.0, np.inf, np.nan, np.nan]),
        (["0.123", "0.456"], [0.123, 0.456]),
    ],
)
def test_what_is_plainly_a_number_is_one(texts, values):
    numbers = text_numbers.read(pd.Series(texts))
    np.testing.assert_array_equal(numbers.values(numbers.prefers(set(), ",")), values)


@pytest.mark.parametrize(
    "texts",
    [
        ["$3", "€3"],  # two currencies
        ["3%", "3"],  # 0.03 or 3?
        ["1,5", "1.5"],  # decimal comma beside decimal point
        ["1,23,4", "5"],
        ["1.2.3", "1.2.4"],
        ["12 apples", "3"],
        ["NA", "?"],  # nothing that could be a number
    ],
)
def test_what_is_not_plainly_a_number_is_left_as_text(texts):
    assert text_numbers.read(pd.Series(texts)) is None


def test_a_class_per_row_is_refused_with_what_stands_in_the_way():
    words = ["a,y", *(f"{a},word {i}" for i, a in enumerate(A))]
    with pytest.raises(DatasetError, match="has 60 different texts in 60 rows, such as 'word 0'"):
        datasets.load(saved(words), "y")
    almost = [
        "a,y",
        *(f"{a},{'unknown' if i == 4 else p}" for i, (a, p) in enumerate(zip(A, PRICE, strict=True))),
    ]
    with pytest.raises(DatasetError, match="target 'y' holds numbers and 'unknown'"):
        datasets.load(saved(almost), "y")
    few = ["a,y", *(f"{a},{i}" for i, a in enumerate(A[:15]))]
    assert datasets.load(saved(few), "y").task == "regression"


def test_whole_numbers_are_classes_or_a_quantity_as_the_user_says():
    path = saved(["a,rings,size,colour", *(f"{a},{i % 9},{i / 8},{'rb'[i % 2]}" for i, a in enumerate(A))])
    data = datasets.load(path, "rings")
    assert data.task == "classification"
    assert "'rings' holds 9 different whole numbers: each is a class. --task regression" in data.notes[0]
    said = datasets.load(path, "rings", task="classification")
    assert said.y.tolist() == data.y.tolist()
    assert not any("each is a class" in note for note in said.notes)  # nothing was decided for the user
    quantity = datasets.load(path, "rings", task="regression")
    rings = np.arange(len(A)) % 9
    assert quantity.task == "regression"
    np.testing.assert_allclose(quantity.y, (rings - rings.mean()) / rings.std(), rtol=1e-6)  # float32
    with pytest.raises(DatasetError, match="'size' holds fractions: a quantity, no classes"):
        datasets.load(path, "size", task="classification")
    with pytest.raises(DatasetError, match="'colour' holds text, 'r', 'b': classes, no quantity"):
        datasets.load(path, "colour", task="regression")
    with pytest.raises(DatasetError, match="task='ranking' must be 'classification', 'regression' or None"):
        datasets.load(path, "rings", task="ranking")


def test_the_index_that_to_csv_writes_is_no_feature_nor_are_ids_and_dates_are_one():
    frame = pd.DataFrame({"a": A, "nr": np.arange(1, N + 1), "y": np.arange(N) // 20})
    frame["customer_id"] = 7000 + 3 * RNG.permutation(N)
    frame["day"] = pd.date_range("2024-01-01", periods=N).astype(str)
    frame["seen"] = [f"{1 + i % 28}.{1 + i % 12}.2023" for i in range(N)]
    frame["kind"] = np.resize(["u", "v"], N)
    frame.sort_values("a").to_csv("table.csv")
    data = datasets.load("table.csv", "y")
    assert list(data.X.columns) == ["a", "day", "seen", "kind"]
    assert [data.X[name].dtype.kind for name in ("day", "seen")] == ["M", "M"]
    assert sorted(data.X["seen"].dt.day.unique()) == list(range(1, 29))
    assert "1 numeric, 1 categorical and 2 date columns" in data.description
    prepared = data.preprocessor.fit_transform(data.X)
    assert prepared.shape == (N, 4)
    notes = " ".join(data.notes)
    for said in (
        "'Unnamed: 0' has no name",
        "'nr' numbers the rows from 1 to 60",
        "'customer_id' is an identifier",
    ):
        assert said in notes
    for name in ("day", "seen"):
        assert f"Column '{name}' was read as dates" in notes
    with pytest.raises(DatasetError, match="target 'day' holds dates"):
        datasets.load("table.csv", "day")


def test_infinite_values_are_one_sentence_with_the_column():
    frame = pd.DataFrame({"a": A, "b": np.where(np.arange(N) == 7, -np.inf, A), "y": PRICE})
    frame.to_csv("table.csv", index=False)
    with pytest.raises(DatasetError, match=r"column 'b' holds infinite values \(1, the first in row 8"):
        datasets.load("table.csv", "y")
    with pytest.raises(DatasetError, match="column 'b' holds infinite values"):
        datasets.load("table.csv", "b")


def test_classes_called_none_and_na_stay_and_gaps_go():
    classes = np.resize(["None", "NA", "other", ""], N)
    lines = ["a,y", *(f"{a},{c}" for a, c in zip(A, classes, strict=True))]
    data = datasets.load(saved(lines), "y")
    assert set(data.y) == {"None", "NA", "other"}
    assert len(data.y) == 45
    assert "'None' is a class of 'y' here, not a missing value." in data.notes


ACCENTS = ["é,y", *(f"{'ü' if i % 3 else 'ñ'},{i % 2}" for i in range(N))]


def test_other_encodings_have_an_option_and_a_hint():
    with pytest.raises(
        DatasetError, match=r"is not UTF-8 \(byte 0xe9\)\. Say its encoding: --encoding latin-1"
    ):
        datasets.load(saved(ACCENTS, encoding="latin-1"), "y")
    assert set(datasets.load("table.csv", "y", encoding="latin-1").X["é"]) == {"ü", "ñ"}
    with pytest.raises(DatasetError, match="is not ascii"):
        datasets.load("table.csv", "y", encoding="ascii")
    with pytest.raises(DatasetError, match="encoding='klingon' is not one that Python knows"):
        datasets.load("table.csv", "y", encoding="klingon")


def test_names_that_stand_over_several_columns_are_told(tmp_path):
    rows = "".join(f"{i},{i % 7},{i % 3},{i % 2}\n" for i in range(60))
    for header, told in {
        "a,b,a,y": ["The name 'a' stands over 2 columns, which are called 'a', 'a.1'."],
        "a,b,,y": [],
    }.items():
        (tmp_path / "table.csv").write_text(f"{header}\n{rows}")
        notes = files.read(tmp_path / "table.csv", ".csv").notes
        assert notes == told


def test_utf_16_is_known_by_its_mark_and_asked_for_without():
    data = datasets.load(saved(ACCENTS, encoding="utf-16"), "y")
    assert set(data.X["é"]) == {"ü", "ñ"}
    assert "The file was read as UTF-16, as its first bytes say." in data.notes
    plain = ["a,y", *(f"{a},{i % 2}" for i, a in enumerate(A))]
    with pytest.raises(DatasetError, match="try --encoding utf-16-le"):
        datasets.load(saved(plain, encoding="utf-16-le"), "y")
    assert len(datasets.load("table.csv", "y", encoding="utf-16-le").y) == N


@pytest.mark.parametrize(
    ("suffix", "package", "writer"),
    [
        (".parquet", "pyarrow", "to_parquet"),
        (".feather", "pyarrow", "to_feather"),
        (".xlsx", "openpyxl", "to_excel"),
    ],
)
def test_other_files_are_read_by_pandas(suffix, package, writer, monkeypatch):
    frame = pd.DataFrame({"a": A, "b": pd.array([None, *range(N - 1)], dtype="Int64"), "y": PRICE})
    frame["c"] = np.resize(["u", "v", "NA"], N)
    with monkeypatch.context() as hidden:
        Path(f"table{suffix}").touch()
        hidden.setitem(__import__("sys").modules, package, None)
        with pytest.raises(MissingExtraError, match=rf'needs {package}.*pip install "fastopt\[tables\]"'):
            datasets.load(f"table{suffix}", "y")
    pytest.importorskip(package)
    with pytest.raises(DatasetError, match="cannot be read as"):
        datasets.load(f"table{suffix}", "y")
    getattr(frame, writer)(f"table{suffix}", **({"index": False} if suffix == ".xlsx" else {}))
    data = datasets.load(f"table{suffix}", "y")
    assert list(data.X.columns) == ["a", "b", "c"]
    np.testing.assert_array_equal(data.X["b"], [np.nan, *range(N - 1)])
    assert set(data.X["c"]) == {"u", "v", "NA"}
    assert np.isfinite(data.preprocessor.fit_transform(data.X)).all()


def test_an_index_with_a_name_is_a_column_and_one_without_is_not():
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": A, "y": PRICE}, index=RNG.permutation(5 * N)[:N])
    frame.to_parquet("table.parquet")
    data = datasets.load("table.parquet", "y")
    assert list(data.X.columns) == ["a"]
    assert "The index of the table, which has no name, was left out." in data.notes
    frame.rename_axis("height").to_parquet("table.parquet")
    assert set(datasets.load("table.parquet", "y").X.columns) == {"height", "a"}


@pytest.mark.filterwarnings("error")
def test_a_column_without_a_value_in_a_split_is_kept():
    frame = pd.DataFrame({"a": A, "rare": np.nan, "word": None, "y": np.arange(N) % 2})
    frame.loc[0, "rare"], frame.loc[0, "word"] = 3.0, "only here"
    frame.to_csv("table.csv", index=False)
    data = datasets.load("table.csv", "y")
    prepared = data.preprocessor.fit(data.X[1:]).transform(data.X)
    assert np.isfinite(prepared).all()


def test_compressed_text_is_read_as_well():
    pd.DataFrame({"a": A, "y": PRICE}).to_csv("table.csv.gz", index=False)
    assert datasets.load("table.csv.gz", "y").name == "table"


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zip"])
def test_a_damaged_file_is_one_sentence(suffix):
    name = f"table.csv.{suffix}"
    pd.DataFrame({"a": A, "y": PRICE}).to_csv(name, index=False)
    assert len(datasets.load(name, "y").y) == N
    whole = Path(name).read_bytes()
    for damaged in (whole[: len(whole) // 2], b"\x00\x01" + whole[2:], b""):
        Path(name).write_bytes(damaged)
        with pytest.raises(DatasetError, match=r"cannot be read as a table|holds zero bytes"):
            datasets.load(name, "y")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "a,y\n1,2\n1,2,3,4\n",
            "line 3 has 4 values where those before it have 2. A value that holds a comma",
        ),
        ('a,y\n1,2\n1,"2\n3,4\n', "a double quote in row 2 .* is never closed"),
    ],
)
def test_a_table_out_of_form_is_described_by_its_lines(text, words):
    Path("table.csv").write_text(text)
    with pytest.raises(DatasetError, match=words):
        datasets.load("table.csv", "y")


def test_groups_and_weights_are_columns_that_are_not_features():
    frame = pd.DataFrame({"a": A, "who": np.arange(N) // 6, "w": np.arange(N) % 3, "y": PRICE})
    frame.to_csv("table.csv", index=False)
    data = datasets.load("table.csv", "y", groups="who", weights="w")
    assert list(data.X.columns) == ["a"]
    np.testing.assert_array_equal(data.groups, np.arange(N) // 6)
    np.testing.assert_array_equal(data.sample_weight, np.arange(N) % 3)
    with pytest.raises(DatasetError, match=r"groups 'whom' is not a column .* Did you mean 'who'\?"):
        datasets.load("table.csv", "y", groups="whom")
    with pytest.raises(DatasetError, match="weights 'a' are not all finite numbers of at least 0"):
        datasets.load("table.csv", "y", weights="a")
    frame.loc[3, "who"] = np.nan
    frame.to_csv("table.csv", index=False)
    with pytest.raises(DatasetError, match="groups 'who' is missing in 1 rows"):
        datasets.load("table.csv", "y", groups="who")


def test_words_among_numbers_are_named():
    lines = ["a,y", *(f"{'unknown' if i == 3 else i % 40},{i % 2}" for i in range(N))]
    data = datasets.load(saved(lines), "y")
    assert any("'a' was taken as words, as 'unknown' among its numbers are" in note for note in data.notes)
