"""A fallback for Numba's cache where no folder is writable, as in read-only containers.

Internal.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import warnings

import numba


def _probe() -> None:
    """Do nothing: a function on which to try whether Numba can cache."""


def ensure() -> None:
    """Make sure that Numba can cache compiled functions, if need be in a temporary folder, with a warning.

    Numba caches in NUMBA_CACHE_DIR, else beside the sources, else in the user's cache folder, and raises when
    it decorates a function and none of them is writable.

    Raises
    ------
    RuntimeError
        If not even a temporary folder can be made.
    """
    try:
        numba.njit(cache=True)(_probe)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
    else:
        return
    advice = (
        "Neither NUMBA_CACHE_DIR nor the package's folder nor a home is writable. Set NUMBA_CACHE_DIR to a "
        "folder that is, and fill it with `python -m fastopt warmup`."
    )
    try:
        folder = tempfile.mkdtemp(prefix="fastopt-")
    except OSError:
        raise RuntimeError(f"fastopt has no place for its compiled kernels. {advice}") from None
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = numba.config.CACHE_DIR = folder  # worker processes share it
    warnings.warn(f"fastopt compiles its kernels for this process only. {advice}", stacklevel=2)
