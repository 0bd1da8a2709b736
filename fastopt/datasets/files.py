"""Table files as data frames, read by pandas."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import re
import warnings
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._extras import require
from . import DatasetError, large_tables
from .columns import some

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

# Suffix: the function of pandas, the package behind it, and what of the cells is taken as missing.
_EMPTY_ONLY = {"keep_default_na": False, "na_values": [""]}
_READERS = {
    ".parquet": ("read_parquet", "pyarrow", {}),
    ".pq": ("read_parquet", "pyarrow", {}),
    ".feather": ("read_feather", "pyarrow", {}),
    ".arrow": ("read_feather", "pyarrow", {}),
    ".xlsx": ("read_excel", "openpyxl", _EMPTY_ONLY),
    ".xls": ("read_excel", "xlrd", _EMPTY_ONLY),
    ".ods": ("read_excel", "odf", _EMPTY_ONLY),
}


@dataclass
class TableFile:
    """A table as it stands in its file; cells of text stay text, also 'NA' and 'None'.

    Attributes
    ----------
    path : Path
    frame : DataFrame
    separator : str
        Between the columns of a text file, else ''.
    notes : list of str
    options : dict
        With which pandas read a text file.
    """

    path: Path
    frame: pd.DataFrame
    separator: str = ""
    notes: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    def as_text(self, columns: list[str]) -> pd.DataFrame:
        """Return `columns` of a text file as the text in the file, although they look like numbers."""
        pandas = require("pandas", "reading a table")
        places = [list(self.frame.columns).index(column) for column in columns]
        again = pandas.read_csv(self.path, usecols=places, dtype=str, **self.options)
        return again.set_axis([list(self.frame.columns)[place] for place in sorted(places)], axis=1)


def read(path: Path, kind: str, encoding: str | None = None) -> TableFile:
    """Read a table file of a `kind` such as ``'.csv'``.

    Raises
    ------
    DatasetError
        If it cannot be read; the message says which option may help.
    MissingExtraError
        If the package that reads such files is not installed.
    """
    require("pandas", "reading a table")
    if kind in _READERS:
        if encoding is not None:
            raise DatasetError(f"encoding={encoding!r} is for text files; a {kind} file knows its own.")
        return _binary(path, kind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", category=_parser_warning())
            return _text(path, encoding)
    except UnicodeError as problem:
        raise DatasetError(f"{str(path)!r} {_encoding_hint(problem, encoding)}") from problem
    except LookupError as problem:
        raise DatasetError(
            f"encoding={encoding!r} is not one that Python knows, such as latin-1."
        ) from problem
    except (ValueError, EOFError, Warning, OSError, lzma.LZMAError, zipfile.BadZipFile) as problem:
        reason = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise DatasetError(f"{str(path)!r} cannot be read as a table: {_in_words(reason)}") from problem


def _in_words(reason):
    """Return what pandas says of a table's form, in words about the file."""
    ragged = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", reason)
    if ragged:
        expected, line, found = ragged.groups()
        return (
            f"line {line} has {found} values where those before it have {expected}. A value that holds a "
            "comma is written in double quotes."
        )
    quoted = re.search(r"EOF inside string starting at row (\d+)", reason)
    if quoted:
        return f"a double quote in row {quoted[1]} (the header is row 0) is never closed."
    return reason.removeprefix("Error tokenizing data. C error: ")


def _parser_warning():
    return require("pandas", "reading a table").errors.ParserWarning


def _binary(path, kind):
    function, package, options = _READERS[kind]
    require(package, f"reading a {kind} file", extra="tables")
    pandas = require("pandas", "reading a table")
    notes = []
    try:
        sampled = large_tables.sample(path) if package == "pyarrow" else None
        if sampled is None:
            frame = getattr(pandas, function)(path, **options)
        else:
            frame, note = sampled
            notes.append(note)
    except Exception as problem:  # pyarrow, openpyxl and zipfile each have their own kinds
        reason = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise DatasetError(f"{str(path)!r} cannot be read as {kind}: {reason}") from problem
    named = [name for name in frame.index.names if name is not None]
    if len(named) < frame.index.nlevels and not isinstance(frame.index, pandas.RangeIndex):
        notes.append("The index of the table, which has no name, was left out.")
    frame = frame.reset_index(level=named).reset_index(drop=True)
    return TableFile(path, frame, notes=notes)


def _text(path, encoding):
    pandas = require("pandas", "reading a table")
    notes = []
    if encoding is None:
        first = _first_bytes(path)
        if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            encoding = "utf-16"
            notes.append("The file was read as UTF-16, as its first bytes say.")
        elif b"\0" in first:
            raise DatasetError(f"{str(path)!r} holds zero bytes, as UTF-16 does: try --encoding utf-16-le.")
    header = str(pandas.read_csv(path, nrows=0, sep="\x1f", encoding=encoding, quoting=3).columns[0])
    separator = max(",;\t|", key=re.sub(r'"[^"]*"', "", header).count)
    options = {"sep": separator, "encoding": encoding, "skipinitialspace": True, **_EMPTY_ONLY}
    options["index_col"] = False  # rows longer than the header are an error, not an index
    frame = pandas.read_csv(path, low_memory=False, **options)
    names = pandas.read_csv(path, header=None, nrows=1, dtype=str, **options).iloc[0]
    for name in names[names.duplicated()].dropna().unique():
        others = [column for column, own in zip(frame.columns, names, strict=False) if own == name]
        notes.append(f"The name {name!r} stands over {len(others)} columns, which are called {some(others)}.")
    return TableFile(path, frame, separator, notes, options)


def _first_bytes(path):
    """Return a file's first bytes, decompressed; none if the standard library cannot decompress it."""
    kind = path.suffix.lower()
    if kind in (".zip", ".zst"):
        return b""
    unpacking = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    with unpacking.get(kind, open)(path, "rb") as file:
        return file.read(1024)


def _encoding_hint(problem, encoding):
    if encoding is not None:
        return f"is not {encoding} ({problem}). Try another encoding, such as --encoding latin-1 or utf-16."
    where = (
        f"byte 0x{problem.object[problem.start]:02x}" if isinstance(problem, UnicodeDecodeError) else problem
    )
    return (
        f"is not UTF-8 ({where}). Say its encoding: --encoding latin-1 for most Western European files, "
        "cp1252 for those of Windows, utf-16 for Excel's 'Unicode text'."
    )
