"""The products kept in vector registers against NumPy, over shapes around every vector width."""

import numpy as np
import pytest
from numba import njit

from fastopt.engine.cpu.vector_math import ENGINE_JIT
from fastopt.kernels import simd_gemm, simd_vectors

DTYPES = [np.float32, np.float64]
GUARD = -77.0  # what stands around the result and must still stand there afterwards


def compiled(kind):
    @njit(**ENGINE_JIT)
    def call(zero, m, n, k, a, a_row, a_column, b, ldb, index, start, start_row, out, ldo, rectify):
        kind(zero, m, n, k, a, a_row, a_column, b, ldb, index, start, start_row, out, ldo, rectify)

    return call


KINDS = ("dense", "chosen", "far_chosen", "listed")
PRODUCTS = {kind: compiled(getattr(simd_gemm, f"{kind}_product")) for kind in KINDS}


@njit(**ENGINE_JIT)
def call_transpose(zero, m, n, a, lda, out, ldo):
    simd_gemm.transpose(zero, m, n, a, lda, out, ldo)


@njit(**ENGINE_JIT)
def call_bits(zero, a, n):
    return simd_gemm.nonzero_bits(zero, a, n)


def at(array):
    return array.__array_interface__["data"][0]


def with_slack(b):
    """Return a copy of ``b`` with the same strides and a vector of NaN after its last row."""
    memory = np.full(b.shape[0] * b.strides[0] + 64, 0xFF, np.uint8)
    copy = np.ndarray(b.shape, b.dtype, memory, strides=b.strides)
    copy[...] = b
    return copy


