"""Dropout on blocks of rows, while these are in cache.

Templates of routines: ``compilation.py`` binds ``real`` and, compiled from `fastopt.rules.dropout`, the
functions of that name and the constants ``RUN`` and ``LANES``.
"""

import numpy as np

from fastopt.engine.cpu.context import record, row_number
from fastopt.kernels.intrinsics import vector


def drop(source, target, first, n, key, threshold):
    """Write ``n`` elements of a batch's layer after dropout, element number ``first`` and those after it.

    ``source`` may be ``target``. Another array is copied before, because only changes in place vectorise.
    """
    key, least, scale = np.uint32(key), np.int32(threshold), real(scale_of(threshold))
    second = second_key(key)
    x, y = vector(target, real, n), vector(source, real, n)
    if source != target:
        for i in range(n):
            x[i] = y[i]
    begin = min(n, -first % RUN)
    n_runs = (n - begin) // RUN
    for run in range(n_runs):
        at = begin + run * RUN
        word, near, far = (first + at) // RUN * LANES, x[at : at + LANES], x[at + LANES : at + RUN]
        for k in range(LANES):
            bits = number(key, second, np.uint32(word + k))
            near[k] = dropped(near[k], low_bits(bits), least, scale)
            far[k] = dropped(far[k], high_bits(bits), least, scale)
    for lo, hi in ((0, begin), (begin + n_runs * RUN, n)):
        for i in range(lo, hi):
            x[i] = dropped(x[i], bits_of(key, second, first + i), least, scale)


def drop_entries(context, block, lo, hi):
    """Write the entries of the batch's CSR rows ``lo:hi`` after dropout, one row after the other."""
    c = record(context)
    row = vector(c.dropout + c.batch_at * c.dropout_stride, np.int64, 2)
    key, least, scale = np.uint32(row[0]), np.int32(row[1]), real(scale_of(row[1]))
    second = second_key(key)
    target, at = vector(c.entry_dropped, real, (block + 1) * c.block_entries), block * c.block_entries
    for i in range(lo, hi):
        ends = vector(c.indptr + 8 * row_number(c, i), np.int64, 2)
        columns = vector(c.indices, np.int32, ends[1])
        values = vector(c.data, real, ends[1])
        for p in range(ends[0], ends[1]):
            bits = bits_of(key, second, i * c.n_features + columns[p])
            target[at] = dropped(values[p], bits, least, scale)
            at += 1
