"""Data sets from tables with a column to predict."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from .._extras import require
from .._parameters import suggestion
from ..tabular.column_kinds import BOOLEAN, DATE, NUMBER, TEXT
from . import Dataset, DatasetError, files, text_numbers
from .arrays import MIN_ROWS
from .columns import (
    check_finite,
    holds_dates,
    is_text,
    is_time,
    numbers_row_by_row,
    read_numbers,
    some,
    understood,
)
from .preparation import MAX_CATEGORIES, check_classes, of_table, standardised, task_of

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

_CALLED = {NUMBER: "numeric", TEXT: "categorical", BOOLEAN: "categorical", DATE: "date"}
_NUMBERS = "--task regression predicts a quantity."


def load(
    path: Path,
    kind: str,
    target: str | None,
    *,
    task: str | None = None,
    groups: str | None = None,
    weights: str | None = None,
    encoding: str | None = None,
) -> Dataset:
    """Return the data set of a table file; parameters as in `fastopt.datasets.load`."""
    file = files.read(path, kind, encoding)
    check_columns(file, target=target, groups=groups, weights=weights)
    table, notes, _ = read_numbers(file)
    return _from_frame(path, table, target, task, groups, weights, [*file.notes, *notes])


def check_columns(file: files.TableFile, **named: str | None) -> None:
    """Make the names of a file's columns text; raise DatasetError unless it has those that options name."""
    file.frame.columns = columns = list(map(str, file.frame.columns))
    if not columns:
        raise DatasetError(f"{file.path.name} is empty: it has no columns.")
    if named["target"] is None:
        raise DatasetError(f"which column is to be predicted? Give --target, one of {some(columns)}.")
    for option, column in named.items():
        if column is not None and column not in columns:
            hint = suggestion(column, columns)
            raise DatasetError(
                f"{option} {column!r} is not a column of {file.path.name}: {some(columns)}.{hint}"
            )


def with_target(
    path: Path, table: pd.DataFrame, target: str, task: str | None = None
) -> tuple[pd.DataFrame, np.ndarray, str, list[str]]:
    """Return the rows that have a target, the target, its task (by its values, if None) and notes."""
    known = table[target].notna()
    notes = [] if known.all() else [f"{int((~known).sum())} rows without a {target!r} were left out."]
    table = table[known].reset_index(drop=True)
    if len(table) < MIN_ROWS:
        raise DatasetError(
            f"{path.name} has {len(table)} rows with a {target!r}: too few to train and validate on."
        )
    y, task, more = _target(table[target], target, task)
    return table, y, task, [*notes, *more]


def _from_frame(path, table, target, task, groups, weights, notes):
    table, y, task, more = with_target(path, table, target, task)
    notes += more
    if task == "regression":
        y, more = standardised(y)
        notes += more
    weight = None if weights is None else weights_of(table[weights], weights)
    group = None if groups is None else _groups(table[groups], groups)
    if groups is not None:
        notes.append(f"Rows with the same {groups!r} stay on one side of each split; it is not a feature.")
    features = table.drop(columns=[target, *(name for name in (groups, weights) if name is not None)])
    X, counts, said = _features(features)
    notes += said
    if not counts:
        raise DatasetError(f"{path.name} has no usable column beside {target!r}. {' '.join(said)}".strip())
    *kinds, last = [f"{counts[kind]} {kind}" for kind in dict.fromkeys(_CALLED.values()) if counts[kind]]
    kinds = f"{', '.join(kinds)} and {last}" if kinds else last
    text = f"{path.name}: {len(y):,} rows, {kinds} columns, {task} of {target!r}"
    name = path.name.partition(".")[0]
    return Dataset(
        name,
        X,
        y,
        task,
        text,
        None,
        None,
        of_table(),
        notes,
        groups=group,
        sample_weight=weight,
    )


