"""Cyclic schedules: cosine with restarts, one-cycle, and triangular cycles."""

from typing import Any, ClassVar

import numpy as np

from fastopt.schedules.base import Schedule, schedule
from fastopt.schedules.clock import Clock
from fastopt.schedules.decay import check_share, half_cosine
from fastopt.schedules.stairs import between


@schedule
class cosine_restarts(Schedule):
    """Cosine annealing from ``value`` to ``end`` with restarts: SGDR (Loshchilov & Hutter, 2017).

    As torch's ``CosineAnnealingWarmRestarts(T_0, T_mult, eta_min)`` and Keras' ``CosineDecayRestarts``.

    Parameters
    ----------
    value : float
        The first peak.
    length : float
        Of the first period, in units of `unit`.
    factor : float
        By what each period is longer than the one before, at least 1: torch's ``T_mult``, Keras' ``t_mul``.
    end : float
        The least value.
    peak_factor : float
        By what each peak's height over `end` is multiplied: Keras' ``m_mul``.
    unit : {'step', 'epoch', 'run'}
        See `Schedule`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.schedules import cosine_restarts
    >>> cosine_restarts(1.0, 2, 2.0)(np.arange(7)).round(4)
    array([1.    , 0.5   , 1.    , 0.8536, 0.5   , 0.1464, 1.    ])
    """

    value: float | None
    length: float
    factor: float = 1.0
    end: float = 0.0
    peak_factor: float = 1.0

    def check(self) -> None:
        """Check the parameters."""
        super().check()
        if self.factor < 1:
            raise ValueError(f"cosine_restarts(factor={self.factor!r}): factor must be >= 1")

    def values(self, clock: Clock) -> np.ndarray:
        """Return the values at the times of a `Clock`."""
        ticks = np.asarray(clock.ticks(self.unit), np.float64)
        cycle = ticks / self.length
        if self.factor > 1:
            cycle = np.log1p(cycle * (self.factor - 1.0)) / np.log(self.factor)
        cycle = np.floor(cycle)
        # The logarithm may be a rounding error off at a restart, and the restart as well: 10 * (1 + 1.3).
        near = ticks * (1.0 + 1e-12)
        cycle += self._start(cycle + 1.0) <= near
        cycle -= self._start(cycle) > near
        x = np.maximum(ticks - self._start(cycle), 0.0) / (self.length * self.factor**cycle)
        return self.end + (self.value - self.end) * self.peak_factor**cycle * half_cosine(x)

    def cycle_ends(self, until: float) -> np.ndarray:
        """Return when the periods end, in the schedule's unit, up to the time ``until``.

        Examples
        --------
        >>> from fastopt.schedules import cosine_restarts
        >>> cosine_restarts(1.0, 2, 2.0).cycle_ends(20)
        array([ 2.,  6., 14.])
        """
        self.check()
        ends, until = [], until * (1.0 + 1e-12)
        while (end := self._start(len(ends) + 1.0)) <= until:
            ends.append(end)
        return np.array(ends)

    def _start(self, cycle):
        """Return the time at which a period begins, in the schedule's unit."""
        if self.factor == 1:
            return self.length * cycle
        return self.length * (self.factor**cycle - 1.0) / (self.factor - 1.0)

    def _extent(self):
        return 3 * super()._extent()


