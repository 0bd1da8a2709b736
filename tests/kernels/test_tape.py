"""The interpreter of recorded steps, one instruction at a time, against NumPy 2."""

import numpy as np
import pytest

from fastopt.kernels import tape
from fastopt.kernels.tape import Op

VALUES = np.array([-np.inf, -2.5, -1.0, -0.0, 0.0, 1e-310, 0.5, 3.0, 1e300, np.inf, np.nan])
N = len(VALUES)


def advance(rows, registers, feeds=None):
    """Run a table to its first control instruction; return the header."""
    code = np.array([[*row, *[0] * (tape.COLUMNS - len(row))] for row in rows], np.int64)
    header = np.zeros(tape.HEADER, np.int64)
    header[tape.CODE], header[tape.REGISTERS] = code.ctypes.data, registers.ctypes.data
    if feeds is not None:
        header[tape.FEEDS], header[tape.FEED_COLUMNS] = feeds.ctypes.data, feeds.shape[1]
    tape.call_advance(tape.advance_address(), header.ctypes.data)
    return header


def identical(a, b):
    return np.array_equal(a, b, equal_nan=True) and np.array_equal(np.signbit(a), np.signbit(b))


UNARY = {
    Op.MOVE: np.positive, Op.NEGATIVE: np.negative, Op.ABSOLUTE: np.abs, Op.SQRT: np.sqrt, Op.EXP: np.exp,
    Op.LOG: np.log, Op.ISFINITE: np.isfinite, Op.NOT: np.logical_not, Op.FLOOR: np.floor, Op.SIGN: np.sign,
    Op.ISNAN: np.isnan,
}  # fmt: skip
BINARY = {
    Op.ADD: np.add, Op.SUBTRACT: np.subtract, Op.MULTIPLY: np.multiply, Op.DIVIDE: np.divide,
    Op.POWER: np.power, Op.REMAINDER: np.remainder, Op.MAXIMUM: np.maximum, Op.MINIMUM: np.minimum,
    Op.FMAX: np.fmax, Op.FMIN: np.fmin, Op.LESS: np.less, Op.LESS_EQUAL: np.less_equal, Op.EQUAL: np.equal,
    Op.NOT_EQUAL: np.not_equal, Op.AND: np.logical_and, Op.OR: np.logical_or,
}  # fmt: skip
#: The C library's, and NumPy's own on some processors: both are within an ulp of the exact result or two.
LIBRARY = {Op.EXP, Op.LOG, Op.POWER}


def close(op, found, expected):
    if op not in LIBRARY:
        # Which zero, or which NaN, a maximum of equals takes is nobody's promise.
        return np.array_equal(found, expected, equal_nan=True)
    return np.allclose(found, expected, rtol=4 * np.finfo(float).eps, atol=0, equal_nan=True)


@pytest.mark.parametrize("op", UNARY, ids=lambda op: op.name)
def test_an_operation_on_one_number_is_numpys(op):
    registers = np.concatenate([VALUES, np.zeros(N)])
    advance([[op, N, N, 0, 0, 0, 1], [Op.END]], registers)
    with np.errstate(all="ignore"):
        expected = UNARY[op](VALUES).astype(float)
    assert close(op, registers[N:], expected)


@pytest.mark.parametrize("op", BINARY, ids=lambda op: op.name)
def test_an_operation_on_two_numbers_is_numpys(op):
    a, b = (x.ravel() for x in np.meshgrid(VALUES, VALUES))
    if op in (Op.AND, Op.OR):
        a, b = (np.nan_to_num(x, nan=1.0) for x in (a, b))
    registers = np.concatenate([a, b, np.zeros(N * N)])
    advance([[op, N * N, 2 * N * N, 0, N * N, 0, 0b11], [Op.END]], registers)
    with np.errstate(all="ignore"):
        expected = BINARY[op](a, b).astype(float)
    assert close(op, registers[2 * N * N :], expected)


