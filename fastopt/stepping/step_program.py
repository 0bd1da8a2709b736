"""A step of the training engine's optimizers as a program that the engine follows between mini-batches."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastopt.kernels import recording, tape
from fastopt.kernels.tape import Op
from fastopt.stepping.scheduling import Progress
from fastopt.stepping.tracing import Cell, record

#: Steps whose schedules and constants are computed at once: at first, and at the most.
_STEPS_AHEAD = 64, 1024


class StepProgram:
    """A recorded step, and where its numbers are: in the program's registers while it is `in_registers`.

    Parameters
    ----------
    step : callable
        ``step(loss, weight, ends_epoch, evaluate)`` makes one with the gradient at hand; ``evaluate()``
        computes loss and gradient at the present weights.
    cells : list of Cell
        All numbers that it changes; the first tells whether the next gradient is to include the penalty's.
    progress : Progress
        Its count of steps is one of the cells.
    gradient : ndarray
        Where the engine writes the gradient.
    twice : bool
        As in `fastopt.stepping.tracing.record`.

    Raises
    ------
    TraceError
        If the step cannot be recorded.
    """

    def __init__(
        self,
        step: Callable[..., Any],
        cells: list[Cell],
        progress: Progress,
        gradient: np.ndarray,
        twice: bool,
    ):
        def recorded(*batch):
            step(*batch, recording.current().evaluate)

        clock = Cell(progress, "step")
        self._program = record(recorded, cells, 3, clock, twice=twice)
        self._progress = progress
        self.gradient: np.ndarray = gradient
        self.in_registers: bool = False
        self._n_ahead = self._n_left = 0  # mini-batches whose numbers have been computed, and are to come

    @property
    def header(self) -> int:
        """Address of what `fastopt.kernels.tape` reads."""
        return self._program.header.ctypes.data

    @property
    def penalty_at(self) -> int:
        """Address of a number: whether the next gradient is to include the penalty's."""
        return self._program.address(0)

    @property
    def takes_penalty(self) -> bool:
        """Whether the next gradient is to include the penalty's."""
        return bool(self._program.present(0))

    def feed(self, n_steps: int) -> int:
        """Prepare to run up to ``n_steps`` steps, and return how many are prepared, of these."""
        # By mini-batches: some of them make no step, and a wrapper around may count them all the same.
        if not self.in_registers or n_steps > self._n_left:
            self.save()
            first, most = _STEPS_AHEAD
            self._n_ahead = max(n_steps, first, min(2 * self._n_ahead, most))
            self._program.load(self._n_ahead)
            self._n_left, self.in_registers = self._n_ahead, True
        self._n_left -= n_steps
        return n_steps

    def fits(self) -> bool:
        """Tell whether the numbers are such as were recorded; see `fastopt.stepping.programs.Program`."""
        return self.in_registers or self._program.fits()

    def save(self) -> None:
        """Write the numbers back to where they are outside of a program, as after the last whole step."""
        if self.in_registers:
            self._program.save()

    def forget(self) -> None:
        """Write the numbers back, and read them again before the next step."""
        self.save()
        self.in_registers = False

    @property
    def calls_python(self) -> bool:
        """Whether some steps call functions of Python."""
        return bool(self._program.calls)

    @property
    def is_waiting(self) -> bool:
        """Whether the program has stopped for a call of Python."""
        return self._program.header[tape.KIND] == Op.YIELD

    def call(self) -> None:
        """Make the call that the program waits for."""
        run = self._progress.run
        self._program.calls[self._program.header[tape.A0]]()
        if self._progress.run is not run:  # what schedules give changes from the next step on
            self._program.load_again(self._n_ahead)
