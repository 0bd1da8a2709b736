"""Numba's threading layer: loading TBB, and entering parallel regions safely.

Numba's OpenMP layer lets idle threads spin through whole scheduler quanta, so a small parallel region costs
milliseconds on a busy machine; TBB's does not. Numba takes TBB when it can load it, but the wheel's library
is not on the loader's path. `prepare` loads it, and never overrides a layer that the user chose.

After ``fork``: TBB and workqueue work in the child, unless another Python thread of the parent was inside a
parallel region, whose locks nobody opens in the child. GNU OpenMP terminates any child that enters a region
after its parent did. Such a child is stranded: `n_available` is 1 and everything runs serially.
"""

import contextlib
import ctypes
import importlib.metadata
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numba
from numba.np.ufunc import parallel

_LIBRARY = {"win32": "tbb12.dll", "darwin": "libtbb.12.dylib"}.get(sys.platform, "libtbb.so.12")


class _Region:
    """Notes the Python threads inside a parallel region, for processes that are forked meanwhile."""

    def __init__(self):
        self.inside = []

    def __enter__(self):
        self.inside.append(None)

    def __exit__(self, *_):
        self.inside.pop()


class _LockedRegion(_Region):
    """A parallel region that one Python thread enters at a time."""

    def __init__(self):
        super().__init__()
        self._lock = threading.Lock()

    def __enter__(self):
        self._lock.acquire()
        super().__enter__()

    def __exit__(self, *_):
        super().__exit__()
        self._lock.release()


_region, _locked_region = _Region(), _LockedRegion()
_prepare_lock = threading.Lock()
_serial = contextlib.nullcontext()
_state = {"ready": False, "layer": None, "tbb": None, "forked": False, "forked_inside": False}


def _candidates():
    """Yield the paths where pip may have installed the TBB library."""
    folder = "Library/bin" if sys.platform == "win32" else "lib"
    yield Path(sys.prefix, folder, _LIBRARY)
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("tbb") or ():
            if file.name == _LIBRARY:
                yield Path(file.locate())


def _load_tbb():
    for path in _candidates():
        if path.exists():
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
                return str(path)
    return None


def prepare():
    """Load TBB and start Numba's threads, once; return the name of the threading layer."""
    with _prepare_lock:
        if not _state["ready"]:
            started = parallel._is_initialized
            if not started and numba.config.THREADING_LAYER in (
                "default",
                "safe",
                "threadsafe",
                "forksafe",
                "tbb",
            ):
                _state["tbb"] = _load_tbb()
            parallel._launch_threads()
            _state["layer"] = numba.threading_layer()
            _state["ready"] = True
    return _state["layer"]


def is_stranded():
    """Tell whether this is a forked child process, in which a parallel region would crash or hang."""
    return _state["forked"] and (_state["forked_inside"] or _state["layer"] == "omp")


def n_available():
    """Return the number of threads that a region may use now: 1 where none may be started."""
    prepare()
    return 1 if is_stranded() else numba.get_num_threads()


def resolve(n_threads: int | None) -> int | None:
    """Check the argument ``n_threads`` and return it; ``None`` stands for `n_available` at each call.

    Raises
    ------
    ValueError
        If it is not between 1 and the number of threads that Numba starts.
    """
    most = numba.config.NUMBA_NUM_THREADS
    if n_threads is not None and (isinstance(n_threads, bool) or not 1 <= n_threads <= most):
        raise ValueError(
            f"n_threads={n_threads!r} is not between 1 and {most}, the threads that Numba starts "
            f"(set NUMBA_NUM_THREADS before the first import to change that)"
        )
    return n_threads


def region(n_threads=2):
    """Return the context manager for a parallel region of some threads; for one thread it does nothing.

    Numba's ``workqueue`` aborts the process when two Python threads are inside at once; there one waits for
    the other.
    """
    if n_threads == 1:
        return _serial
    return _locked_region if (_state["layer"] or prepare()) == "workqueue" else _region


@contextlib.contextmanager
def environment_share() -> Iterator[None]:
    """Let this thread use no more threads than OMP_NUM_THREADS says, in the block.

    Dask sets it to 1 for each thread of a worker. BLAS follows it, and Numba does not.
    """
    before, wanted = numba.get_num_threads(), os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted):
        numba.set_num_threads(min(int(wanted), before))
    try:
        yield
    finally:
        numba.set_num_threads(before)


def describe():
    """Return the layer, its library and the numbers of threads, for ``python -m fastopt info``."""
    layer = prepare()
    return {
        "layer": layer,
        "tbb": _state["tbb"],
        "n_threads": numba.get_num_threads(),
        "n_threads_started": numba.config.NUMBA_NUM_THREADS,
    }


def _after_fork():
    global _region, _locked_region, _prepare_lock
    _state["forked"] = _state["ready"]
    _state["forked_inside"] |= bool(_region.inside or _locked_region.inside)
    _region, _locked_region, _prepare_lock = _Region(), _LockedRegion(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
