"""Loop fusion: an update and the sweeps before and after it, chunk by chunk while it is in cache.

What wrappers do to gradients before an update, and to weights after it, thus costs no pass over memory. A
*stage* of the loop is a sweep or the update. Like `work_queue` this sees integers only, and compiles once.
"""

import functools
import math

import numpy as np

from fastopt.kernels import code_cache, reductions, threading_layer, work_queue
from fastopt.kernels.binding import JIT_OPTIONS, bind, compile_c
from fastopt.kernels.intrinsics import call, vector

#: Operands that are no addresses: the gradient of the stepper's table, as it stands then, and three buffers
#: of a thread, as long as a chunk.
GRADIENT, FIRST, SECOND, KEPT = range(4)

#: In place of a sweep: the update kernel of the stepper's table; its operands are weights and gradient.
UPDATE = None

# Of a stage: ``[kernel, whether it knows rows, constants, outputs, per_chunk, width, *operands, *their
# kinds]``; the update's kernel is 0 here.
_OPERANDS = 6
_STAGE_COLUMNS = 6 + 2 * _OPERANDS

# What an operand has one element for.
_ELEMENTS, _COLUMNS, _ROWS = range(3)

# Of an array: ``[address of its row in the stepper's table, bytes of an element, columns, rows of a chunk,
# columns of a chunk, first stage, last stage]``
_ARRAY_COLUMNS = 7

#: Elements of a chunk where an update is among the stages. So few that the prefetchers, which run ahead in
#: each array, fetch the next chunk of all of them meanwhile: at 10 million parameters bounding the gradients
#: of an Adam step then costs nothing, and with 4096 elements a third of the step.
_SHORT = 512

# The operands lie before a thread's buffers, in cache lines of their own. Each buffer is followed by a gap,
# because buffers a multiple of 4096 bytes apart would be mistaken for each other by loads after stores.
_HEAD, _GAP = 128, 320

# Bytes from one buffer to the next in the memory of a part, of doubles.
_PART_SPAN = 8 * work_queue.PART + _GAP

#: Words of eight bytes that `fused_part` needs as memory.
PART_WORDS = (_HEAD + 3 * _PART_SPAN) // 8


def run_chunk(arrays, stages, array, lo, hi, skip, n_columns, own, span, gradient):
    """Run an array's stages on one chunk: rows ``lo`` to ``hi``, or some columns of one row."""
    of_array = vector(arrays + 8 * _ARRAY_COLUMNS * array, np.int64, _ARRAY_COLUMNS)
    table = vector(of_array[0], np.int64, work_queue.TABLE_COLUMNS)
    at = vector(own, np.int64, _OPERANDS)
    itemsize, width = of_array[1], of_array[2]
    first, last = lo * width + skip, (hi - 1) * width + skip + n_columns
    # Kernels count from the array's first element: a buffer holds the chunk's elements alone.
    buffers = own + _HEAD - first * itemsize
    for k in range(of_array[5], of_array[6]):
        stage = vector(stages + 8 * _STAGE_COLUMNS * k, np.int64, _STAGE_COLUMNS)
        is_part = stage[1] and n_columns < width
        for j in range(_OPERANDS):
            code, kind = stage[6 + j], stage[6 + _OPERANDS + j]
            if code > KEPT:
                at[j] = code
            elif code > GRADIENT:
                at[j] = buffers + (code - FIRST) * span
            else:
                at[j] = gradient if gradient else table[2]
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


run_chunk = bind(run_chunk, run_chunk, **globals())
run_chunk = code_cache.jit(nogil=True, **JIT_OPTIONS)(run_chunk)


def fused_tasks(arguments, first, last, worker):
    """Run all stages on work items ``first`` to ``last``, chunk by chunk; a `work_queue` routine."""
    given = vector(arguments, np.int64, 6)
    arrays, stages, span = given[0], given[1], given[4]
    own = given[3] + worker * given[5]
    for task in range(first, last):
        item = vector(given[2] + 24 * task, np.int64, 3)
        array, begin, end = item[0], item[1], item[2]
        of_array = vector(arrays + 8 * _ARRAY_COLUMNS * array, np.int64, _ARRAY_COLUMNS)
        width, n_rows, n_columns = of_array[2], of_array[3], of_array[4]
        for lo in range(begin, end, n_rows):
            for skip in range(0, width, n_columns):
                n = min(n_columns, width - skip)
                run_chunk(arrays, stages, array, lo, min(lo + n_rows, end), skip, n, own, span, 0)


def fused_part(arguments, array, gradient, lo, hi, memory):
    """Run all stages on a part of an array of elements; see `work_queue.WorkQueue.part`."""
    given = vector(arguments, np.int64, 2)
    run_chunk(given[0], given[1], array, lo, hi, 0, 1, memory, _PART_SPAN, gradient)


@functools.cache
def _fused_tasks():
    return compile_c(work_queue.ROUTINE, bind(fused_tasks, fused_tasks, **globals()))


