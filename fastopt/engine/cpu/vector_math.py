"""exp, log, expm1, log1p and tanh as branch-free arithmetic that LLVM vectorises.

Numba calls the C library for these, one element at a time. Here each is a polynomial after the range
reduction of Cody and Waite (minimax coefficients for float32, Taylor's for float64 on |r| <= ln(2)/2),
accurate to 2 ulp; ``tests/engine/test_vector_math.py`` holds them to that. Every function takes and returns
one scalar, keeps its precision, and lets NaN through. `fastopt.engine.cpu.compiled_math` says which of them
compiled activations and losses get where they call `math`.
"""

import math
from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

from fastopt.kernels.compilers import INNER_OPTIONS, WITH_MEMORY, WITHOUT_MEMORY

#: ``contract`` lets a multiply and an add become one fused instruction. It changes no meaning of NaN or
#: infinity; the engine cuts its work the same way for any number of threads, so bits do not vary.
ENGINE_JIT = {"error_model": "numpy", "fastmath": {"contract"}}
#: For functions that only compiled code calls.
INNER_JIT = {**ENGINE_JIT, **INNER_OPTIONS, **WITHOUT_MEMORY}
#: For those that loops call: with a call in it none vectorises, and LLVM inlines no large one by itself.
INLINED_JIT = {**INNER_JIT, **WITH_MEMORY, "forceinline": True}


@intrinsic
def like(typingctx, x, value):
    """Return ``value`` in the floating type of ``x``; a bare literal would turn float32 into float64."""

    def codegen(context, builder, signature, args):
        return context.cast(builder, args[1], signature.args[1], signature.return_type)

    return x(x, value), codegen


def of_either_precision(name: str, single: Callable, double: Callable) -> Callable:
    """Return a function of one scalar that calls ``single`` or ``double``, in compiled code only."""

    def function(x):
        raise NotImplementedError(f"{name} of fastopt.engine.cpu works in compiled code only")

    def implementation(x):
        return (lambda x: single(x)) if x == types.float32 else (lambda x: double(x))

    function.__name__ = function.__qualname__ = name
    overload(function, jit_options=INLINED_JIT, inline="never")(implementation)
    return function


@intrinsic
def _power_of_two(typingctx, biased):
    """Return 2**n, where the lowest bits of the float ``biased`` hold n plus the exponent bias."""
    width, mantissa = (64, 52) if biased == types.float64 else (32, 23)

    def codegen(context, builder, signature, args):
        integer = ir.IntType(width)
        bits = builder.shl(builder.bitcast(args[0], integer), ir.Constant(integer, mantissa))
        return builder.bitcast(bits, args[0].type)

    return biased(biased), codegen


def _make_exp(real, mantissa, bias, ln2_high, ln2_low, coefficients, low, high):
    """Build exp and expm1 for one precision, with the argument clamped to ``[low, high]``."""
    low, high, log2e, one, infinity = real(low), real(high), real(math.log2(math.e)), real(1), real(math.inf)
    ln2_high, ln2_low = real(ln2_high), real(ln2_low)
    # Adding 1.5 * 2**mantissa leaves the rounded sum in the lowest bits; the bias makes it an exponent.
    magic = real(1.5 * 2.0**mantissa + bias)
    lead, *rest = (real(c) for c in coefficients)
    rest = tuple(rest)

    @njit(**INNER_JIT)
    def factors(x):
        """Return ``e**r - 1`` and ``2**n`` of ``x = n * log(2) + r``."""
        x = max(min(x, high), low)
        biased = x * log2e + magic
        n = biased - magic
        r = (x - n * ln2_high) - n * ln2_low
        series = lead
        for c in rest:  # a tuple of constants: unrolled
            series = series * r + c
        return series * r * r + r, _power_of_two(biased)

    @njit(**INNER_JIT)
    def exp(x):
        part, scale = factors(x)
        return (part + one) * scale

    @njit(**INNER_JIT)
    def expm1(x):
        part, scale = factors(x)
        return infinity if x > high else part * scale + (scale - one)

    return exp, expm1


_EXP32 = (
    np.float32, 23, 127, 0.693359375, -2.12194440e-4,
    (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1),
)  # fmt: skip
_EXP64 = (
    np.float64, 52, 1023, 6.93145751953125e-1, 1.42860682030941723212e-6,
    tuple(1 / math.factorial(k) for k in range(13, 1, -1)),
)  # fmt: skip
#: Within these bounds neither e**x nor the logistic function's 1 / (1 + e**x) is subnormal, of float32.
BOUNDS_OF_EXP = -87.3, 87.3
(_bounded32, _expm1_32), (_bounded64, _expm1_64) = (
    _make_exp(*_EXP32, *BOUNDS_OF_EXP), _make_exp(*_EXP64, -708.0, 708.0)
)  # fmt: skip
# At these the exponent's bits are all zero, or all one: the power of two is 0, or infinite.
(_exp32, _), (_exp64, _) = _make_exp(*_EXP32, -88.0, 89.0), _make_exp(*_EXP64, -709.0, 710.0)
#: e**x: 0 where that is subnormal, infinity from 0.7 of the largest number.
exp = of_either_precision("exp", _exp32, _exp64)
#: e**x, clamped to the normal range of its type.
bounded_exp = of_either_precision("bounded_exp", _bounded32, _bounded64)
#: e**x - 1, also of small x; infinity from 0.4 of the largest number.
expm1 = of_either_precision("expm1", _expm1_32, _expm1_64)


