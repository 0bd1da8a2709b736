"""Tables to learn from and new ones: the same text means the same in both."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fastopt.datasets import DatasetError
from fastopt.datasets.model_tables import TableForm, load_new, load_training
from fastopt.datasets.text_dates import day_first, read

N = 60
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def saved(frame, name="train.csv", **options):
    pd.DataFrame(frame).to_csv(name, index=False, **options)
    return name


def table():
    return {
        "id": [f"row {i}" for i in range(N)],
        "size": RNG.normal(size=N).round(3),
        "colour": np.resize(["red", "blue", "?", "7"], N),
        "sold": np.resize(["True", "false", ""], N),
        "day": [f"{1 + i % 28}.{1 + i % 12}.2023" for i in range(N)],
        "price": RNG.normal(100, 20, N).round(2),
    }


def test_columns_have_their_own_types():
    data = load_training(saved(table()), "price")
    assert data.form.kinds == {"size": "number", "colour": "text", "sold": "boolean", "day": "date"}
    assert data.form.left_out == ["id", "price"][:1]
    assert data.form.day_first == {"day": True}
    assert data.task == "regression"
    np.testing.assert_array_equal(data.y, table_prices())
    assert data.X["day"].iloc[13] == pd.Timestamp(2023, 2, 14)
    assert data.X["sold"].iloc[:3].tolist() == [True, False, pd.NA]
    assert data.X["colour"].isna().sum() == N // 4
    assert any("'id' has a different text" in note for note in data.notes)
    assert any("'day' was read as dates (1.1.2023 as 01 January 2023)" in note for note in data.notes)


def table_prices():
    return pd.read_csv("train.csv")["price"].to_numpy()


def test_new_tables_are_read_as_the_first_one_was():
    """Text stays text though all of it is numbers, and dates keep their order of day and month."""
    form = load_training(saved(table()), "price").form
    new = {"size": ["1"], "colour": ["7"], "sold": ["true"], "day": ["3.4.2023"], "id": ["a"]}
    data = load_new(saved(new, "new.csv"), form)
    assert data.X["colour"].tolist() == ["7"]
    assert data.X["sold"].tolist() == [True]
    assert data.X["day"].tolist() == [pd.Timestamp(2023, 4, 3)]
    assert data.others["id"].tolist() == ["a"]
    assert data.target is None
    with_target = load_new(saved({**new, "price": [3.0]}, "new.csv"), form)
    assert with_target.target.tolist() == [3.0]
    empty = load_new(saved({**new, "colour": ["?"], "day": [None]}, "new.csv"), form)
    assert empty.X["colour"].isna().all()
    assert empty.X["day"].isna().all()


def test_decimal_commas_are_known_from_the_first_table():
    first = {"a": [f"{i}.{i:03d},5" for i in range(1, N + 1)], "y": np.resize([0, 1], N)}
    form = load_training(saved(first, sep=";"), "y").form
    assert form.decimals == [","]
    data = load_new(saved({"a": ["1.234"]}, "new.csv", sep=";"), form)
    assert data.X["a"].tolist() == [1234]
    points = load_training(saved({"a": np.arange(N) + 0.5, "y": np.resize([0, 1], N)}), "y").form
    assert load_new(saved({"a": ["1.234"]}, "new.csv"), points).X["a"].tolist() == [1.234]


def test_tables_that_do_not_fit_are_described():
    form = load_training(saved(table()), "price").form
    new = {"size": [1], "colour": ["red"], "sold": ["true"], "day": ["3.4.2023"]}
    for changed, words in [
        ({"size": None}, r"lacks the columns 'size'\. The model reads 'size', 'colour'"),
        ({"weight": [1]}, "has the columns 'weight', which the model has not seen"),
        ({"day": ["soon"]}, "column 'day' held dates, with the day before the month, and holds 'soon' now"),
    ]:
        frame = {name: values for name, values in {**new, **changed}.items() if values is not None}
        with pytest.raises(DatasetError, match=words):
            load_new(saved(frame, "new.csv"), form)
    with pytest.raises(DatasetError, match="has no rows"):
        load_new(saved({name: [] for name in new}, "new.csv"), form)
    Path("a.npz").touch()
    for name, words in [("none.csv", "there is no file"), ("a.npz", "is no table")]:
        with pytest.raises(DatasetError, match=words):
            load_training(name, "y")
    with pytest.raises(DatasetError, match=r"Give --target, one of 'id', 'size'"):
        load_training("train.csv", None)
    with pytest.raises(DatasetError, match=r"is 1\.5 in every row"):
        load_training(saved({"a": np.arange(N) / 7, "y": [1.5] * N}), "y")


def test_weights_are_no_column():
    data = load_training(saved({**table(), "w": np.resize([1, 2], N)}), "price", weights="w")
    assert data.sample_weight.tolist() == np.resize([1, 2], N).tolist()
    assert "w" not in data.X
    assert data.form.left_out == ["w", "id"]


def test_parquet_keeps_its_types():
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(
        {"day": pd.date_range("2024-01-01", periods=N), "n": range(3, N + 3), "y": np.resize(["a", "b"], N)}
    )
    frame.sample(frac=1, random_state=0).to_parquet("t.parquet", index=False)
    data = load_training("t.parquet", "y")
    assert data.form.kinds["day"] == "date"
    assert data.task == "classification"
    frame.drop(columns="y").to_parquet("new.parquet")
    pd.testing.assert_series_equal(load_new("new.parquet", data.form).X["day"], frame["day"])


def test_a_form_survives_its_file_and_refuses_another():
    form = load_training(saved(table()), "price").form
    assert TableForm.from_dict(form.as_dict()) == form
    for damage in ({"target": 3}, {"kinds": {"a": "code"}}, {"left_out": [None]}, {"day_first": {"a": 1}}):
        with pytest.raises(ValueError, match="does not describe a table"):
            TableForm.from_dict({**form.as_dict(), **damage})


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2024-02-01"], False),
        (["1.2.2024"], True),
        (["1/2/2024"], False),
        (["1/2/2024", "13/2/2024"], True),
        (["1.2.2024", "1.13.2024"], False),
        (["13/2/2024", "2/13/2024"], None),
    ],
)
def test_the_order_of_day_and_month(texts, expected):
    assert day_first(pd.Series(texts)) is expected


def test_zones_and_words_in_dates():
    found = read(pd.Series(["2024-01-01 12:00+02:00", None, "2024-01-01T12:00Z"]), False)
    assert found.iloc[[0, 2]].dt.hour.tolist() == [10, 12]
    assert read(pd.Series(["2024-01-01", "2024-13-01"]), False) is None
