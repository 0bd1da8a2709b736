"""Inputs of the first layer: dense rows, dense rows that are mostly zeros, or CSR rows.

A zero input adds nothing to a sum, so where most inputs are zeros (pixels, one-hot columns, word counts) the
first layer's two products run over the others only.

Dense rows are marked, a bit for each non-zero, as they are gathered. The forward product takes the columns
where a row is not zero; the gradient takes four columns at a time and the rows where any of them is not
zero. CSR rows are read where they are; for the gradient their elements are sorted by tile.

Templates of routines: ``compilation.py`` binds ``real``. ``context`` is the address of a record; arrays are
addresses, too.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from fastopt.engine.cpu.context import LINE, fill, first_row, record, row_number
from fastopt.engine.cpu.vector_math import INNER_JIT
from fastopt.kernels import simd_gemm
from fastopt.kernels.intrinsics import prefetch, vector

#: Bytes of rows that are asked for before they are read.
_AHEAD = 4096
#: Columns of the weight matrix that are worked on at a time, whole panels of four wide vectors or of three
#: narrow ones: 784 rows of so many float32 fit the L2 cache.
_COLUMNS_OF_WIDE, _COLUMNS = 128, 144
#: Neighbouring input columns whose gradients are formed together.
GROUP = 4
#: Bits of a word, and of each four neighbours in it the first.
WORD, _FIRST_OF_FOUR = 64, np.uint64(0x1111111111111111)
#: The distances over which nibbles swap places, and the lower ones of each pair.
_NIBBLES = (
    (8, np.uint64(0x00000000FFFFFFFF)),
    (4, np.uint64(0x0000FFFF0000FFFF)),
    (2, np.uint64(0x00FF00FF00FF00FF)),
    (1, np.uint64(0x0F0F0F0F0F0F0F0F)),
)


@intrinsic
def _lowest(typingctx, bits):
    """Return the index of the lowest bit that is set."""

    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), codegen


@njit(**INNER_JIT)
def _ask_for(address, nbytes):
    """Prefetch a range of memory."""
    for offset in range(0, nbytes, LINE):
        prefetch(address + offset)


def gather(context, lo, hi):
    """Copy the batch's rows ``lo:hi`` into the workspace.

    They lie anywhere in memory, so the next row's loading begins before this one is copied.
    """
    c = record(context)
    n = c.n_features
    nbytes = n * c.itemsize
    ahead = 1 + _AHEAD // nbytes
    for i in range(lo, hi):
        if i + ahead < hi:
            _ask_for(c.x + row_number(c, i + ahead) * nbytes, nbytes)
        source = vector(c.x + row_number(c, i) * nbytes, real, n)
        target = vector(c.gathered + i * n * c.itemsize, real, n)
        for j in range(n):
            target[j] = source[j]


@njit(**INNER_JIT)
def _words(n):
    return (n + WORD - 1) // WORD


@njit(**INNER_JIT)
def _transpose_nibbles(words):
    """Transpose 16 words in place as a matrix of 16 x 16 nibbles: ever smaller off-diagonal squares swap."""
    for distance, lower in _NIBBLES:
        shift = np.uint64(4 * distance)
        for i in range(0, 16, 2 * distance):
            for j in range(i, i + distance):
                swapped = ((words[j] >> shift) ^ words[j + distance]) & lower
                words[j + distance] ^= swapped
                words[j] ^= swapped << shift


def mark(context, source, block, lo, hi):
    """Mark the non-zero inputs of the batch's rows ``lo:hi``, by row and by group of columns.

    Of 64 columns a row has 16 groups: a nibble for each, in which every fourth row has its bit, makes 16
    words of 64 rows, whose transpose is a word of rows for each group.
    """
    c = record(context)
    n, n_words = c.n_features, _words(c.n_features)
    n_bits = _words(c.block_rows) * n_words * (WORD // GROUP)
    by_group = vector(c.group_bits + 8 * block * n_bits, np.uint64, n_bits)
    fill(by_group.ctypes.data, np.int64, n_bits, 0)
    for i in range(lo, hi):
        by_row = vector(c.row_bits + 8 * i * n_words, np.uint64, n_words)
        at, bit = (i - lo) // WORD * n_words * (WORD // GROUP) + (i - lo) % WORD // 4, np.uint64((i - lo) % 4)
        for w in range(n_words):
            address = source + (i * n + w * WORD) * c.itemsize
            bits = simd_gemm.nonzero_bits(real(0), address, min(WORD, n - w * WORD))
            by_row[w] = bits
            bits |= bits >> np.uint64(2)
            by_group[at + w * (WORD // GROUP)] |= ((bits | bits >> np.uint64(1)) & _FIRST_OF_FOUR) << bit
    for first in range(0, n_bits, 16):
        _transpose_nibbles(by_group[first : first + 16])


@njit(**INNER_JIT)
def _list_bits(bits, first, index, count):
    """Append ``first`` plus the index of each set bit to ``index``; return the new count."""
    while bits:
        index[count] = first + _lowest(bits)
        count += 1
        bits &= bits - np.uint64(1)
    return count


def marked_forward(context, worker, source, lo, hi, out, weights, bias, n, rectify):
    """Write ``X @ W + b`` for the batch's rows ``lo:hi``, skipping the columns where four rows are zero."""
    c = record(context)
    n_words, n_in, size = _words(c.n_features), c.n_features, c.itemsize
    index = vector(c.lists + 4 * worker * c.list_length, np.int32, c.list_length)
    bits = vector(c.row_bits, np.uint64, hi * n_words)
    n_groups = (hi - lo + GROUP - 1) // GROUP
    starts = vector(c.list_starts + 8 * worker * (c.block_rows + 1), np.int64, n_groups + 1)
    count = 0
    for group in range(n_groups):
        starts[group] = count
        first = lo + group * GROUP
        for w in range(n_words):
            some = np.uint64(0)
            for i in range(first, min(first + GROUP, hi)):
                some |= bits[i * n_words + w]
            count = _list_bits(some, w * WORD, index, count)
    starts[n_groups] = count
    columns = _COLUMNS_OF_WIDE if simd_gemm.vectors_are_wide() else _COLUMNS
    for j in range(0, n, columns):
        width, skip = min(columns, n - j), j * size
        for group in range(n_groups):
            i = group * GROUP
            simd_gemm.far_chosen_product(
                real(0), min(GROUP, hi - lo - i), width, starts[group + 1] - starts[group],
                source + (lo + i) * n_in * size, n_in, 1, weights + skip, n,
                index.ctypes.data + 4 * starts[group], bias + skip, 0, out + i * n * size + skip, n, rectify,
            )  # fmt: skip


