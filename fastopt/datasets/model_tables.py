"""Tables for a model: those that it learns from, and new ones, which are read as the first one was."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .._extras import require
from ..tabular.column_kinds import BOOLEAN, DATE, NUMBER, TEXT
from . import DatasetError, files, locations, text_dates
from .columns import as_flags, holds_dates, is_text, read_numbers, some, stripped, understood
from .tables import check_columns, names_its_rows, weights_of, with_target

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TableForm:
    """What has to be known of a table to read another one in the same way; a file can hold it.

    Attributes
    ----------
    target : str
        Name of the column to predict.
    kinds : dict of str to str
        Of each column that the model reads: 'number', 'boolean', 'date' or 'text'.
    left_out : list of str
        Columns that it does not read, such as identifiers.
    day_first : dict of str to bool
        Of each date written as text, whether the day stands before the month.
    decimals : list of str
        Decimal signs that the table showed beyond doubt.
    """

    target: str
    kinds: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    day_first: dict[str, bool] = field(default_factory=dict)
    decimals: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> TableForm:
        """Return the form that a file holds, which may be an attacker's; raises ValueError if it is none."""
        form = cls(**values)
        names = [form.target, *form.kinds, *form.left_out, *form.day_first, *form.decimals]
        are_known = {*form.kinds.values()} <= {NUMBER, BOOLEAN, DATE, TEXT}
        are_known &= {*map(type, form.day_first.values())} <= {bool}
        if not all(isinstance(name, str) for name in names) or not are_known:
            raise ValueError(f"{form!r} does not describe a table")
        return form


@dataclass
class TrainingTable:
    """A table with the column to predict.

    Attributes
    ----------
    X : DataFrame
        Numbers, booleans, dates and text, each as its own type.
    y : ndarray of shape (n_rows,)
        float64 for regression.
    task : {'classification', 'regression'}
    form : TableForm
    description : str
    notes : list of str
    sample_weight : ndarray of shape (n_rows,) or None
    """

    X: pd.DataFrame
    y: np.ndarray
    task: str
    form: TableForm
    description: str
    notes: list[str]
    sample_weight: np.ndarray | None = None


@dataclass
class NewTable:
    """A table to predict for.

    Attributes
    ----------
    X : DataFrame
        The columns that the model reads.
    others : DataFrame
        Those of the columns left out that the table has.
    target : Series or None
        The column to predict, if it is there.
    """

    X: pd.DataFrame
    others: pd.DataFrame
    target: pd.Series | None


def load_training(
    name: str,
    target: str | None,
    *,
    task: str | None = None,
    weights: str | None = None,
    encoding: str | None = None,
) -> TrainingTable:
    """Read a table to learn from.

    Parameters
    ----------
    name : str
        Path or URL of a table: see `fastopt.datasets.load`.
    target : str or None
        Column to predict; None raises an error that names the columns.
    task : {'classification', 'regression'}, optional
        What the target is; by default classification if it is text, booleans or few whole numbers.
    weights : str, optional
        Column with the weight of each row.
    encoding : str, optional
        Of a text file.

    Raises
    ------
    DatasetError
        If there is no such file or column, or it cannot be used; the message says what to do.
    MissingExtraError
        If the package that reads such files is not installed.
    """
    with _located(name) as (path, kind):
        file = files.read(path, kind, encoding)
        check_columns(file, target=target, weights=weights)
        table, notes, decimals = read_numbers(file)
    table, y, task, more = with_target(file.path, table, target, task)
    if task == "regression" and np.ptp(y) == 0:
        raise DatasetError(f"target {target!r} is {y[0]:g} in every row: there is nothing to learn.")
    form = TableForm(str(target), decimals=sorted(decimals))
    weight = None if weights is None else weights_of(table[weights], weights)
    form.left_out.extend([] if weights is None else [weights])
    notes = [*file.notes, *notes, *more]
    columns = {}
    for place, column in enumerate(table.columns):
        if column in (target, weights):
            continue
        reason = names_its_rows(column, table[column], place == 0)
        if reason:
            form.left_out.append(column)
            notes.append(f"Column {column!r} {reason} and was left out.")
        else:
            columns[column], form.kinds[column], is_day_first, said = understood(column, table[column])
            if is_day_first is not None:
                form.day_first[column] = is_day_first
            notes += said
    if not columns:
        raise DatasetError(
            f"{file.path.name} has no usable column beside {target!r}. {' '.join(notes)}".strip()
        )
    X = require("pandas", "reading a table").DataFrame(columns)
    description = f"{file.path.name}: {len(y):,} rows, {X.shape[1]} columns, {task} of {target!r}"
    return TrainingTable(
        X, y if task == "classification" else y.astype(np.float64), task, form, description, notes, weight
    )


@contextmanager
def _located(name):
    """Have a table's file on this machine; see `fastopt.datasets.locations.located`."""
    if locations.is_table_or_arrays(name):
        with locations.located(name) as (path, kind):
            if kind != ".npz":
                yield path, kind
                return
    raise DatasetError(f"{name!r} is no table: {', '.join((*locations.TEXT, *locations.BINARY))}.")


def load_new(name: str, form: TableForm, *, encoding: str | None = None) -> NewTable:
    """Read a table to predict for.

    Columns are taken for what they were in the first table: text stays text although every value in the new
    table may be a number, and dates are read in the same order of day and month.

    Parameters
    ----------
    name : str
        Path or URL of a table.
    form : TableForm
        Of the table that the model has learnt from.
    encoding : str, optional
        Of a text file.

    Raises
    ------
    DatasetError
        If the file cannot be read, has no rows, or its columns do not fit; the message says which.
    """
    with _located(name) as (path, kind):
        file = files.read(path, kind, encoding)
        file.frame.columns = columns = list(map(str, file.frame.columns))
        _check_names(path.name, columns, form)
        if not len(file.frame):
            raise DatasetError(f"{path.name} has no rows.")
        table, _, _ = read_numbers(file, frozenset(form.decimals))
        as_text = [c for c, kind in form.kinds.items() if kind == TEXT and not is_text(table[c])]
        if as_text and file.options:
            table[as_text] = file.as_text(as_text)[as_text].apply(stripped)
    X = {c: _reread(table[c], c, kind, form) for c, kind in form.kinds.items()}
    pandas = require("pandas", "reading a table")
    target = table[form.target] if form.target in columns else None
    return NewTable(pandas.DataFrame(X), table[[c for c in form.left_out if c in columns]], target)


def _check_names(file, columns, form):
    missing = [name for name in form.kinds if name not in columns]
    unknown = [name for name in columns if name not in (*form.kinds, *form.left_out, form.target)]
    if not missing and not unknown:
        return
    parts = [f"lacks the columns {some(missing)}"] if missing else []
    parts += (
        [f"has the columns {some(unknown)}, which the model has not seen: leave them out"] if unknown else []
    )
    raise DatasetError(f"{file} {' and '.join(parts)}. The model reads {some([*form.kinds])}.")


def _reread(column, name, kind, form):
    """Return a column of a new table in the type that it had in the first."""
    if not is_text(column) or not column.notna().any():
        return column
    if kind == BOOLEAN:
        flags = as_flags(column)
        return column if flags is None else flags
    if kind == DATE:
        dates = text_dates.read(column, form.day_first.get(name, False)) if holds_dates(column) else None
        if dates is None:
            order = "the day before the month" if form.day_first.get(name) else "the month before the day"
            raise DatasetError(
                f"column {name!r} held dates, with {order}, and holds {some(list(column.dropna()[:3]))} now."
            )
        return dates
    return column
