"""Matrix products on all threads, whose results do not depend on the number of threads.

BLAS with threads of its own cuts a product by their number, and its roundings follow. Here products are cut
into tiles by their shapes alone, and each tile is one call of BLAS on one thread: several products share a
parallel region, and of a symmetric one only half is computed. Small ones do without BLAS, whose calls take
longer than they do.
"""

import functools
import itertools

import numpy as np
from numba import types

from fastopt.kernels import recording, simd_gemm, simd_vectors, work_queue
from fastopt.kernels.binding import bind, compile_c
from fastopt.kernels.gemm import gemm, gemm_address
from fastopt.kernels.intrinsics import vector

#: Longest side of a tile, of any product and of a symmetric one, which smaller tiles halve better. Larger
#: ones are no faster, smaller ones pack their operands too often.
TILE, SYMMETRIC_TILE = (512, 256), (192, 192)

#: Multiplications from which a run is parallel: for less, entering a region costs about what it would save.
PARALLEL_WORK = 1_000_000

#: Elements of a cache line, in whole numbers of which tiles are cut.
_EDGE = 16

#: Multiplications up to which a product is computed in registers. On an AMD core 16 x 16 float32 matrices
#: take 0.2 us, by BLAS 0.42 us; at 32 x 128 x 32 it is 3.8 us for 6.1, and 8 for 8.5 in float64.
SMALL_WORK = 100_000

_FIELDS = 21
_SIGNATURE = types.void(*[types.int64] * 7)


def product(fields, unused_1, unused_2, unused_3, unused_4, lo, hi):
    """Compute the tiles ``lo`` to ``hi`` of ``C = alpha * A @ B + beta * start + shift * I``."""
    f = vector(fields, int64, n_fields)
    a, lda, ta, b, ldb, tb, c, ldc = f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7]
    m, n, k, across, high, wide, start, symmetric = f[8], f[9], f[10], f[11], f[12], f[13], f[14], f[15]
    scales, routine = f[16], f[17]
    shift = vector(scales, real, 3)[2]
    whole = vector(c, real, m * ldc)
    source = vector(start, real, m * ldc)
    for tile in range(lo, hi):
        top, left = tile // across * high, tile % across * wide
        bottom, right = min(m, top + high), min(n, left + wide)
        if start != c:
            for i in range(top, bottom):
                for j in range(i * ldc + left, i * ldc + right):
                    whole[j] = source[j]
        gemm(
            routine, ta != 0, tb != 0, bottom - top, right - left, k,
            a + itemsize * top * (1 if ta else lda), lda, b + itemsize * left * (ldb if tb else 1), ldb,
            scales, scales + itemsize, c + itemsize * (top * ldc + left), ldc,
        )  # fmt: skip
        if shift != 0.0:
            for i in range(max(top, left), min(bottom, right)):
                whole[i * ldc + i] += shift
        if symmetric:  # BLAS may round the two halves of a tile on the diagonal otherwise
            for first in range(left, right, edge):  # cache line by cache line
                last = min(first + edge, right)
                for i in range(max(top, first + 1), bottom):
                    for j in range(first, min(last, i)):
                        whole[j * ldc + i] = whole[i * ldc + j]


def small_product(fields, unused_1, unused_2, unused_3, unused_4, lo, hi):
    """Compute ``C = alpha * A @ B + beta * start + shift * I`` as a whole, in registers."""
    f = vector(fields, int64, n_fields)
    a, lda, ta, b, ldb, tb, c, ldc = f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7]
    m, n, k, start = f[8], f[9], f[10], f[14]
    scales = vector(f[16], real, 3)
    alpha, beta, shift = scales[0], scales[1], scales[2]
    copy, nothing, sums = f[18], f[19], f[20]
    if tb:
        simd_gemm.transpose(real(0), n, k, b, ldb, copy, n)
    else:
        n_rows, width = (1, k * n) if ldb == n else (k, n)
        for p in range(n_rows):
            right = vector(b + itemsize * p * ldb, real, width)
            copied = vector(copy + itemsize * p * n, real, width)
            for j in range(width):  # which begins at 0, or it would not vectorise
                copied[j] = right[j]
    is_plain = alpha == 1.0 and beta == 0.0 and shift == 0.0
    simd_gemm.dense_product(
        real(0), m, n, k, a, 1 if ta else lda, lda if ta else 1, copy, n, 0, nothing, 0,
        c if is_plain else sums, ldc if is_plain else n, 0,
    )  # fmt: skip
    if is_plain:
        return
    n_rows, width = (1, m * n) if ldc == n else (m, n)
    for i in range(n_rows):
        out = vector(c + itemsize * i * ldc, real, width)
        source = vector(start + itemsize * i * ldc, real, width)
        row = vector(sums + itemsize * i * n, real, width)
        if beta == 0.0:
            for j in range(width):
                out[j] = alpha * row[j]
        else:
            for j in range(width):
                out[j] = alpha * row[j] + beta * source[j]
    whole = vector(c, real, m * ldc)
    for i in range(min(m, n)):
        whole[i * ldc + i] += shift


