"""Several kernels over one chunk after another while it is in cache: sweeps, and the update between them.

What wrappers do to gradients before an update, and to weights after it, thus costs no pass over memory. Like
`drive` this sees integers only, and compiles once.
"""

import math

import numpy as np
from numba import carray, njit, prange

from fastopt.kernels import reductions, threading_layer, work_queue
from fastopt.kernels.binding import JIT_OPTIONS, bind
from fastopt.kernels.intrinsics import call, fetch_add, pointer

#: Operands that are no addresses: the gradient of the stepper's table, as it stands then, and three buffers
#: of a thread, as long as a chunk.
GRADIENT, FIRST, SECOND, KEPT = range(4)

#: In place of a sweep: the update kernel of the stepper's table; its operands are weights and gradient.
UPDATE = None

# ``[kernel, whether it knows rows, constants, outputs, per_chunk, width, *operands, *their kinds]``; the
# update's kernel is 0 here.
_OPERANDS = 6
_STAGE_COLUMNS = 6 + 2 * _OPERANDS

# What an operand has one element for.
_ELEMENTS, _COLUMNS, _ROWS = range(3)

# ``[address of its row in the stepper's table, bytes of an element, columns, rows of a chunk, columns of a
# chunk, first stage, last stage]``
_ARRAY_COLUMNS = 7

#: Elements of a chunk where an update is among the stages. So few that the prefetchers, which run ahead in
#: each array, fetch the next chunk of all of them meanwhile: at 10 million parameters bounding the gradients
#: of an Adam step then costs nothing, and with 4096 elements a third of the step.
_SHORT = 512

# The operands lie before a thread's buffers, in cache lines of their own. Each buffer is followed by a gap,
# because buffers a multiple of 4096 bytes apart would be mistaken for each other by loads after stores.
_HEAD, _GAP = 128, 320


def _chunk(arrays, stages, array, lo, hi, skip, n_columns, own, span):
    """Run an array's stages over some columns of its rows ``lo`` to ``hi``; over all, or of one row."""
    of_array = carray(pointer(arrays + 8 * _ARRAY_COLUMNS * array, np.int64), _ARRAY_COLUMNS)
    table = carray(pointer(of_array[0], np.int64), work_queue.TABLE_COLUMNS)
    at = carray(pointer(own, np.int64), _OPERANDS)
    itemsize, width = of_array[1], of_array[2]
    first, last = lo * width + skip, (hi - 1) * width + skip + n_columns
    # Kernels count from the array's first element: a buffer holds the chunk's elements alone.
    buffers = own + _HEAD - first * itemsize
    for k in range(of_array[5], of_array[6]):
        stage = carray(pointer(stages + 8 * _STAGE_COLUMNS * k, np.int64), _STAGE_COLUMNS)
        is_part = stage[1] and n_columns < width
        for j in range(_OPERANDS):
            code, kind = stage[6 + j], stage[6 + _OPERANDS + j]
            if code > KEPT:
                at[j] = code
            elif code > GRADIENT:
                at[j] = buffers + (code - FIRST) * span
            else:
                at[j] = table[2]
            if is_part:  # a matrix of its own, with one row
                at[j] += itemsize * (first if kind == _ELEMENTS else (skip if kind == _COLUMNS else lo))
        if not stage[0]:
            call(table[0], (at[0], at[1], table[3], table[4], table[5], first, last))
        elif not stage[1]:
            call(stage[0], (own, stage[2], stage[3], stage[4], stage[5], first, last))
        elif is_part:
            call(stage[0], (own, stage[2], stage[3], stage[4], n_columns, 0, 1))
        else:
            call(stage[0], (own, stage[2], stage[3], stage[4], stage[5], lo, hi))


_chunk = bind(_chunk, _chunk, **globals())
_chunk = njit(nogil=True, cache=True, **JIT_OPTIONS)(_chunk)


def _piece(arrays, stages, piece, own, span):
    """Run a piece of the work list chunk by chunk."""
    bounds = carray(pointer(piece, np.int64), 3)
    array, first, last = bounds[0], bounds[1], bounds[2]
    of_array = carray(pointer(arrays + 8 * _ARRAY_COLUMNS * array, np.int64), _ARRAY_COLUMNS)
    width, n_rows, n_columns = of_array[2], of_array[3], of_array[4]
    for lo in range(first, last, n_rows):
        for skip in range(0, width, n_columns):
            n = min(n_columns, width - skip)
            _chunk(arrays, stages, array, lo, min(lo + n_rows, last), skip, n, own, span)


_piece = bind(_piece, _piece, **globals())
_piece = njit(nogil=True, cache=True, **JIT_OPTIONS)(_piece)


def _run(arrays, stages, work, n_pieces, own, span):
    for k in range(n_pieces):
        _piece(arrays, stages, work + 24 * k, own, span)


def _run_parallel(arrays, stages, work, n_pieces, own, span, stride, counter, n_threads):
    carray(pointer(counter, np.int64), 1)[0] = 0
    for worker in prange(n_threads):
        k = fetch_add(counter)
        while k < n_pieces:
            _piece(arrays, stages, work + 24 * k, own + worker * stride, span)
            k = fetch_add(counter)


