"""The matrix products of a network's layers, each by what is quickest for its size.

Every function takes the element type as ``real``, addresses of row-major arrays, and the record ``c`` of
`context`; each is compiled once and called from wherever a layer needs it.
"""

import numpy as np
from numba import njit

from fastopt.engine import registers
from fastopt.engine.blas import gemm
from fastopt.engine.context import matrix, vector
from fastopt.engine.functions import INNER_JIT

#: Bytes of the right-hand matrix up to which a product in registers beats a BLAS call, by the width of the
#: vectors: with AVX-512 it streams from the L3 cache as fast as it is used (``bench/README.md``).
IN_REGISTERS = {64: 1 << 22, 32: 1 << 17}


@njit(**INNER_JIT)
def multiply(c, real, m, n, k, a, a_row, a_column, b, ldb, start, start_row, out, ldo):
    """Compute ``out = start + a @ b`` in registers; strides as in `registers.dense_product`."""
    registers.dense_product(real(0), m, n, k, a, a_row, a_column, b, ldb, 0, start, start_row, out, ldo)


@njit(**INNER_JIT | {"fastmath": {"contract", "reassoc"}})
def _dot(x, w):
    total = x[0] * w[0]
    for i in range(1, x.shape[0]):
        total += x[i] * w[i]
    return total


@njit(**INNER_JIT)
def forward(c, real, rows, n_in, n_out, source, weights, bias, target):
    """Write ``source @ weights + bias`` to ``target`` (rows, n_out)."""
    if n_out == 1:
        w, out = vector(weights, real, n_in), vector(target, real, rows)
        b = vector(bias, real, 1)[0]
        for i in range(rows):
            out[i] = _dot(vector(source + i * n_in * c.itemsize, real, n_in), w) + b
    elif n_in * n_out * c.itemsize <= c.in_registers:
        multiply(c, real, rows, n_out, n_in, source, n_in, 1, weights, n_out, bias, 0, target, n_out)
    else:
        z, b = matrix(target, real, rows, n_out), vector(bias, real, n_out)
        for i in range(rows):
            for j in range(n_out):
                z[i, j] = b[j]
        gemm(c.gemm, False, False, rows, n_out, n_in, source, n_in, weights, n_out, real(1), target, n_out)


@njit(**INNER_JIT)
def backward(c, real, rows, n_in, n_out, delta, weights, transposed, target):
    """Write ``delta @ weights.T`` to ``target`` (rows, n_in); ``transposed`` is 0 where there is no copy."""
    if transposed:
        multiply(c, real, rows, n_in, n_out, delta, n_out, 1, transposed, n_in, c.zeros, 0, target, n_in)
    else:
        gemm(c.gemm, False, True, rows, n_in, n_out, delta, n_out, weights, n_out, real(0), target, n_in)


@njit(**INNER_JIT)
def weight_gradient(c, real, first, last, n_in, n_out, source, delta, out, keep):
    """Write (or add, to ``keep``) the rows ``first:last`` of ``source.T @ delta`` of the whole batch."""
    m, k, size = last - first, c.n_rows, c.itemsize
    source += first * size
    start = out if keep else c.zeros
    if n_out == 1:
        multiply(c, real, 1, m, k, delta, 0, 1, source, n_in, start, 0, out, m)
    elif k * n_out * size <= c.in_registers:
        multiply(c, real, m, n_out, k, source, 1, n_in, delta, n_out, start, n_out * keep, out, n_out)
    else:
        beta = real(1) if keep else real(0)
        gemm(c.gemm, True, False, m, n_out, k, source, n_in, delta, n_out, beta, out, n_out)


@njit(**INNER_JIT)
def bias_gradient(c, real, n_out, delta, out, keep):
    """Write (or add, to ``keep``) the column sums of the batch's ``delta``."""
    start = out if keep else c.zeros
    multiply(c, real, 1, n_out, c.n_rows, c.one, 0, 0, delta, n_out, start, 0, out, n_out)


@njit(**INNER_JIT)
def transpose(c, real, m, n, a, out):
    """Write the transpose of the (m, n) matrix ``a``."""
    registers.transpose(real(0), m, n, a, n, out, m)


@njit(**INNER_JIT)
def add_scaled(real, weight, source, target, n):
    """Add ``weight`` times the ``n`` elements at ``source`` to those at ``target``."""
    x, out = vector(source, real, n), vector(target, real, n)
    for i in range(n):
        out[i] += weight * x[i]


@njit(**INNER_JIT | {"fastmath": {"contract", "reassoc"}})
def sum_of_squares(w):
    """Return the sum of squares; reassociation makes it vector sums, the same for the same tile."""
    total = w[0] * w[0]
    for i in range(1, w.shape[0]):
        total += w[i] * w[i]
    return np.float64(total)
