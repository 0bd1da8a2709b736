"""Holding BLAS to one thread while the engine's own threads call it."""

import contextlib
import functools
import threading

import scipy.linalg.cython_blas  # noqa: F401  (loaded first: a library that comes later is not limited)
from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_inside = 0
_limit = None


@functools.cache
def _controller():
    return ThreadpoolController().select(user_api="blas")


@contextlib.contextmanager
def single_threaded():
    """Limit BLAS to one thread; the last of several Python threads to leave restores the old number."""
    global _inside, _limit
    with _lock:
        if _inside == 0:
            _limit = _controller().limit(limits=1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _limit.restore_original_limits()
