"""Steps of a bound stepper by a program: what takes Python 50 to 250 microseconds a step then takes ten."""

import operator
import weakref
from typing import Any

import numpy as np

from fastopt.kernels import recording
from fastopt.kernels.interrupts import HeldInterrupt
from fastopt.stepping.attributes import KnownAttributes
from fastopt.stepping.param_groups import to_list
from fastopt.stepping.step_program import StepProgram, is_foreign
from fastopt.stepping.tensor_rules import is_number
from fastopt.stepping.tracing import Cell, TraceError

#: Steps that are made in Python before one is recorded: that takes as long as dozens of them, and seconds
#: while the cache is empty. Those of a loaded state count, so that a run that goes on gives the bits of one
#: without interruption: a program adds up numbers of more than seven arrays in another order than NumPy.
FIRST = 500


class RecordedSteps:
    """Makes steps of a stepper, inside wrappers or with tensor rules, by a `StepProgram` where it can.

    After each step all numbers are where Python expects them, and so steps of both kinds may alternate.
    """

    def __init__(self) -> None:
        self._program: StepProgram | None = None
        self._next = FIRST
        self._pause = self._n_made = 0
        self._is_unfit = False
        self._active = self._column = self._seen = self._values = self._run = self._addresses = None
        self._cells: list[Cell] = []  # of the program, those of numbers, and what it left in them
        self._numbers: list[Any] = []
        self._apart: list[Cell] = []  # counts that are no numbers, on which no program depends
        self._recorded_with: list[Any] = []

    def make(self, stepper: Any, grads: Any, grad_scale: float, loss: float | None) -> bool:
        """Make a step with these arguments of ``stepper.step``, and tell whether it could be made.

        Parameters
        ----------
        stepper : Stepper or WrappedStepper
            The outermost one, the same at each call.
        grads, grad_scale, loss
            As `fastopt.stepping.stepper.Stepper.step` takes them.

        Raises
        ------
        TypeError, ValueError
            If a gradient or a changed hyper-parameter is refused, as by ``step``; nothing is changed then.
        """
        if self._is_unfit or (recording.recorders and recording.current() is not None):
            return False
        if stepper.bound.progress.step < self._next:
            return False
        if not _is_usual(stepper, grads, grad_scale, loss):
            self._discard()
            return False
        bound = stepper.bound
        grads = to_list(grads)
        bound.accept(grads)
        addresses = bound.table[:, 2].tobytes()
        if (
            bound.gradients.absent
            or bound.gradients.rows
            or not self._is_ready(stepper, grads, loss, addresses)
        ):
            self._discard()
            return False
        with HeldInterrupt():
            self._numbers = self._program.run(*(() if loss is None else (float(loss),)))
            if self._column.tobytes() != addresses:  # of changed gradients
                bound.gradients.forget()
        if bound.has_torch:
            bound.mark_changed()
        self._n_made += 1
        return True

    def _discard(self):
        """Read all numbers again when the next step is made by the program, as Python makes this one."""
        if self._program is not None:
            self._program.discard()

    def _is_ready(self, stepper, grads, loss, addresses):
        """Prepare a program for the next step; tell whether there is one."""
        bound = stepper.bound
        self._check(bound)
        if self._program is None and not (
            bound.progress.step >= self._next and self._record(stepper, grads, loss, addresses)
        ):
            return False
        if self._run is not bound.progress.run or self._numbers != _values(self._cells):
            self._run = bound.progress.run  # schedules follow another run, or a count has been set
            self._program.discard()
        if addresses != self._addresses:
            self._addresses = addresses
            self._program.redirect(np.frombuffer(addresses, np.int64))
        try:
            self._program.feed(1)
        except (TypeError, ValueError, TraceError):
            self._postpone(bound)  # a schedule will be out of range, which Python says when it is
            return False
        return True

    def _check(self, bound):
        """Forget a program of other arrays or of other hyper-parameters."""
        if self._program is None:
            return
        seen = [group.seen for group in bound.groups]
        is_known = self._active is bound.active and self._recorded_with == _values(self._apart)
        if is_known and all(map(operator.is_, seen, self._seen)):
            return
        values = [group.unscheduled() for group in bound.groups]
        if is_known and values == self._values:  # other schedules
            self._seen = seen
            self._program.discard()
        else:
            self._postpone(bound)

    def _postpone(self, bound):
        """Forget the program; wait before the next one, the longer the sooner this one became useless."""
        self._pause = 0 if self._n_made >= FIRST else max(FIRST, 2 * self._pause)
        self._next, self._program = bound.progress.step + self._pause, None

    def _record(self, stepper, grads, loss, addresses):
        """Record a step; tell whether that could be done."""
        bound = stepper.bound
        given = np.frombuffer(addresses, np.int64)
        if is_foreign(stepper) or len(set(given.tolist())) < len(given):
            self._is_unfit = is_foreign(stepper)
            return False
        for bucket in bound.tensorwise:
            bucket.prepare(bound.gradients.absent)
        cells, self._apart = list(map(_weak, stepper.cells())), list(map(_weak, _apart(stepper)))
        self._recorded_with = _values(self._apart)
        needs_loss = () if loss is None else ("loss",)
        try:
            self._program = StepProgram(
                lambda *inputs: stepper.step(grads, **dict(zip(needs_loss, inputs, strict=True))),
                len(needs_loss), cells, bound.progress, False,
            )  # fmt: skip
        except TraceError:
            self._is_unfit = True
            return False
        finally:
            bound.refold()  # numbers in place of what was recorded
        if self._recorded_with != _values(self._apart):  # the step is to change one: in Python
            for cell, value in zip(self._apart, self._recorded_with, strict=True):
                cell.set(value)
            self._postpone(bound)
            return False
        self._program.find(given)
        self._active, self._seen = bound.active, [group.seen for group in bound.groups]
        self._values = [group.unscheduled() for group in bound.groups]
        self._cells = [cell for cell in cells if not isinstance(cell.get(), np.ndarray)]
        self._column, self._addresses, self._n_made = bound.table[:, 2], addresses, 0
        return True


def _is_usual(stepper, grads, grad_scale, loss):
    """Tell whether a step has the arguments with which one is recorded."""
    return (
        hasattr(grads, "__len__")  # no generator, which can be read only once
        and type(grad_scale) is float
        and grad_scale == 1.0
        and stepper.is_training
        and (is_number(loss) if stepper.bound.optimizer.needs else loss is None)
    )


def _values(cells):
    return [cell.get() for cell in cells]


def _apart(stepper):
    """Return the cells of a stepper's counts that are no numbers, such as flags."""
    found = []
    while stepper is not None:
        found += [Cell(stepper, name) for name in stepper.counts if not is_number(getattr(stepper, name))]
        stepper = getattr(stepper, "inner", None)
    return found


def _weak(cell):
    """Return a cell that does not keep a stepper alive, which keeps the program."""
    if isinstance(cell.owner, KnownAttributes):
        return cell._replace(owner=weakref.proxy(cell.owner))
    return cell
