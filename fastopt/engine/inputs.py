"""The first layer's inputs: dense rows, or lists of their non-zero elements by row and by column.

A zero input adds nothing to a sum, so where most inputs are zeros (pixels, one-hot columns, word counts)
the first layer's two products run over the others only. The lists are made anew for each block of rows,
from dense rows or from CSR alike, so nothing of the size of the data is ever copied.
"""

import numpy as np
from numba import njit

from fastopt.engine.context import COMPRESS, PREDICT, vector
from fastopt.engine.functions import INNER_JIT
from fastopt.engine.registers import weighted_rows

#: Columns of the weight matrix that are worked on at a time: 784 rows of 128 float32 fit the L2 cache.
_COLUMNS = 128


@njit(**INNER_JIT)
def row_number(c, i):
    """Return which row of the data is row ``i`` of the current batch."""
    at = c.start + i
    if c.has_order:
        return vector(c.order, np.int64, at + 1)[at]
    return at


@njit(**INNER_JIT)
def gather(c, real, lo, hi):
    """Copy the batch's rows ``lo:hi`` into the workspace, unless they can be read where they are."""
    if not c.has_order:
        return
    n = c.n_features
    for i in range(lo, hi):
        source = vector(c.x + row_number(c, i) * n * c.itemsize, real, n)
        target = vector(c.gathered + i * n * c.itemsize, real, n)
        for j in range(n):
            target[j] = source[j]


@njit(**INNER_JIT)
def _compress(x, index, value):
    """List the non-zero elements of ``x`` and return how many there are."""
    count = 0
    for j in range(x.shape[0]):
        index[count] = j  # overwritten by the next element unless this one counts: no branch
        value[count] = x[j]
        count += x[j] != 0
    return count


@njit(**INNER_JIT)
def list_rows(c, real, block, lo, hi):
    """List the non-zero inputs of the batch's rows ``lo:hi`` by row: entries, then where each begins."""
    base = block * c.block_entries
    start = vector(c.row_start + 8 * block * (c.block_rows + 1), np.int64, hi - lo + 1)
    index = vector(c.row_index + 4 * base, np.int32, c.block_entries)
    value = vector(c.row_value + c.itemsize * base, real, c.block_entries)
    count = 0
    for i in range(lo, hi):
        start[i - lo] = count
        row = row_number(c, i)
        if c.inputs == COMPRESS:
            x = vector(c.x + row * c.n_features * c.itemsize, real, c.n_features)
            count += _compress(x, index[count:], value[count:])
        else:
            ends = vector(c.indptr + 8 * row, np.int64, 2)
            n = ends[1] - ends[0]
            columns = vector(c.indices + 4 * ends[0], np.int32, n)
            values = vector(c.data + c.itemsize * ends[0], real, n)
            for j in range(n):
                index[count + j] = columns[j]
                value[count + j] = values[j]
            count += n
    start[hi - lo] = count


@njit(**INNER_JIT)
def list_columns(c, real, block, lo, hi):
    """Turn the block's lists by row into lists by column (a counting sort)."""
    base, n = block * c.block_entries, c.n_features
    row_start = vector(c.row_start + 8 * block * (c.block_rows + 1), np.int64, hi - lo + 1)
    index = vector(c.row_index + 4 * base, np.int32, c.block_entries)
    value = vector(c.row_value + c.itemsize * base, real, c.block_entries)
    start = vector(c.column_start + 4 * block * (n + 2), np.int32, n + 2)
    row = vector(c.column_row + 4 * base, np.int32, c.block_entries)
    moved = vector(c.column_value + c.itemsize * base, real, c.block_entries)
    for j in range(n + 2):
        start[j] = 0
    # Counts stand two places up, so that after the scatter each column's end has become its start.
    for p in range(row_start[hi - lo]):
        start[np.int64(np.uint32(index[p])) + 2] += 1
    for j in range(2, n + 2):
        start[j] += start[j - 1]
    for i in range(lo, hi):
        for p in range(row_start[i - lo], row_start[i - lo + 1]):
            j = np.int64(np.uint32(index[p])) + 1
            at = start[j]
            start[j] = at + 1
            row[at] = i
            moved[at] = value[p]


@njit(**INNER_JIT)
def sparse_forward(c, real, block, lo, hi, out, weights, bias, n):
    """Write ``X @ W + b`` for the batch's rows ``lo:hi`` from their lists; the rest are addresses."""
    base = block * c.block_entries
    start = vector(c.row_start + 8 * block * (c.block_rows + 1), np.int64, hi - lo + 1)
    for j in range(0, n, _COLUMNS):
        width, skip = min(_COLUMNS, n - j), j * c.itemsize
        for i in range(hi - lo):
            first = base + start[i]
            weighted_rows(
                real(0), out + i * n * c.itemsize + skip, bias + skip, width, weights + skip, n,
                c.row_index + 4 * first, c.row_value + c.itemsize * first, 1, start[i + 1] - start[i],
            )  # fmt: skip


@njit(**INNER_JIT)
def sparse_gradient(c, real, first_row, last_row, out, delta, n, keep):
    """Write rows ``first_row:last_row`` of ``X.T @ delta`` from the lists by column of every block.

    ``keep`` adds to what stands in ``out`` instead of starting from zero.
    """
    if not keep:
        tile = vector(out, real, (last_row - first_row) * n)
        for i in range(tile.shape[0]):
            tile[i] = 0
    for block in range(c.n_blocks):
        start = vector(c.column_start + 4 * block * (c.n_features + 2), np.int32, c.n_features + 1)
        base = block * c.block_entries
        for k in range(first_row, last_row):
            count = start[k + 1] - start[k]
            if count == 0:
                continue
            target = out + (k - first_row) * n * c.itemsize
            at = base + start[k]
            weighted_rows(
                real(0), target, target, n, delta, n,
                c.column_row + 4 * at, c.column_value + c.itemsize * at, 1, count,
            )  # fmt: skip


@njit(**INNER_JIT)
def list_inputs(c, real, block, lo, hi):
    """List the batch's rows ``lo:hi`` by row and, if a gradient will be wanted, by column."""
    list_rows(c, real, block, lo, hi)
    if c.mode != PREDICT:
        list_columns(c, real, block, lo, hi)
