"""Numba intrinsics: calls by address, atomics, prefetching and pauses.

Whatever runs an update kernel or a BLAS routine receives an integer address and calls through it, so it
compiles once for every optimizer, stays disk-cacheable (a dispatcher or a ctypes pointer as a global
would prevent that), and never pays Numba's 140 us for a function passed across the Python boundary.
"""

import numpy as np
from llvmlite import ir
from numba import from_dtype, types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model
from numba.np.arrayobj import np_cfarray

_I64 = ir.IntType(64)


def emit_call(context, builder, signature, args):
    """Emit the code of `call`."""
    kinds = signature.args[1]
    values = cgutils.unpack_tuple(builder, args[1], len(kinds))
    values = [context.cast(builder, v, t, types.int64) for v, t in zip(values, kinds, strict=True)]
    function_type = ir.FunctionType(ir.VoidType(), [v.type for v in values])
    address = context.cast(builder, args[0], signature.args[0], types.int64)
    builder.call(builder.inttoptr(address, function_type.as_pointer()), values)


@intrinsic
def call(typingctx, address, arguments):
    """Call the C function ``void f(int64, ...)`` at ``address`` with a tuple of integers.

    A pointer and a 64-bit integer travel alike in every 64-bit C convention, so an argument may be either,
    and the caller need not know the type that is pointed to.
    """
    if not isinstance(arguments, types.BaseTuple):
        return None

    def codegen(context, builder, signature, args):
        emit_call(context, builder, signature, args)
        return context.get_dummy_value()

    return types.void(address, arguments), codegen


@intrinsic
def draw_uint32(typingctx, address, state):
    """Call the C function ``uint32 f(void *)`` at ``address``: a bit generator's, with its ``state``."""

    def codegen(context, builder, signature, args):
        at, argument = (
            context.cast(builder, value, kind, types.int64)
            for value, kind in zip(args, signature.args, strict=True)
        )
        kind = ir.FunctionType(ir.IntType(32), [_I64])
        return builder.call(builder.inttoptr(at, kind.as_pointer()), [argument])

    return types.uint32(address, state), codegen


def _element(like):
    """Return the Numba type that ``like`` stands for: itself, or the type of an array's elements."""
    return like.instance_type if hasattr(like, "instance_type") else like.dtype


def _as_pointer(context, builder, address, kind, pointer_type):
    """Emit the conversion of an integer of Numba's type ``kind`` to a pointer."""
    as_int = context.cast(builder, address, kind, types.int64)
    return builder.inttoptr(as_int, context.get_value_type(pointer_type))


@intrinsic
def pointer(typingctx, address, like):
    """Return ``address`` as a pointer to a type: a Numba type, or that of an array's elements."""

    def codegen(context, builder, signature, args):
        return _as_pointer(context, builder, args[0], signature.args[0], signature.return_type)

    return types.CPointer(_element(like))(address, like), codegen


# As functions around `numba.carray` the next ones would be compiled again for each type and literal size.
@intrinsic
def vector(typingctx, address, kind, n):
    """Return the ``n`` elements of the scalar type ``kind`` that begin at ``address``."""
    return _array_at(address, kind, n, 1)


@intrinsic
def matrix(typingctx, address, kind, shape):
    """Return the C-contiguous matrix of shape (n, m) and scalar type ``kind`` that begins at ``address``."""
    return _array_at(address, kind, shape, 2)


def _array_at(address, kind, shape, ndim):
    start = types.CPointer(_element(kind))

    def codegen(context, builder, signature, args):
        data = _as_pointer(context, builder, args[0], signature.args[0], start)
        inner = signature.return_type(start, signature.args[2])
        return np_cfarray(context, builder, inner, (data, args[2]))

    return types.Array(start.dtype, ndim, "C")(address, kind, shape), codegen


@intrinsic(prefer_literal=True)
def scratch(typingctx, kind, n):
    """Return ``n`` elements of the scalar type ``kind`` on the stack, not initialised; ``n`` is a constant.

    The compiler knows that no other array overlaps them.
    """
    start = types.CPointer(_element(kind))

    def codegen(context, builder, signature, args):
        data = cgutils.alloca_once(builder, context.get_value_type(start.dtype), size=n.literal_value)
        inner = signature.return_type(start, types.intp)
        return np_cfarray(context, builder, inner, (data, ir.Constant(_I64, n.literal_value)))

    return types.Array(start.dtype, 1, "C")(kind, n), codegen


