"""LLVM vectors at computed addresses: what generators of SIMD code share."""

import functools

from llvmlite import ir
from numba.core import cgutils
from numba.core.registry import cpu_target

I64, I32 = ir.IntType(64), ir.IntType(32)


def integer(value):
    """Return a constant of 64 bits."""
    return ir.Constant(I64, value)


@functools.cache
def vector_bytes():
    """Return the width in bytes of vectors: 64 with AVX-512, else 32.

    Asked of Numba, whose disk cache holds code for one set of features only.
    """
    return 64 if "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2] else 32


class Registers:
    """Base of the code generators: vectors of one element type at computed addresses."""

    def __init__(self, builder, element, arg):
        self.builder, self.element, self.arg = builder, element, arg
        self.itemsize = 4 if isinstance(element, ir.FloatType) else 8
        self.lanes = vector_bytes() // self.itemsize

    def _bytes(self, elements):
        return self.builder.mul(elements, integer(self.itemsize))

    def _moved(self, base, elements):
        """Return the address ``elements`` elements after ``base``."""
        return self.builder.add(base, self._bytes(elements))

    def _pointer(self, base, offset, kind):
        """Return a pointer to the element ``offset`` of the array at ``base``."""
        elements = self.builder.inttoptr(base, self.element.as_pointer())
        return self.builder.bitcast(self.builder.gep(elements, [offset]), kind.as_pointer())

    def _vector(self, lanes=None):
        return ir.VectorType(self.element, lanes or self.lanes)

    def _mask(self, rest, lanes):
        """Return the mask of the lanes below ``rest``, a vector of booleans."""
        lane = ir.Constant(ir.VectorType(I32, lanes), list(range(lanes)))
        return self.builder.icmp_signed("<", lane, self._broadcast(self.builder.trunc(rest, I32), lanes))

    def _minimum(self, x, y):
        return self.builder.select(self.builder.icmp_signed("<", x, y), x, y)

    def _broadcast(self, scalar, lanes):
        builder = self.builder
        one = builder.insert_element(
            ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined), scalar, ir.Constant(I32, 0)
        )
        return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(I32, lanes), [0] * lanes))

    def _load(self, at, lanes, mask=None):
        builder = self.builder
        if mask is None:
            return builder.load(at, align=self.itemsize)
        kind = ir.FunctionType(self._vector(lanes), [at.type, I32, mask.type, self._vector(lanes)])
        rest = ir.Constant(self._vector(lanes), [0.0] * lanes)
        masked = self._masked("load", lanes, kind)
        return builder.call(masked, [at, ir.Constant(I32, self.itemsize), mask, rest])

    def _store(self, value, at, lanes, mask=None):
        builder = self.builder
        if mask is None:
            builder.store(value, at, align=self.itemsize)
            return
        kind = ir.FunctionType(ir.VoidType(), [self._vector(lanes), at.type, I32, mask.type])
        masked = self._masked("store", lanes, kind)
        builder.call(masked, [value, at, ir.Constant(I32, self.itemsize), mask])

    def _masked(self, verb, lanes, kind):
        short = {4: "f32", 8: "f64"}[self.itemsize]
        return cgutils.get_or_insert_function(
            self.builder.module, kind, f"llvm.masked.{verb}.v{lanes}{short}.p0"
        )
