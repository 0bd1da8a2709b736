"""Schedules made of other schedules, or of a user's function."""

from collections.abc import Callable, Sequence
from numbers import Real

import numpy as np

from fastopt.schedules.base import Schedule, schedule
from fastopt.schedules.clock import Clock
from fastopt.schedules.stairs import check_boundaries


@schedule
class warmup(Schedule):
    """A linear warm-up to another schedule's first value, then that schedule from its beginning.

    The length of `then` does not include the warm-up: ``warmup(cosine(v, steps, end), w)`` is Keras'
    ``CosineDecay(0.0, steps, end / v, warmup_target=v, warmup_steps=w)``, where optax's ``decay_steps``
    includes it. With no length of its own `then` lasts for the rest of the run, warm-up excluded, so that it
    ends with it.
    To warm up while the other schedule is already going on, multiply: ``linear(0.0, 100, 1.0) * other``.

    Parameters
    ----------
    then : Schedule
        What follows.
    length : float
        Of the warm-up, in units of `unit`.
    start : float
        Where the line begins, as a share of the first value of `then`.
    unit : {'step', 'epoch', 'run'}
        Of `length`; `then` has its own.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.schedules import cosine, warmup
    >>> warmup(cosine(1.0, 4), 2)(np.arange(7)).round(4)
    array([0.    , 0.5   , 1.    , 0.8536, 0.5   , 0.1464, 0.    ])
    """

    then: Schedule
    length: float
    start: float = 0.0

    def check(self) -> None:
        """Check the parameters."""
        super().check()
        check_parts(self, "then", (self.then,))

    def values(self, clock: Clock) -> np.ndarray:
        """Return the values at the times of a `Clock`."""
        later = clock.part(self.length, None, self.unit)
        first = self.then.at(later.beginning())
        share = clock.ticks(self.unit) / self.length
        line = first * (self.start + (1.0 - self.start) * share)
        return np.where(share < 1.0, line, self.then.at(later))


@schedule
class sequence(Schedule):
    """One schedule after another, each from its own beginning.

    As torch's ``SequentialLR`` and optax's ``join_schedules``. A schedule without a length of its own lasts
    for its part.

    Parameters
    ----------
    schedules : sequence of Schedule
        One more than there are boundaries.
    boundaries : sequence of float
        Ascending times, in units of `unit`, at which the next schedule takes over; between two equal ones
        there is a part of no length.
    unit : {'step', 'epoch', 'run'}
        Of the boundaries; the schedules have their own.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.schedules import constant, linear, sequence
    >>> sequence((constant(0.5), linear(1.0, 2)), (2,))(np.arange(5))
    array([0.5, 0.5, 1. , 0.5, 0. ])
    """

    schedules: Sequence[Schedule]
    boundaries: Sequence[float]

    def check(self) -> None:
        """Check the parameters."""
        super().check()
        check_parts(self, "schedules", self.schedules)
        check_boundaries(self, self.boundaries)
        if len(self.schedules) != len(self.boundaries) + 1:
            raise ValueError(
                f"sequence has {len(self.schedules)} schedules for {len(self.boundaries)} boundaries; give "
                "one schedule more than boundaries"
            )

    def values(self, clock: Clock) -> np.ndarray:
        """Return the values at the times of a `Clock`."""
        ends = (0, *self.boundaries, None)
        parts = [
            part.at(clock.part(start, stop, self.unit))
            for part, start, stop in zip(self.schedules, ends, ends[1:], strict=False)
        ]
        current = np.searchsorted(self.boundaries, clock.ticks(self.unit), side="right")
        return np.stack(parts)[current, np.arange(len(current))]


@schedule
class product(Schedule):
    """The product of schedules and numbers, all evaluated at the same step; what ``a * b`` returns.

    As torch's ``ChainedScheduler`` where each of its schedulers multiplies the rate (the cosine does up to
    ``T_max`` and without ``eta_min``), and each factor but one has a first value of 1.

    Parameters
    ----------
    factors : sequence of Schedule or float
        The factors.
    unit : str
        Not used: the factors have their own.

    Examples
    --------
    >>> from fastopt.schedules import linear
    >>> (0.5 * linear(1.0, 4))(1)
    0.375
    """

    factors: Sequence[Schedule | float]

    def check(self) -> None:
        """Check the parameters."""
        super().check()
        for factor in self.factors:
            if not isinstance(factor, Schedule):
                self._check_number(f"product(factors={self.factors!r}): each factor", "factor", factor, 0.0)

    def values(self, clock: Clock) -> np.ndarray:
        """Return the values at the times of a `Clock`."""
        values = np.ones(clock.steps.shape)
        for factor in self.factors:
            values = values * (factor.at(clock) if isinstance(factor, Schedule) else factor)
        return values


@schedule
class function(Schedule):
    """``value * f(k)`` with a function of one's own, as torch's ``LambdaLR``.

    Parameters
    ----------
    f : callable
        Takes one number, the completed steps or epochs (int) or the share of the run (float), and returns
        one. Must depend on nothing else: it is called ahead of time.
    value : float
        Factor.
    unit : {'step', 'epoch', 'run'}
        What `f` takes.

    Examples
    --------
    >>> from fastopt.schedules import function
    >>> function(lambda k: 0.9**k, value=2.0)(2)
    1.62
    """

    f: Callable[[float], float]
    value: float | None = 1.0

    def check(self) -> None:
        """Check the parameters."""
        super().check()
        if not callable(self.f):
            raise TypeError(f"function(f={self.f!r}): f must be callable, not {type(self.f).__name__}")

    def values(self, clock: Clock) -> np.ndarray:
        """Return the values at the times of a `Clock`."""
        results = [self.f(tick) for tick in clock.ticks(self.unit).tolist()]
        for result in results:
            if not isinstance(result, Real):
                raise TypeError(f"{self.f!r} must return a number, not {type(result).__name__}")
        return self.value * np.array(results, np.float64)

    @staticmethod
    def _show(value):
        return getattr(value, "__qualname__", repr(value)) if callable(value) else repr(value)


def check_parts(owner: Schedule, name: str, parts: Sequence[Schedule]) -> None:
    """Raise TypeError unless all parts are schedules."""
    for part in parts:
        if not isinstance(part, Schedule):
            raise TypeError(
                f"{type(owner).__name__}: {name} must be schedules such as constant(0.1), not "
                f"{type(part).__name__} ({part!r})"
            )
