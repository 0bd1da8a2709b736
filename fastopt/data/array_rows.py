"""Rows of ``.npy`` files and of arrays, read by their numbers."""

from __future__ import annotations

import mmap
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

#: Bytes of X in a block: near the full rate of a disk when they are read in any order.
BLOCK_BYTES = 1 << 19
#: Blocks of a smaller file, at least: whole blocks are mixed, and held out for validation.
_LEAST_BLOCKS = 256
#: Blocks of a buffer: those of a class, in a file that is sorted by class, then come near its share.
_BLOCKS_OF_A_BUFFER = 128
#: Rows of targets that are read at a time where X is not needed.
_TARGET_ROWS = 1 << 20


class NpyFile:
    """An array in an ``.npy`` file, whose rows are read into memory that is at hand.

    It is not mapped into memory: pages of a map count as memory of the process, and stay.

    Parameters
    ----------
    path : str or path
    what : str
        What it holds, for messages.

    Raises
    ------
    ValueError
        If it is no ``.npy`` file of rows of numbers or text.
    """

    def __init__(self, path: str | os.PathLike[str], what: str) -> None:
        try:
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise ValueError(f"{what}: {str(path)!r} is no .npy file that can be read: {error}") from error
        self._set(mapped, what)

    @classmethod
    def of_map(cls, mapped: np.memmap, what: str) -> NpyFile:
        """Return the file behind a whole `numpy.memmap`, such as ``np.load(path, mmap_mode="r")``."""
        self = cls.__new__(cls)
        self._set(mapped, what)
        return self

    def _set(self, mapped, what):
        self.path: str = os.fspath(mapped.filename)
        self.shape: tuple[int, ...] = mapped.shape
        self.dtype: np.dtype[Any] = mapped.dtype
        self._offset = mapped.offset
        if mapped.ndim == 0 or not mapped.flags.c_contiguous:
            layout = "no rows" if mapped.ndim == 0 else "its numbers stored column by column"
            raise ValueError(
                f"{what}: {self.path!r} has {layout}. Save it row by row: "
                "np.save(path, np.ascontiguousarray(array))."
            )

    def read(self, first: int, last: int, out: np.ndarray | None = None) -> np.ndarray:
        """Return the rows from ``first`` to before ``last``, written to ``out`` if that is given."""
        part = out if out is not None and out.dtype == self.dtype else None
        if part is None:
            part = np.empty((last - first, *self.shape[1:]), self.dtype)
        row_bytes = part.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        view = memoryview(part.view(np.uint8).reshape(-1)) if part.size else memoryview(b"")
        done = 0
        with open(self.path, "rb", buffering=0) as file:
            file.seek(self._offset + first * row_bytes)
            while done < len(view):
                n = file.readinto(view[done:])
                if not n:
                    raise ValueError(f"{self.path!r} ends before row {last}: it was cut short.")
                done += n
        return _put(part, out)

    def announce(self, first: int, last: int) -> None:
        """Tell the system that these rows are about to be read, so that it reads several blocks at once."""
        if hasattr(os, "posix_fadvise") and last > first:
            n_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
            with open(self.path, "rb", buffering=0) as file:
                begin, length = self._offset + first * n_bytes, (last - first) * n_bytes
                os.posix_fadvise(file.fileno(), begin, length, os.POSIX_FADV_WILLNEED)


class _Memory:
    """An array in memory, with the methods of `NpyFile`."""

    path = None

    def __init__(self, array):
        self._array, self.shape, self.dtype = array, array.shape, array.dtype

    def read(self, first, last, out=None):
        return _put(self._array[first:last], out)

    def announce(self, first, last):
        pass


def _put(part, out):
    if out is None or part is out:
        return part
    out[...] = part
    return out


class ArrayRows:
    """The rows of one or several arrays that stand for one below the other.

    Parameters
    ----------
    source : path, array, or sequence of paths
        Of ``.npy`` files, or an array in memory or mapped.
    what : str
        The argument, for messages.
    """

    def __init__(self, source: Any, what: str) -> None:
        paths = _paths(source)
        if paths is not None:
            self.parts: list[Any] = [NpyFile(path, what) for path in paths]
        elif isinstance(source, np.memmap) and isinstance(source.base, mmap.mmap):
            self.parts = [NpyFile.of_map(source, what)]
        else:
            array = np.asarray(source)
            if array.dtype.kind == "O" and all(isinstance(one, str) for one in array.flat):
                array = array.astype(str)  # a column of text of pandas
            if array.ndim == 0 or array.dtype.kind not in "biufU":
                raise ValueError(
                    f"{what} must be a path or paths of .npy files, or an array of numbers or labels; got "
                    f"{type(source).__name__} of dtype {array.dtype}."
                )
            self.parts = [_Memory(array)]
        first = self.parts[0]
        for part in self.parts[1:]:
            if part.shape[1:] != first.shape[1:] or part.dtype.kind != first.dtype.kind:
                raise ValueError(
                    f"{what}: {part.path!r} has rows of shape {part.shape[1:]} and dtype {part.dtype}, but "
                    f"{first.path!r} {first.shape[1:]} and {first.dtype}."
                )
        self.starts: list[int] = np.cumsum([0, *(part.shape[0] for part in self.parts)]).tolist()
        self.shape: tuple[int, ...] = (self.starts[-1], *first.shape[1:])
        self.dtype: np.dtype[Any] = np.result_type(*(part.dtype for part in self.parts))

    def read(self, first: int, last: int, out: np.ndarray | None = None) -> np.ndarray:
        """Return rows, as `NpyFile.read` does."""
        at = bisect_right(self.starts, first) - 1
        if last <= self.starts[at + 1]:
            return self.parts[at].read(first - self.starts[at], last - self.starts[at], out)
        whole = np.empty((last - first, *self.shape[1:]), self.dtype) if out is None else out
        while first < last:
            at = bisect_right(self.starts, first) - 1
            stop = min(last, self.starts[at + 1])
            begin = len(whole) - (last - first)
            offset = self.starts[at]
            self.parts[at].read(first - offset, stop - offset, whole[begin : begin + stop - first])
            first = stop
        return whole

    def announce(self, first: int, last: int) -> None:
        """Announce rows of one file, as `NpyFile.announce` does."""
        at = bisect_right(self.starts, first) - 1
        self.parts[at].announce(first - self.starts[at], last - self.starts[at])


