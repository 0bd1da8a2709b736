"""BLAS: its product called by address, and its threads held to one while the engine's own threads call it.

A ctypes pointer as a global would make whatever calls it uncacheable; an address as an argument does not.

threadpoolctl finds the libraries. It would not set them: of the Python threads of a process it lets one alone
change OpenBLAS's pool and ignores the others, so that a fit beside another would leave BLAS threaded, or hold
it to one thread for good. The pool is the whole process's, so here is one count of all who need it still.
"""

import contextlib
import functools
import threading

import scipy.linalg.cython_blas  # noqa: F401  (loaded first: a library that comes later is not limited)
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic
from threadpoolctl import ThreadpoolController

_I8 = ir.IntType(8)

_lock = threading.Lock()
_inside = 0
_before = ()

#: Names under which OpenBLAS is built: SciPy's wheels have a prefix, 64-bit integers a suffix.
_AFFIXES = [(prefix, suffix) for prefix in ("", "scipy_") for suffix in ("", "64_", "_64")]


def _openblas(library):
    """Return the two functions that read and set the size of a library's pool."""
    for prefix, suffix in _AFFIXES:
        with contextlib.suppress(AttributeError):
            return tuple(
                getattr(library.dynlib, f"{prefix}openblas_{verb}_num_threads{suffix}")
                for verb in ("get", "set")
            )
    return library.get_num_threads, library.set_num_threads


@functools.cache
def _pools():
    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    return [
        _openblas(library)
        if library.internal_api == "openblas" and library.threading_layer == "pthreads"
        else (library.get_num_threads, library.set_num_threads)
        for library in libraries
    ]


@contextlib.contextmanager
def single_threaded():
    """Limit BLAS to one thread; the last of several Python threads to leave restores the old number."""
    global _inside, _before
    with _lock:
        if _inside == 0:
            _before = [get() for get, _ in _pools()]
            for _, limit in _pools():
                limit(1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                for (_, limit), number in zip(_pools(), _before, strict=True):
                    limit(number)


@functools.cache
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
