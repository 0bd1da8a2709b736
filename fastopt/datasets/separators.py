"""What separates the columns of a text file, as its first rows show."""

from __future__ import annotations

import csv
import io
import re

#: Of those that fit equally well the first: a comma is also written in numbers and in text.
_SEPARATORS = ";,\t|"
#: The first line that Excel writes and reads: it is no row.
_SAID = re.compile(r"sep=(.)\r?\n")


def separator_of(text: str) -> tuple[str, int]:
    r"""Return what separates columns, and how many lines stand before the header.

    It is the sign under which most rows have as many values as the header has names; of several such signs,
    the one that makes most columns.

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
    best, found = (0.0, 1), ","
    for sign in _SEPARATORS:
        widths = _widths(text, sign)
        fit = (sum(n == widths[0] for n in widths) / len(widths), widths[0]) if widths else best
        if fit[1] > 1 and fit > best:
            best, found = fit, sign
    return found, 0


def _widths(text, sign):
    """Return how many values each row has, but of the last, which may be cut off."""
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=sign, skipinitialspace=True)
        widths = [len(row) for row in rows if row]
    except csv.Error:  # such as a value of 100 kB
        return []
    return widths[:-1] or widths
