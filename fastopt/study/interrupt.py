"""Handling of Ctrl-C during a study."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager


class Interrupt:
    """Whether Ctrl-C was pressed.

    scikit-learn's networks catch KeyboardInterrupt and return a usable model with a warning, so a study has
    to look at the signal itself to learn that its user wants it to stop.
    """

    def __init__(self):
        self.was_pressed = False

    def check(self):
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self.was_pressed:
            raise KeyboardInterrupt


@contextmanager
def watched():
    """Watch for Ctrl-C while the block runs; yields an `Interrupt`.

    Signals belong to the main thread: elsewhere nothing is installed, and KeyboardInterrupt is not expected.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = signal.getsignal(signal.SIGINT)
    if not callable(before):  # ignored on purpose, as under nohup
        yield interrupt
        return

    def note(number, frame):
        interrupt.was_pressed = True
        before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
