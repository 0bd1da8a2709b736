"""How schedules measure time: in completed steps, completed epochs, or shares of the run."""

import dataclasses
import math

import numpy as np

from fastopt.persistence import Persistent

UNITS = ("step", "epoch", "run")


@dataclasses.dataclass(frozen=True)
class Run(Persistent):
    """A run of training, as schedules see it: its length, its epochs, and where it began.

    Attributes
    ----------
    n_steps : float or None
        Steps of the whole run.
    steps_per_epoch : int or None
        Mini-batches of an epoch, each of which has a gradient: with `gradients_per_step` 1 the steps.
    origin : int
        The optimizer's step count at which schedules begin.
    seen : tuple of a float and an int
        Steps and epochs completed when ``steps_per_epoch`` last changed; data that come in pieces of unequal
        length (``partial_fit``) make epochs of unequal length. A step of which only some gradients have been
        accumulated counts by their share; one that was skipped counts as made before.
    gradients_per_step : int
        How many mini-batches make a step (`fastopt.MultiSteps`).
    epochs_end_steps : bool
        Whether `fastopt.MultiSteps` makes a step at the end of each epoch, even with fewer gradients.
    """

    n_steps: float | None = None
    steps_per_epoch: int | None = None
    origin: int = 0
    seen: tuple[float, int] = (0, 0)
    gradients_per_step: int = 1
    epochs_end_steps: bool = False

    def _check_restored(self) -> None:
        for field in dataclasses.fields(self):
            values = getattr(self, field.name)
            for value in values if field.name == "seen" else (values,):
                if not isinstance(value, (int, float, type(None))):
                    raise ValueError(f"no run has {field.name}={values!r}")

    def clock(self, steps: np.ndarray) -> "Clock":
        """Return the `Clock` for these numbers of completed steps, an integer array.

        Before ``origin`` schedules stand at their beginning: where a state of many steps is bound again, they
        are first evaluated at step 0.
        """
        steps = np.maximum(steps - self.origin, 0)
        clock = Clock(steps, None, self.n_steps, self.steps_per_epoch, self.gradients_per_step)
        if self.steps_per_epoch is None:
            return clock
        steps_over, epochs_over = self.seen
        epochs = np.maximum(epochs_over + clock.epochs_of(steps - steps_over), 0)
        return dataclasses.replace(clock, epochs=epochs)

    def accumulated(self, n: int) -> "Run":
        """Return the run inside `fastopt.MultiSteps`, each step of which takes ``n`` gradients."""
        if not self.epochs_end_steps:
            n_steps = None if self.n_steps is None else self.n_steps / n
            return dataclasses.replace(self, n_steps=n_steps, gradients_per_step=n * self.gradients_per_step)
        steps_per_epoch = -(-self.steps_per_epoch // n)
        n_steps = self.n_steps // self.steps_per_epoch * steps_per_epoch
        return dataclasses.replace(self, n_steps=n_steps, steps_per_epoch=steps_per_epoch)

    def skipped(self, n_steps: float) -> "Run":
        """Return the run after steps were skipped (`fastopt.SkipNonFinite`): its epochs end no later."""
        if self.epochs_end_steps:  # the estimator corrects ``seen`` at the end of each epoch
            return self
        steps_over, epochs_over = self.seen
        return dataclasses.replace(self, seen=(steps_over - n_steps, epochs_over))


@dataclasses.dataclass(frozen=True, eq=False)
class Clock:
    """Points in time of a run, or of a part of it, in all units.

    Attributes
    ----------
    steps : ndarray of int
        Completed steps, from 0.
    epochs : ndarray of int or None
        Completed epochs.
    n_steps, steps_per_epoch, gradients_per_step
        As in `Run`.
    """

    steps: np.ndarray
    epochs: np.ndarray | None = None
    n_steps: float | None = None
    steps_per_epoch: int | None = None
    gradients_per_step: int = 1

    def ticks(self, unit: str) -> np.ndarray:
        """Return the times in a unit; raise ValueError if the unit needs a length that is unknown."""
        if unit == "epoch":
            self._need("steps_per_epoch", "a schedule with unit='epoch'")
            return self.epochs
        if unit == "run":
            self._need("n_steps", "a schedule with unit='run'")
            return self.steps / self.n_steps
        return self.steps

    def length(self, length: float | None, unit: str) -> float:
        """Return a length in a unit; None stands for the whole run."""
        if length is not None:
            return length
        if unit == "run":
            return 1.0
        self._need("n_steps", "a schedule that lasts for the whole run (a length of None)")
        if unit == "epoch":
            self._need("steps_per_epoch", "a schedule with unit='epoch'")
            return self.n_steps * self.gradients_per_step / self.steps_per_epoch
        return self.n_steps

    def whole(self, length: float | None, unit: str) -> tuple[np.ndarray, float]:
        """Return the times and a length in whole steps, or with unit='epoch' in whole epochs."""
        length = self.length(length, unit)
        if unit == "run":
            self._need("n_steps", "a schedule with unit='run'")
            return self.steps, length * self.n_steps
        return self.ticks(unit), length

    def beginning(self) -> "Clock":
        """Return the clock at step 0."""
        zero = np.zeros(1, np.int64)
        return dataclasses.replace(self, steps=zero, epochs=None if self.epochs is None else zero)

    def part(self, start: float, stop: float | None, unit: str) -> "Clock":
        """Return the clock of the part of the run between the times ``start`` and ``stop`` in a unit.

        ``stop`` may be None: the end of the run. Times before the part become its beginning.
        """
        first = self._steps_at(start, unit)
        last = self.n_steps if stop is None else self._steps_at(stop, unit)
        steps = np.maximum(self.steps - first, 0)
        epochs = None
        if unit == "epoch":
            epochs = np.maximum(self.epochs - math.ceil(start), 0)
        elif self.steps_per_epoch is not None:
            epochs = self.epochs_of(steps)
        n_steps = None if last is None else max(last - first, 1)
        return dataclasses.replace(self, steps=steps, epochs=epochs, n_steps=n_steps)

    def epochs_of(self, steps: np.ndarray) -> np.ndarray:
        """Return how many epochs are over when the last gradient of the step after ``steps`` arrives."""
        per_step = self.gradients_per_step
        return (np.rint(steps * per_step).astype(np.int64) + per_step - 1) // self.steps_per_epoch

    def _steps_at(self, tick, unit):
        """Return the first step at or after the time ``tick`` of a unit."""
        self.ticks(unit)  # raises where the unit needs a length that is unknown
        if unit == "epoch":
            gradients = math.ceil(tick) * self.steps_per_epoch - (self.gradients_per_step - 1)
            return max(-(-gradients // self.gradients_per_step), 0)
        # The share of a run, such as 0.07 of 100 steps, may come out a rounding error too large.
        return math.ceil(tick * self.n_steps * (1 - 1e-12)) if unit == "run" else math.ceil(tick)

    def _need(self, name, what):
        if getattr(self, name) is None:
            raise ValueError(
                f"{what} needs {name}, which is not known here: pass {name} to the call or to bind(), or "
                "give lengths in steps. Estimators know it."
            )
