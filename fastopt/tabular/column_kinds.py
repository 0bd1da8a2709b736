"""What one column of a table holds: numbers, booleans, dates, durations or text."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

NUMBER, BOOLEAN, DATE, DURATION = "number", "boolean", "date", "duration"
#: Text, and text beside numbers or other values.
TEXT, MIXED = "text", "mixed"
#: Nothing but missing values.
EMPTY = "empty"

#: What a column may hold at prediction, by what it held in `fit`; a column without values fits everywhere.
ACCEPTED = {
    NUMBER: {NUMBER, BOOLEAN},
    BOOLEAN: {BOOLEAN, NUMBER},
    DATE: {DATE},
    DURATION: {DURATION},
    TEXT: {TEXT, MIXED},
    MIXED: {TEXT, MIXED, NUMBER, BOOLEAN},
}
MICROSECONDS_PER_DAY = 86_400e6
_MISSING = "missing"


@dataclass
class Column:
    """The values of one column.

    Attributes
    ----------
    kind : str
        One of the constants of this module.
    values : ndarray of shape (n_rows,)
        float64 with NaN where missing: numbers; 0 and 1 for booleans; days since 1970 (UTC) for dates;
        seconds for durations. Of text the index in `levels`, int64, -1 where missing.
    levels : list of str
        The different texts, in order of appearance.
    is_category : bool
        Whether the table's own type says that the values are categories.
    """

    kind: str
    values: np.ndarray
    levels: list[str] | None = None
    is_category: bool = False

    def of_rows(self, rows: np.ndarray) -> Column:
        """Return the column of some of the rows."""
        return dataclasses.replace(self, values=self.values[rows])

    @property
    def known(self) -> np.ndarray:
        """Where the values are not missing."""
        return ~np.isnan(self.values) if self.levels is None else self.values >= 0

    def numbers(self) -> np.ndarray:
        """Return the values as numbers, of categories that are numbers, too."""
        if self.levels is None:
            return self.values
        as_number = {"False": 0.0, "True": 1.0}
        return np.array([*(as_number.get(level, level) for level in self.levels), np.nan], float)[self.values]

    def coded(self) -> tuple[np.ndarray, list[str]]:
        """Return the values as levels: the index of each row's level, -1 where missing, and the levels."""
        if self.levels is not None:
            return self.values, self.levels
        if self.kind == BOOLEAN:
            return np.where(self.known, self.values, -1).astype(np.int64), ["False", "True"]
        distinct, index = np.unique(self.values[self.known], return_inverse=True)
        codes = np.full(len(self.values), -1)
        codes[self.known] = index
        return codes, [_level_of_number(value, self.kind) for value in distinct.tolist()]


def of_numbers(values: np.ndarray, kind: str = NUMBER, is_category: bool = False) -> Column:
    """Return a column of numbers, which is empty if all are NaN."""
    if values.dtype == object:  # pandas 2.0 has NA among its numbers
        values = _floats(values.tolist())
    values = np.asarray(values, np.float64)
    return Column(EMPTY if np.isnan(values).all() else kind, values, None, is_category)


def of_objects(values: list[Any], name: str, is_category: bool = False) -> Column:
    """Return a column of Python objects, NumPy's and pandas' scalars among them.

    Parameters
    ----------
    values : list
    name : str
        Of the column, for messages.
    is_category : bool

    Raises
    ------
    TypeError
        If a value is none of text, number, boolean, date, time and duration.
    ValueError
        If a value is a complex number, or one beyond float64.
    """
    kinds = {_kind_of_type(kind) for kind in set(map(type, values))}
    if None in kinds:
        _refuse(next(value for value in values if _kind_of_type(type(value)) is None), name)
    kinds.discard(_MISSING)
    if len(kinds) > 1 and NUMBER in kinds and not any(map(_is_number, values)):
        kinds.discard(NUMBER)  # its floats are NaN, which stand for what is missing
    if not kinds:
        return of_numbers(np.full(len(values), np.nan), is_category=is_category)
    kind = kinds.pop() if len(kinds) == 1 else NUMBER if kinds == {NUMBER, BOOLEAN} else MIXED
    try:
        if kind in (TEXT, MIXED):
            return _of_texts(values, kind, is_category)
        return of_numbers(_NUMBERS_OF[kind](values), kind, is_category)
    except OverflowError as error:
        raise ValueError(
            f"column {name!r} holds a number beyond float64 ({error}): write it as text if it is a name"
        ) from error


