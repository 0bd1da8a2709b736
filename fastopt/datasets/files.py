"""Table files as data frames, read by pandas."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import lzma
import re
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._extras import require
from . import DatasetError, large_tables
from .columns import some
from .separators import separator_of

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

# Suffix: the package behind pandas' reader.
_PACKAGES = {
    **dict.fromkeys((".parquet", ".pq", ".feather", ".arrow", ".ipc"), "pyarrow"),
    ".xlsx": "openpyxl",
    ".xls": "xlrd",
    ".ods": "odf",
}
_EMPTY_ONLY = {"keep_default_na": False, "na_values": [""]}
#: Files of Arrow record batches that begin otherwise are streams of them.
_ARROW_FILES = (b"ARROW1", b"FEA1")
#: Of a text file, by which its separator is told.
_FIRST_BYTES = 1 << 16


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
    if kind in _PACKAGES:
        if encoding is not None:
            raise DatasetError(f"encoding={encoding!r} is for text files; a {kind} file knows its own.")
        return _binary(path, kind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", category=_parser_warning())
            return _text(path, encoding)
    except UnicodeError as problem:
        raise DatasetError(f"{path.name!r} {_encoding_hint(problem, encoding)}") from problem
    except LookupError as problem:
        raise DatasetError(
            f"encoding={encoding!r} is not one that Python knows, such as latin-1."
        ) from problem
    except (ValueError, EOFError, Warning, OSError, lzma.LZMAError) as problem:
        reason = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise DatasetError(f"{path.name!r} cannot be read as a table: {_in_words(reason)}") from problem


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
    if reason.startswith("No columns to parse"):
        return "it is empty."
    if reason.startswith("Length of header or names does not match"):
        return "its rows have more values than its first line, the header, has names."
    return reason.removeprefix("Error tokenizing data. C error: ")


def _parser_warning():
    return require("pandas", "reading a table").errors.ParserWarning


def _binary(path, kind):
    package = _PACKAGES[kind]
    require(package, f"reading a {kind} file", extra="tables")
    pandas = require("pandas", "reading a table")
    try:
        sampled = large_tables.sample(path) if package == "pyarrow" else None
        frame, *notes = sampled or (_arrow if package == "pyarrow" else _excel)(pandas, path, kind)
    except Exception as problem:  # pyarrow, openpyxl and zipfile each have their own kinds
        reason = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise DatasetError(f"{path.name!r} cannot be read as {kind}: {reason}") from problem
    named = [name for name in frame.index.names if name is not None]
    if len(named) < frame.index.nlevels and not isinstance(frame.index, pandas.RangeIndex):
        notes.append("The index of the table, which has no name, was left out.")
    frame = frame.reset_index(level=named).reset_index(drop=True)
    frame, more = _single_values(frame)
    return TableFile(path, frame, notes=[*notes, *more])


def _arrow(pandas, path, kind):
    if kind in (".parquet", ".pq"):
        return (pandas.read_parquet(path),)
    with open(path, "rb") as file:
        is_stream = not file.read(6).startswith(_ARROW_FILES)
    if not is_stream:
        return (pandas.read_feather(path),)
    ipc = require("pyarrow.ipc", f"reading a {kind} file", extra="tables")
    with ipc.open_stream(str(path)) as stream:
        return (stream.read_all().to_pandas(),)


def _excel(pandas, path, kind):
    with pandas.ExcelFile(path) as book:
        sheet, *others = map(str, book.sheet_names)
        frame = pandas.read_excel(book, **_EMPTY_ONLY)
        names = pandas.read_excel(book, header=None, nrows=1, dtype=str, **_EMPTY_ONLY)
    notes = [f"Sheet {sheet!r} was read, and not {some(others)}."] if others else []
    return frame, *notes, *(_repeated(frame, names.iloc[0]) if len(names) else ())


def _single_values(frame):
    """Return a frame without columns of lists and the like, with bytes as text, and notes."""
    notes = []
    for name in [name for name, dtype in frame.dtypes.items() if dtype.kind == "O"]:
        first = next(iter(frame[name].dropna()), None)
        if isinstance(first, (list, tuple, dict, set)) or hasattr(first, "__array__"):
            notes.append(
                f"Column {name!r} holds a list or a mapping in each row ({type(first).__name__}), and was "
                "left out: give each of its values a column."
            )
            frame = frame.drop(columns=name)
        elif isinstance(first, bytes):
            frame[name] = frame[name].str.decode("utf-8", "backslashreplace")
    return frame, notes


def _text(path, encoding):
    pandas = require("pandas", "reading a table")
    notes = []
    first = _first_bytes(path)
    if encoding is None and first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
        notes.append("The file was read as UTF-16, as its first bytes say.")
    elif encoding is None and b"\0" in first:
        raise DatasetError(f"{path.name!r} holds zero bytes, as UTF-16 does: try --encoding utf-16-le.")
    separator, skipped = separator_of(first.decode(encoding or "utf-8-sig", "replace"))
    options = {"sep": separator, "encoding": encoding, "skipinitialspace": True, **_EMPTY_ONLY}
    options["index_col"] = False  # rows longer than the header are an error, not an index
    options["skiprows"] = skipped
    frame = pandas.read_csv(path, low_memory=False, **options)
    names = pandas.read_csv(path, header=None, nrows=1, dtype=str, **options).iloc[0].str.strip()
    plain = frame.columns.str.strip()
    if plain.is_unique:
        frame.columns = plain
    notes += _repeated(frame, names)
    if len(frame) and frame.iloc[:, -1].isna().any():
        notes += _short_rows(path, encoding, separator, frame.shape[1])
    return TableFile(path, frame, separator, notes, options)


def _short_rows(path, encoding, separator, n_columns):
    """Return a note, in a list, if rows end before their last column, which pandas takes as missing."""
    with _opened(path, "rt", encoding=encoding or "utf-8", newline="") as file:
        rows = csv.reader(file, delimiter=separator, skipinitialspace=True)
        try:
            lines = [rows.line_num for row in rows if 0 < len(row) < n_columns]
        except csv.Error:  # such as a value of 200 kB
            return []
    lines = [line for line in lines if line > 1]  # the first may be Excel's sep=
    if not lines:
        return []
    what = f"{len(lines)} rows end before the last column, the first in line {lines[0]}"
    return [f"{what}: what they lack is missing."]


def _repeated(frame, names):
    """Return notes on names that stand over several columns, which pandas tells apart by numbers."""
    notes = []
    for name in names[names.duplicated()].dropna().unique():
        others = [column for column, own in zip(frame.columns, names, strict=False) if own == name]
        notes.append(f"The name {name!r} stands over {len(others)} columns, which are called {some(others)}.")
    return notes


def _first_bytes(path):
    """Return a file's first bytes, decompressed."""
    with _opened(path, "rb") as file:
        return file.read(_FIRST_BYTES)


def _opened(path, mode, **options):
    unpacking = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    return unpacking.get(path.suffix.lower(), open)(path, mode, **options)


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
