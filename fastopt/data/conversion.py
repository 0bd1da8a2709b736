"""`to_blocks`: a table rewritten as ``.npy`` files, of which blocks of any size can be read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastopt.data.array_rows import float_dtype
from fastopt.data.block_source import BlockSource
from fastopt.data.table_blocks import TableBlocks
from fastopt.data.table_files import is_table

#: Rows that are held at a time.
_ROWS = 1 << 14


def to_blocks(
    table: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    path: str | os.PathLike[str],
    *,
    y: str | Sequence[str] | None = None,
    sample_weight: str | None = None,
    columns: Sequence[str] | None = None,
    dtype: npt.DTypeLike = None,
) -> BlockSource:
    """Rewrite a Parquet or Arrow file of any size as ``.npy``, in constant memory.

    Parquet gives its rows by whole row groups only and has to be decoded in each epoch; ``.npy`` is read at
    the rate of the disk, in blocks of any size.

    Parameters
    ----------
    table : path or sequence of paths
        As `BlockSource` takes them.
    path : path
        Of the ``.npy`` file with the features, such as ``"X.npy"``. Targets and weights go beside it, to
        ``X-y.npy`` and ``X-weight.npy``. Files that exist are replaced when all is written.
    y, sample_weight, columns
        As in `BlockSource`.
    dtype : {'float32', 'float64'}, default=None
        Of the features. As in `BlockSource`.

    Returns
    -------
    BlockSource
        Of the new files.

    Raises
    ------
    ValueError
        If the table or a column is not acceptable, or ``path`` does not end in ``.npy``.
    MissingExtraError
        If pyarrow is not installed.

    Examples
    --------
    >>> to_blocks("big.parquet", "X.npy", y="label")  # doctest: +SKIP
    <BlockSource of 25,000,000 rows, 100 features, 19,084 blocks>
    """
    path = Path(path)
    if path.suffix != ".npy":
        raise ValueError(f"path must end in .npy; got {str(path)!r}.")
    if not is_table(table):
        raise ValueError(f"table must be a Parquet or Arrow file, several, or a folder; got {table!r}.")
    rows = TableBlocks(table, y, sample_weight, columns, None)
    dtype = float_dtype(rows.dtype) if dtype is None else np.dtype(dtype)
    paths = [path, *(path.with_name(f"{path.stem}-{name}.npy") for name in ("y", "weight"))]
    is_there = [True, rows.has_targets, rows.has_weights]
    kinds = [((rows.shape[1],), dtype), *_kinds(rows)]
    with _replacing([one for one, needed in zip(paths, is_there, strict=True) if needed]) as files:
        for file, (width, kind) in zip(files, (k for k in kinds if k is not None), strict=True):
            _write_header(file, (rows.shape[0], *width), kind)
        for table_part, *targets in rows.batches(_ROWS):
            X = np.empty((table_part.num_rows, rows.shape[1]), dtype)
            rows.put(table_part, X)
            parts = [X, *targets]
            written = [(part, kind[1]) for part, kind in zip(parts, kinds, strict=True) if kind is not None]
            for file, (part, kind) in zip(files, written, strict=True):
                file.write(np.ascontiguousarray(part, kind).data.cast("B"))
    given = [one if needed else None for one, needed in zip(paths, is_there, strict=True)]
    return BlockSource(given[0], given[1], sample_weight=given[2])


def _kinds(rows: TableBlocks) -> list[tuple[tuple[int, ...], np.dtype[Any]] | None]:
    """Return width and dtype of targets and of weights, or None for each; texts as long as the longest."""
    found: list[Any] = [None, None]
    for parts in rows.targets():
        for place, part in enumerate(parts):
            if part is not None:
                known = part.dtype if found[place] is None else np.result_type(found[place][1], part.dtype)
                found[place] = part.shape[1:], known
    return found


@contextmanager
def _replacing(paths):
    """Open a new file for each path, which takes its place only if the block ends well."""
    files, names = [], []
    try:
        for path in paths:
            names.append(path.with_name(f"{path.name}.{os.getpid()}.part"))
            files.append(open(names[-1], "wb"))  # noqa: SIM115  closed below
        yield files
        for file, name, path in zip(files, names, paths, strict=True):
            file.close()
            os.replace(name, path)
    finally:
        for file, name in zip(files, names, strict=False):
            file.close()
            name.unlink(missing_ok=True)


def _write_header(file, shape, dtype):
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
