"""What separates the columns of a text file, as its first rows show."""

from __future__ import annotations

import csv
import io
import re

#: Of those that fit equally well the first is taken: commas are also written in numbers and in text.
_SEPARATORS = ";\t|,"
#: The first line that Excel writes and reads: it is no row.
_SAID = re.compile(r"sep=(.)\r?\n")


def separator_of(text: str) -> tuple[str, int]:
    r"""Return what separates columns, and how many lines stand before the header.

    It is the sign under which the largest share of the rows has as many values as the header has names, two
    or more. Of several such signs a comma is the last that is taken.

    Parameters
    ----------
    text : str
        The first rows of the file; the last one may not be whole.

    Examples
    --------
    >>> separator_of("price, EUR;size, m\n1,5;2,5\n3,5;1,0\n")
    (';', 0)
    """
    said = _SAID.match(text)
    if said:
        return said[1], 1
    best, found = 0.0, ","
    for sign in _SEPARATORS:
        first, *others = _widths(text, sign) or [1]
        share = (1 + others.count(first)) / (1 + len(others))
        if first > 1 and share > best:
            best, found = share, sign
    return found, 0


def _widths(text, sign):
    """Return how many values each row has, but of the last, which may be cut off."""
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=sign, skipinitialspace=True)
        widths = [len(row) for row in rows if row]
    except csv.Error:  # such as a value of 100 kB
        return []
    return widths[:-1] or widths
