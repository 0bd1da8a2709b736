"""Schedules without an end: constant, exponential and inverse-time decay."""

from typing import Any, ClassVar

import numpy as np

from fastopt.schedules.base import Schedule, schedule
from fastopt.schedules.clock import Clock


@schedule
class constant(Schedule):
    """A constant value, as a schedule.

    Parameters
    ----------
    value : float
        The value.

    Examples
    --------
    >>> from fastopt.schedules import constant
    >>> constant(0.1)(1000)
    0.1
    """

    value: float | None = None

    def values(self, clock: Clock) -> np.ndarray:
        """Return the values at the times of a `Clock`."""
        return np.full(clock.steps.shape, self.value, np.float64)


@schedule
class exponential(Schedule):
    """``value * factor ** (k / every)`` after ``k`` steps.

    torch's ``ExponentialLR(gamma)`` is ``exponential(lr, gamma, 1)``; with `staircase` and `end` optax's
    ``exponential_decay(lr, every, factor, end_value=end)`` and Keras' ``ExponentialDecay``.

    Parameters
    ----------
    value : float
        The first value.
    factor : float
        What the value is multiplied by.
    every : float, optional
        Time of one multiplication by ``factor``, in units of `unit`; by default the whole run.
    staircase : bool
        Change in jumps, when a whole ``every`` is over.
    end : float, optional
        Bound: the least value for a factor below 1, the greatest for one above.
    unit : {'step', 'epoch', 'run'}
        See `Schedule`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.schedules import exponential
    >>> exponential(1.0, 0.25, 2)(np.arange(5))
    array([1.    , 0.5   , 0.25  , 0.125 , 0.0625])
    """

    choices: ClassVar[dict[str, tuple[Any, ...]]] = {"staircase": (False, True)}
    value: float | None = None
    factor: float = 0.1
    every: float | None = None
    staircase: bool = False
    end: float | None = None

    def check(self) -> None:
        """Check the parameters."""
        super().check()
        if self.factor <= 0:
            raise ValueError(f"exponential(factor={self.factor!r}): factor must be > 0")
        if self.end is not None:
            self._check_number(f"exponential(end={self.end!r}): end", "end", self.end, 0.0)

    def values(self, clock: Clock) -> np.ndarray:
        """Return the values at the times of a `Clock`."""
        ticks, every = clock.ticks(self.unit), clock.length(self.every, self.unit)
        exponent = periods(ticks, every) if self.staircase else ticks / every
        values = self.value * self.factor**exponent
        if self.end is None:
            return values
        return np.maximum(values, self.end) if self.factor < 1 else np.minimum(values, self.end)


@schedule
class inverse_time(Schedule):
    """``value / (1 + rate * k / every)`` after ``k`` steps, as Keras' ``InverseTimeDecay``.

    Parameters
    ----------
    value : float
        The first value.
    rate : float
        Growth of the divisor in each ``every``, at least 0.
    every : float
        Time in which the divisor grows by ``rate``, in units of `unit`.
    staircase : bool
        Change in jumps, when a whole ``every`` is over.
    unit : {'step', 'epoch', 'run'}
        See `Schedule`.

    Examples
    --------
    >>> from fastopt.schedules import inverse_time
    >>> inverse_time(1.0, 1.0)(3)
    0.25
    """

    choices: ClassVar[dict[str, tuple[Any, ...]]] = {"staircase": (False, True)}
    value: float | None
    rate: float
    every: float = 1.0
    staircase: bool = False

    def check(self) -> None:
        """Check the parameters."""
        super().check()
        self._check_number(f"inverse_time(rate={self.rate!r}): rate", "rate", self.rate, 0.0)
        if self.rate < 0:
            raise ValueError(f"inverse_time(rate={self.rate!r}): rate must be >= 0")

    def values(self, clock: Clock) -> np.ndarray:
        """Return the values at the times of a `Clock`."""
        ticks = clock.ticks(self.unit)
        passed = periods(ticks, self.every) if self.staircase else ticks / self.every
        return self.value / (1.0 + self.rate * passed)


def periods(ticks: np.ndarray, length: float) -> np.ndarray:
    """Return how many whole periods are over; robust to rounding errors in shares of a run."""
    return np.floor(ticks / length * (1.0 + 4.0 * np.finfo(np.float64).eps))
