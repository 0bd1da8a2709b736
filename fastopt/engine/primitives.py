"""BLAS by address.

A ctypes pointer as a global would make whatever calls it uncacheable; an address as an argument does not.
"""

from functools import cache

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic

_I8 = ir.IntType(8)


@cache
def gemm_address(itemsize):
    """Return the address of BLAS ``sgemm`` (itemsize 4) or ``dgemm`` (8) in SciPy's own library."""
    return get_cython_function_address("scipy.linalg.cython_blas", {4: "sgemm", 8: "dgemm"}[itemsize])


@intrinsic
def gemm(typingctx, address, transpose_a, transpose_b, m, n, k, a, lda, b, ldb, beta, c, ldc):
    """Compute ``C = op(A) @ op(B) + beta * C`` for row-major matrices given by integer addresses.

    ``op(A)`` is (m, k), ``op(B)`` is (k, n), ``C`` is (m, n); a leading dimension counts the elements from
    one row to the next. ``beta``'s type is the element type.
    """
    real = beta

    def codegen(context, builder, signature, args):
        address, ta, tb, *rest = args
        _, ta_type, tb_type, *rest_types = signature.args
        m, n, k, a, lda, b, ldb, beta, c, ldc = rest

        def by_reference(value):
            slot = cgutils.alloca_once(builder, value.type)
            builder.store(value, slot)
            return slot

        def integer(value, numba_type):
            return by_reference(context.cast(builder, value, numba_type, types.int32))

        def letter(value, numba_type):
            flag = context.cast(builder, value, numba_type, types.boolean)
            return by_reference(builder.select(flag, ir.Constant(_I8, ord("t")), ir.Constant(_I8, ord("n"))))

        one = by_reference(ir.Constant(context.get_value_type(real), 1.0))
        t = dict(zip("m n k a lda b ldb beta c ldc".split(), rest_types, strict=True))
        # BLAS is column-major: a row-major C = A B is its C' = B' A'.
        values = [
            letter(tb, tb_type), letter(ta, ta_type),
            integer(n, t["n"]), integer(m, t["m"]), integer(k, t["k"]),
            one, context.cast(builder, b, t["b"], types.int64), integer(ldb, t["ldb"]),
            context.cast(builder, a, t["a"], types.int64), integer(lda, t["lda"]),
            by_reference(beta), context.cast(builder, c, t["c"], types.int64), integer(ldc, t["ldc"]),
        ]  # fmt: skip
        kind = ir.FunctionType(ir.VoidType(), [v.type for v in values])
        builder.call(builder.inttoptr(address, kind.as_pointer()), values)
        return context.get_dummy_value()

    signature = types.void(types.int64, transpose_a, transpose_b, m, n, k, a, lda, b, ldb, beta, c, ldc)
    return signature, codegen