def marked_gradient(context, worker, source, first, last, out, delta, n, keep):
    """Write (or add, to ``keep``) rows ``first:last`` of ``X.T @ delta``; ``first`` begins a group."""
    c = record(context)
    n_groups, block_words, size = _words(c.n_features) * (WORD // GROUP), _words(c.block_rows), c.itemsize
    index = vector(c.lists + 4 * worker * c.list_length, np.int32, c.list_length)
    bits = vector(c.group_bits, np.uint64, c.n_blocks * block_words * n_groups)
    for k in range(first, last, GROUP):
        count = 0
        for block in range(c.n_blocks):
            for w in range(block_words):
                one_word = bits[(block * block_words + w) * n_groups + k // GROUP]
                count = _list_bits(one_word, first_row(c, block) + w * WORD, index, count)
        target = out + (k - first) * n * size
        simd_gemm.chosen_product(
            real(0), min(GROUP, last - k), n, count, source + k * size, 1, c.n_features, delta, n,
            index.ctypes.data, target if keep else c.zeros, n * keep, target, n, 0,
        )  # fmt: skip


def csr_forward(context, block, lo, hi, out, weights, bias, n, rectify):
    """Write ``X @ W + b`` for the batch's rows ``lo:hi`` of a CSR matrix."""
    c = record(context)
    dropped = c.entry_dropped + block * c.block_entries * c.itemsize
    for i in range(lo, hi):
        row = row_number(c, i)
        ends = vector(c.indptr + 8 * row, np.int64, 2)
        data = dropped if c.entry_dropped else c.data + c.itemsize * ends[0]
        dropped += (ends[1] - ends[0]) * c.itemsize
        simd_gemm.listed_product(
            real(0), 1, n, ends[1] - ends[0], data, 0, 1, weights, n,
            c.indices + 4 * ends[0], bias, 0, out + (i - lo) * n * c.itemsize, n, rectify,
        )  # fmt: skip


def sort_entries(context, block, lo, hi):
    """Copy the entries of the batch's CSR rows ``lo:hi``, sorted by the tile of their column."""
    c = record(context)
    base, n_tiles, shift = block * c.block_entries, c.n_input_tiles, c.input_shift
    start = vector(c.entry_start + 8 * block * (n_tiles + 2), np.int64, n_tiles + 2)
    column = vector(c.entry_column + 4 * base, np.int32, c.block_entries)
    batch_row = vector(c.entry_row + 4 * base, np.int32, c.block_entries)
    value = vector(c.entry_value + c.itemsize * base, real, c.block_entries)
    fill(start.ctypes.data, np.int64, n_tiles + 2, 0)
    # Counts stand two places up, so that after the scatter each tile's end has become its start.
    for scatter in range(2):
        dropped = c.entry_dropped + base * c.itemsize
        for i in range(lo, hi):
            row = row_number(c, i)
            ends = vector(c.indptr + 8 * row, np.int64, 2)
            n = ends[1] - ends[0]
            if not scatter:  # the rows lie anywhere in memory
                ahead = vector(c.indptr + 8 * row_number(c, min(i + 1, hi - 1)), np.int64, 2)
                _ask_for(c.indices + 4 * ahead[0], 4 * (ahead[1] - ahead[0]))
                _ask_for(c.data + c.itemsize * ahead[0], c.itemsize * (ahead[1] - ahead[0]))
            columns = vector(c.indices + 4 * ends[0], np.int32, n)
            values = vector(dropped if c.entry_dropped else c.data + c.itemsize * ends[0], real, n)
            dropped += n * c.itemsize
            for p in range(n):
                tile = columns[p] >> shift
                if scatter:
                    at = start[tile + 1]
                    start[tile + 1] = at + 1
                    column[at] = columns[p]
                    batch_row[at] = i
                    value[at] = values[p]
                else:
                    start[tile + 2] += 1
        if not scatter:
            for tile in range(2, n_tiles + 2):
                start[tile] += start[tile - 1]


def csr_gradient(context, first, out, delta, n, clear):
    """Add to the tile that begins at row ``first`` its part of ``X.T @ delta``, or ``clear`` that."""
    c = record(context)
    tile, n_tiles = first >> c.input_shift, c.n_input_tiles
    for block in range(c.n_blocks):
        base = block * c.block_entries
        start = vector(c.entry_start + 8 * block * (n_tiles + 2), np.int64, n_tiles + 2)
        column = vector(c.entry_column + 4 * base, np.int32, c.block_entries)
        batch_row = vector(c.entry_row + 4 * base, np.int32, c.block_entries)
        value = vector(c.entry_value + c.itemsize * base, real, c.block_entries)
        for p in range(start[tile], start[tile + 1]):
            target = out + (column[p] - first) * n * c.itemsize
            if clear:
                fill(target, real, n, real(0))
            else:
                line, d = vector(target, real, n), vector(delta + batch_row[p] * n * c.itemsize, real, n)
                for j in range(n):
                    line[j] += value[p] * d[j]
