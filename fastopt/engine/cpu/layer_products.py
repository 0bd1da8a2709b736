"""Matrix products of a network's layers, each by the method that is fastest for its size.

The first functions are templates of routines: ``compilation.py`` binds ``real`` and compiles them for each
element type. The others choose between them and BLAS; they see integers only. Arrays are row-major, given by
address.
"""

import numpy as np
from numba import njit

from fastopt.engine.cpu.vector_math import INNER_JIT
from fastopt.kernels import simd_gemm
from fastopt.kernels.gemm import gemm
from fastopt.kernels.intrinsics import call, matrix, vector
from fastopt.kernels.simd_gemm import COPY_BYTES

#: Bytes of the right-hand matrix up to which a product in registers beats a BLAS call (``bench/README.md``).
IN_REGISTERS = 1 << 22


def multiply(m, n, k, a, a_row, a_column, b, ldb, copy, start, start_row, out, ldo, rectify):
    """Compute ``out = start + a @ b`` in registers; arguments as in `simd_gemm.dense_product`."""
    simd_gemm.dense_product(
        real(0), m, n, k, a, a_row, a_column, b, ldb, copy, start, start_row, out, ldo, rectify
    )


def transpose(m, n, a, out):
    """Write the transpose of the (m, n) matrix ``a``."""
    simd_gemm.transpose(real(0), m, n, a, n, out, m)


@njit(**INNER_JIT | {"fastmath": {"contract", "reassoc"}})
def _dot(x, w):
    """Return the inner product, reassociated so that it vectorises; the same for the same length."""
    total = x[0] * w[0]
    for i in range(1, x.shape[0]):
        total += x[i] * w[i]
    return total


def dots(m, k, a, b, start, out):
    """Compute ``out[i] = start[0] + a[i] @ b`` for the rows of an (m, k) matrix."""
    a, b = matrix(a, real, (m, k)), vector(b, real, k)
    out, start = vector(out, real, m), vector(start, real, 1)
    for i in range(m):
        out[i] = start[0] + _dot(a[i], b)


def sum_rows(m, n, weights, step, a, lda, out, keep):
    """Write (or add, to ``keep``) the sum of the rows of an (m, n) matrix, each times its weight.

    Weights stand ``step`` elements apart (0: one for all), rows ``lda``.
    """
    a, weights, out = matrix(a, real, (m, lda)), vector(weights, real, m * step + 1), vector(out, real, n)
    if not keep:
        for j in range(n):
            out[j] = 0
    whole = m // 4 * 4
    for i in range(0, whole, 4):  # four at a time: the sums are loaded and stored once for all
        u, v, w, x = (
            weights[i * step],
            weights[(i + 1) * step],
            weights[(i + 2) * step],
            weights[(i + 3) * step],
        )
        for j in range(n):
            out[j] = (((out[j] + u * a[i, j]) + v * a[i + 1, j]) + w * a[i + 2, j]) + x * a[i + 3, j]
    for i in range(whole, m):
        for j in range(n):
            out[j] += weights[i * step] * a[i, j]


def repeat(m, n, row, out):
    """Copy ``row`` to each row of the (m, n) matrix ``out``."""
    row, out = vector(row, real, n), matrix(out, real, (m, n))
    for i in range(m):
        for j in range(n):
            out[i, j] = row[j]


def sum_of_squares(n, a, out):
    """Write the sum of the squares of ``n`` elements to a float64."""
    a = vector(a, real, n)
    vector(out, np.float64, 1)[0] = _dot(a, a)


def scale_rows(m, n, a, scale, out):
    """Write each row of an (m, n) matrix times its element of ``scale`` to ``out``."""
    a, out, scale = matrix(a, real, (m, n)), matrix(out, real, (m, n)), vector(scale, real, m)
    for i in range(m):
        for j in range(n):
            out[i, j] = scale[i] * a[i, j]


def scale_gradient(m, n, weights, scale, gradient, out, scale_out, keep):
    """Turn the gradient of ``scale[:, None] * weights`` into those of both factors.

    Writes (or adds, to ``keep``) that of the (m, n) weights to ``out``, which may be ``gradient``, and
    that of the scale to ``scale_out``.
    """
    weights, gradient = matrix(weights, real, (m, n)), matrix(gradient, real, (m, n))
    out, scale, scale_out = matrix(out, real, (m, n)), vector(scale, real, m), vector(scale_out, real, m)
    for i in range(m):
        product = _dot(weights[i], gradient[i])
        scale_out[i] = scale_out[i] + product if keep else product
        for j in range(n):
            own = scale[i] * gradient[i, j]
            out[i, j] = out[i, j] + own if keep else own


@njit(**INNER_JIT)
def _copy_at(c, worker):
    """Return the address at which a worker may copy columns of a right-hand matrix."""
    return c.copies + worker * COPY_BYTES


@njit(**INNER_JIT)
def forward(c, worker, rows, n_in, n_out, source, weights, bias, target, rectify):
    """Write ``source @ weights + bias`` to ``target`` (rows, n_out); return whether it could ``rectify``."""
    if n_out == 1:
        call(c.dots, (rows, n_in, source, weights, bias, target))
        return False
    if n_in * n_out * c.itemsize <= IN_REGISTERS:
        copy = _copy_at(c, worker)
        call(
            c.multiply,
            (rows, n_out, n_in, source, n_in, 1, weights, n_out, copy, bias, 0, target, n_out, rectify),
        )
        return True
    call(c.repeat, (rows, n_out, bias, target))
    one = c.one
    gemm(c.gemm, False, False, rows, n_out, n_in, source, n_in, weights, n_out, one, one, target, n_out)
    return False


@njit(**INNER_JIT)
def backward(c, worker, rows, n_in, n_out, delta, weights, transposed, target):
    """Write ``delta @ weights.T`` to ``target`` (rows, n_in); ``transposed`` is 0 where there is no copy."""
    if transposed:
        copy = _copy_at(c, worker)
        call(
            c.multiply,
            (rows, n_in, n_out, delta, n_out, 1, transposed, n_in, copy, c.zeros, 0, target, n_in, 0),
        )
    else:
        one, zero = c.one, c.zeros
        gemm(c.gemm, False, True, rows, n_in, n_out, delta, n_out, weights, n_out, one, zero, target, n_in)


@njit(**INNER_JIT)
def weight_gradient(c, worker, first, last, n_in, n_out, source, delta, out, keep):
    """Write (or add, to ``keep``) the rows ``first:last`` of ``source.T @ delta`` of the whole batch."""
    m, k, size = last - first, c.n_rows, c.itemsize
    source += first * size
    if n_out == 1:
        call(c.sum_rows, (k, m, delta, 1, source, n_in, out, keep))
    elif k * n_out * size <= IN_REGISTERS:
        start, copy = out if keep else c.zeros, _copy_at(c, worker)
        call(
            c.multiply,
            (m, n_out, k, source, 1, n_in, delta, n_out, copy, start, n_out * keep, out, n_out, 0),
        )
    else:
        beta = c.one if keep else c.zeros
        gemm(c.gemm, True, False, m, n_out, k, source, n_in, delta, n_out, c.one, beta, out, n_out)


@njit(**INNER_JIT)
def vector_gradient(c, n_out, rows, out, keep):
    """Write (or add, to ``keep``) the sum over the batch of each row's gradient of a bias or of slopes."""
    call(c.sum_rows, (c.n_rows, n_out, c.one, 0, rows, n_out, out, keep))