def product(a, b, start, out, kind="dense", index=None, rectify=False, call=None):
    """Call a kernel on two-dimensional arrays with any strides along rows of ``b``, ``start``, ``out``."""
    size = a.itemsize
    b = with_slack(b)
    index = np.zeros(simd_gemm.COPY_BYTES // 4, np.int32) if index is None else index
    k = a.shape[1] if kind in ("dense", "listed") else len(index)
    (call or PRODUCTS[kind])(
        a.dtype.type(0), *out.shape, k, at(a), a.strides[0] // size, a.strides[1] // size,
        at(b), b.strides[0] // size, at(index), at(start), start.strides[0] // size,
        at(out), out.strides[0] // size, rectify,
    )  # fmt: skip


def guarded(m, n, pad, dtype):
    """Return an (m, n) view with guards right of each row and after the last."""
    whole = np.full((m + 1, n + pad), GUARD, dtype)
    return whole, whole[:m, :n]


def assert_guards(whole, view):
    inside = np.zeros(whole.shape, bool)
    inside[: view.shape[0], : view.shape[1]] = True
    assert (whole[~inside] == GUARD).all()


def small_integers(rs, *shape, dtype):
    """Values whose sums of products are exact, so that the result can be compared bit by bit."""
    return rs.randint(-8, 9, size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", range(1, 71))
def test_products_of_every_width_are_exact(n, dtype):
    rs = np.random.RandomState(n)
    for m, k in [(1, 1), (1, 70), (3, 7), (4, 5), (5, 0), (8, 33), (70, 2), (25, 130)]:
        a, b = small_integers(rs, m, k, dtype=dtype), small_integers(rs, k, n, dtype=dtype)
        start = small_integers(rs, m, n, dtype=dtype)
        whole, out = guarded(m, n, 3, dtype)
        product(a, b, start, out)
        np.testing.assert_array_equal(out, start + a @ b)
        assert_guards(whole, out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", range(1, 71))
def test_products_of_every_height_and_transposed_are_exact(m, dtype):
    rs = np.random.RandomState(m)
    for n in (1, 5, 8, 19):
        a, b = small_integers(rs, 9, m, dtype=dtype).T, small_integers(rs, 9, n, dtype=dtype)
        bias = np.broadcast_to(small_integers(rs, n, dtype=dtype), (m, n))  # one row for all: stride 0
        _, out = guarded(m, n, 0, dtype)
        product(a, b, bias, out)
        np.testing.assert_array_equal(out, bias + a @ b)


@pytest.fixture(params=[32, 64])
def of_width(request, monkeypatch):
    """Return the bytes of a vector, and two products with such, whatever this processor has."""
    for module in (simd_gemm, simd_vectors):
        monkeypatch.setattr(module, "vector_bytes", lambda: request.param)
    return request.param, compiled(simd_gemm.dense_product), compiled(simd_gemm.chosen_product)


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_remainders_of_rows_and_of_vectors_are_exact_for_either_width_of_vectors(of_width, dtype):
    width, dense, chosen = of_width
    rs = np.random.RandomState(0)
    lanes = width // np.dtype(dtype).itemsize
    for vectors in range(1, 12):  # panels of 4 and 3, or of 3 and 2, and what they leave
        n = vectors * lanes - vectors % 3
        for m in range(26):  # blocks of 8, 6, 4 and 2 rows
            a, b = small_integers(rs, m, 5, dtype=dtype), small_integers(rs, 5, n, dtype=dtype)
            start = small_integers(rs, m, n, dtype=dtype)
            whole, out = guarded(m, n, 3, dtype)
            product(a, b, start, out, call=dense)
            np.testing.assert_array_equal(out, start + a @ b)
            assert_guards(whole, out)
            if 1 <= m <= 4:
                index = np.array([4, 1, 3], np.int32)
                product(a, b, start, out, "chosen", index, call=chosen)
                np.testing.assert_array_equal(out, start + a[:, index] @ b[index])
                assert_guards(whole, out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(100, 300, 257), (96, 513, 129), (24, 300, 257), (23, 256, 128), (30, 513, 129), (50, 40, 384)]
)
def test_products_whose_right_rows_lie_far_apart_are_exact(shape, dtype):
    m, n, k = shape
    rs = np.random.RandomState(0)
    a, b = small_integers(rs, m, k, dtype=dtype), small_integers(rs, k, n + 700, dtype=dtype)[:, :n]
    start = small_integers(rs, m, n, dtype=dtype)
    whole, out = guarded(m, n, 3, dtype)
    product(a, b, start, out)
    np.testing.assert_array_equal(out, start + a @ b)
    assert_guards(whole, out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [0, 3, 300])
def test_a_rectified_product_keeps_what_is_not_negative(kind, k, dtype):
    rs = np.random.RandomState(k)
    m = 1 if kind == "listed" else 4
    a, b = small_integers(rs, m, k, dtype=dtype), small_integers(rs, k, 21, dtype=dtype)
    start = small_integers(rs, m, 21, dtype=dtype)
    start[0, :3] = np.nan, np.inf, -np.inf
    index = None if kind == "dense" else np.arange(k, dtype=np.int32)
    _, out = guarded(m, 21, 0, dtype)
    product(a, b, start, out, kind, index, rectify=True)
    np.testing.assert_array_equal(out, np.maximum(start + a @ b, 0))  # NumPy's maximum keeps NaN, too


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 4, 7, 8, 9, 16, 17, 31])
def test_a_product_may_start_from_what_it_overwrites(n, dtype):
    rs = np.random.RandomState(0)
    a, b = small_integers(rs, 6, 11, dtype=dtype), small_integers(rs, 11, n, dtype=dtype)
    out = small_integers(rs, 6, n, dtype=dtype)
    expected = out + a @ b
    product(a, b, out, out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_of_a_product_is_that_of_one_sum_in_order(dtype):
    rs = np.random.RandomState(0)
    a, b = rs.standard_normal((5, 300)).astype(dtype), rs.standard_normal((300, 13)).astype(dtype)
    out = np.empty((5, 13), dtype)
    product(a, b, np.zeros((5, 13), dtype), out)
    exact = a.astype(np.longdouble) @ b.astype(np.longdouble)
    # Each of 300 fused steps rounds once, relative to a partial sum no larger than the sum of sizes.
    bound = 300 * np.finfo(dtype).eps * (np.abs(a).astype(float) @ np.abs(b).astype(float))
    assert (np.abs(out - exact) <= bound).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_padding_that_is_not_a_number_stays_out_of_a_product(dtype):
    b = np.full((4, 16), np.nan, dtype)
    b[:, :5] = 1
    out = np.empty((3, 5), dtype)
    product(np.ones((3, 4), dtype), b[:, :5], np.zeros((3, 5), dtype), out)
    np.testing.assert_array_equal(out, 4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [*range(1, 71), 127, 128, 129, 200])
def test_products_over_listed_terms_are_exact_and_may_add_in_place(n, dtype):
    rs = np.random.RandomState(n)
    b = small_integers(rs, 40, n + 3, dtype=dtype)[:, :n]  # rows further apart than they are wide
    for m, count in [(1, 0), (1, 1), (2, 13), (3, 40), (5, 17), (8, 30)]:
        index = rs.permutation(40)[:count].astype(np.int32)
        a = small_integers(rs, m, 40, dtype=dtype)
        for kind in "chosen", "far_chosen":
            whole, out = guarded(m, n, 3, dtype)
            out[...] = small_integers(rs, m, n, dtype=dtype)
            expected = out + a[:, index] @ b[index]
            product(a, b, out, out, kind, index)
            np.testing.assert_array_equal(out, expected)
            assert_guards(whole, out)
        whole, out = guarded(1, n, 3, dtype)
        values = small_integers(rs, 1, max(1, 2 * count), dtype=dtype)[:, : 2 * count : 2]
        product(values, b, np.zeros((1, n), dtype), out, "listed", index)
        np.testing.assert_array_equal(out, values @ b[index])
        assert_guards(whole, out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", sorted(PRODUCTS))
def test_a_product_of_no_columns_touches_nothing(kind, dtype):
    out, one, index = np.full((2, 8), GUARD, dtype), np.ones((2, 1), dtype), np.zeros(1, np.int32)
    product(one, one[:1, :0], out[:, :0], out[:, :0], kind, index)
    assert (out == GUARD).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (1, 40), (3, 70), (16, 16), (17, 33), (64, 100), (70, 5)])
def test_a_transpose_is_one_whatever_the_shape(shape, dtype):
    m, n = shape
    a = np.random.RandomState(0).standard_normal((m, n + 2)).astype(dtype)
    whole, out = guarded(n, m, 3, dtype)
    call_transpose(dtype(0), m, n, at(a), n + 2, at(out), m + 3)
    np.testing.assert_array_equal(out, a[:, :n].T)
    assert_guards(whole, out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 31, 63, 64])
def test_bits_tell_which_elements_are_not_zero(n, dtype):
    values = np.array([0, -0.0, 1, np.nan, np.inf, -1e-40, 0, 2] * 9, dtype)
    expected = sum(1 << i for i in range(n) if values[i] != 0)
    assert int(call_bits(dtype(0), at(values), n)) & (2**64 - 1) == expected