@functools.cache
def product_kernel(dtype, function=product):
    """Return the compiled kernel for arrays of ``dtype`` ('float32' or 'float64')."""
    scalar = np.dtype(dtype).type
    kernel = bind(
        function,
        function,
        f"_{dtype}",
        vector=vector,
        gemm=gemm,
        simd_gemm=simd_gemm,
        real=scalar,
        itemsize=np.dtype(dtype).itemsize,
        n_fields=_FIELDS,
        edge=_EDGE,
        int64=np.int64,
        max=max,
        min=min,
        range=range,
    )
    return compile_c(_SIGNATURE, kernel)


class Products:
    """Products of pairs of matrices, prepared once and run repeatedly.

    Parameters
    ----------
    left, right, out : lists of ndarray
        ``left[i] @ right[i]`` is written to ``out[i]``; C- or F-contiguous, of one dtype each, not empty.
    n_threads : int
    start : list of ndarray, optional
        What ``beta`` multiplies, in the memory order of `out`; by default what stands in `out`.
    is_symmetric : bool
        Whether each product equals its transpose; one triangle is then computed and copied to the other.
    """

    def __init__(self, left, right, out, n_threads, *, start=None, is_symmetric=False):
        n = len(out)
        self._kept = [left, right, out, start]
        self._scales = [np.array([1, 0, 0], c.dtype) for c in out]
        self._fields = np.zeros((n, _FIELDS), np.int64)
        self._table = np.zeros((n, work_queue.TABLE_COLUMNS), np.int64)
        work, costs = [], []
        for i, (a, b, c, first) in enumerate(zip(left, right, out, start or out, strict=True)):
            if not a.dtype == b.dtype == c.dtype == first.dtype:
                raise TypeError(f"a product of {a.dtype} and {b.dtype} does not go to {c.dtype}")
            if not c.flags.c_contiguous:  # BLAS and the tiles are told of the transposed product
                a, b, c, first = b.T, a.T, c.T, first.T
            (m, n_columns), k = c.shape, a.shape[1]
            longest = SYMMETRIC_TILE if is_symmetric else TILE
            high, wide = _even(m, longest[0]), _even(n_columns, longest[1])
            across = -(-n_columns // wide)
            tiles = itertools.product(range(-(-m // high)), range(across))
            work += [(i, t := r * across + s, t + 1) for r, s in tiles if s <= r or not is_symmetric]
            costs += [min(high, m) * min(wide, n_columns) * k] * (len(work) - len(costs))
            is_small = m * n_columns * k <= SMALL_WORK and max(m, n_columns) <= min(longest)
            self._fields[i] = (
                *_lying(a), *_lying(b), *_lying(c)[:2], m, n_columns, k, across, high, wide,
                first.ctypes.data, is_symmetric, self._scales[i].ctypes.data, gemm_address(c.itemsize),
                *self._scratch(c.dtype, m, n_columns, k, is_small),
            )  # fmt: skip
            kernel = product_kernel(c.dtype.name, small_product if is_small else product)
            self._table[i, :2] = kernel.address, self._fields[i].ctypes.data
        largest_first = np.argsort(np.negative(costs), kind="stable")
        work = np.array(work, np.int64).reshape(-1, 3)[largest_first]
        n_threads = n_threads if len(work) > 1 and sum(costs) >= PARALLEL_WORK else 1
        self._queue = work_queue.KernelQueue(self._table, work, n_threads)

    def _scratch(self, dtype, m, n, k, is_small):
        """Return the addresses of a small product's copy of the right matrix, of zeros, and of its sums."""
        if not is_small:
            return 0, 0, 0
        spaces = [np.zeros(size + simd_vectors.vector_bytes(), dtype) for size in (k * n, n, m * n)]
        self._kept.append(spaces)
        return [space.ctypes.data for space in spaces]

    def scale(self, alpha=1.0, beta=0.0, shift=0.0):
        """Let later runs write ``alpha * left @ right + beta * start + shift * identity`` to each ``out``.

        The three are numbers, or arrays of one element for each product.
        """
        n, recorder = len(self._scales), recording.current()
        three = [np.broadcast_to(v, n) for v in (alpha, beta, shift)]
        for scales, *values in zip(self._scales, *three, strict=True):
            if recorder is None:
                scales[:] = values
            else:
                recorder.fill(scales.reshape(3, 1), values)

    def run(self):
        """Compute all products, in one parallel region if that pays off."""
        self._queue.run()


def _even(length, longest):
    """Return the tile side that splits ``length`` into the fewest equal tiles, in whole cache lines."""
    side = -(-length // -(-length // longest))
    return -(-side // _EDGE) * _EDGE


def _lying(array):
    """Return a matrix's address, leading dimension, and whether it is transposed in memory."""
    is_transposed = not array.flags.c_contiguous
    if is_transposed and not array.flags.f_contiguous:
        raise ValueError(f"a matrix of strides {array.strides} is not contiguous")
    return array.ctypes.data, max(1, array.shape[0 if is_transposed else 1]), is_transposed
