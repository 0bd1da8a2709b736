"""Which Python thread is recording its steps as a program, in place of making them; see `stepping.tracing`.

What stores constants for kernels, runs kernels, or collects their sums asks `current` first.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

#: Thread to its recorder. Other threads make ordinary steps meanwhile. What runs at every step tests first
#: whether this is empty, as it nearly always is, without calling a function.
recorders: dict[int, Any] = {}


def current() -> Any:
    """Return the recorder of the calling thread, or None."""
    return recorders.get(threading.get_ident()) if recorders else None


@contextlib.contextmanager
def recorded_by(recorder: Any) -> Iterator[None]:
    """Let a recorder take what the calling thread does inside; None: do it, as outside of any recording."""
    thread = threading.get_ident()
    before = recorders.pop(thread, None)
    if recorder is not None:
        recorders[thread] = recorder
    try:
        yield
    finally:
        recorders.pop(thread, None)
        if before is not None:
            recorders[thread] = before