@functools.cache
def _fused_part():
    return compile_c(work_queue.PART_ROUTINE, bind(fused_part, fused_part, **globals()))


class FusedLoop(work_queue.WorkQueue):
    """Stages over a list of arrays, fused into one loop over chunks, ready to run again and again.

    Chunks depend on shapes alone, so the bits do not depend on the number of threads.

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
    sweeps : list of SweepArguments or None
        For each stage its constants and sums; None for the update.
    """

    def __init__(self, arrays, stages, n_threads):
        dtypes, rows, columns, edges, table_rows = zip(*arrays, strict=True)
        shapes = list(zip(rows, columns, strict=True))
        has_update = any(stage[0] is UPDATE for stage in stages)
        chunks = _chunk_rows(shapes, edges, stages)
        self.sweeps, by_array = _stage_rows(dtypes, shapes, chunks, stages)
        ends, itemsizes = np.cumsum([0, *map(len, by_array)]), [np.dtype(dtype).itemsize for dtype in dtypes]
        has_sums = any(stage[0] is not UPDATE and stage[0].sums for stage in stages)
        # Sums are those of whole chunks, and so are scales of codes.
        is_whole = not has_update or has_sums
        parts = [n if is_whole or edge > 1 else _part(n) for n, edge in zip(columns, edges, strict=True)]
        of_arrays = [table_rows, itemsizes, columns, chunks, parts, ends[:-1], ends[1:]]
        of_arrays = np.array(of_arrays, np.int64).T.copy()
        rows_of_stages = np.array([row for rows in by_array for row in rows], np.int64)
        rows_of_stages = rows_of_stages.reshape(-1, _STAGE_COLUMNS)
        tasks = [
            k * max(1, reductions.CHUNK // (k * max(n, 1))) for k, n in zip(chunks, columns, strict=True)
        ]
        items = reductions.chunk_items(shapes, tasks)
        longest = max(c * n * size for c, n, size in zip(chunks, parts, itemsizes, strict=True))
        span = -(-longest // 64) * 64 + _GAP
        stride = -(-(_HEAD + 3 * span) // 128) * 128
        memory = np.zeros(n_threads * stride + 64, np.uint8)
        start = memory.ctypes.data + -memory.ctypes.data % 64
        kept = of_arrays, rows_of_stages, items
        arguments = np.array([*(a.ctypes.data for a in kept), start, span, stride], np.int64)
        super().__init__(_fused_tasks().address, arguments, len(items), n_threads, (*kept, memory))
        knows_rows = any(stage[0] is not UPDATE and stage[0].is_matrix for stage in stages)
        if not has_sums and not knows_rows and all(rows):
            self.n_arrays, self.edge = len(arrays), max(edges)

    @property
    def part(self) -> int:
        """Address of what runs all stages on a part of an array."""
        return _fused_part().address


def _chunk_rows(shapes, edges, stages):
    """Return the number of rows of each array in a chunk."""
    if any(stage[0] is UPDATE for stage in stages):
        return [_short(n, edge) for (_, n), edge in zip(shapes, edges, strict=True)]
    has_column_sums = any(stage[0].column_sums for stage in stages)
    return [reductions.rows_per_chunk(*shape, has_column_sums) for shape in shapes]


def _stage_rows(dtypes, shapes, chunks, stages):
    """Return each stage's sweep arguments, and for each array the rows of stages that `run_chunk` reads."""
    sweeps, by_array = [], [[] for _ in shapes]
    for sweep, places, operands, swapped in stages:
        if sweep is UPDATE:
            sweeps.append(None)
            for i, codes in zip(places, operands, strict=True):
                by_array[i].append([0, 0, 0, 0, 0, 0, *_padded(codes), *_padded(())])
            continue
        arguments = reductions.SweepArguments(
            sweep,
            [dtypes[i] for i in places],
            [(*shapes[i], s) for i, s in zip(places, swapped, strict=True)],
            [chunks[i] * (1 if sweep.is_matrix else shapes[i][1]) for i in places],
        )
        sweeps.append(arguments)
        for i, codes, row, s in zip(places, operands, arguments.table.tolist(), swapped, strict=True):
            kinds = _padded([_kind(sweep, letter, s) for letter in sweep.operands])
            by_array[i].append([row[0], int(sweep.is_matrix), *row[2:], *_padded(codes), *kinds])
    return sweeps, by_array


def _short(n_columns, edge):
    """Return the number of rows of a chunk with an update, rounded to a multiple of ``edge`` elements."""
    unit = edge // math.gcd(n_columns, edge)
    return -(-max(1, _SHORT // max(n_columns, 1)) // unit) * unit


def _part(n_columns):
    """Return the number of columns of a chunk of one row: all, or equal parts in whole cache lines."""
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
    """Return the number of threads that pays off for so many bytes read and written."""
    return 1 if n_bytes < work_queue.PARALLEL_BYTES else wanted or threading_layer.n_available()