def _target(column, name, task):
    """Return the target, its task, and notes: ``(y, task, notes)``."""
    if is_time(column) or (is_text(column) and holds_dates(column)):
        raise DatasetError(
            f"target {name!r} holds dates: predict a number made from it, such as days since a date."
        )
    if is_text(column):
        if task == "regression":
            texts = some(column.unique().tolist(), 4)
            raise DatasetError(f"target {name!r} holds text, {texts}: classes, no quantity.")
        return _classes(column, name)
    if column.dtype.name in ("bool", "boolean"):
        y = column.to_numpy(dtype=bool)
    else:
        check_finite(name, column)
        y = column.to_numpy(dtype=np.float64)
        y = y.astype(np.int64) if np.all(y == np.round(y)) and np.all(np.abs(y) < 2**53) else y
    if (task or task_of(y)) == "regression":
        return y, "regression", []
    if y.dtype.kind == "f":
        raise DatasetError(f"target {name!r} holds fractions: a quantity, no classes.")
    check_classes(y, name)
    n_classes = len(np.unique(y))
    if task is None and y.dtype.kind == "i" and n_classes > 2:
        return (
            y,
            "classification",
            [f"{name!r} holds {n_classes} different whole numbers: each is a class. {_NUMBERS}"],
        )
    return y, "classification", []


def _classes(column, name):
    share, others = text_numbers.share_of_numbers(column)
    n_classes = column.nunique()
    if n_classes > len(column) // 2 and share >= 0.5:
        raise DatasetError(
            f"target {name!r} holds numbers and {some(others)}, which is none. Leave such cells empty, or "
            "such rows out."
        )
    if n_classes > len(column) // 2:
        raise DatasetError(
            f"target {name!r} has {n_classes} different texts in {len(column)} rows, such as "
            f"{some(list(column[:3]))}: neither numbers nor classes, which repeat."
        )
    y = column.to_numpy(dtype=str)
    check_classes(y, name)
    marks = [str(value) for value in np.unique(y) if value.casefold() in ("na", "n/a", "none", "null")]
    return (
        y,
        "classification",
        [f"{mark!r} is a class of {name!r} here, not a missing value." for mark in marks],
    )


def weights_of(column: pd.Series, name: str) -> np.ndarray:
    """Return a column of weights; raises DatasetError unless they are finite, 0 or more, and not all 0."""
    values = column.to_numpy(dtype=np.float64) if not is_text(column) and not is_time(column) else None
    if values is None or not np.isfinite(values).all() or (values < 0).any() or not values.any():
        raise DatasetError(
            f"weights {name!r} are not all finite numbers of at least 0, some of them positive."
        )
    return values


def _groups(column, name):
    if column.isna().any():
        raise DatasetError(
            f"groups {name!r} is missing in {int(column.isna().sum())} rows: name their groups."
        )
    if column.nunique() < 3:
        raise DatasetError(f"groups {name!r} has {column.nunique()} values: too few to hold some out.")
    return require("pandas", "reading a table").factorize(column)[0]


def _features(frame):
    """Return the useful columns, numbers as float64 and words as text; how many of each kind; and notes."""
    columns, notes, counts = {}, [], Counter()
    for place, name in enumerate(frame.columns):
        column = frame[name]
        reason = _useless(name, column, place == 0)
        if reason:
            notes.append(f"Column {name!r} {reason} and was left out.")
            continue
        column, kind, _, said = understood(name, column)
        notes += said
        if kind in (TEXT, BOOLEAN):
            notes += _mixed(name, column)
            column = column.map(str, na_action="ignore").astype(object)
            column = column.where(column.notna(), np.nan)
        elif kind == NUMBER:
            column = column.to_numpy(dtype=np.float64, na_value=np.nan)
        columns[name] = column
        counts[_CALLED[kind]] += 1
    return require("pandas", "reading a table").DataFrame(columns), counts, notes


def _useless(name, column, is_first):
    """Return why a column is useless as a feature of a comparison, or ''."""
    values = column.dropna()
    if values.empty:
        return "is empty"
    if values.nunique() <= 1 and len(values) == len(column):
        return "has one value"
    return names_its_rows(name, column, is_first)


def names_its_rows(name: str, column: pd.Series, is_first: bool) -> str:
    """Return why a column says which row it is and nothing of what is in the row, or ''."""
    if is_text(column) and holds_dates(column):
        return ""
    if numbered := numbers_row_by_row(name, column, is_first):
        return numbered
    if is_text(column) and column.nunique() == len(column) > MAX_CATEGORIES:
        share, others = text_numbers.share_of_numbers(column)
        beside = f", as it holds {some(others)} among its numbers," if share >= 0.5 else ""
        return f"has a different text in every row{beside}"
    return ""


def _mixed(name, column):
    """Return a note, in a list, if a column of numbers is read as categories because of text in it."""
    if not is_text(column):
        return []
    share, others = text_numbers.share_of_numbers(column)
    if share < 0.8:
        return []
    return [f"Column {name!r} was taken as words, as {some(others)} among its numbers are not numbers."]