class ArrayBlocks:
    """Blocks of rows of arrays: X, targets and weights in files or arrays of their own.

    Parameters
    ----------
    X, y, sample_weight
        As `ArrayRows` takes them; the last two may be None.
    block_rows : int, optional
        Rows of a block.
    buffer_rows : int, optional
        Rows of a buffer, which is to mix many blocks.
    """

    names = None
    can_split = True

    def __init__(
        self, X: Any, y: Any, sample_weight: Any, block_rows: int | None, buffer_rows: int | None
    ) -> None:
        self._X = ArrayRows(X, "X")
        if len(self._X.shape) != 2 or self._X.dtype.kind not in "biuf":
            raise ValueError(
                f"X must be rows of numbers, an array with two dimensions; got the shape {self._X.shape} and "
                f"dtype {self._X.dtype}."
            )
        self._y = None if y is None else ArrayRows(y, "y")
        self._weight = None if sample_weight is None else ArrayRows(sample_weight, "sample_weight")
        for what, rows in (("y", self._y), ("sample_weight", self._weight)):
            if rows is not None and rows.shape[0] != self._X.shape[0]:
                raise ValueError(f"X has {self._X.shape[0]} rows, but {what} has {rows.shape[0]}.")
        weight = self._weight
        if weight is not None and (len(weight.shape) != 1 or weight.dtype.kind not in "biuf"):
            raise ValueError(
                f"sample_weight must be a column of numbers, not {weight.dtype} of shape {weight.shape}."
            )
        self.shape: tuple[int, int] = self._X.shape
        self.dtype: np.dtype[Any] = self._X.dtype
        row_bytes = max(1, self.shape[1] * self.dtype.itemsize)
        most = min(BLOCK_BYTES // row_bytes, self.shape[0] // _LEAST_BLOCKS)
        if buffer_rows is not None:
            most = min(most, buffer_rows // _BLOCKS_OF_A_BUFFER)
        self._step = max(1, most) if block_rows is None else block_rows
        self.bounds: np.ndarray = self._bounds()
        self.has_targets: bool = y is not None
        self.has_weights: bool = sample_weight is not None

    def _bounds(self):
        """Return where each block begins, and the end; a block lies in one file."""
        starts = self._X.starts
        each = [np.arange(first, last, self._step) for first, last in pairwise(starts)]
        return np.concatenate([*each, [starts[-1]]]).astype(np.int64)

    def announce(self, blocks: Sequence[int]) -> None:
        """Tell the system which blocks are about to be read."""
        for block in blocks:
            first, last = self.bounds[block : block + 2].tolist()
            self._X.announce(first, last)

    def read(self, block: int, out: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Write the rows of a block to ``out``; return their targets and weights, or None for each."""
        first, last = self.bounds[block : block + 2].tolist()
        self._X.read(first, last, out)
        return self._targets(first, last)

    def _targets(self, first, last):
        y, weight = (None if one is None else one.read(first, last) for one in (self._y, self._weight))
        return y[:, 0] if y is not None and y.shape[1:] == (1,) else y, weight

    def targets(self, n_rows: int = _TARGET_ROWS) -> Iterator[tuple[np.ndarray | None, np.ndarray | None]]:
        """Yield targets and weights of all rows, some at a time, without reading X."""
        for first in range(0, self.shape[0], n_rows):
            yield self._targets(first, min(first + n_rows, self.shape[0]))

    def described(self) -> list[Any]:
        """Return what tells these rows from others without reading them."""
        parts = [part for rows in (self._X, self._y, self._weight) if rows is not None for part in rows.parts]
        return [[list(part.shape), part.dtype.str, part.path is None] for part in parts]


def _paths(source):
    """Return the paths of a path or of a sequence of paths; None for anything else."""
    if isinstance(source, (str, os.PathLike)):
        return [Path(source)]
    is_list = isinstance(source, Sequence) and len(source) > 0
    if is_list and all(isinstance(one, os.PathLike) or _is_file_name(one) for one in source):
        return [Path(one) for one in source]
    return None


def _is_file_name(one):
    return isinstance(one, str) and one.endswith(".npy")


def float_dtype(*dtypes: np.dtype[Any]) -> np.dtype[Any]:
    """Return float32 if it holds the numbers of all these dtypes and one is of floats, else float64."""
    common = np.result_type(*dtypes)
    return np.dtype(np.float32 if common.kind == "f" and common.itemsize <= 4 else np.float64)
