"""`fastopt.rules.randomness.mix` in 32-bit instructions: Numba would widen it, and LLVM does not."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic
def mix(typingctx, x):
    """Return 32 well mixed bits for 32 bits (an uint32)."""

    def codegen(context, builder, signature, args):
        def constant(value):
            return ir.Constant(ir.IntType(32), value)

        x = args[0]
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            x = builder.mul(builder.xor(x, builder.lshr(x, constant(shift))), constant(factor))
        return builder.xor(x, builder.lshr(x, constant(16)))

    return types.uint32(types.uint32), codegen
