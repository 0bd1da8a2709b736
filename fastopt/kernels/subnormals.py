"""Subnormal numbers: compiled loops take and give zeros in their place, as arithmetic on them is slow.

Behind an input that is always zero, moments and weights decay towards zero and below the smallest normal
number (1.2e-38 in float32, 2.2e-308 in float64), where rounding keeps them for ever. Each operation on such a
number costs some processors a hundred cycles. So `call_flushing` switches on the processor's own mode, in the
thread that calls and for the length of the call: flush-to-zero and denormals-are-zero on x86-64 (MXCSR), FZ
on aarch64 (FPCR). Nothing else in the process sees it.
"""

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastopt.kernels.intrinsics import emit_call

_I32, _I64 = ir.IntType(32), ir.IntType(64)

#: Bits of the control register: FTZ (15) and DAZ (6) of MXCSR, FZ (24) of FPCR.
_MXCSR_BITS = 1 << 15 | 1 << 6
_FPCR_BITS = 1 << 24

#: Where the processor has no such mode, and on a GPU, slots closer to zero than this are stored as 0. A step
#: from one of these values multiplied by 1 - beta = 1e-4 is still normal; both lie far below any eps**2
#: that could be seen beside them.
TINY = {"float32": 1e-33, "float64": 1e-300}


class _Mxcsr:
    """Instructions that read and write the control register of x86-64's vector units."""

    bits = ir.Constant(_I32, _MXCSR_BITS)

    @staticmethod
    def _access(builder, name, slot):
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.sse.{name}")
        builder.call(function, [builder.bitcast(slot, kind.args[0])])

    def read(self, builder: ir.IRBuilder) -> ir.Value:
        slot = cgutils.alloca_once(builder, _I32)
        self._access(builder, "stmxcsr", slot)
        return builder.load(slot)

    def write(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        slot = cgutils.alloca_once(builder, _I32)
        builder.store(value, slot)
        self._access(builder, "ldmxcsr", slot)


class _Fpcr:
    """Instructions that read and write aarch64's floating-point control register.

    LLVM's intrinsics: assembly would end the process, as Numba loads no parser of it.
    """

    bits = ir.Constant(_I64, _FPCR_BITS)

    def read(self, builder: ir.IRBuilder) -> ir.Value:
        kind = ir.FunctionType(_I64, [])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.aarch64.get.fpcr"), [])

    def write(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        kind = ir.FunctionType(ir.VoidType(), [_I64])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.aarch64.set.fpcr")
        builder.call(function, [value])


def control_register(triple: str) -> "_Mxcsr | _Fpcr | None":
    """Return the control register of an LLVM target, or None where no mode is known."""
    processor = triple.partition("-")[0]
    return {"x86_64": _Mxcsr(), "aarch64": _Fpcr(), "arm64": _Fpcr()}.get(processor)


#: Whether this processor has the mode.
HAS_MODE: bool = control_register(llvmlite.binding.get_process_triple()) is not None


@intrinsic
def call_flushing(typingctx, address, arguments):
    """Call the C function ``void f(int64, ...)`` with subnormal operands and results taken as zero.

    The mode holds for this thread while the function runs; the caller's own is restored when it returns, as
    compiled functions always do. Where the processor has no such mode this is `intrinsics.call`.
    """
    if not isinstance(arguments, types.BaseTuple):
        return None

    def codegen(context, builder, signature, args):
        register = control_register(builder.module.triple)
        if register is not None:
            before = register.read(builder)
            register.write(builder, builder.or_(before, register.bits))
        emit_call(context, builder, signature, args)
        if register is not None:
            register.write(builder, before)
        return context.get_dummy_value()

    return types.void(address, arguments), codegen


def zero_if_tiny(x, tiny):
    """Return 0 for a slot below ``tiny``, which would otherwise decay to (slow) subnormal numbers."""
    return 0.0 if abs(x) < tiny else x


def _unchanged(x, tiny):
    """Return a slot as it is: the processor's mode has made it 0 where it was subnormal."""
    return x


#: What compiled loops on the CPU do with a slot before they store it: a function of the slot and `TINY`.
flush = _unchanged if HAS_MODE else zero_if_tiny
