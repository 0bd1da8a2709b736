"""An interpreter of small programs: the arithmetic of a step between its kernels, compiled once for all.

A program is a table of instructions on one vector of float64 *registers*. Each instruction works on ``n``
registers in a row; an operand may be a single register instead, for all of them. The results are those of
NumPy in float64, to the bit, but for ``**``, ``exp`` and ``log``, which are those of the C library: NumPy
has its own on some processors, an ulp or two apart.

``advance`` runs a program until something has to be done that it cannot do itself: it then leaves a record of
that in the header, and goes on after it when it is called again. Like `work_queue` this sees integers only.
"""

import enum
import functools
import math

import numpy as np
from numba import njit, types

from fastopt.kernels import code_cache
from fastopt.kernels.binding import JIT_OPTIONS, bind, compile_c
from fastopt.kernels.compilers import INNER_OPTIONS, WITHOUT_MEMORY
from fastopt.kernels.intrinsics import call, matrix, vector
from fastopt.kernels.subnormals import call_flushing


class Op(enum.IntEnum):
    """What an instruction does; comments name the places of its row that it reads beside ``n``, ``out``."""

    # Control: `advance` returns, with ``out, a, b, c`` and ``n`` in the header, but for the last two.
    END = 0
    RUN = 1  # a work queue: routine, arguments, number of tasks, most threads
    EVALUATE = 2  # the loss and gradient at the present weights; the loss goes to register ``out``
    YIELD = 3  # the Python function numbered ``out``
    RUN_BY_PARTS = 4  # as RUN, or part by part of its arrays, by the routine ``n`` (`work_queue.WorkQueue`)
    RUN_ALONE = 5  # as RUN, in this thread: `advance` does not return
    JUMP_UNLESS = 6  # to row ``out`` if register ``a`` is 0
    # Memory.
    STORE4 = 8  # registers ``a`` to float32 at the address ``out``, ``b`` bytes apart
    STORE8 = 9  # float64
    LOAD4 = 10  # registers ``out`` from float32 at the address ``a``, ``b`` bytes apart
    LOAD8 = 11
    COLLECT = 12  # sums over chunks: address ``a``, ``b`` columns; ``c`` the address of n + 1 first chunks
    FEED = 13  # from the host's matrix: row ``register a - register b``, columns from ``c``
    COPY = 14  # ``n`` bytes to the address ``out`` from the address ``a``
    # Registers to registers.
    GATHER = 16  # registers ``a`` by a list of n indices at the address ``b``
    SUM = 17  # over the middle axis of ``b`` in (n / c, b, c)
    LARGEST = 18
    SMALLEST = 19
    SELECT = 20  # ``b`` where ``a`` is not 0, else ``c``
    # One operand.
    MOVE = 32
    NEGATIVE = 33
    ABSOLUTE = 34
    SQRT = 35
    EXP = 36
    LOG = 37
    ISFINITE = 38
    NOT = 39
    FLOOR = 40
    SIGN = 41
    ISNAN = 42
    # Two operands.
    ADD = 64
    SUBTRACT = 65
    MULTIPLY = 66
    DIVIDE = 67
    POWER = 68
    REMAINDER = 69
    MAXIMUM = 70  # NaN if either is
    MINIMUM = 71
    FMAX = 72  # the other one if one is NaN
    FMIN = 73
    LESS = 74
    LESS_EQUAL = 75
    EQUAL = 76
    NOT_EQUAL = 77
    AND = 78
    OR = 79


#: Places in a row of the table: the operation, registers it works on, result, operands, and their strides:
#: bit 0, 1, 2 is set where operand ``a``, ``b``, ``c`` is a vector and not one register.
OP, N, OUT, A, B, C, STRIDES = range(7)
COLUMNS = 8

#: Places in the header: the next row, what `advance` stopped at, its operands, addresses of the table, of the
#: registers, of the host's matrix with its columns, and the operand ``n``.
PC, KIND, A0, A1, A2, A3, CODE, REGISTERS, FEEDS, FEED_COLUMNS, NUMBER = range(11)
HEADER = 16

