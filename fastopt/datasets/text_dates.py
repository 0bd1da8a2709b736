"""Dates written as text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .._extras import require

if TYPE_CHECKING:
    import pandas as pd

#: Two numbers of which one is the day and the other the month, in dates that do not begin with the year.
_DAY_AND_MONTH = r"^(\d{1,2})([-/. ])(\d{1,2})[-/. ]"
_ZONE = re.compile(r"\d(?:Z| ?[+-]\d{2}:?\d{2})$")


def day_first(texts: pd.Series) -> bool | None:
    """Return whether the day stands before the month; None if the dates of a column contradict each other.

    Where no number is above 12, days stand before points (1.2.2024), and months before other signs.

    Examples
    --------
    >>> import pandas as pd
    >>> day_first(pd.Series(["1/2/2024", "31/1/2024"]))
    True
    """
    parts = texts.str.extract(_DAY_AND_MONTH).dropna()
    first, second = parts[0].astype(int), parts[2].astype(int)
    if (first > 12).any() and (second > 12).any():
        return None
    if (first > 12).any() or (second > 12).any():
        return bool((first > 12).any())
    return bool((parts[1] == ".").any())


def read(column: pd.Series, is_day_first: bool) -> pd.Series | None:
    """Return a column of dates as datetimes, in UTC if any has a time zone; None if one is no date.

    Parameters
    ----------
    column : Series of str
        Missing values stay missing.
    is_day_first : bool
        As from `day_first`.
    """
    pandas = require("pandas", "reading a table")
    texts = column.str.strip()
    has_zone = bool(texts.dropna().map(lambda text: bool(_ZONE.search(text))).any())
    found = pandas.to_datetime(texts, format="mixed", dayfirst=is_day_first, utc=has_zone, errors="coerce")
    return None if (found.isna() & texts.notna()).any() else found
