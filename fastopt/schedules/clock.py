"""Time as schedules see it: completed steps, completed epochs, or the share of the run that is over."""

import dataclasses
import math

import numpy as np

from fastopt.persistence import Persistent

UNITS = ("step", "epoch", "run")


@dataclasses.dataclass(frozen=True)
class Run(Persistent):
    """A run of training, as far as schedules have to know it.

    Attributes
    ----------
    n_steps : int or None
        Steps of the whole run.
    steps_per_epoch : int or None
        Steps of an epoch.
    origin : int
        The optimizer's step count at which schedules begin.
    seen : tuple of two ints
        Steps and epochs of the run that were over when ``steps_per_epoch`` was last known; data that come in
        pieces of unequal length (``partial_fit``) make epochs of unequal length.
    """

    n_steps: int | None = None
    steps_per_epoch: int | None = None
    origin: int = 0
    seen: tuple[int, int] = (0, 0)

    def clock(self, steps):
        """Return the `Clock` that stands at these numbers of completed steps, an integer array."""
        steps = steps - self.origin
        epochs = None
        if self.steps_per_epoch is not None:
            steps_over, epochs_over = self.seen
            epochs = epochs_over + (steps - steps_over) // self.steps_per_epoch
        return Clock(steps, epochs, self.n_steps, self.steps_per_epoch)


@dataclasses.dataclass(frozen=True, eq=False)
class Clock:
    """Some moments of a run, or of a part of it, in every unit.

    Attributes
    ----------
    steps : ndarray of int
        Completed steps, from 0.
    epochs : ndarray of int or None
        Completed epochs.
    n_steps, steps_per_epoch : int or None
        As in `Run`.
    """

    steps: np.ndarray
    epochs: np.ndarray | None = None
    n_steps: int | None = None
    steps_per_epoch: int | None = None

    def ticks(self, unit):
        """Return the moments in a unit; raise ValueError if the run is not known well enough."""
        if unit == "epoch":
            self._need("steps_per_epoch", "a schedule with unit='epoch'")
            return self.epochs
        if unit == "run":
            self._need("n_steps", "a schedule with unit='run'")
            return self.steps / self.n_steps
        return self.steps

    def length(self, length, unit):
        """Return a length in ticks of the unit: itself, or for None that of the whole run."""
        if length is not None:
            return length
        if unit == "run":
            return 1.0
        self._need("n_steps", "a schedule that lasts for the whole run (a length of None)")
        if unit == "epoch":
            self._need("steps_per_epoch", "a schedule with unit='epoch'")
            return self.n_steps / self.steps_per_epoch
        return self.n_steps

    def whole(self, length, unit):
        """Return the moments and a length in whole numbers of steps, or with unit='epoch' of epochs."""
        length = self.length(length, unit)
        if unit == "run":
            self._need("n_steps", "a schedule with unit='run'")
            return self.steps, length * self.n_steps
        return self.ticks(unit), length

    def beginning(self):
        """Return the clock of the very first moment."""
        zero = np.zeros(1, np.int64)
        return dataclasses.replace(self, steps=zero, epochs=None if self.epochs is None else zero)

    def part(self, start, stop, unit):
        """Return the clock of a part of the run that begins at ``start`` ticks and ends at ``stop``.

        ``stop`` may be None: the end of the run. Moments before the part stand at its beginning.
        """
        first = self._steps_at(start, unit)
        last = self.n_steps if stop is None else self._steps_at(stop, unit)
        steps = np.maximum(self.steps - first, 0)
        epochs = None
        if unit == "epoch":
            epochs = np.maximum(self.epochs - math.ceil(start), 0)
        elif self.steps_per_epoch is not None:
            epochs = steps // self.steps_per_epoch
        return Clock(steps, epochs, None if last is None else max(last - first, 1), self.steps_per_epoch)

    def _steps_at(self, tick, unit):
        """Return the first step at which ``tick`` ticks are over."""
        if unit == "epoch":
            return math.ceil(tick) * self.steps_per_epoch
        # The share of a run, such as 0.07 of 100 steps, may come out a rounding error too large.
        return math.ceil(tick * self.n_steps * (1 - 1e-12)) if unit == "run" else math.ceil(tick)

    def _need(self, name, what):
        if getattr(self, name) is None:
            raise ValueError(
                f"{what} needs {name}, which is not known here: pass {name} to the call or to bind(), or "
                "give lengths in steps. Estimators know it."
            )
