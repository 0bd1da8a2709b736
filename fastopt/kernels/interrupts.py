"""Ctrl-C held back while arrays and counts change, and heard when they belong together again."""

import _signal  # not signal, whose conversions to enumerations take several microseconds a step
import threading
from typing import Any

_SIGINT = 2  # signal.SIGINT on every platform


class HeldInterrupt:
    """Holds Ctrl-C back between `hold` and `release`, which then calls the handler that was installed.

    For steps of several passes over the arrays: Python raises KeyboardInterrupt between any two calls of the
    main thread. Nothing is held in other threads, or where SIGINT is ignored or handled outside Python.

    Examples
    --------
    >>> import signal
    >>> before = signal.signal(signal.SIGINT, signal.default_int_handler)
    >>> done = []
    >>> try:
    ...     with HeldInterrupt():
    ...         signal.raise_signal(signal.SIGINT)
    ...         done.append("the rest of the step")
    ... except KeyboardInterrupt:
    ...     done.append("Ctrl-C")
    >>> done
    ['the rest of the step', 'Ctrl-C']
    >>> _ = signal.signal(signal.SIGINT, before)
    """

    __slots__ = ("_arguments", "_before")

    def __init__(self) -> None:
        self._before: Any = None
        self._arguments: tuple[Any, ...] | None = None

    def hold(self) -> None:
        """Hold Ctrl-C back from now on; does nothing where it is held already."""
        if self._before is None and threading.get_ident() == threading.main_thread().ident:
            before = _signal.getsignal(_SIGINT)
            if callable(before):
                self._before = before
                _signal.signal(_SIGINT, self._note)

    def _note(self, *arguments: Any) -> None:
        self._arguments = arguments

    @property
    def was_pressed(self) -> bool:
        """Whether Ctrl-C is being held back: a long run looks here whether to end early."""
        return self._arguments is not None

    def release(self) -> None:
        """Restore the handler, and call it if Ctrl-C was pressed meanwhile."""
        before = self._before
        if before is not None:
            _signal.signal(_SIGINT, before)
            self._before = None
            arguments, self._arguments = self._arguments, None
            if arguments is not None:
                before(*arguments)

    def __enter__(self) -> "HeldInterrupt":
        self.hold()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
