"""Where the file of a data set is: on this machine, behind a URL, or packed into another file."""

from __future__ import annotations

import gzip
import http.client
import re
import shutil
import tempfile
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from .._extras import require
from . import DatasetError
from .columns import some

TEXT = (".csv", ".tsv", ".txt")
BINARY = (".parquet", ".pq", ".feather", ".arrow", ".ipc", ".xlsx", ".xls", ".ods")
#: Text that is compressed in one of these ways is unpacked as it is read.
_COMPRESSED = (".gz", ".bz2", ".xz")
#: Files that are unpacked first.
_PACKED = (".zip", ".zst")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_SECONDS_TO_ANSWER = 30


def is_table_or_arrays(name: str) -> bool:
    """Whether a name is that of a file of a known kind, or a URL, of which the answer may tell the kind."""
    return bool(_URL.match(name)) or Path(name).suffix.lower() in _PACKED or _kind(name) is not None


@contextmanager
def located(name: str) -> Iterator[tuple[Path, str]]:
    """Have a file on this machine for a while.

    Parameters
    ----------
    name : str
        A path, or a URL: http, https, ftp and file, and what fsspec knows, such as s3. A ``.zip`` file must
        hold one file of a known kind, or one without a suffix, which is text.

    Yields
    ------
    path : Path
        Downloaded or unpacked files are deleted afterwards.
    kind : str
        The suffix that says how it is read, such as ``'.csv'`` also of ``table.csv.gz``.

    Raises
    ------
    DatasetError
        If there is no such file, or none of a known kind.
    MissingExtraError
        If the package is not installed that reads such a URL, or unpacks it.
    """
    with ExitStack() as stack:

        def folder() -> Path:
            return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fastopt-")))

        path = _downloaded(name, folder) if _URL.match(name) else Path(name)
        if not path.is_file():
            raise DatasetError(
                f"{name!r} is a folder, no file." if path.is_dir() else f"there is no file {name!r}."
            )
        if path.suffix.lower() in _PACKED:
            path = (_unzipped if path.suffix.lower() == ".zip" else _decompressed)(path, folder())
        kind = _kind(path.name)
        if kind is None:
            raise DatasetError(
                f"{name!r} ({path.name}) does not say what it is: a name that ends in one of "
                f"{', '.join((*TEXT, *BINARY))} or .npz is needed."
            )
        yield path, kind


def _kind(name):
    """Return the suffix that decides how a file is read, without that of a compression; None if unknown."""
    suffixes = [suffix.lower() for suffix in PurePosixPath(name.replace("\\", "/")).suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED and suffixes[-2:-1] and suffixes[-2] in TEXT:
        return suffixes[-2]
    return suffixes[-1] if suffixes and suffixes[-1] in (*TEXT, *BINARY, ".npz") else None


def _downloaded(url, folder):
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "file":
        return Path(urllib.request.url2pathname(parts.path))
    is_of_python = parts.scheme in ("http", "https", "ftp")
    try:
        return (_from_server if is_of_python else _from_storage)(url, _file_name(parts.path), folder())
    except (OSError, ValueError, http.client.HTTPException, zlib.error) as problem:
        raise DatasetError(f"{url!r} cannot be read: {problem}") from problem


def _file_name(path):
    """Return the last part of a path from elsewhere, of characters that file names may have everywhere."""
    name = re.split(r"[\\/]", urllib.parse.unquote(path))[-1]
    return re.sub(r"[^\w.-]+", "_", name).lstrip(".") or "table"


def _from_server(url, name, folder):
    with urllib.request.urlopen(url, timeout=_SECONDS_TO_ANSWER) as answer:
        headers = answer.headers
        if not is_table_or_arrays(name):
            name = _file_name(headers.get_filename() or name)
        if not is_table_or_arrays(name) and headers.get_content_type() == "text/csv":
            name += ".csv"
        is_packed = headers.get("Content-Encoding") == "gzip" and not name.endswith(".gz")
        with open(folder / name, "wb") as target:
            shutil.copyfileobj(gzip.GzipFile(fileobj=answer) if is_packed else answer, target)
            n_bytes, promised = target.tell(), headers.get("Content-Length")
    if promised is not None and not is_packed and n_bytes != int(promised):
        raise OSError(f"it ended after {n_bytes:,} of {int(promised):,} bytes")
    return folder / name


def _from_storage(url, name, folder):
    scheme = url.partition("://")[0]
    fsspec: Any = require("fsspec", f"reading {scheme}://", extra="tables")
    try:
        with fsspec.open(url, "rb") as source, open(folder / name, "wb") as target:
            shutil.copyfileobj(source, target)
    except ImportError as problem:  # fsspec says which package reads such addresses
        raise DatasetError(f"{url!r} cannot be read: {problem}") from problem
    return folder / name


def _unzipped(path, folder):
    """Return the one file of a known kind in a .zip file, unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            files = [file for file in archive.infolist() if not file.is_dir()]
            files = [file for file in files if not file.filename.startswith("__MACOSX/")]
            if not files:
                raise DatasetError(f"{path.name!r} holds no files.")
            known = [file for file in files if _kind(file.filename) is not None]
            if not known and len(files) == 1 and _kind(path.stem) is not None:
                known, name = files, path.stem  # table.csv.zip with a file of another name
            elif not known and len(files) == 1 and not PurePosixPath(files[0].filename).suffix:
                known, name = files, _file_name(f"{files[0].filename}.csv")  # so pandas' to_csv("table.zip")
            else:
                name = _file_name(known[0].filename) if known else ""
            if len(known) != 1:
                names = [file.filename for file in known or files]
                raise DatasetError(
                    f"{path.name!r} holds {len(known)} tables and not one: {some(names)}. Unpack it, and "
                    "name one of its files."
                )
            with archive.open(known[0]) as source, open(folder / name, "wb") as target:
                shutil.copyfileobj(source, target)
    except (OSError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile, zlib.error) as problem:
        raise DatasetError(f"{path.name!r} cannot be read as a table: {problem}") from problem
    return folder / name


def _decompressed(path, folder):
    arrow: Any = require("pyarrow", f"reading a {path.suffix} file", extra="tables")
    try:
        with (
            arrow.input_stream(str(path), compression="zstd") as source,
            open(folder / path.stem, "wb") as to,
        ):
            shutil.copyfileobj(source, to)
    except (OSError, ValueError) as problem:
        raise DatasetError(f"{path.name!r} cannot be read as a table: {problem}") from problem
    return folder / path.stem
