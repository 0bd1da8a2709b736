"""sin and cos as branch-free arithmetic that LLVM vectorises.

The angle is brought to within pi / 4 of 0 by three fused multiplications (pi / 2 in three parts), then each
function is its Taylor series. Accurate to 2 ulp for angles up to 2**22 (float32) and 2**51 (float64). Larger
numbers, which lie half a radian or more apart, count as 0.
"""

import math

import numpy as np
from numba import njit
from numba.extending import intrinsic

from fastopt.engine.cpu.vector_math import INNER_JIT, like, of_either_precision

#: pi / 2 is their sum: each is what the ones before leave, in that precision.
_QUARTER32 = (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15)
_QUARTER64 = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)


@intrinsic
def _fma(typingctx, x, y, z):
    """Return x * y + z, rounded once."""

    def codegen(context, builder, signature, args):
        return builder.fma(*args)

    return x(x, x, x), codegen


def _make_reduce(real, mantissa, parts):
    """Build for one precision what splits an angle: the rest, and quarter turns from -2 to 2."""
    high, middle, low = map(real, parts)
    per_radian, limit = real(2 / math.pi), real(2.0 ** (mantissa - 1))
    magic = real(1.5 * 2.0**mantissa)  # a sum with it is a whole number

    @njit(**INNER_JIT)
    def reduce(x):
        x = x - x if abs(x) >= limit else x  # infinity becomes NaN
        n = (x * per_radian + magic) - magic
        r = _fma(-n, low, _fma(-n, middle, _fma(-n, high, x)))
        turns = (n * real(0.25) + magic) - magic
        return r, n - turns * real(4)

    return reduce


def _make_series(real, first, n_terms):
    """Build Taylor's series of x**first / first!, with every other power up, alternating."""
    lead, *rest = (
        real((-1) ** k / math.factorial(2 * k + first)) for k in reversed(range(1, n_terms))
    )  # fmt: skip
    rest = tuple(rest)

    @njit(**INNER_JIT)
    def series(square):
        total = lead
        for c in rest:  # a tuple of constants: unrolled
            total = total * square + c
        return total * square

    return series


def _make(real, mantissa, parts, n_terms):
    """Build sin and cos for one precision."""
    reduce = _make_reduce(real, mantissa, parts)
    sine_series, cosine_series = _make_series(real, 1, n_terms), _make_series(real, 0, n_terms + 1)

    @njit(**INNER_JIT)
    def both(x):
        r, quarter = reduce(x)
        square = r * r
        return r + r * sine_series(square), like(x, 1.0) + cosine_series(square), quarter

    @njit(**INNER_JIT)
    def sin(x):
        s, c, quarter = both(x)
        size = c if abs(quarter) == like(x, 1.0) else s
        return -size if quarter < like(x, 0.0) or quarter == like(x, 2.0) else size

    @njit(**INNER_JIT)
    def cos(x):
        s, c, quarter = both(x)
        size = s if abs(quarter) == like(x, 1.0) else c
        return -size if quarter == like(x, 1.0) or abs(quarter) == like(x, 2.0) else size

    return sin, cos


(_sin32, _cos32), (_sin64, _cos64) = (
    _make(np.float32, 23, _QUARTER32, 5), _make(np.float64, 52, _QUARTER64, 9)
)  # fmt: skip
#: The sine of an angle in radians.
sin = of_either_precision("sin", _sin32, _sin64)
#: The cosine of an angle in radians.
cos = of_either_precision("cos", _cos32, _cos64)