_SIGNATURE = types.void(types.int64)
#: For functions that only compiled code calls.
_INNER_JIT = JIT_OPTIONS | INNER_OPTIONS | WITHOUT_MEMORY
_UNARY, _BINARY = int(Op.MOVE), int(Op.ADD)
(
    _END, _RUN, _EVALUATE, _YIELD, _RUN_BY_PARTS, _RUN_ALONE, _JUMP_UNLESS, _STORE4, _STORE8, _LOAD4, _LOAD8,
    _COLLECT, _FEED, _COPY, _GATHER, _SUM, _LARGEST, _SMALLEST, _SELECT, _MOVE, _NEGATIVE, _ABSOLUTE, _SQRT,
    _EXP, _LOG, _ISFINITE, _NOT, _FLOOR, _SIGN, _ISNAN, _ADD, _SUBTRACT, _MULTIPLY, _DIVIDE, _POWER,
    _REMAINDER, _MAXIMUM, _MINIMUM, _FMAX, _FMIN, _LESS, _LESS_EQUAL, _EQUAL, _NOT_EQUAL, _AND, _OR,
) = map(int, Op)  # fmt: skip


@njit(**_INNER_JIT)
def _unary(op, x):
    """Return the result of an operation on one number."""
    if op == _MOVE:
        return x
    if op == _NEGATIVE:
        return -x
    if op == _ABSOLUTE:
        return abs(x)
    if op == _SQRT:
        return math.sqrt(x)
    if op == _EXP:
        return math.exp(x)
    if op == _LOG:
        return np.log(x)
    if op == _ISFINITE:
        return 1.0 if abs(x) < np.inf else 0.0
    if op == _NOT:
        return 1.0 if x == 0.0 else 0.0
    if op == _FLOOR:
        return np.floor(x)
    if op == _SIGN:
        return np.sign(x)
    return 1.0 if x != x else 0.0


@njit(**_INNER_JIT)
def _arithmetic(op, x, y):
    """Return the result of an operation on two numbers that gives a number."""
    if op == _ADD:
        return x + y
    if op == _SUBTRACT:
        return x - y
    if op == _MULTIPLY:
        return x * y
    if op == _DIVIDE:
        return x / y
    if op == _POWER:
        return x**y
    if op == _REMAINDER:
        return np.remainder(x, y)
    if op == _MAXIMUM:
        return x if x >= y or x != x else y
    if op == _MINIMUM:
        return x if x <= y or x != x else y
    if op == _FMAX:
        return x if x >= y or y != y else y
    return x if x <= y or y != y else y


@njit(**_INNER_JIT)
def _test(op, x, y):
    """Return the truth value of a comparison, or of two truth values."""
    if op == _LESS:
        return x < y
    if op == _LESS_EQUAL:
        return x <= y
    if op == _EQUAL:
        return x == y
    if op == _NOT_EQUAL:
        return x != y
    if op == _AND:
        return x != 0.0 and y != 0.0
    return x != 0.0 or y != 0.0


@njit(**_INNER_JIT)
def _compute(op, x, y):
    """Return the result of an operation on one or two numbers."""
    if op >= _LESS:
        return 1.0 if _test(op, x, y) else 0.0
    return _arithmetic(op, x, y) if op >= _BINARY else _unary(op, x)