_run = bind(_run, _run, **globals())
_run = njit(nogil=True, cache=True, **JIT_OPTIONS)(_run)
_run_parallel = bind(_run_parallel, _run_parallel, **globals())
_run_parallel = njit(nogil=True, cache=True, parallel=True, **JIT_OPTIONS)(_run_parallel)


class Program(work_queue.Plan):
    """Stages over a list of arrays, ready to run again and again.

    Chunks are cut by shapes alone, so the bits do not depend on the number of threads.

    Parameters
    ----------
    arrays : list of (dtype, int, int, int, int)
        Element type, rows and columns as the array lies in memory, a number of elements of which chunks are
        multiples, and the address of its row in the stepper's table. An array of which no stage knows rows is
        best one of elements: its columns are 1.
    stages : list of (Sweep or UPDATE, sequence of int, sequence of sequence of int, sequence of bool)
        In the order in which they run: the sweep, the arrays it concerns, for each of them the operands, each
        an address or one of ``GRADIENT`` to ``KEPT``, and whether its rows and columns are swapped.
    n_threads : int

    Attributes
    ----------
    sweeps : list of Prepared or None
        For each stage its constants and sums; None for the update.
    """

    _run, _run_parallel = staticmethod(_run), staticmethod(_run_parallel)

    def __init__(self, arrays, stages, n_threads):
        dtypes, rows, columns, edges, table_rows = zip(*arrays, strict=True)
        is_short = any(stage[0] is UPDATE for stage in stages)
        if is_short:
            chunks = [_short(n, edge) for n, edge in zip(columns, edges, strict=True)]
        else:
            has_column_sums = any(stage[0].column_sums for stage in stages)
            chunks = [
                reductions.rows_per_chunk(*shape, has_column_sums)
                for shape in zip(rows, columns, strict=True)
            ]
        self.sweeps, own = [], [[] for _ in arrays]
        for sweep, places, operands, swapped in stages:
            if sweep is UPDATE:
                self.sweeps.append(None)
                for i, codes in zip(places, operands, strict=True):
                    own[i].append([0, 0, 0, 0, 0, 0, *_padded(codes), *_padded(())])
                continue
            one = reductions.Prepared(
                sweep,
                [dtypes[i] for i in places],
                [(rows[i], columns[i], s) for i, s in zip(places, swapped, strict=True)],
                [chunks[i] * (1 if sweep.is_matrix else columns[i]) for i in places],
            )
            self.sweeps.append(one)
            for i, codes, row, s in zip(places, operands, one.table.tolist(), swapped, strict=True):
                kinds = _padded([_kind(sweep, letter, s) for letter in sweep.operands])
                own[i].append([row[0], int(sweep.is_matrix), *row[2:], *_padded(codes), *kinds])
        ends, itemsizes = np.cumsum([0, *map(len, own)]), [np.dtype(dtype).itemsize for dtype in dtypes]
        # Sums are those of whole chunks, and so are scales of codes.
        is_whole = not is_short or any(stage[0] is not UPDATE and stage[0].sums for stage in stages)
        parts = [n if is_whole or edge > 1 else _part(n) for n, edge in zip(columns, edges, strict=True)]
        of_arrays = [table_rows, itemsizes, columns, chunks, parts, ends[:-1], ends[1:]]
        of_arrays = np.array(of_arrays, np.int64).T.copy()
        stages = np.array([stage for stages in own for stage in stages], np.int64).reshape(-1, _STAGE_COLUMNS)
        pieces = [
            k * max(1, reductions.CHUNK // (k * max(n, 1))) for k, n in zip(chunks, columns, strict=True)
        ]
        work = reductions.cut(list(zip(rows, columns, strict=True)), pieces)
        longest = max(c * n * size for c, n, size in zip(chunks, parts, itemsizes, strict=True))
        span = -(-longest // 64) * 64 + _GAP
        stride = -(-(_HEAD + 3 * span) // 128) * 128
        self.n_threads = n_threads
        memory, counter = np.zeros(n_threads * stride + 64, np.uint8), np.zeros(1, np.int64)
        self._memory = of_arrays, stages, work, memory, counter
        start = memory.ctypes.data
        start += -start % 64
        self._serial = *(a.ctypes.data for a in self._memory[:3]), len(work), start, span
        self._parallel = *self._serial, stride, counter.ctypes.data, n_threads


def _short(n_columns, edge):
    """Return how many rows make a chunk beside an update, in a multiple of ``edge`` elements."""
    unit = edge // math.gcd(n_columns, edge)
    return -(-max(1, _SHORT // max(n_columns, 1)) // unit) * unit


def _part(n_columns):
    """Return how many columns of one row make a chunk: all, or equal parts in whole cache lines."""
    if n_columns <= _SHORT:
        return n_columns
    n_parts = -(-n_columns // _SHORT)
    return -(-n_columns // (n_parts * 16)) * 16


def _kind(sweep, letter, swapped):
    if letter in sweep.columns:
        return _ROWS if swapped else _COLUMNS
    if letter in sweep.rows:
        return _COLUMNS if swapped else _ROWS
    return _ELEMENTS


def _padded(codes):
    return [*codes, *[0] * (_OPERANDS - len(codes))]


def n_threads(n_bytes, wanted):
    """Return how many threads are worth while for so many bytes read and written."""
    return 1 if n_bytes < work_queue.PARALLEL_BYTES else wanted or threading_layer.n_available()
