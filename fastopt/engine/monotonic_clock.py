"""The monotonic clock, in Python and as a C function that compiled code calls."""

import ctypes
import functools
import time
from collections.abc import Callable

#: Address of ``clock_gettime``, which writes seconds and nanoseconds, two int64, and the clock that it is to
#: read. 0 where there is no such function (Windows).
ADDRESS, CLOCK = 0, 0
if hasattr(time, "clock_gettime"):
    ADDRESS = ctypes.cast(ctypes.CDLL(None).clock_gettime, ctypes.c_void_p).value or 0
    CLOCK = time.CLOCK_MONOTONIC

#: Returns the seconds on the clock.
now: Callable[[], float] = functools.partial(time.clock_gettime, CLOCK) if ADDRESS else time.perf_counter


def is_past(until: float | None) -> bool:
    """Whether the time ``until`` has come; False for None."""
    return until is not None and now() >= until
