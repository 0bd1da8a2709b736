"""The drivers of a whole step: one pass over a work list that spans all arrays.

They see integers only (addresses and bounds), so they compile once for all optimizers, dtypes and numbers of
parameters. A row of the table is ``[update kernel, w, g, s, stride, c]``; a row of the work list is
``[row of the table, lo, hi]``; piece ``j`` of the work list is its rows ``bounds[j]`` to ``bounds[j + 1]``.
"""

import numpy as np
from numba import carray, njit, prange

from fastopt.kernels import threading_layer
from fastopt.kernels.binding import JIT_OPTIONS, bind
from fastopt.kernels.intrinsics import call, fetch_add, pointer
from fastopt.rules.quantized_state import BLOCK

TABLE_COLUMNS = 6

#: Bytes read and written from which a step runs in parallel: for less, entering a region costs about what it
#: would save. Measured with ``bench/bench_step.py crossover``; 64,000 float32 parameters of Adam.
PARALLEL_BYTES = 1_800_000

#: Elements of a piece, the smallest and the largest: a thread that wakes late finds work left.
_PIECE = 4096, 16_384

#: Pieces for each thread, between those bounds.
_PIECES = 4

#: Cuts fall on multiples of this many elements: whole cache lines, and whole blocks of 8-bit state.
_EDGE = BLOCK


def _run(table, work, first, last):
    rows = carray(pointer(table, np.int64), (1 << 40,))
    list_ = carray(pointer(work, np.int64), (1 << 40,))
    for k in range(first, last):
        at = list_[3 * k] * TABLE_COLUMNS
        arguments = (rows[at + 1], rows[at + 2], rows[at + 3], rows[at + 4], rows[at + 5])
        call(rows[at], (*arguments, list_[3 * k + 1], list_[3 * k + 2]))


def _run_parallel(table, work, bounds, n_pieces, counter, n_threads):
    at = carray(pointer(bounds, np.int64), (1 << 40,))
    carray(pointer(counter, np.int64), 1)[0] = 0
    for _ in prange(n_threads):
        piece = fetch_add(counter)
        while piece < n_pieces:
            _run(table, work, at[piece], at[piece + 1])
            piece = fetch_add(counter)


_run = bind(_run, _run, **globals())
_run = njit(nogil=True, cache=True, **JIT_OPTIONS)(_run)
_run_parallel = bind(_run_parallel, _run_parallel, **globals())
_run_parallel = njit(nogil=True, cache=True, parallel=True, **JIT_OPTIONS)(_run_parallel)


class Plan:
    """Which parts of which arrays a step updates, fixed until the arrays change.

    Parameters
    ----------
    table : ndarray of shape (n_arrays, TABLE_COLUMNS)
        Addresses; read at every run, so it may change between runs.
    sizes : sequence of int
        Elements of each array to update; 0 leaves it out.
    n_threads : int
        The most threads that take pieces; 1 runs serially. Numba's own number, which may change between
        runs, holds too.
    """

    _run, _run_parallel = staticmethod(_run), staticmethod(_run_parallel)

    def __init__(self, table, sizes, n_threads):
        total = sum(sizes)
        piece = min(max(total // (_PIECES * n_threads), _PIECE[0]), _PIECE[1])
        n_pieces = 1 if n_threads == 1 else max(1, total // piece)
        self._take(table, *_cut(sizes, n_pieces), n_threads)

    @classmethod
    def of_work(cls, table, work, n_threads):
        """Return a plan of a given work list, each row of which is a piece."""
        plan = cls.__new__(cls)
        plan._take(table, work, np.arange(len(work) + 1), n_threads)
        return plan

    def _take(self, table, work, bounds, n_threads):
        self.n_threads = n_threads
        counter = np.zeros(1, np.int64)
        self._kept = table, work, bounds, counter
        self._serial = (table.ctypes.data, work.ctypes.data, 0, len(work))
        addresses = (a.ctypes.data for a in self._kept[:3])
        self._parallel = (*addresses, len(bounds) - 1, counter.ctypes.data, n_threads)

    def run(self):
        """Update everything, in one parallel region or none."""
        if self.n_threads == 1 or threading_layer.is_stranded():
            self._run(*self._serial)
        else:
            with threading_layer.region():
                self._run_parallel(*self._parallel)


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
