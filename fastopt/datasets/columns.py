"""What the columns of a table hold: numbers, text, dates or row numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from .._extras import require
from ..tabular.column_kinds import BOOLEAN, DATE, NUMBER, TEXT
from . import DatasetError, text_dates, text_numbers

if TYPE_CHECKING:
    import pandas as pd

    from .files import TableFile

_DATE = (
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/. ](?:\d{1,2}|[A-Za-z]{3,9})[-/. ,]+(?:\d{4}|\d{2}))"
    r"(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AaPp][Mm])?)?(?:Z| ?[+-]\d{2}:?\d{2})?"
)
#: The largest whole number up to which all are exact in float64.
_EXACT = 2**53
_FLAGS = {"true": True, "false": False}
_IDENTIFIER = re.compile(r"(?:.*[\W_])?(?:id|idx|index|key|uuid|row|no|nr)", re.IGNORECASE)


def is_text(column: pd.Series) -> bool:
    """Whether a column holds text, or other objects that are neither numbers nor booleans."""
    types = require("pandas", "reading a table").api.types
    return not (types.is_numeric_dtype(column) or types.is_bool_dtype(column) or is_time(column))


def is_time(column: pd.Series) -> bool:
    """Whether a column has a dtype of dates, times or durations."""
    types = require("pandas", "reading a table").api.types
    return types.is_datetime64_any_dtype(column) or types.is_timedelta64_dtype(column)


def holds_dates(column: pd.Series) -> bool:
    """Whether every text of a column is a date, such as 2024-05-01, 1.5.2024 or 01-May-24 13:30."""
    texts = column.dropna().drop_duplicates()
    texts = texts[~texts.str.casefold().isin(text_numbers.MISSING)]
    return len(texts) > 0 and bool(texts.str.fullmatch(_DATE).all())


def read_numbers(
    file: TableFile, decimals: frozenset[str] = frozenset()
) -> tuple[pd.DataFrame, list[str], frozenset[str]]:
    """Convert columns of text in which every value is a number.

    Parameters
    ----------
    file : TableFile
    decimals : frozenset of str
        Decimal signs that another file of the same kind shows beyond doubt; none if this one is to tell.

    Returns
    -------
    frame : DataFrame
        Its other columns of text are stripped, and missing where a mark of `text_numbers.MISSING` stands.
    notes : list of str
    decimals : frozenset of str
        Those that were relied upon.
    """
    frame = file.frame.copy()
    found = {}
    for name in filter(lambda name: is_text(frame[name]), frame.columns):
        known = frame[name].notna()
        frame[name] = frame[name].where(~known, frame[name].astype(str)).astype(object)
        if known.any() and (numbers := text_numbers.read(frame[name].astype(str).where(known))) is not None:
            found[name] = numbers
    evidence = set(decimals) or {n.decimals[0] for n in found.values() if len(n.decimals) == 1}
    if evidence == {","}:
        found.update(_thousands_read_as_decimals(file, frame))
    remarks: dict[str, list[str]] = {}
    for name, numbers in found.items():
        decimal = numbers.prefers(evidence, file.separator)
        frame[name] = numbers.values(decimal)
        for mark in numbers.missing:
            remarks.setdefault(f"{mark!r} was taken as missing in", []).append(name)
        if (remark := numbers.remark(decimal)) and np.isfinite(frame[name]).any():
            kind, _, example = remark.partition(" (")
            same = next((key for key in remarks if key.startswith(f"Read as numbers, {kind} (")), None)
            remarks.setdefault(same or f"Read as numbers, {kind} ({example}:", []).append(name)
    for name in frame.columns:
        if _is_rounded(frame[name]) or (name in found and found[name].is_rounded()):
            remarks.setdefault("Whole numbers beyond 2**53 are rounded to float64 in", []).append(name)
    for name in filter(lambda name: is_text(frame[name]), frame.columns):
        frame[name] = stripped(frame[name])
    return frame, [f"{remark} {some(names)}." for remark, names in remarks.items()], frozenset(evidence)


def _is_rounded(column):
    """Whether a column of whole numbers has some that are not exact in float64, and may be names."""
    if getattr(column.dtype, "kind", "") not in "iu" or column.empty:
        return False
    return bool(column.max() > _EXACT or column.min() < -_EXACT)


def stripped(column: pd.Series) -> pd.Series:
    """Return a column of text without spaces around it, and missing where `text_numbers.MISSING` says so."""
    texts = column.str.strip()
    return texts.where(~texts.str.casefold().isin(text_numbers.MISSING))


def _thousands_read_as_decimals(file, frame):
    """Return the columns in which pandas read 1.234, with a thousands separator, as a fraction."""
    fractions = [
        name for name in frame.columns if frame[name].dtype.kind == "f" and (frame[name] % 1 > 0).any()
    ]
    if not fractions or not file.options:
        return {}
    texts = file.as_text(fractions)
    read = {name: text_numbers.read(texts[name]) for name in fractions}
    return {name: numbers for name, numbers in read.items() if numbers and "," in numbers.decimals}


def numbers_row_by_row(name: str, column: pd.Series, is_first: bool) -> str:
    """Return why a column is only a row number, or '' if it is not."""
    values = column.dropna()
    if len(values) < len(column) or not values.is_unique:
        return ""
    whole = values.dtype.kind in "iu" or (values.dtype.kind == "f" and bool((values % 1 == 0).all()))
    if is_first and name.startswith("Unnamed: "):
        return "has no name and another value in every row, as an index that was written with the table"
    if (
        whole
        and len(values) > 2
        and values.min() in (0, 1)
        and values.max() - values.min() == len(values) - 1
    ):
        return f"numbers the rows from {values.min():g} to {values.max():g}"
    if whole and _IDENTIFIER.fullmatch(name):
        return "is an identifier by its name, with another whole number in every row"
    return ""


def understood(name: str, column: pd.Series) -> tuple[pd.Series, str, bool | None, list[str]]:
    """Return a column in its own type, what it holds, and how dates were read.

    Parameters
    ----------
    name : str
    column : Series
        As `read_numbers` returns it.

    Returns
    -------
    column : Series
    kind : {'number', 'boolean', 'date', 'text'}
    is_day_first : bool or None
        Of dates written as text, whether the day stands before the month.
    notes : list of str
    """
    if is_text(column):
        flags = as_flags(column)
        if flags is not None:
            return flags, BOOLEAN, None, []
        if holds_dates(column):
            is_day_first = text_dates.day_first(column)
            dates = None if is_day_first is None else text_dates.read(column, is_day_first)
            if dates is not None:
                return dates, DATE, is_day_first, [_said_of_dates(name, column, dates)]
        return column, TEXT, None, []
    if is_time(column):
        return column, DATE, None, []
    if column.dtype.name in ("bool", "boolean"):
        return column, BOOLEAN, None, []
    check_finite(name, column)
    return column, NUMBER, None, []


def as_flags(column: pd.Series) -> pd.Series | None:
    """Return a column of the texts true and false as booleans, missing where it is; None if it is another."""
    known = column.dropna().astype(str).str.casefold()
    if known.empty or not known.isin(_FLAGS).all():
        return None
    return column.astype(str).str.casefold().map(_FLAGS).where(column.notna(), None).astype("boolean")


def _said_of_dates(name, column, dates):
    first = column.first_valid_index()
    return f"Column {name!r} was read as dates ({column[first]} as {dates[first]:%d %B %Y})."


def check_finite(name: str, column: pd.Series) -> None:
    """Raise DatasetError if a column of numbers holds an infinity."""
    infinite = np.flatnonzero(np.isinf(column.to_numpy(dtype=np.float64, na_value=np.nan)))
    if len(infinite):
        raise DatasetError(
            f"column {name!r} holds infinite values ({len(infinite)}, the first in row {infinite[0] + 1} of "
            "the data): a mean of them is not a number. Leave these cells empty, or write what is meant."
        )


def some(names: list[str], n: int = 12) -> str:
    """Return names for a message; of more than ``n`` the first few and the last, often the target."""
    if len(names) <= n:
        return ", ".join(map(repr, names))
    first = ", ".join(map(repr, names[: n - 1]))
    return f"{first}, {len(names) - n} more, and {names[-1]!r}"
