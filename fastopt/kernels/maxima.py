"""Largest elements of the rows and columns of matrices, whose order of comparison does not matter."""

import functools
from collections.abc import Sequence

import numpy as np
from numba import types

from fastopt.kernels import reductions, work_queue
from fastopt.kernels.binding import bind, compile_c
from fastopt.kernels.intrinsics import vector

_SIGNATURE = types.void(*[types.int64] * 7)

real = np.float64  # for which each kernel has its own element type


def largest_of_rows(matrix, out, n_rows, n_columns, unused, lo, hi):
    """Write the largest element, or 0, of the rows ``lo`` to ``hi``."""
    a, largest = vector(matrix, real, n_rows * n_columns), vector(out, real, n_rows)
    for row in range(lo, hi):
        most = real(0.0)
        for k in range(row * n_columns, (row + 1) * n_columns):
            most = most if most >= a[k] or most != most else a[k]
        largest[row] = most


def largest_of_columns(matrix, out, n_rows, n_columns, unused, lo, hi):
    """Write the largest element, or 0, of the columns ``lo`` to ``hi``."""
    a, largest = vector(matrix, real, n_rows * n_columns), vector(out, real, n_columns)
    largest[lo:hi] = 0.0
    for row in range(n_rows):
        for column in range(lo, hi):
            x, most = a[row * n_columns + column], largest[column]
            largest[column] = most if most >= x or most != most else x


@functools.cache
def _kernel(function, dtype):
    names = globals() | {"real": np.dtype(dtype).type}
    return compile_c(_SIGNATURE, bind(function, function, f"_{dtype}", **names))


class Maxima(work_queue.KernelQueue):
    """The largest element, or 0, of each row and column of matrices, ready to be found again and again.

    Parameters
    ----------
    matrices, of_rows, of_columns : lists of ndarray
        Contiguous memory of one dtype for each matrix; the last two are written.
    shapes : list of (int, int, bool)
        Rows and columns of each as it lies in memory, and whether that is transposed (Fortran order).
    n_threads : int
    """

    def __init__(
        self,
        matrices: Sequence[np.ndarray],
        of_rows: Sequence[np.ndarray],
        of_columns: Sequence[np.ndarray],
        shapes: Sequence[tuple[int, int, bool]],
        n_threads: int,
    ) -> None:
        table = np.zeros((2 * len(matrices), work_queue.TABLE_COLUMNS), np.int64)
        lengths, chunks = [], []
        for i, (a, r, c, (n_rows, n_columns, swapped)) in enumerate(
            zip(matrices, of_rows, of_columns, shapes, strict=True)
        ):
            outs = (c, r) if swapped else (r, c)
            for k, function in enumerate((largest_of_rows, largest_of_columns)):
                address = _kernel(function, a.dtype.name).address
                table[2 * i + k, :5] = address, a.ctypes.data, outs[k].ctypes.data, n_rows, n_columns
            lengths += [(n_rows, n_columns), (n_columns, n_rows)]
            chunks += [max(1, reductions.CHUNK // max(n, 1)) for n in (n_columns, n_rows)]
        self._arrays = matrices, of_rows, of_columns
        super().__init__(table, reductions.chunk_items(lengths, chunks), n_threads)
