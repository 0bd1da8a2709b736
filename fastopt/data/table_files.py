"""Parquet and Arrow IPC files: their row groups and record batches, read by pyarrow one at a time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastopt._extras import require
from fastopt.data.array_rows import BLOCK_BYTES

PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc")

#: Bytes of a column's slice in an Arrow file: several pages of the file, or most of what is read is not used.
_SLICE_BYTES = 1 << 15


class ParquetFile:
    """A Parquet file, read by whole row groups.

    pyarrow's own defaults would hold much more than a row group: ``pre_buffer=True`` keeps what it has read.
    """

    def __init__(self, path: Path) -> None:
        self._parquet: Any = require("pyarrow.parquet", f"reading {path.name}", extra="tables")
        self.path: Path = path
        self._metadata: Any = None
        file = self._opened()
        self._metadata = file.metadata
        self.schema: Any = file.schema_arrow
        self.unit_rows: list[int] = [
            self._metadata.row_group(i).num_rows for i in range(self._metadata.num_row_groups)
        ]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_parquet": None, "_metadata": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])

    def _opened(self):
        return self._parquet.ParquetFile(
            self.path, metadata=self._metadata, pre_buffer=False, buffer_size=1 << 20
        )

    def slice_rows(self, n_features: int, width: int) -> int | None:
        """Return how many rows to read at once; None if only all of a row group can be read."""
        return None

    def read(self, unit: int, first: int, last: int, columns: list[str]) -> Any:
        """Return rows of a row group as a pyarrow Table."""
        with self._opened() as file:
            table = file.read_row_group(unit, columns=columns, use_threads=False)
        return table.slice(first, last - first)

    def batches(self, columns: list[str], n_rows: int) -> Iterator[Any]:
        """Yield all rows of the file, some at a time; a row group may be larger than memory."""
        with self._opened() as file:
            yield from file.iter_batches(n_rows, columns=columns, use_threads=False)


class ArrowFile:
    """An Arrow IPC (Feather 2) file, read by record batches, or by slices of them if it is not compressed."""

    def __init__(self, path: Path) -> None:
        self._arrow: Any = require("pyarrow", f"reading {path.name}", extra="tables")
        require("pyarrow.ipc", f"reading {path.name}", extra="tables")
        self.path: Path = path
        try:
            with self._arrow.memory_map(os.fspath(path)) as mapped:
                file = self._arrow.ipc.open_file(mapped)
                self.schema: Any = file.schema
                # The footer does not say how many rows a batch has: one column of each is looked at.
                options = self._arrow.ipc.IpcReadOptions(included_fields=[0], use_threads=False)
                narrow = self._arrow.ipc.open_file(mapped, options=options)
                self.unit_rows: list[int] = [
                    narrow.get_batch(i).num_rows for i in range(narrow.num_record_batches)
                ]
                before = self._arrow.total_allocated_bytes()
                batch = file.get_batch(0) if self.unit_rows else None
                # The buffers of a batch that is not compressed lie in the mapped file.
                self._is_compressed = self._arrow.total_allocated_bytes() > before + 4096
                del batch
        except self._arrow.ArrowInvalid as error:
            raise ValueError(
                f"{str(path)!r} is no Arrow IPC file with random access ({str(error).splitlines()[0]}). A "
                "stream can be written as a file with pyarrow.ipc.new_file."
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])

    def slice_rows(self, n_features: int, width: int) -> int | None:
        """Return how many rows to read at once; None if only all of a record batch can be read.

        Parameters
        ----------
        n_features : int
            Numbers of a row.
        width : int
            Numbers of a row in the narrowest column.
        """
        if self._is_compressed:
            return None
        return max(1, BLOCK_BYTES // (4 * n_features), _SLICE_BYTES // (4 * width))

    def read(self, unit: int, first: int, last: int, columns: list[str]) -> Any:
        """Return rows of a record batch as a pyarrow RecordBatch; the file is mapped as long as that is."""
        fields = [self.schema.get_field_index(name) for name in columns]
        options = self._arrow.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
        mapped = self._arrow.memory_map(os.fspath(self.path))
        batch = self._arrow.ipc.open_file(mapped, options=options).get_batch(unit)
        return batch.slice(first, last - first)

    def batches(self, columns: list[str], n_rows: int) -> Iterator[Any]:
        """Yield all rows of the file, some at a time."""
        for unit, total in enumerate(self.unit_rows):
            for first in range(0, total, n_rows):
                yield self.read(unit, first, min(first + n_rows, total), columns)


def is_table(source: Any) -> bool:
    """Whether a path, or the first of several, is that of a table file or of a folder."""
    paths = source if isinstance(source, (list, tuple)) and source else [source]
    if not isinstance(paths[0], (str, os.PathLike)):
        return False
    path = Path(paths[0])
    return path.suffix.lower() in (*PARQUET, *ARROW) or path.is_dir()


def open_files(source: Any) -> list[ParquetFile | ArrowFile]:
    """Open one table file, several, or those of a folder in the order of the numbers in their names.

    Raises
    ------
    ValueError
        If there is none, or one has other columns than the first.
    MissingExtraError
        If pyarrow is not installed.
    """
    paths = [Path(one) for one in source] if isinstance(source, (list, tuple)) else [Path(source)]
    if len(paths) == 1 and paths[0].is_dir():
        folder = paths[0]
        found = [path for path in folder.iterdir() if path.suffix.lower() in (*PARQUET, *ARROW)]
        paths = sorted(found, key=_by_numbers)
        if not paths:
            raise ValueError(f"the folder {str(folder)!r} has no file {', '.join((*PARQUET, *ARROW))}.")
    files = []
    for path in paths:
        kind = path.suffix.lower()
        if kind not in (*PARQUET, *ARROW):
            raise ValueError(f"{str(path)!r} is none of {', '.join((*PARQUET, *ARROW))}.")
        files.append(ParquetFile(path) if kind in PARQUET else ArrowFile(path))
    for file in files[1:]:
        _check_same_columns(files[0], file)
    return files


def _by_numbers(path):
    """Sort part.2 before part.10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def _check_same_columns(first, other):
    """Raise ValueError where readers of several files would cast, fill or drop by the first one's schema."""
    known = {field.name: field.type for field in first.schema}
    found = {field.name: field.type for field in other.schema}
    for name in {**known, **found}:
        if known.get(name) != found.get(name):
            raise ValueError(
                f"column {name!r} is {known.get(name, 'missing')} in {str(first.path)!r}, but "
                f"{found.get(name, 'missing')} in {str(other.path)!r}. Write the files with the same columns."
            )
