"""BLAS matrix products, called by address from compiled code.

A ctypes pointer as a global would make whatever calls it uncacheable; an address as an argument does not.
"""

import functools

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic

_I8 = ir.IntType(8)


@functools.cache
def gemm_address(itemsize):
    """Return the address of BLAS ``sgemm`` (itemsize 4) or ``dgemm`` (8) in SciPy's own library."""
    return get_cython_function_address("scipy.linalg.cython_blas", {4: "sgemm", 8: "dgemm"}[itemsize])


@intrinsic
def gemm(typingctx, address, transpose_a, transpose_b, m, n, k, a, lda, b, ldb, alpha, beta, c, ldc):
    """Compute ``C = alpha * op(A) @ op(B) + beta * C`` for row-major matrices given by integer addresses.

    ``op(A)`` is (m, k), ``op(B)`` is (k, n), ``C`` is (m, n); a leading dimension counts the elements from
    one row to the next. ``alpha`` and ``beta`` are addresses, too.
    """

    def codegen(context, builder, signature, args):
        given = dict(zip("address ta tb m n k a lda b ldb alpha beta c ldc".split(), args, strict=True))

        def by_reference(value):
            slot = cgutils.alloca_once(builder, value.type)
            builder.store(value, slot)
            return slot

        def integer(name):
            return by_reference(builder.trunc(given[name], ir.IntType(32)))

        def letter(name):
            flag = builder.trunc(given[name], ir.IntType(1))
            return by_reference(builder.select(flag, ir.Constant(_I8, ord("t")), ir.Constant(_I8, ord("n"))))

        # BLAS is column-major: a row-major C = A B is its C' = B' A'.
        values = [
            letter("tb"), letter("ta"), integer("n"), integer("m"), integer("k"), given["alpha"],
            given["b"], integer("ldb"), given["a"], integer("lda"), given["beta"], given["c"], integer("ldc"),
        ]  # fmt: skip
        kind = ir.FunctionType(ir.VoidType(), [v.type for v in values])
        builder.call(builder.inttoptr(given["address"], kind.as_pointer()), values)
        return context.get_dummy_value()

    return types.void(types.int64, types.boolean, types.boolean, *[types.int64] * 11), codegen