def _half_of_bits(part):
    """Define the intrinsic for e or m of ``x = 2**e * m`` with m in [sqrt(1/2), sqrt(2))."""

    @intrinsic
    def half(typingctx, x):
        width, mantissa, bias = (64, 52, 1023) if x == types.float64 else (32, 23, 127)
        root_half = int(np.array(0.5**0.5, f"f{width // 8}").view(f"u{width // 8}"))
        shift = (bias << mantissa) - root_half

        def codegen(context, builder, signature, args):
            integer = ir.IntType(width)
            bits = builder.add(builder.bitcast(args[0], integer), ir.Constant(integer, shift))
            if part == "exponent":
                e = builder.sub(
                    builder.ashr(bits, ir.Constant(integer, mantissa)), ir.Constant(integer, bias)
                )
                return builder.sitofp(e, args[0].type)
            m = builder.and_(bits, ir.Constant(integer, (1 << mantissa) - 1))
            return builder.bitcast(builder.add(m, ir.Constant(integer, root_half)), args[0].type)

        return x(x), codegen

    return half


_exponent, _mantissa = _half_of_bits("exponent"), _half_of_bits("mantissa")


def _make_log(real, ln2_high, ln2_low, coefficients):
    """Build the logarithm for one precision: fdlibm's series in s = f / (2 + f) for log(1 + f)."""
    ln2_high, ln2_low, half, one, two = real(ln2_high), real(ln2_low), real(0.5), real(1), real(2)
    zero, infinity, nan, smallest = real(0), real(np.inf), real(np.nan), np.finfo(real).tiny
    # The exponent of a subnormal number is that of the number scaled up, less this.
    shift = real(np.finfo(real).nmant + 1)
    scale = real(2) ** shift
    lead, *rest = (real(c) for c in coefficients)
    rest = tuple(rest)

    @njit(**INNER_JIT)
    def log(x):
        is_small = x < smallest
        scaled = x * scale if is_small else x
        e = _exponent(scaled) - (shift if is_small else zero)
        f = _mantissa(scaled) - one
        s = f / (two + f)
        z = s * s
        series = lead
        for c in rest:
            series = series * z + c
        square = half * f * f
        result = e * ln2_high - ((square - (s * (square + z * series) + e * ln2_low)) - f)
        result = result if x < infinity else x
        return result if x > zero else (-infinity if x == zero else nan)

    return log


_log32 = _make_log(
    np.float32, 6.9313812256e-1, 9.0580006145e-6, (0.24279078841, 0.28498786688, 0.40000972152, 0.66666662693)
)
_log64 = _make_log(
    np.float64, 6.93147180369123816490e-1, 1.90821492927058770002e-10,
    (1.479819860511658591e-1, 1.531383769920937332e-1, 1.818357216161805012e-1, 2.222219843214978396e-1,
     2.857142874366239149e-1, 3.999999999940941908e-1, 6.666666666666735130e-1),
)  # fmt: skip


#: The natural logarithm, as `math.log` is in compiled code.
log = of_either_precision("log", _log32, _log64)


@njit(**INNER_JIT)
def log1p(x):
    """Return log(1 + x), also of small x: the logarithm of the rounded sum, and what the rounding lost."""
    one = like(x, 1.0)
    total = one + x
    lost = x - (total - one)
    return log(total) + (lost / total if total < like(x, np.inf) else like(x, 0.0))


@njit(**INNER_JIT)
def tanh(x):
    """Return the hyperbolic tangent: a rational function near zero, where 1 - 2/(e**2x + 1) cancels.

    The rational approximation is Cephes' for |x| < 0.625. Both sides are computed and one is kept, so
    that the loop around it vectorises.
    """
    one, two = like(x, 1.0), like(x, 2.0)
    size = abs(x)
    far = one - two / (bounded_exp(size + size) + one)
    z = x * x
    top = (like(x, -9.64399179425052238628e-1) * z + like(x, -9.92877231001918586564e1)) * z + like(
        x, -1.61468768441708447952e3
    )
    bottom = ((z + like(x, 1.12811678491632931402e2)) * z + like(x, 2.23548839060100448583e3)) * z + like(
        x, 4.84406305325125486048e3
    )
    near = x + x * z * top / bottom
    far = far if x > like(x, 0.0) else -far
    return near if size < like(x, 0.625) else far