@intrinsic
def elements(typingctx, start, lo, hi):
    """Return the elements ``lo`` to ``hi``, not negative, of the array that begins at a pointer."""

    def codegen(context, builder, signature, args):
        lo, hi = (
            context.cast(builder, value, kind, types.int64)
            for value, kind in zip(args[1:], signature.args[1:], strict=True)
        )
        inner = signature.return_type(signature.args[0], types.int64)
        return np_cfarray(context, builder, inner, (builder.gep(args[0], [lo]), builder.sub(hi, lo)))

    return types.Array(start.dtype, 1, "C")(start, lo, hi), codegen


@intrinsic(prefer_literal=True)
def tuple_at(typingctx, start, first, n):
    """Return the ``n`` elements from ``first`` on of the array that begins at a pointer, as a tuple."""
    if not isinstance(n, types.IntegerLiteral):
        return None
    kind = types.UniTuple(start.dtype, n.literal_value)

    def codegen(context, builder, signature, args):
        at = builder.gep(args[0], [context.cast(builder, args[1], signature.args[1], types.int64)])
        values = [
            context.unpack_value(builder, start.dtype, builder.gep(at, [ir.Constant(_I64, k)]))
            for k in range(kind.count)
        ]
        return context.make_tuple(builder, kind, values)

    return kind(start, first, n), codegen


class Record(types.Record):
    """The type of records of a NumPy dtype, printed by name.

    Numba prints the types of the arguments in each of its passes, and a record of many fields at length.
    """

    def __init__(self, name: str, dtype: np.dtype):
        plain = from_dtype(dtype)
        fields = [(field, about._asdict()) for field, about in plain.fields.items()]
        super().__init__(fields, plain.size, plain.aligned)
        self._printed = name

    def __repr__(self):
        return self._printed


register_model(Record)(models.RecordModel)


@intrinsic
def record_at(typingctx, address, kind):
    """Return the record of the Numba type ``kind`` at ``address``, not a copy of it."""

    def codegen(context, builder, signature, args):
        return _as_pointer(context, builder, args[0], signature.args[0], signature.return_type)

    return kind.instance_type(address, kind), codegen


@intrinsic
def fetch_add(typingctx, address):
    """Atomically add one to the int64 at ``address``; return its value before."""

    def codegen(context, builder, signature, args):
        at = builder.inttoptr(args[0], _I64.as_pointer())
        return builder.atomic_rmw("add", at, ir.Constant(_I64, 1), "acq_rel")

    return types.int64(types.int64), codegen


@intrinsic
def load_shared(typingctx, address):
    """Load the int64 at ``address`` with acquire ordering: what its writer wrote before is visible then."""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(builder.inttoptr(args[0], _I64.as_pointer()), "acquire", 8)

    return types.int64(types.int64), codegen


@intrinsic
def store_shared(typingctx, address, value):
    """Store the int64 at ``address`` with release ordering: after everything written before."""

    def codegen(context, builder, signature, args):
        builder.store_atomic(args[1], builder.inttoptr(args[0], _I64.as_pointer()), "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


def emit_prefetch(builder, address, to_write=0):
    """Emit the prefetch of the cache line at an integer address."""
    at = builder.inttoptr(address, ir.IntType(8).as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [at.type, *[ir.IntType(32)] * 3])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    flags = [ir.Constant(ir.IntType(32), value) for value in (to_write, 3, 1)]  # to keep, data
    builder.call(function, [at, *flags])


def _define_prefetch(to_write):
    @intrinsic
    def prefetch(typingctx, address):
        def codegen(context, builder, signature, args):
            emit_prefetch(builder, args[0], to_write)
            return context.get_dummy_value()

        return types.void(types.int64), codegen

    return prefetch


#: Prefetch the cache line at an address, which need not be valid memory.
prefetch = _define_prefetch(0)

#: The same for a line that will be written: what other cores hold of it becomes invalid beforehand.
prefetch_to_write = _define_prefetch(1)


@intrinsic
def pause(typingctx):
    """Execute the processor's pause instruction, for spin loops, where it has one."""

    def codegen(context, builder, signature, args):
        if builder.module.triple.startswith(("x86_64", "i686")):
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), codegen
