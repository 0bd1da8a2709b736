"""The drivers of a whole step: one pass over a work list that spans all arrays.

They see integers only (addresses and bounds), so they compile once for all optimizers, dtypes and numbers of
parameters. A row of the table is ``[update kernel, w, g, s, stride, c]``; a row of the work list is
``[row of the table, lo, hi]``; piece ``j`` of the work list is its rows ``bounds[j]`` to ``bounds[j + 1]``.
"""

import numpy as np
from numba import carray, njit, prange

from fastopt.kernels import threads
from fastopt.kernels.binding import JIT_OPTIONS
from fastopt.kernels.foreign import call_update, pointer

TABLE_COLUMNS = 6

#: Elements below which a step runs on one thread: entering a region costs about what it would save. Measured
#: with bench/bench_step.py --crossover, for Adam in float32 with two threads under TBB.
SERIAL_BELOW = 24_576

#: Cuts fall on multiples of this many elements, so that no two threads write to one cache line.
_EDGE = 16


@njit(nogil=True, cache=True, **JIT_OPTIONS)
def _run(table, work, first, last):
    rows = carray(pointer(table, np.int64), (1 << 40,))
    list_ = carray(pointer(work, np.int64), (1 << 40,))
    for k in range(first, last):
        at = list_[3 * k] * TABLE_COLUMNS
        call_update(
            rows[at],
            rows[at + 1],
            rows[at + 2],
            rows[at + 3],
            rows[at + 4],
            rows[at + 5],
            list_[3 * k + 1],
            list_[3 * k + 2],
        )


@njit(nogil=True, cache=True, parallel=True, **JIT_OPTIONS)
def _run_parallel(table, work, bounds, n_pieces):
    at = carray(pointer(bounds, np.int64), (1 << 40,))
    for j in prange(n_pieces):
        _run(table, work, at[j], at[j + 1])


class Plan:
    """Which part of which array each thread updates, fixed until the arrays change.

    Parameters
    ----------
    table : ndarray of shape (n_arrays, TABLE_COLUMNS)
        Addresses; read at every run, so it may change between runs.
    sizes : sequence of int
        Elements of each array to update; 0 leaves it out.
    n_threads : int
        How many pieces to cut; 1 runs serially.
    """

    def __init__(self, table, sizes, n_threads):
        self.table = table
        self.n_pieces = n_threads
        self.work, self.bounds = _cut(sizes, self.n_pieces)
        self._serial = (table.ctypes.data, self.work.ctypes.data, 0, len(self.work))
        self._parallel = (table.ctypes.data, self.work.ctypes.data, self.bounds.ctypes.data, self.n_pieces)

    def run(self):
        """Update everything, in one parallel region or none."""
        if self.n_pieces == 1:
            _run(*self._serial)
        else:
            with threads.region():
                _run_parallel(*self._parallel)


def _cut(sizes, n_pieces):
    """Cut the concatenated arrays into equal pieces; return the work list and the pieces' bounds in it."""
    total = sum(sizes)
    targets = [round(total * (j + 1) / n_pieces) for j in range(n_pieces)]
    work, bounds, start, piece = [], [0], 0, 0
    for row, size in enumerate(sizes):
        lo = 0
        while lo < size:
            wanted = targets[piece] - start
            hi = size if piece == n_pieces - 1 else min(size, -(-wanted // _EDGE) * _EDGE)
            if hi > lo:
                work.append((row, lo, hi))
                lo = hi
            if lo >= wanted and piece < n_pieces - 1:
                bounds.append(len(work))
                piece += 1
        start += size
    bounds += [len(work)] * (n_pieces + 1 - len(bounds))
    return np.array(work, np.int64).reshape(-1, 3), np.array(bounds, np.int64)
