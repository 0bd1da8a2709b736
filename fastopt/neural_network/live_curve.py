"""The loss curve of a fit that runs, in a notebook: one figure, updated."""

import html
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

from fastopt.neural_network.loss_curve import curves_of, figure_html

#: Seconds between two drawings, so that they cost a fit of a thousand epochs a second no time.
_PAUSE = 0.2

#: Training and validation losses by epoch.
Curves: TypeAlias = tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]

_drawing = threading.Lock()


def notebook() -> Any:
    """Return IPython's shell if this process is the kernel of a notebook, else None."""
    ipython = sys.modules.get("IPython")  # a kernel has imported it
    shell = None if ipython is None else ipython.get_ipython()
    return shell if hasattr(shell, "kernel") else None


class LiveCurve:
    """A figure of the cell that runs, redrawn as epochs end; fits of one cell share it.

    Parameters
    ----------
    shell : IPython shell
        As `notebook` returns.
    estimator : estimator
        The one that is fitted.
    curves : callable, optional
        Returns its training and validation losses until now. Default: the losses that it is told of, and
        what the history of the estimator has.
    """

    def __init__(self, shell: Any, estimator: Any, curves: Callable[[], Curves] | None = None) -> None:
        from IPython.display import display

        self._estimator = estimator
        self._losses: dict[int, float] = {}
        self._curves = curves or self._recorded
        self._begun = time.monotonic()
        self._drawn = self._begun - _PAUSE
        cell = getattr(shell, "execution_count", 0)
        last = getattr(shell, "_fastopt_curve", None)  # (cell, handle): the kernel's own memory
        if last is None or last[0] != cell:
            shell._fastopt_curve = last = (cell, display(self, display_id=True))
        self._handle = last[1]

    def update(self, n_done: int, loss: float) -> None:
        """Take the loss after ``n_done`` epochs, and draw if the last drawing is not too recent."""
        self._losses[n_done] = loss
        if time.monotonic() - self._drawn >= _PAUSE:
            self.draw()

    def draw(self) -> None:
        """Draw what is known."""
        self._handle.update(self)
        self._drawn = time.monotonic()

    def __repr__(self) -> str:
        return self._title(self._curves()[0])

    def _repr_html_(self) -> str:
        training, validated = self._curves()
        return figure_html(html.escape(self._title(training)), training, validated, width=420, height=160)

    def _title(self, training):
        done = max(len(training), *self._losses) if self._losses else len(training)
        loss = f", loss {training[-1]:.4g}" if len(training) else ""
        name, seconds = type(self._estimator).__name__, time.monotonic() - self._begun
        return f"{name}: epoch {done} of at most {self._estimator.max_iter}{loss}, {seconds:.1f} s"

    def _recorded(self):
        told = list(self._losses.values())
        recorded = curves_of(self._estimator)
        if not told or recorded is None or len(recorded[0]) < len(told):
            return told, ()
        return recorded[0][-len(told) :], recorded[1][-len(told) :]  # before them: of earlier fits


@contextmanager
def live_curve(
    estimator: Any, curves: Callable[[], Curves] | None = None
) -> Iterator[Callable[[int, float], None] | None]:
    """Show a figure while the block fits ``estimator``; yields its `update`, or None beside another figure.

    Parameters
    ----------
    estimator, curves
        As of `LiveCurve`.
    """
    if not _drawing.acquire(blocking=False):  # fits in threads: the first one's figure stays
        yield None
        return
    try:
        curve = LiveCurve(notebook(), estimator, curves)
        try:
            yield curve.update
        finally:
            curve.draw()  # the last epochs, too
    finally:
        _drawing.release()