def test_one_register_stands_for_a_vector():
    registers = np.array([1.0, 2.0, 3.0, 10.0, 0.0, 0.0, 0.0])
    advance([[Op.SUBTRACT, 3, 4, 3, 0, 0, 0b10], [Op.END]], registers)
    assert registers[4:].tolist() == [9.0, 8.0, 7.0]
    advance([[Op.SELECT, 3, 4, 6, 3, 0, 0b100], [Op.END]], registers := np.array([1.0, 2, 3, 10, 0, 0, 0]))
    assert registers[4:].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(("op", "reduce"), [(Op.SUM, np.sum), (Op.LARGEST, np.max), (Op.SMALLEST, np.min)])
def test_reductions_go_along_the_middle_axis(op, reduce):
    x = np.random.default_rng(0).standard_normal((3, 5, 2))
    registers = np.concatenate([x.ravel(), np.zeros(6)])
    advance([[op, 6, 30, 0, 5, 2], [Op.END]], registers)
    assert np.array_equal(registers[30:].reshape(3, 2), reduce(x, axis=1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_is_stored_to_loaded_from_and_copied(dtype):
    memory, other = np.zeros((4, 3), dtype), np.zeros((4, 3), dtype)
    registers = np.concatenate([np.array([0.1, 0.2, 0.3, 0.4]), np.zeros(4)])
    column, size = memory[:, 1], memory.itemsize
    at, store, load = column.ctypes.data, *((Op.STORE4, Op.LOAD4) if size == 4 else (Op.STORE8, Op.LOAD8))
    rows = [
        [store, 4, at, 0, 3 * size, 0, 1],
        [store, 1, memory.ctypes.data, 3, size],
        [load, 4, 4, at, 3 * size],
        [Op.COPY, memory.nbytes, other.ctypes.data, memory.ctypes.data],
        [Op.END],
    ]
    advance(rows, registers)
    assert np.array_equal(column, np.array([0.1, 0.2, 0.3, 0.4], dtype))
    assert memory[0, 0] == dtype(0.4)
    assert np.array_equal(registers[4:], column.astype(float))
    assert np.array_equal(other, memory)


def test_sums_over_chunks_are_collected_by_tensor():
    sums, bounds = np.arange(10.0).reshape(5, 2), np.array([0, 1, 4, 5])
    registers = np.zeros(6)
    advance([[Op.COLLECT, 3, 0, sums.ctypes.data, 2, bounds.ctypes.data], [Op.END]], registers)
    assert np.array_equal(registers.reshape(2, 3), np.add.reduceat(sums, bounds[:-1]).T)


def test_the_hosts_rows_go_by_a_count():
    feeds = np.arange(12.0).reshape(4, 3)
    registers = np.array([7.0, 5.0, 0.0, 0.0])
    advance([[Op.FEED, 2, 2, 0, 1, 1], [Op.END]], registers, feeds)
    assert registers[2:].tolist() == feeds[2, 1:].tolist()


def test_control_goes_to_the_caller_and_back():
    registers = np.array([0.0, 5.0, 0.0])
    rows = [
        [Op.JUMP_UNLESS, 0, 3, 0],
        [Op.MOVE, 1, 2, 1],
        [Op.END],
        [Op.RUN, 0, 11, 12, 13, 14],
        [Op.YIELD, 0, 3],
        [Op.END],
    ]
    code = np.array([[*row, *[0] * (tape.COLUMNS - len(row))] for row in rows], np.int64)
    header = np.zeros(tape.HEADER, np.int64)
    header[tape.CODE], header[tape.REGISTERS] = code.ctypes.data, registers.ctypes.data
    seen = []
    for _ in range(3):
        tape.call_advance(tape.advance_address(), header.ctypes.data)
        seen.append(header[tape.KIND : tape.KIND + 5].tolist())
    assert seen[0] == [Op.RUN, 11, 12, 13, 14]
    assert seen[1][:2] == [Op.YIELD, 3]
    assert seen[2][0] == Op.END
    assert registers[2] == 0.0
    header[tape.PC], registers[0] = 0, np.nan  # to NumPy NaN is true
    tape.call_advance(tape.advance_address(), header.ctypes.data)
    assert registers[2] == 5.0
