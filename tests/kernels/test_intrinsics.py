"""Arrays and records at an address, which compiled code reads and writes in place."""

import numpy as np
import pytest
from numba import from_dtype, njit
from numba.core.registry import cpu_target

from fastopt.kernels.intrinsics import (
    elements,
    matrix,
    pointer,
    prefetch,
    prefetch_to_write,
    record_at,
    tuple_at,
    vector,
)

_PAIR = np.dtype([("n", np.int64), ("x", np.float64)])
_PAIR_TYPE = from_dtype(_PAIR)


@njit
def _double(address, like, n, m):
    flat, rows = vector(address, like, n * m), matrix(address, like, (n, m))
    for i in range(n):
        for j in range(m):
            rows[i, j] *= 2
    return flat.shape, rows.shape, rows.strides, rows.sum() - flat.sum()


@njit
def _parts(address, like, lo, hi):
    start = pointer(address, like)
    part, three = elements(start, lo, hi), tuple_at(start, 1, 3)
    part[0] = -1
    return part.shape, three, tuple_at(start, lo, 2)


@njit
def _increment(address):
    record = record_at(address, _PAIR_TYPE)
    record.n += 1
    return record.x


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_vectors_and_matrices_are_views_of_the_memory_at_an_address(dtype):
    values = np.arange(6, dtype=dtype)
    shapes = _double(values.ctypes.data, values, 2, 3)
    assert shapes == ((6,), (2, 3), values.reshape(2, 3).strides, 0)
    np.testing.assert_array_equal(values, 2 * np.arange(6))


def test_a_record_at_an_address_is_not_a_copy():
    records = np.array([(1, 0.5), (2, 1.5)], _PAIR)
    assert _increment(records.ctypes.data + _PAIR.itemsize) == 1.5
    assert records["n"].tolist() == [1, 3]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parts_and_tuples_hold_the_elements_from_an_index_on(dtype):
    values = np.arange(8, dtype=dtype) + dtype(0.1)
    before = values.copy()
    shape, three, two = _parts(values.ctypes.data, values, 2, 7)
    assert shape == (5,)
    assert three == tuple(before[1:4])  # taken before the write at index 2, and no view
    assert two == (-1.0, before[3])
    np.testing.assert_array_equal(values, [*before[:2], -1, *before[3:]])


@njit
def _prefetch(address):
    prefetch(address)


@njit
def _prefetch_to_write(address):
    prefetch_to_write(address)


@pytest.mark.parametrize("function", [_prefetch, _prefetch_to_write])
def test_prefetching_takes_any_address_and_changes_nothing(function):
    values = np.arange(64.0)
    for address in (values.ctypes.data, values.ctypes.data + values.nbytes, 0, -1):
        function(address)
    np.testing.assert_array_equal(values, np.arange(64.0))


def test_prefetching_to_write_asks_for_ownership_where_the_processor_can():
    if "+prfchw" not in cpu_target.target_context.codegen().magic_tuple()[2]:
        pytest.skip("this processor has no such instruction")
    for function, is_to_write in ((_prefetch, False), (_prefetch_to_write, True)):
        function(0)
        (text,) = function.inspect_asm().values()
        assert "prefetch" in text
        assert ("prefetchw" in text) == is_to_write
