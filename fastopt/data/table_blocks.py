"""Blocks of rows of tables: which columns are features, and how they become rows of floats."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from fastopt._extras import require
from fastopt._parameters import suggestion
from fastopt.data.array_rows import float_dtype
from fastopt.data.table_files import open_files

#: Rows that are turned from columns into rows at a time, so that they stay in a processor's cache.
_TILE = 512


class TableBlocks:
    """Blocks of rows of Parquet or Arrow files: row groups, record batches or slices of these.

    Parameters
    ----------
    source : path or sequence of paths
        Of files with the same columns, or of a folder of such files.
    y : str, sequence of str or None
        Columns of the targets.
    sample_weight : str or None
        Column of the weights.
    columns : sequence of str, optional
        The features; all other columns by default.
    """

    def __init__(
        self, source: Any, y: Any, sample_weight: Any, columns: Sequence[str] | None, block_rows: int | None
    ) -> None:
        self._files = open_files(source)
        self._y, self._weight = _names(y, "y"), _names(sample_weight, "sample_weight")
        self._columns = self._features(columns)
        widths = [self._width(name) for name in self._columns]
        self._places: list[int] = np.cumsum([0, *widths]).tolist()
        self.dtype: np.dtype[Any] = float_dtype(*(self._numpy_dtype(name) for name in self._columns))
        self.names: list[str] | None = None if max(widths) > 1 else self._columns
        self.shape: tuple[int, int] = sum(sum(file.unit_rows) for file in self._files), self._places[-1]
        self.blocks: list[tuple[int, int, int, int]] = list(self._split(block_rows))
        sizes = [last - first for _, _, first, last in self.blocks]
        self.bounds: np.ndarray = np.cumsum([0, *sizes], dtype=np.int64)
        self.has_targets: bool = bool(self._y)
        self.has_weights: bool = bool(self._weight)

    @property
    def can_split(self) -> bool:
        """Whether blocks of any number of rows can be read."""
        return all(file.slice_rows(1, 1) is not None for file in self._files)

    def _split(self, block_rows):
        """Yield the blocks as (file, row group or record batch, first row there, last row)."""
        for number, file in enumerate(self._files):
            step = file.slice_rows(self.shape[1], min(map(self._width, self._columns)))
            if step is not None and block_rows is not None:
                step = block_rows
            for unit, n_rows in enumerate(file.unit_rows):
                for first in range(0, n_rows, step or max(1, n_rows)):
                    yield number, unit, first, n_rows if step is None else min(first + step, n_rows)

    def _features(self, columns):
        """Return the names of the features, checked."""
        known = self._files[0].schema.names
        repeated = sorted({name for name in known if known.count(name) > 1})
        if repeated:
            raise ValueError(f"{self._title} has several columns with the name {repeated[0]!r}.")
        for what, names in (("y", self._y), ("sample_weight", self._weight), ("columns", columns or ())):
            for name in names:
                if name not in known:
                    hint = suggestion(name, known)
                    raise ValueError(f"{what}: {self._title} has no column {name!r}.{hint}")
        apart = {*self._y, *self._weight}
        if columns is None:
            index = _pandas_index(self._files[0].schema)
            columns = [name for name in known if name not in apart and name not in index]
        columns = list(columns)
        if apart.intersection(columns):
            raise ValueError(f"columns has {sorted(apart.intersection(columns))}, which y or the weight is.")
        for name in columns:
            if self._numpy_dtype(name) is None:
                raise ValueError(
                    f"column {name!r} of {self._title} holds {self._type(name)}, and a network takes "
                    "numbers: encode it before, or leave it out with columns=[...]."
                )
        if not columns:
            raise ValueError(f"{self._title} has no column beside y and the weights.")
        return columns

    @property
    def _title(self):
        return repr(str(self._files[0].path))

    def _type(self, name):
        return self._files[0].schema.field(name).type

    def _width(self, name):
        return getattr(self._type(name), "list_size", 1)

    def _numpy_dtype(self, name):
        """Return the dtype of a column's numbers; None if it holds others."""
        types = require("pyarrow.types", "reading a table", extra="tables")
        kind = self._type(name)
        kind = kind.value_type if types.is_fixed_size_list(kind) else kind
        if types.is_decimal(kind):
            return np.dtype(np.float64)
        is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
        return np.dtype(kind.to_pandas_dtype()) if is_number else None

    def announce(self, blocks: Sequence[int]) -> None:
        """Do nothing: only pyarrow knows where in a file they lie."""

    def read(self, block: int, out: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Write the rows of a block to ``out``; return their targets and weights, or None for each."""
        number, unit, first, last = self.blocks[block]
        file = self._files[number]
        table = file.read(unit, first, last, [*self._columns, *self._y, *self._weight])
        self.put(table, out)
        return self._targets(table)

    def put(self, table: Any, out: np.ndarray) -> None:
        """Write the features of a pyarrow Table or RecordBatch to ``out``, row by row."""
        arrays = [self._array(table, name) for name in self._columns]
        if len(arrays) == 1:
            out[...] = arrays[0].reshape(out.shape)
            return
        bounds = list(pairwise(self._places))
        for start in range(0, len(out), _TILE):
            rows = slice(start, start + _TILE)
            for (first, last), array in zip(bounds, arrays, strict=True):
                if last - first == 1:
                    out[rows, first] = array[rows]
                else:
                    out[rows, first:last] = array[rows]

    def _array(self, table, name):
        """Return a column as an array of numbers; ValueError if a value is missing."""
        column = table.column(name)
        column = column.combine_chunks() if hasattr(column, "combine_chunks") else column
        width = self._width(name)
        if column.null_count == 0 and width > 1:
            column = column.flatten()
        if column.null_count:
            raise ValueError(
                f"column {name!r} of {self._title} has {column.null_count} missing values in "
                f"{len(column):,} rows, and a network takes none: fill or drop them before."
            )
        array = column.to_numpy(zero_copy_only=False)
        array = array.astype(np.float64) if array.dtype.kind == "O" else array
        return array if width == 1 else array.reshape(-1, width)

    def _targets(self, table):
        # Copies: views would keep a whole mapped file.
        y = None
        if self._y:
            each = [np.array(self._labels(table, name)) for name in self._y]
            y = each[0] if len(each) == 1 else np.column_stack(each)
        return y, np.array(self._array(table, self._weight[0])) if self._weight else None

    def _labels(self, table, name):
        """Return a column of targets: numbers, or an array of str."""
        column = table.column(name)
        if hasattr(column.type, "index_type"):  # categories
            column = column.cast(column.type.value_type)
        if self._numpy_dtype(name) is not None:
            return self._array(table, name)
        if column.null_count:
            raise ValueError(f"y: column {name!r} of {self._title} has {column.null_count} missing values.")
        labels = column.to_pylist()
        if not all(isinstance(label, str) for label in labels):
            raise ValueError(f"y: column {name!r} of {self._title} holds {column.type}: no numbers or text.")
        return np.array(labels, dtype=str)

    def targets(self) -> Iterator[tuple[np.ndarray | None, np.ndarray | None]]:
        """Yield targets and weights of all rows, a row group at a time, without reading features."""
        columns = [*self._y, *self._weight]
        for file in self._files:
            for unit, n_rows in enumerate(file.unit_rows):
                if n_rows and columns:
                    yield self._targets(file.read(unit, 0, n_rows, columns))

    def batches(self, n_rows: int) -> Iterator[tuple[Any, np.ndarray | None, np.ndarray | None]]:
        """Yield ``(table, targets, weights)`` for all rows, at most ``n_rows`` at a time."""
        for file in self._files:
            for table in file.batches([*self._columns, *self._y, *self._weight], n_rows):
                yield table, *self._targets(table)

    def described(self) -> list[Any]:
        """Return what tells these rows from others without reading them."""
        columns = [*self._columns, *self._y, *self._weight]
        return [[file.unit_rows, [[name, str(self._type(name))] for name in columns]] for file in self._files]


def _names(value, what):
    """Return the names of columns in a list."""
    if value is None:
        return []
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        kind = "a column of the table, by its name" if what == "sample_weight" else "one or several columns"
        raise ValueError(f"{what} must name {kind}; got {value!r}.")
    return list(names)


def _pandas_index(schema):
    """Return the columns in which pandas has stored the index of a frame."""
    known = (schema.metadata or {}).get(b"pandas")
    stored = json.loads(known)["index_columns"] if known else []
    return {name for name in stored if isinstance(name, str)}
