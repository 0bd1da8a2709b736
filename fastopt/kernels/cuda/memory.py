"""Memory accesses of CUDA kernels, by address and 128 bits wide where that is possible.

Kernels take addresses rather than arrays: Numba spends microseconds on each array of a launch, a list of
tensors is a table of addresses anyway, and no plain indexing makes NVVM emit a 128-bit access. In the
simulator an address is one of the host's, an access has Python's own bounds, and a wide one that is not
aligned is an error, as it is on a GPU.
"""

import ctypes

import numpy as np
from llvmlite import ir
from numba import from_dtype, types

from fastopt.kernels.cuda import api as cuda

#: Bytes of a wide access; the addresses must be multiples of it.
WIDE = 16

_GLOBAL = 1  # NVVM's address space of global memory; a generic access costs a check
_I64 = ir.IntType(64)


def accesses(dtype, n_slots, lanes, align=None):
    """Return two device functions, one that loads a few consecutive elements and one that stores them.

    Parameters
    ----------
    dtype : dtype
        Of the arrays.
    n_slots : int
        Slots of state; slot ``k`` begins ``k * stride`` elements after the first.
    lanes : int
        Neighbouring elements of one access: 1, or `WIDE` bytes' worth.
    align : int, optional
        Bytes that addresses are a multiple of; those of one access by default. Less splits wide accesses.

    Returns
    -------
    read : callable
        ``read(w, g, s, stride, i)``: a tuple ``(w, g, *slots)`` of element ``i``, or with several lanes a
        tuple of such tuples, of the elements from ``i * lanes``.
    write : callable
        ``write(w, s, stride, i, values)``: ``values`` is ``(w, *slots)``, or a tuple of such tuples.
    """
    dtype = np.dtype(dtype)
    make = _simulated if cuda.SIMULATED else _compiled
    return make(dtype, n_slots, lanes, align or dtype.itemsize * lanes)


def row_reader(dtype, n):
    """Return a device function that loads ``n`` consecutive numbers at an address, as a tuple."""
    dtype = np.dtype(dtype)
    if cuda.SIMULATED:
        return lambda address: tuple(_host(address, dtype, n, dtype.itemsize))
    number = from_dtype(dtype)

    @cuda.intrinsic
    def read_row(typingctx, address):
        def codegen(context, builder, signature, args):
            values = [
                builder.load(_place(builder, args[0], k, dtype, 1), align=dtype.itemsize) for k in range(n)
            ]
            return context.make_tuple(builder, signature.return_type, values)

        return types.UniTuple(number, n)(types.int64), codegen

    return read_row


def _host(address, dtype, n, align):
    """Return simulated device memory as an ndarray of ``n`` elements."""
    address = int(address)
    if address % align:
        raise ValueError(f"misaligned access: address {address} is no multiple of {align}")
    memory = (ctypes.c_char * (n * dtype.itemsize)).from_address(address)
    return np.frombuffer(memory, dtype)


def _simulated(dtype, n_slots, lanes, align):
    size = dtype.itemsize

    def at(start, i):
        return _host(start + i * lanes * size, dtype, lanes, align)

    def slots(s, stride, i):
        return [at(s + k * stride * size, i) for k in range(n_slots)]

    def read(w, g, s, stride, i):
        each = tuple(zip(at(w, i), at(g, i), *slots(s, stride, i), strict=True))
        return each if lanes > 1 else each[0]

    def write(w, s, stride, i, values):
        columns = zip(*(values if lanes > 1 else (values,)), strict=True)
        for target, column in zip([at(w, i), *slots(s, stride, i)], columns, strict=True):
            target[:] = column

    return read, write


def _place(builder, start, i, dtype, lanes):
    """Return a pointer to access number ``i`` from the address ``start``."""
    i = ir.Constant(_I64, i) if isinstance(i, int) else i
    address = builder.add(start, builder.mul(i, ir.Constant(_I64, dtype.itemsize * lanes)))
    if dtype.kind == "f":
        element = ir.FloatType() if dtype.itemsize == 4 else ir.DoubleType()
    else:
        element = ir.IntType(8 * dtype.itemsize)
    kind = element if lanes == 1 else ir.VectorType(element, lanes)
    return builder.inttoptr(address, kind.as_pointer(_GLOBAL))


def _compiled(dtype, n_slots, lanes, align):
    number = from_dtype(dtype)
    lane_index = [ir.Constant(ir.IntType(32), k) for k in range(lanes)]

    def starts(builder, arrays, s, stride):
        bytes_ = builder.mul(stride, ir.Constant(_I64, dtype.itemsize))
        return [*arrays, *(builder.add(s, builder.mul(bytes_, ir.Constant(_I64, k))) for k in range(n_slots))]

    def as_lanes(kind):
        return types.UniTuple(kind, lanes) if lanes > 1 else kind

    result = as_lanes(types.UniTuple(number, 2 + n_slots))
    given = as_lanes(types.UniTuple(number, 1 + n_slots))

    @cuda.intrinsic
    def read(typingctx, w, g, s, stride, i):
        def codegen(context, builder, signature, args):
            w, g, s, stride, i = args
            loaded = [
                builder.load(_place(builder, start, i, dtype, lanes), align=align)
                for start in starts(builder, [w, g], s, stride)
            ]
            if lanes == 1:
                return context.make_tuple(builder, result, loaded)
            each = [
                context.make_tuple(builder, result.dtype, [builder.extract_element(v, k) for v in loaded])
                for k in lane_index
            ]
            return context.make_tuple(builder, result, each)

        return result(*[types.int64] * 5), codegen

    @cuda.intrinsic
    def write(typingctx, w, s, stride, i, values):
        def codegen(context, builder, signature, args):
            w, s, stride, i, values = args
            for array, start in enumerate(starts(builder, [w], s, stride)):
                if lanes == 1:
                    value = builder.extract_value(values, array)
                else:
                    value = ir.Constant(ir.VectorType(context.get_value_type(number), lanes), ir.Undefined)
                    for k, index in enumerate(lane_index):
                        lane = builder.extract_value(values, [k, array])
                        value = builder.insert_element(value, lane, index)
                builder.store(value, _place(builder, start, i, dtype, lanes), align=align)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4, given), codegen

    return read, write
