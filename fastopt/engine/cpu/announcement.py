"""Saying why the first fit on a machine takes seconds."""

import contextlib
import sys
import threading

from numba import config

#: Seconds of compiling after which to say so; loading from the disk cache takes a tenth of that.
_PATIENCE = 1.0

_said = set()


def _say(what):
    if what in _said:
        return
    _said.add(what)
    where = f"in {config.CACHE_DIR}" if config.CACHE_DIR else "beside the package"
    print(f"fastopt: compiling {what}, once; cached {where}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def announced(what):
    """Print one line to stderr if the block takes longer than a second, the first time for this ``what``."""
    timer = threading.Timer(_PATIENCE, _say, (what,))
    timer.daemon = True
    timer.start()
    try:
        yield timer
    finally:
        timer.cancel()
