"""A step as a program, which the engine follows between mini-batches and `RecordedSteps` runs from Python."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastopt.kernels import tape
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
        Makes a step; takes ``n_inputs`` numbers.
    n_inputs : int
    cells : list of Cell
        All numbers that it changes; in the engine the first tells whether the next gradient is to include the
        penalty's.
    progress : Progress
        Its count of steps is one of the cells.
    twice : bool
        As in `fastopt.stepping.tracing.record`.
    n_arrays : int, optional
        Likewise.

    Attributes
    ----------
    gradient : ndarray
        Where the engine writes the gradient; set by whoever made the program for it.

    Raises
    ------
    TraceError
        If the step cannot be recorded.
    """

    gradient: np.ndarray

    def __init__(
        self,
        step: Callable[..., None],
        n_inputs: int,
        cells: list[Cell],
        progress: Progress,
        twice: bool,
        n_arrays: int | None = None,
    ):
        clock = Cell(progress, "step")
        self._program = record(step, cells, n_inputs, clock, twice=twice, n_arrays=n_arrays)
        self._progress = progress
        self.in_registers: bool = False
        self._n_ahead = self._n_left = 0  # mini-batches whose numbers have been computed, and are to come

    @property
    def header(self) -> int:
        """Address of what `fastopt.kernels.tape` reads."""
        return self._program.header.ctypes.data

    @property
    def edge(self) -> int:
        """What parts of arrays must begin at multiples of for `Op.RUN_BY_PARTS`; 0 where there is none."""
        return self._program.edge

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

    def find(self, addresses: np.ndarray) -> None:
        """Find the addresses of arrays that may lie elsewhere later; see `fastopt.stepping.programs`."""
        self._program.find(addresses)

    def redirect(self, addresses: np.ndarray) -> None:
        """Let the program read those arrays where they lie now."""
        self._program.redirect(addresses)

    def discard(self) -> None:
        """Read the numbers again before the next step, without writing them back."""
        self.in_registers = False

    def run(self, *inputs: float) -> list[Any]:
        """Run one step from Python, for which `feed` has prepared; write its numbers back and return them."""
        self._program.run(*inputs, call=self.call)
        return self._program.save()


def is_foreign(stepper: Any) -> bool:
    """Tell whether a wrapper or a tensor rule is a user's own: it may do what cannot be recorded."""
    parts = [bucket.rule.function for bucket in stepper.bound.tensorwise]
    while stepper is not None:
        parts.append(type(stepper))
        stepper = getattr(stepper, "inner", None)
    return not all(part.__module__.startswith("fastopt.") for part in parts)
