"""Calling compiled code by its address, and an atomic counter.

Whatever runs an update kernel or a BLAS routine receives an integer address and calls through it, so it
compiles once for every optimizer, stays disk-cacheable (a dispatcher or a ctypes pointer as a global
would prevent that), and never pays Numba's 140 us for a function passed across the Python boundary.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_I64 = ir.IntType(64)


def _call(builder, address, values):
    """Call the C function ``void f(values...)`` that lives at the integer ``address``."""
    function_type = ir.FunctionType(ir.VoidType(), [v.type for v in values])
    builder.call(builder.inttoptr(address, function_type.as_pointer()), values)


@intrinsic
def call_update(typingctx, address, w, g, s, stride, c, lo, hi):
    """Call an update kernel; every argument is an integer, the first five arrays' addresses.

    The kernel sees ``(T *w, const T *g, T *s, int64 stride, const T *c, int64 lo, int64 hi)``. A pointer
    and a 64-bit integer travel alike in every 64-bit C convention, so the caller need not know ``T``.
    """

    def codegen(context, builder, signature, args):
        values = [context.cast(builder, a, t, types.int64) for a, t in zip(args, signature.args, strict=True)]
        _call(builder, values[0], values[1:])
        return context.get_dummy_value()

    return types.void(address, w, g, s, stride, c, lo, hi), codegen


@intrinsic
def pointer(typingctx, address, like):
    """Return ``address`` as a pointer to ``like`` (a scalar or record type, or what has one's dtype)."""
    element = like.instance_type if hasattr(like, "instance_type") else like.dtype

    def codegen(context, builder, signature, args):
        as_int = context.cast(builder, args[0], signature.args[0], types.int64)
        return builder.inttoptr(as_int, context.get_value_type(signature.return_type))

    return types.CPointer(element)(address, like), codegen


@intrinsic
def call_task(typingctx, address, context, worker):
    """Call a task, ``void task(int64 context, int64 worker)``, that lives at ``address``."""

    def codegen(context_, builder, signature, args):
        _call(builder, args[0], args[1:])
        return context_.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def fetch_add(typingctx, address):
    """Add one to the int64 at ``address`` atomically and return what stood there."""

    def codegen(context, builder, signature, args):
        at = builder.inttoptr(args[0], _I64.as_pointer())
        return builder.atomic_rmw("add", at, ir.Constant(_I64, 1), "monotonic")

    return types.int64(types.int64), codegen