def _is_number(value):
    return _kind_of_type(type(value)) == NUMBER and value == value


def _is_missing(value):
    return _kind_of_type(type(value)) == _MISSING or value != value


@functools.cache
def _kind_of_type(cls):
    """Return the kind of values of a type, `_MISSING`, or None if columns cannot have such values."""
    if cls is type(None) or cls.__name__ in ("NAType", "NaTType"):
        return _MISSING
    for kind, types in _TYPES.items():
        if issubclass(cls, types):
            return kind
    return None


_TYPES = {
    BOOLEAN: (bool, np.bool_),
    DURATION: (datetime.timedelta, datetime.time, np.timedelta64),
    NUMBER: (numbers.Real, np.integer, Decimal),
    TEXT: (str, bytes),
    DATE: (datetime.date, np.datetime64),
}


def _refuse(value, name):
    if isinstance(value, numbers.Complex):
        raise ValueError(f"Complex data not supported: column {name!r} holds {value!r}.")
    raise TypeError(
        f"column {name!r} holds {value!r}, a {type(value).__name__}: an argument must be a string, a number, "
        "a boolean, a date, a time or a duration, or missing. Make such columns of it."
    )


def _floats(values):
    if not any(_kind_of_type(kind) == _MISSING and kind is not type(None) for kind in set(map(type, values))):
        return np.array(values, np.float64)  # None is NaN
    return np.array([np.nan if _is_missing(value) else float(value) for value in values])


def _days(values):
    moments = [None if _is_missing(value) else _without_zone(value) for value in values]
    return days_of(np.array(moments, "datetime64[us]"))


def _without_zone(value):
    """Return a date in UTC; one without a time zone is taken as it is."""
    if getattr(value, "tzinfo", None) is None:
        return value
    return value.astimezone(datetime.timezone.utc).replace(tzinfo=None)


def _seconds(values):
    spans = [
        None
        if _is_missing(value)
        else datetime.datetime.combine(datetime.date.min, value) - datetime.datetime.min
        if isinstance(value, datetime.time)
        else value
        for value in values
    ]
    return seconds_of(np.array(spans, "timedelta64[us]"))


_NUMBERS_OF = {NUMBER: _floats, BOOLEAN: _floats, DATE: _days, DURATION: _seconds}


def days_of(dates: np.ndarray) -> np.ndarray:
    """Return an array of datetime64 as days since 1970-01-01, NaN for NaT."""
    return _counts(dates.astype("datetime64[us]")) / MICROSECONDS_PER_DAY


def seconds_of(spans: np.ndarray) -> np.ndarray:
    """Return an array of timedelta64 as seconds, NaN for NaT."""
    return _counts(spans.astype("timedelta64[us]")) / 1e6


def _counts(times):
    return np.where(np.isnat(times), np.nan, times.astype(np.int64).astype(np.float64))


def _of_texts(values, kind, is_category):
    seen: dict[Any, int] = {}
    codes = np.fromiter((seen.setdefault(value, len(seen)) for value in values), np.int64, len(values))
    return of_levels(codes, seen, kind, is_category)


def of_levels(codes: np.ndarray, values: Iterable[Any], kind: str, is_category: bool) -> Column:
    """Return a column of the levels that `values` name; missing where `codes` is -1 or names none."""
    levels: dict[str, int] = {}
    texts = [None if _is_missing(value) else _level_of(value) for value in values]
    places = [-1 if text is None else levels.setdefault(text, len(levels)) for text in texts]
    return Column(kind, np.array([*places, -1])[codes], list(levels), is_category)


def _level_of(value):
    """Return the text by which a value is known as a level."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    return _level_of_number(float(value), NUMBER) if isinstance(value, numbers.Real) else str(value)


def _level_of_number(value, kind):
    if kind == DATE:
        date = np.datetime64(round(value * MICROSECONDS_PER_DAY), "us")
        return str(date.astype("datetime64[D]") if value.is_integer() else date)
    return str(int(value)) if value.is_integer() else repr(value)
