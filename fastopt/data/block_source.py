"""`BlockSource`: rows that stay on disk and are read in blocks."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from fastopt.data.array_rows import ArrayBlocks, float_dtype
from fastopt.data.block_order import MIXED_BLOCKS, spread
from fastopt.data.table_blocks import TableBlocks
from fastopt.data.table_files import is_table

#: Bytes of a shuffle buffer; there are two, one of which is filled while a network trains on the other.
_BUFFER_BYTES = 1 << 26
#: Up to which it grows where blocks are so large that fewer than `MIXED_BLOCKS` would be mixed.
_MOST_BYTES = 3 << 26
#: Blocks from which the rows of a sample are drawn, at most, unless these have too few.
_SAMPLED_BLOCKS = 256


class BlockSource:
    """Rows in files, read block by block: what ``fit`` takes in place of X and y larger than memory.

    An estimator's ``fit`` deals the blocks at random to buffers of several blocks, shuffles the rows of each
    buffer and trains on it, while a thread of its own reads the next one. See the page
    "Larger than memory" of the documentation.

    Parameters
    ----------
    X : path, sequence of paths, or array of shape (n_rows, n_features)
        ``.npy`` files of float32, float64 or integers, one or several below each other, or an array (of
        `numpy.memmap` the file behind it is read); or Parquet (``.parquet``) or uncompressed or compressed
        Arrow IPC files (``.arrow``, ``.feather``) with the same columns, or a folder of them. Tables need
        the extra ``tables``.
    y : path, sequence of paths, array, str or sequence of str, default=None
        Targets: of arrays as X, of shape (n_rows,) or (n_rows, n_outputs); of tables the names of columns.
        None: `fit` refuses the source, and predictions take it.
    sample_weight : path, array or str, default=None
        Weight of each row: of arrays as y, of tables the name of a column.
    columns : sequence of str, default=None
        Which columns of a table are features, in this order. Default: all but targets, weights and the index
        of pandas.
    dtype : {'float32', 'float64'}, default=None
        In which networks get X. Default: float32 if that holds all numbers exactly, else float64. Integers
        alone become float64, as in scikit-learn.
    transform : callable, default=None
        What is done to X of each block after it is read: takes and returns an array of the same shape, such
        as ``StandardScaler().fit(sample).transform`` with a `sample`. Predictions of the source have it, too.
        Never called by two threads at once.
    block_rows : int, default=None
        Rows that are read at once, of neighbours in the file. Default: about 512 kB, or less in small files
        and for small buffers, which are to mix 128 blocks. Parquet files and compressed Arrow files are read
        by their own row groups or record batches.
    buffer_rows : int, default=None
        Rows that are mixed at once. Default: about 64 MB, or 20 blocks if that is more. A fit holds two such
        buffers.

    Attributes
    ----------
    shape : (int, int)
        Rows and features.
    dtype : dtype
        In which the rows are read.
    n_blocks : int
    block_rows : ndarray of int64 of shape (n_blocks,)
        Rows of each block.
    buffer_rows : int
    feature_names : list of str or None
        The columns of a table.

    Raises
    ------
    ValueError
        If there are no rows, files do not belong together, a column is missing or holds no numbers, or row
        groups are so large that a buffer of 20 would take more than 192 MB.
    FileNotFoundError
        If there is no such file.
    MissingExtraError
        If pyarrow, which reads tables, is not installed.

    Examples
    --------
    >>> import numpy as np, os, tempfile
    >>> from fastopt import MLPClassifier
    >>> from fastopt.data import BlockSource
    >>> X = np.random.RandomState(0).standard_normal((5000, 4)).astype(np.float32)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "X.npy")
    ...     np.save(path, X)
    ...     rows = BlockSource(path, X[:, 0] > 0, block_rows=1000)
    ...     clf = MLPClassifier((16,), solver="adamw", random_state=0).fit(rows)
    ...     rows, float(clf.loss_) < 0.1, clf.predict(rows).shape
    (<BlockSource of 5,000 rows, 4 features, 5 blocks>, True, (5000,))
    """

    def __init__(
        self,
        X: Any,
        y: Any = None,
        *,
        sample_weight: Any = None,
        columns: Sequence[str] | None = None,
        dtype: npt.DTypeLike = None,
        transform: Callable[[np.ndarray], npt.ArrayLike] | None = None,
        block_rows: int | None = None,
        buffer_rows: int | None = None,
    ) -> None:
        for what, number in (("block_rows", block_rows), ("buffer_rows", buffer_rows)):
            if number is not None and not (isinstance(number, Integral) and number > 0):
                raise ValueError(f"{what} must be a whole number > 0, or None; got {number!r}.")
        if is_table(X):
            self._rows = TableBlocks(X, y, sample_weight, columns, block_rows)
            if block_rows is not None and not self._rows.can_split:
                raise ValueError(
                    f"block_rows={block_rows} is of .npy and uncompressed Arrow files; the blocks of this "
                    "file are its row groups or record batches, set by who writes it."
                )
        else:
            _check_array_arguments(X, columns)
            self._rows = ArrayBlocks(X, y, sample_weight, block_rows, buffer_rows)
        self.shape: tuple[int, int] = self._rows.shape
        if 0 in self.shape:
            raise ValueError(f"X has the shape {self.shape}: no numbers to read.")
        self.dtype: np.dtype[Any] = float_dtype(self._rows.dtype) if dtype is None else np.dtype(dtype)
        if self.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise ValueError(f"dtype must be 'float32', 'float64' or None; got {dtype!r}.")
        self._transform = transform
        self._lock = threading.Lock()  # blocks are read by several threads
        self.block_rows: np.ndarray = np.diff(self._rows.bounds)
        self.n_blocks: int = len(self.block_rows)
        self.feature_names: list[str] | None = self._rows.names
        self.buffer_rows: int = self._default_buffer() if buffer_rows is None else int(buffer_rows)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    def _default_buffer(self):
        """Return the rows of 64 MB, or of 20 blocks; ValueError if these take too much."""
        row_bytes, largest = self.shape[1] * self.dtype.itemsize, int(self.block_rows.max())
        mixed = min(MIXED_BLOCKS * largest, self.shape[0])
        if mixed * row_bytes > _MOST_BYTES:
            sizes = [n_rows * row_bytes / 2**20 for n_rows in (largest, mixed)]
            raise ValueError(
                f"The file's blocks (row groups, record batches) have up to {largest:,} rows, "
                f"{sizes[0]:,.0f} MB of {self.dtype}, so a buffer that mixes {MIXED_BLOCKS} of them would "
                f"take {sizes[1]:,.0f} MB. Either rewrite it once as .npy, which is read in blocks of any "
                "size: fastopt.data.to_blocks(path, 'X.npy', y=...). Or, if its rows are in random order, "
                "say how many to hold at once: "
                f"BlockSource(..., buffer_rows={max(largest, _BUFFER_BYTES // row_bytes)})."
            )
        return max(1, mixed, _BUFFER_BYTES // row_bytes)

    @property
    def has_targets(self) -> bool:
        """Whether there is a y."""
        return self._rows.has_targets

    @property
    def has_weights(self) -> bool:
        """Whether there are sample weights."""
        return self._rows.has_weights

    def read_block(self, block: int, out: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Read the rows of a block.

        Parameters
        ----------
        block : int
            From 0 to ``n_blocks - 1``.
        out : ndarray of shape (block_rows[block], n_features)
            C-contiguous, of float32 or float64. Written.

        Returns
        -------
        y, sample_weight : ndarray or None
        """
        found = self._rows.read(block, out)
        if self._transform is not None:
            with self._lock:
                made = np.asarray(self._transform(out))
            if made.shape != out.shape:
                raise ValueError(
                    f"transform={self._transform!r} has made rows of shape {made.shape} of those of shape "
                    f"{out.shape}, and they have to keep it."
                )
            out[...] = made
        return found

    def announce(self, blocks: Sequence[int]) -> None:
        """Tell the system which blocks are about to be read, so that a disk can read several at once."""
        self._rows.announce(blocks)

    def sample(
        self, n_rows: int, random_state: int = 0
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Return X, y and sample_weight of some rows, drawn at random from blocks all over the file.

        To fit a scaler, to choose hyper-parameters, or as ``X_val``. They are held in memory.

        Parameters
        ----------
        n_rows : int
        random_state : int, default=0

        Returns
        -------
        X : ndarray of shape (n_rows, n_features)
        y, sample_weight : ndarray or None

        Raises
        ------
        ValueError
            If there are not so many rows.
        """
        if not 0 < n_rows <= self.shape[0]:
            raise ValueError(f"n_rows={n_rows} must be from 1 to the {self.shape[0]} rows of {self!r}.")
        draws = np.random.RandomState(random_state)
        n_blocks = min(self.n_blocks, n_rows, _SAMPLED_BLOCKS)
        blocks = spread(self.n_blocks, n_blocks / self.n_blocks, draws)
        if self.block_rows[blocks].sum() < n_rows:
            blocks = np.arange(self.n_blocks)
        ends = self.block_rows[blocks].cumsum()
        places = np.sort(draws.permutation(int(ends[-1]))[:n_rows])
        parts = []
        for block, end in zip(blocks, ends, strict=True):
            n = int(self.block_rows[block])
            drawn = places[np.searchsorted(places, end - n) : np.searchsorted(places, end)] - (end - n)
            X = np.empty((n, self.shape[1]), self.dtype)
            found = (X, *self.read_block(int(block), X))
            parts.append([None if one is None else one[drawn] for one in found])
        X, y, weight = (None if one[0] is None else np.concatenate(one) for one in zip(*parts, strict=True))
        return X, y, weight

    def __getitem__(self, rows: object) -> NoReturn:
        """Refuse: scikit-learn's searches and splits pick single rows.

        Raises
        ------
        TypeError
        """
        raise TypeError(
            "A BlockSource gives its rows by blocks only, so searches and cross-validation cannot split it. "
            "Run them on a part in memory: X, y, weight = source.sample(100_000)."
        )

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray | None, np.ndarray | None]]:
        """Yield X, y and sample_weight of each block, in the order of the file."""
        for block, n_rows in enumerate(self.block_rows.tolist()):
            X = np.empty((n_rows, self.shape[1]), self.dtype)
            yield X, *self.read_block(block, X)

    def targets(self) -> Iterator[tuple[np.ndarray | None, np.ndarray | None]]:
        """Yield y and sample_weight of all rows, some at a time, without reading X."""
        yield from self._rows.targets()

    def digest(self) -> str:
        """Return a text that is equal for equal data.

        It is made of types and shapes, of all targets and weights, and of three blocks of X.
        """
        sums = []
        for parts in self.targets():
            sums += [None if part is None else zlib.crc32(np.ascontiguousarray(part)) for part in parts]
        for block in sorted({0, self.n_blocks // 2, self.n_blocks - 1}):
            out = np.empty((self.block_rows[block], self.shape[1]), self.dtype)
            self.read_block(block, out)
            sums.append(zlib.crc32(out))
        described = [list(self.shape), self.dtype.str, self.block_rows.tolist(), self.buffer_rows]
        text = json.dumps([described, self._rows.described(), sums])
        return hashlib.sha256(text.encode()).hexdigest()

    def __repr__(self) -> str:
        """Return the class, and how many rows, features and blocks there are."""
        n_rows, n_features = self.shape
        return f"<BlockSource of {n_rows:,} rows, {n_features} features, {self.n_blocks:,} blocks>"


def _check_array_arguments(X, columns):
    """Raise ValueError for what only tables have, and for files that are neither kind."""
    if isinstance(X, (str, os.PathLike)) and Path(X).suffix.lower() != ".npy":
        raise ValueError(
            f"{str(X)!r} is no .npy, .parquet, .arrow or .feather file. Write it as one of them once, such "
            "as a .csv file with pyarrow.csv and pyarrow.parquet."
        )
    if columns is not None:
        raise ValueError(f"columns={list(columns)!r} is for tables; the columns of arrays have no names.")