@njit(**_INNER_JIT)
def _reduce(op, r, row):
    """Carry out SUM, LARGEST or SMALLEST."""
    length, inner, at = row[B], row[C], 0
    for outer in range(row[N] // inner):
        for k in range(inner):
            first = row[A] + outer * length * inner + k
            total = r[first]
            for j in range(1, length):
                x = r[first + j * inner]
                if op == _SUM:
                    total += x
                elif op == _LARGEST:
                    total = total if total >= x or total != total else x
                else:
                    total = total if total <= x or total != total else x
            r[row[OUT] + at] = total
            at += 1


@njit(**_INNER_JIT)
def _move_memory(op, r, row, header):
    """Carry out an instruction that reads or writes memory other than registers."""
    n, out, a, b, c = row[N], row[OUT], row[A], row[B], row[C]
    stride = row[STRIDES] & 1
    if op == _STORE4:
        for i in range(n):
            vector(out + i * b, np.float32, 1)[0] = r[a + i * stride]
    elif op == _STORE8:
        for i in range(n):
            vector(out + i * b, np.float64, 1)[0] = r[a + i * stride]
    elif op == _LOAD4:
        for i in range(n):
            r[out + i] = vector(a + i * b, np.float32, 1)[0]
    elif op == _LOAD8:
        for i in range(n):
            r[out + i] = vector(a + i * b, np.float64, 1)[0]
    elif op == _COLLECT:
        sums = vector(a, np.float64, 1 << 40)
        starts = vector(c, np.int64, n + 1)
        for k in range(b):
            for i in range(n):
                total = sums[starts[i] * b + k]
                for chunk in range(starts[i] + 1, starts[i + 1]):
                    total += sums[chunk * b + k]
                r[out + k * n + i] = total
    elif op == _FEED:
        first = int(r[a] - r[b]) * header[FEED_COLUMNS] + c
        feeds = vector(header[FEEDS], np.float64, 1 << 40)
        for i in range(n):
            r[out + i] = feeds[first + i]
    else:
        target, source = vector(out, np.uint8, n), vector(a, np.uint8, n)
        for i in range(n):  # an assignment of arrays has messages, whose strings take a second to compile
            target[i] = source[i]


@njit(**_INNER_JIT)
def _move_registers(op, r, row):
    """Carry out an instruction on registers other than one element by element with one or two operands."""
    n, out, a, b, c = row[N], row[OUT], row[A], row[B], row[C]
    if op == _GATHER:
        indices = vector(b, np.int64, n)
        for i in range(n):
            r[out + i] = r[a + indices[i]]
    elif op == _SELECT:
        of_a, of_b, of_c = row[STRIDES] & 1, row[STRIDES] >> 1 & 1, row[STRIDES] >> 2 & 1
        for i in range(n):
            r[out + i] = r[b + i * of_b] if r[a + i * of_a] != 0.0 else r[c + i * of_c]
    else:
        _reduce(op, r, row)


@njit(**_INNER_JIT)
def _execute(op, r, row, header):
    """Carry out one instruction that is no control instruction."""
    n, out, a, b = row[N], row[OUT], row[A], row[B]
    of_a, of_b = row[STRIDES] & 1, row[STRIDES] >> 1 & 1
    if op >= _UNARY:
        for i in range(n):
            r[out + i] = _compute(op, r[a + i * of_a], r[b + i * of_b])
    elif op >= _GATHER:
        _move_registers(op, r, row)
    else:
        _move_memory(op, r, row, header)


def advance(address):
    """Run a program until a control instruction; a C function of the header's address."""
    header = vector(address, np.int64, HEADER)
    code = matrix(header[CODE], np.int64, (1 << 40, COLUMNS))
    r = vector(header[REGISTERS], np.float64, 1 << 40)
    pc = header[PC]
    while True:
        row = code[pc]
        op = row[OP]
        pc += 1
        if op >= _UNARY and row[N] == 1:  # most are: a loop of one turn would take three times as long
            r[row[OUT]] = _compute(op, r[row[A]], r[row[B]])
        elif op > _JUMP_UNLESS:
            _execute(op, r, row, header)
        elif op == _RUN_ALONE:
            call_flushing(row[OUT], (row[A], 0, row[B], 0))
        elif op == _JUMP_UNLESS:
            pc = pc if r[row[A]] != 0.0 else row[OUT]
        else:
            header[PC], header[KIND], header[NUMBER] = pc, op, row[N]
            for k in range(4):
                header[A0 + k] = row[OUT + k]
            return


@functools.cache
def _compiled():
    return compile_c(_SIGNATURE, bind(advance, advance, **globals()))


@functools.cache
def advance_address() -> int:
    """Return the address of the C function ``advance(header)``, compiled at the first call."""
    return _compiled().address


def call_advance(function, header):
    """Call ``advance`` from Python."""
    call(function, (header,))


call_advance = bind(call_advance, call_advance, **globals())
call_advance = code_cache.jit(nogil=True, **JIT_OPTIONS)(call_advance)
