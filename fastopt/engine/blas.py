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
