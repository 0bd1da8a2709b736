"""Rows of a `BlockSource` in memory: two buffers, of which one is read while the other is trained on."""

import concurrent.futures
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastopt.data import BlockSource
from fastopt.neural_network.data import Data

#: Returns rows as the engine reads them, from X, targets and sample weights as a source has them.
Conversion = Callable[[np.ndarray, np.ndarray, np.ndarray | None], Data]


class Buffer:
    """Rows to train on: those of some blocks, and before them what the last buffer has left over.

    Parameters
    ----------
    n_spare : int
        Most rows that are left over.
    n_rows : int
        Most rows of blocks.
    n_features : int
    dtype : dtype
    """

    def __init__(self, n_spare: int, n_rows: int, n_features: int, dtype: npt.DTypeLike) -> None:
        self._n_spare = n_spare
        self._X = np.empty((n_spare + n_rows, n_features), dtype)
        self._targets = self._weight = None
        self.first: int = n_spare
        self.last: int = n_spare
        self.weight_scale: float = 1.0

    @property
    def n_rows(self) -> int:
        """Rows at hand."""
        return self.last - self.first

    def fill(
        self, source: BlockSource, blocks: Sequence[int], convert: Conversion, is_over: Callable[[], bool]
    ) -> None:
        """Read blocks and convert them; given up when ``is_over()``."""
        self.first = self.last = self._n_spare
        given = []
        source.announce(blocks)
        for block in blocks:
            if is_over():
                return
            rows = slice(self.last, self.last + int(source.block_rows[block]))
            given.append(source.read_block(block, self._X[rows]))
            self.last = rows.stop
        y, weight = (None if part[0] is None else np.concatenate(part) for part in zip(*given, strict=True))
        try:
            data = convert(self._X[self.first : self.last], y, weight)
        except ValueError as error:
            raise ValueError(f"{error}{self._place_of_nan(source, blocks)}") from error
        if self._targets is None:
            self._targets = np.empty((len(self._X), data.targets.shape[1]), self._X.dtype)
            self._weight = None if data.sample_weight is None else np.empty(len(self._X), self._X.dtype)
        self._targets[self.first : self.last] = data.targets
        if self._weight is not None:
            self._weight[self.first : self.last] = data.sample_weight
            self.weight_scale = data.weight_scale

    def _place_of_nan(self, source, blocks):
        """Return a sentence about the first of some blocks that are at hand and not finite, or nothing."""
        first = self.first
        for block in blocks:
            last = first + int(source.block_rows[block])
            if not np.isfinite(self._X[first:last]).all():
                begin = int(source.block_rows[:block].sum())
                return f"\nThey are in rows {begin:,} to {begin + last - first - 1:,} of {source!r}."
            first = last
        return ""

    def take_over(self, other: "Buffer", rows: np.ndarray) -> None:
        """Put rows of another buffer, given by their numbers there, before those that were read."""
        begin = self.first - len(rows)
        theirs, mine = rows + other.first, slice(begin, self.first)
        self._X[mine] = other._X[theirs]
        self._targets[mine] = other._targets[theirs]
        if self._weight is not None:
            self._weight[mine] = other._weight[theirs] * (self.weight_scale / other.weight_scale)
        self.first = begin

    def data(self, n_rows: int | None = None) -> Data:
        """Return the rows at hand, or the first of them."""
        rows = slice(self.first, self.last if n_rows is None else self.first + n_rows)
        weight = None if self._weight is None else self._weight[rows]
        return Data(self._X[rows], self._targets[rows], weight, self.weight_scale)


class BlockBuffers:
    """Fills two buffers in turn, in a thread of its own; a context manager that ends the thread.

    Parameters
    ----------
    source : BlockSource
    convert : callable
        From what the source has to what the engine reads; called in the thread.
    n_spare, n_rows : int
        As `Buffer` takes them.
    dtype : dtype
        Of the network.
    """

    def __init__(
        self, source: BlockSource, convert: Conversion, *, n_spare: int, n_rows: int, dtype: npt.DTypeLike
    ) -> None:
        self._source, self._convert = source, convert
        self._buffers = [Buffer(n_spare, n_rows, source.shape[1], dtype) for _ in range(2)]
        self._held: np.ndarray | None = None  # the blocks of a buffer that holds a whole epoch
        self._reading: Any = None
        self._coming: np.ndarray | None = None  # the blocks that are being read to the second buffer
        self._is_over = False
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "fastopt-blocks")

    def __enter__(self) -> "BlockBuffers":
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over = True
        self._thread.shutdown()

    def filled(
        self, parts: Sequence[np.ndarray], next_part: Callable[[], np.ndarray | None]
    ) -> Iterator[tuple[Buffer, Callable[[np.ndarray], None]]]:
        """Yield a buffer for the blocks of each part, while the next is being read.

        Parameters
        ----------
        parts : list of ndarray of int64
        next_part : callable
            Returns what the next call will most likely begin with, which is read beside the last part; None
            if there is none.

        Yields
        ------
        buffer : Buffer
        leave : callable
            Takes the numbers of rows that the next buffer is to begin with.
        """
        if len(parts) == 1 and self._held is not None and np.array_equal(self._held, parts[0]):
            yield self._buffers[0], _nothing_follows
            return
        self._held = parts[0] if len(parts) == 1 else None
        left_over: list[np.ndarray] = []
        self._begin(parts[0])
        for number in range(1, len(parts) + 1):
            self._reading.result()
            self._coming = None
            self._buffers.reverse()
            buffer, last = self._buffers
            if left_over:
                buffer.take_over(last, left_over.pop())
            coming = parts[number] if number < len(parts) else next_part() if number > 1 else None
            if coming is not None:
                self._begin(coming)
            yield buffer, left_over.append

    def _begin(self, blocks: np.ndarray) -> None:
        """Read blocks to the second buffer, unless they are being read; others that are, are for nothing."""
        if self._coming is None or not np.array_equal(self._coming, blocks):
            self._coming = blocks
            self._reading = self._thread.submit(
                self._buffers[1].fill, self._source, blocks.tolist(), self._convert, lambda: self._is_over
            )


def _nothing_follows(rows: np.ndarray) -> None:
    """Take no rows: the buffer is the last."""