@schedule
class onecycle(Schedule):
    """One cycle, up to a peak and down to a value near 0 (Smith & Topin, 2019).

    As torch's ``OneCycleLR`` or optax's ``cosine_onecycle_schedule`` and ``linear_onecycle_schedule``, which
    put the turning points one step apart. For the momentum that torch cycles the other way, give
    ``momentum=onecycle(0.85, length, start=0.95, end=0.95)``.

    Parameters
    ----------
    value : float
        The peak.
    length : float, optional
        Of the cycle, in units of `unit`; by default the whole run. The last value holds afterwards.
    warmup : float
        Share of the length at which the peak is reached: torch's and optax's ``pct_start``.
    start : float, optional
        The first value; by default ``value / 25``.
    end : float, optional
        The last value; by default ``start / 1e4``.
    descent : float, optional
        Share of the length at which the way down is back at ``start``, for a third phase from there to
        ``end``: torch's ``three_phase`` is twice `warmup`, optax's ``pct_final`` 0.85.
    form : {'cosine', 'linear'}
        How to go between turning points.
    points : {'torch', 'optax'}
        Turning points after ``share * length - 1`` steps (and the second of three one step earlier), or after
        ``int(share * length)``. In a cycle of a few steps some lie before the first step, which then is part
        of the way down.
    unit : {'step', 'epoch', 'run'}
        See `Schedule`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.schedules import onecycle
    >>> onecycle(1.0, 10, form="linear", start=0.0, end=0.0)(np.arange(10)).round(3)
    array([0.   , 0.5  , 1.   , 0.857, 0.714, 0.571, 0.429, 0.286, 0.143,
           0.   ])
    """

    choices: ClassVar[dict[str, tuple[Any, ...]]] = {
        "form": ("cosine", "linear"),
        "points": ("torch", "optax"),
    }
    value: float | None = None
    length: float | None = None
    warmup: float = 0.3
    start: float | None = None
    end: float | None = None
    descent: float | None = None
    form: str = "cosine"
    points: str = "torch"

    def check(self) -> None:
        """Check the parameters."""
        super().check()
        shares = {"warmup": self.warmup} | ({} if self.descent is None else {"descent": self.descent})
        check_share(self, **shares)
        if self.descent is not None and self.descent <= self.warmup:
            raise ValueError(
                f"onecycle(warmup={self.warmup!r}, descent={self.descent!r}): descent must be greater than "
                "warmup, whose end it follows"
            )
        for name in ("start", "end"):
            value = getattr(self, name)
            self._check_number(f"onecycle({name}={value!r}): {name}", name, value, None)

    def values(self, clock: Clock) -> np.ndarray:
        """Return the values at the times of a `Clock`."""
        ticks, length = clock.whole(self.length, self.unit)
        start = self.value / 25.0 if self.start is None else self.start
        end = start / 1e4 if self.end is None else self.end
        levels = [start, self.value, *(() if self.descent is None else (start,)), end]
        shares = [self.warmup, *(() if self.descent is None else (self.descent,)), 1.0]
        if self.points == "optax":
            turns = [int(share * length) for share in shares]
        else:
            turns = [share * length - 1 for share in shares]
            if self.descent is not None:
                turns[1] -= 1
        # A run of a few steps begins in the middle of the last phase that has begun before its first step.
        before = [i for i, turn in enumerate(turns[:-1]) if turn < 0]
        moments = turns[before[-1] :] if before else [0, *turns]
        return between(ticks, np.maximum.accumulate(moments), levels[-len(moments) :], self.form)


@schedule
class cyclic(Schedule):
    """A triangular cycle between two values (Smith, 2017), as torch's ``CyclicLR``.

    For the momentum that torch cycles the other way, exchange the values.

    Parameters
    ----------
    value : float
        Where each cycle begins and ends: torch's ``base_lr``.
    peak : float
        torch's ``max_lr``.
    up : float
        Length of the way to the peak, in units of `unit`.
    down : float, optional
        Length of the way back; by default the same.
    form : {'triangular', 'triangular2', 'exp_range'}
        The same height for each cycle; half that of the one before; or multiplied by ``factor ** k``.
    factor : float
        Of ``form='exp_range'``: torch's ``gamma``.
    unit : {'step', 'epoch', 'run'}
        See `Schedule`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.schedules import cyclic
    >>> cyclic(0.0, 1.0, 2, form="triangular2")(np.arange(9))
    array([0.  , 0.5 , 1.  , 0.5 , 0.  , 0.25, 0.5 , 0.25, 0.  ])
    """

    choices: ClassVar[dict[str, tuple[Any, ...]]] = {"form": ("triangular", "triangular2", "exp_range")}
    value: float | None
    peak: float
    up: float
    down: float | None = None
    form: str = "triangular"
    factor: float = 1.0

    def check(self) -> None:
        """Check the parameters."""
        super().check()
        self._check_number(f"cyclic(peak={self.peak!r}): peak", "peak", self.peak, 0.0)

    def values(self, clock: Clock) -> np.ndarray:
        """Return the values at the times of a `Clock`."""
        ticks = clock.ticks(self.unit)
        down = self.up if self.down is None else self.down
        cycle, at = np.divmod(ticks, self.up + down)
        height = np.where(at <= self.up, at / self.up, (self.up + down - at) / down)
        if self.form == "triangular2":
            height = height * 0.5**cycle
        elif self.form == "exp_range":
            height = height * self.factor**ticks
        return self.value + (self.peak - self.value) * height

    def _extent(self):
        return 4 * super()._extent()
