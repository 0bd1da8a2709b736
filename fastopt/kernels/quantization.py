"""Encoding float32 numbers in 16 and 8 bits and decoding them, in 32-bit integers that vectorise.

Numba widens integers to 64 bits, and vectors of those cost several times as much; hence the casts, and LLVM
by hand where casts do not help. Rounding is stochastic: up or down with the probabilities that make it right
on the average, without which an average that moves by less than half a step at a time would stand still.

bfloat16 is the upper half of a float32. The 8-bit codes are those of a float with 3 bits of mantissa whose
range begins, for each block of elements, so far below its largest that all codes are used:
``code = (bits(abs(x) + low) >> 20) - first``, with ``low`` the number whose bits are ``first << 20``. Added
before and subtracted after, ``low`` makes the code linear near 0 and 0 itself exact. A sign leaves 16 binades
of the magnitude, no sign 32. The scale of a block is the exponent of its largest element, in one byte.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastopt.kernels import code_cache
from fastopt.kernels.binding import JIT_OPTIONS, bind
from fastopt.rules.bits import float_as_int, int_as_float

_I32 = ir.IntType(32)

#: Bits of a float32 that an 8-bit code drops.
DROPPED = 20
#: The least exponent of a scale: with less, steps of the code would be subnormal.
_LEAST = 36

int32, uint32 = np.int32, np.uint32


def _compiled(function):
    """Compile a function. Kernels contain it anyway; the cache spares who calls it from Python seconds."""
    return code_cache.jit(**JIT_OPTIONS)(bind(function, function, **function.__globals__))


_bits, _float = _compiled(float_as_int), _compiled(int_as_float)

#: Added to a counter for each element: Knuth's multiplicative hash, without the multiplication.
_STEP = 0x9E3779B1


@intrinsic
def count(typingctx, counter):
    """Return the random generator's counter (a uint32) for the next element."""

    def codegen(context, builder, signature, args):
        return builder.add(args[0], ir.Constant(_I32, _STEP))

    return types.uint32(types.uint32), codegen


@intrinsic
def mix(typingctx, x):
    """`fastopt.rules.randomness.mix` in a form that Numba does not widen to 64 bits."""

    def codegen(context, builder, signature, args):
        def constant(value):
            return ir.Constant(_I32, value)

        x = args[0]
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            x = builder.mul(builder.xor(x, builder.lshr(x, constant(shift))), constant(factor))
        return builder.xor(x, builder.lshr(x, constant(16)))

    return types.uint32(types.uint32), codegen


@_compiled
def counter_at(i, key):
    """Return the random generator's counter (a uint32) for element ``i`` under a key."""
    return uint32(uint32(uint32(i) * uint32(_STEP)) + key)


@_compiled
def low_random(word, n_bits):
    """Return the lower ``n_bits`` of 32 random bits."""
    return uint32(word & uint32((1 << n_bits) - 1))


@_compiled
def high_random(word, n_bits):
    """Return the upper ``n_bits`` of 32 random bits; for 20 bits, they overlap the lower ones a little."""
    return uint32(word >> uint32(32 - n_bits))


@_compiled
def decode_bfloat16(code):
    """Decode a bfloat16 code to a float32."""
    return _float(int32(int32(code) << int32(16)))


@_compiled
def encode_bfloat16(x, random):
    """Encode a float32 as bfloat16 with stochastic rounding, given 16 random bits."""
    bits = int32(_bits(x) + int32(random)) if x == x else int32(0x7FC00000)  # NaN must not overflow
    return np.uint16(uint32(bits) >> uint32(16))


@_compiled
def magnitude(x):
    """Return the bits of abs(x), whose order is that of the numbers, with NaN above all."""
    return int32(_bits(x) & int32(0x7FFFFFFF))


@_compiled
def scale_of(largest):
    """Return the scale of a block from the `magnitude` of its largest element, which may be rounded up."""
    rounded = uint32(uint32(largest) + uint32((1 << DROPPED) - 1))
    return min(max(int32(rounded >> uint32(23)), int32(_LEAST)), int32(255))


@_compiled
def low_signed(scale):
    """Return the bits of the number that code 0 stands for, in a signed block."""
    return int32(int32(int32(int32(scale) << int32(3)) - int32(15 * 8)) << int32(DROPPED))


@_compiled
def low_unsigned(scale):
    """Return the bits of the number that code 0 stands for, in an unsigned block."""
    return int32(int32(int32(int32(scale) << int32(3)) - int32(31 * 8)) << int32(DROPPED))


@_compiled
def decode_signed(code, low):
    """Decode an 8-bit signed code to a float32."""
    bits = int32(int32(int32(code) << int32(DROPPED)) & int32(-(1 << 31) | 127 << DROPPED))
    bits = int32(bits + low)  # the sign, in the uppermost bit, stays
    return _float(bits) - _float(int32(int32(bits & int32(-(1 << 31))) | low))


@_compiled
def decode_unsigned(code, low):
    """Decode an 8-bit unsigned code to a float32."""
    return _float(int32(int32(int32(code) << int32(DROPPED)) + low)) - _float(low)


@_compiled
def _encode(x, low, largest, random):
    bits = uint32(uint32(_bits(x + _float(low))) + random)
    # Only what was infinite or NaN, or rounded up to the next binade because of ``low``, exceeds the largest.
    return min(int32(int32(bits >> uint32(DROPPED)) - int32(low >> int32(DROPPED))), int32(largest))


@_compiled
def encode_signed(x, low, random):
    """Encode a float32 in a signed block with stochastic rounding, given 20 random bits."""
    code = _encode(_float(magnitude(x)), low, 127, random)
    return np.int8(code | int32(int32(_bits(x) >> int32(24)) & int32(-128)))


@_compiled
def encode_unsigned(x, low, random):
    """Encode a float32 >= 0 in an unsigned block, given 20 random bits; only 0 itself has code 0."""
    return np.uint8(max(_encode(x, low, 255, random), min(_bits(x), int32(1))))
