"""The number of BLAS threads: one while fastopt's own threads call BLAS, or where results depend on it.

threadpoolctl finds the libraries. It would not set them: of the Python threads of a process it lets one alone
change OpenBLAS's pool and ignores the others, so that a fit beside another would leave BLAS threaded, or hold
it to one thread for good. The pool is the whole process's, so here is one count of all who need it still.
"""

import contextlib
import functools
import threading

import scipy.linalg.cython_blas  # noqa: F401  (loaded first: a library that comes later is not limited)
from threadpoolctl import ThreadpoolController

from fastopt.kernels.interrupts import HeldInterrupt

_lock = threading.Lock()
_inside = 0
_before = ()

#: Names under which OpenBLAS is built: SciPy's wheels have a prefix, 64-bit integers a suffix.
_AFFIXES = [(prefix, suffix) for prefix in ("", "scipy_") for suffix in ("", "64_", "_64")]


def _openblas(library):
    """Return the two functions of a library that read and set its number of threads."""
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
    """Limit BLAS to one thread; the last of several Python threads to leave restores the number."""
    with HeldInterrupt() as interrupt:  # or Ctrl-C could leave BLAS limited for good
        _enter()
        try:
            interrupt.release()
            yield
        finally:
            try:
                interrupt.hold()
            finally:
                _leave()


def _enter():
    global _inside, _before
    with _lock:
        if _inside == 0:
            _before = [get() for get, _ in _pools()]
            for _, limit in _pools():
                limit(1)
        _inside += 1


def _leave():
    global _inside
    with _lock:
        _inside -= 1
        if _inside == 0:
            for (_, limit), number in zip(_pools(), _before, strict=True):
                limit(number)
