"""Schedules that go once from a first value to a last one: linear, cosine, polynomial and others."""

import dataclasses
from numbers import Integral
from typing import Any, ClassVar

import numpy as np

from fastopt.schedules.base import Schedule, schedule
from fastopt.schedules.clock import Clock

#: Of `coslog4`: the last wave is 2 to this power times as long as the unit of the first, in float64.
_MOST_CYCLES = 1023


@dataclasses.dataclass(repr=False)
class Decay(Schedule):
    """Base of the decays from ``value`` to ``end`` over ``length``, constant afterwards."""

    value: float | None = None
    length: float | None = None
    end: float = 0.0

    def values(self, clock: Clock) -> np.ndarray:
        """Return the values at the times of a `Clock`."""
        x = self._progress(clock.ticks(self.unit), clock.length(self.length, self.unit))
        return self.end + (self.value - self.end) * self.shape(x)

    def _progress(self, ticks, length):
        return np.minimum(ticks / length, 1.0)

    def shape(self, x: np.ndarray) -> np.ndarray:
        """Return the decay's factor: 1 at ``x = 0``, the first value, and 0 at ``x = 1``, the last one."""
        raise NotImplementedError


@schedule
class linear(Decay):
    """A line from ``value`` to ``end`` over ``length``, up or down, then ``end``.

    As optax's ``linear_schedule``; torch's ``LinearLR(start_factor, end_factor, total_iters)`` at learning
    rate ``lr`` is ``linear(start_factor * lr, total_iters, end_factor * lr)``.

    Parameters
    ----------
    value : float
        The first value.
    length : float, optional
        How long it takes, in units of `unit`; by default the whole run.
    end : float
        The last value.
    unit : {'step', 'epoch', 'run'}
        See `Schedule`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.schedules import linear
    >>> linear(1.0, 4)(np.arange(6))
    array([1.  , 0.75, 0.5 , 0.25, 0.  , 0.  ])
    """

    def shape(self, x: np.ndarray) -> np.ndarray:
        """Return the factor of the decay; see `Decay.shape`."""
        return 1.0 - x


@schedule
class polynomial(Decay):
    """``end + (value - end) * (1 - x) ** power`` at the fraction ``x`` of the length, then ``end``.

    As torch's ``PolynomialLR``, optax's ``polynomial_schedule`` and Keras' ``PolynomialDecay``.

    Parameters
    ----------
    value, length, end, unit
        As in `linear`.
    power : float
        1 is a straight line.
    cycle : bool
        Past the end, start again from where the curve of twice, three times, ... the length is, as Keras'
        ``cycle=True``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.schedules import polynomial
    >>> polynomial(1.0, 4, power=2.0)(np.arange(6))
    array([1.    , 0.5625, 0.25  , 0.0625, 0.    , 0.    ])
    """

    choices: ClassVar[dict[str, tuple[Any, ...]]] = {"cycle": (False, True)}
    power: float = 1.0
    cycle: bool = False

    def _progress(self, ticks, length):
        if self.cycle:
            length = length * np.maximum(1.0, np.ceil(ticks / length))
        return np.minimum(ticks / length, 1.0)

    def shape(self, x: np.ndarray) -> np.ndarray:
        """Return the factor of the decay; see `Decay.shape`."""
        return (1.0 - x) ** self.power


@schedule
class cosine(Decay):
    """Cosine annealing from ``value`` to ``end``, without restarts, then ``end`` (Loshchilov & Hutter, 2017).

    As optax's ``cosine_decay_schedule`` and Keras' ``CosineDecay``, whose ``alpha`` is ``end / value``.
    torch's ``CosineAnnealingLR(T_max, eta_min)`` is the same up to ``T_max`` and then goes up again, as
    ``periodic=True`` does.

    Parameters
    ----------
    value, length, end, unit
        As in `linear`.
    periodic : bool
        Go on along the cosine past the end.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.schedules import cosine
    >>> cosine(1.0, 2)(np.arange(5)).round(6)
    array([1. , 0.5, 0. , 0. , 0. ])
    >>> cosine(1.0, 2, periodic=True)(np.arange(5)).round(6)
    array([1. , 0.5, 0. , 0.5, 1. ])
    """

    choices: ClassVar[dict[str, tuple[Any, ...]]] = {"periodic": (False, True)}
    periodic: bool = False

    def _progress(self, ticks, length):
        return ticks / length if self.periodic else super()._progress(ticks, length)

    def shape(self, x: np.ndarray) -> np.ndarray:
        """Return the factor of the decay; see `Decay.shape`."""
        return half_cosine(x)


def half_cosine(x: np.ndarray) -> np.ndarray:
    """Return the half cosine from 1 at ``x = 0`` to 0 at ``x = 1``."""
    return 0.5 * (1.0 + np.cos(np.pi * x))


@schedule
class flat_cos(Decay):
    """``value`` for a fraction of the length, then cosine annealing to ``end``.

    pytabkit's ``flat_cos``, which RealMLP uses for dropout and weight decay (Holzmüller, Grinsztajn &
    Steinwart, 2024), with its 0.5.

    Parameters
    ----------
    value, length, end, unit
        As in `linear`.
    flat : float
        Share of the length that stays at ``value``, in [0, 1).

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.schedules import flat_cos
    >>> flat_cos(1.0, 4)(np.arange(5)).round(6)
    array([1. , 1. , 1. , 0.5, 0. ])
    """

    flat: float = 0.5

    def check(self) -> None:
        """Check the parameters."""
        super().check()
        check_share(self, flat=self.flat)

    def shape(self, x: np.ndarray) -> np.ndarray:
        """Return the factor of the decay; see `Decay.shape`."""
        return half_cosine(np.maximum(x - self.flat, 0.0) / (1.0 - self.flat))


@schedule
class rex(Decay):
    """Reflected exponential decay, by ``(1 - x) / (1 - x / 2)`` (Chen, Wolfe & Kyrillidis, 2022).

    Parameters
    ----------
    value, length, end, unit
        As in `linear`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.schedules import rex
    >>> rex(1.0, 4)(np.arange(6)).round(4)
    array([1.    , 0.8571, 0.6667, 0.4   , 0.    , 0.    ])
    """

    def shape(self, x: np.ndarray) -> np.ndarray:
        """Return the factor of the decay; see `Decay.shape`."""
        return (1.0 - x) / (1.0 - 0.5 * x)


@schedule
class coslog4(Decay):
    """Cosine waves, each twice as long as the one before: the learning rate of RealMLP.

    ``(1 - cos(2 pi log2(1 + (2**cycles - 1) x))) / 2``: begins and ends at ``end``, with ``cycles`` peaks of
    ``value``; four in Holzmüller, Grinsztajn & Steinwart (2024). Cycle ``k``, from 1 on, ends at the share
    ``(2**k - 1) / (2**cycles - 1)`` of the length.

    Parameters
    ----------
    value : float
        The peaks.
    length, end, unit
        As in `linear`.
    cycles : int
        How many waves, at most 1023: each is twice as long as the one before.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.schedules import coslog4
    >>> coslog4(1.0, 15)(np.array([0, 1, 3, 7, 15])).round(6)
    array([0., 0., 0., 0., 0.])
    """

    cycles: int = 4

    def check(self) -> None:
        """Check the parameters."""
        super().check()
        if not isinstance(self.cycles, Integral) or not 1 <= self.cycles <= _MOST_CYCLES:
            raise ValueError(
                f"coslog4(cycles={self.cycles!r}): cycles must be a whole number from 1 to {_MOST_CYCLES}"
            )

    def cycle_ends(self, until: float) -> np.ndarray:
        """Return when the cycles end, in the schedule's unit, up to the time ``until``: the run's length.

        Examples
        --------
        >>> from fastopt.schedules import coslog4
        >>> coslog4(1.0, cycles=5, unit="epoch").cycle_ends(186)
        array([  6.,  18.,  42.,  90., 186.])
        """
        self.check()
        shares = (2.0 ** np.arange(1, self.cycles + 1) - 1.0) / (2.0**self.cycles - 1.0)
        ends = shares * (until if self.length is None else self.length)
        return ends[ends <= until * (1.0 + 1e-12)]

    def shape(self, x: np.ndarray) -> np.ndarray:
        """Return the factor of the waves."""
        return 0.5 * (1.0 - np.cos(2.0 * np.pi * np.log2(1.0 + (2.0**self.cycles - 1.0) * x)))


@schedule
class wsd(Decay):
    """Warmup, stable, decay (Hu et al., 2024): a line up to ``value``, constant, then a decay to ``end``.

    Parameters
    ----------
    value, length, end, unit
        As in `linear`.
    warmup, decay : float
        Shares of the length that the first and the last part take.
    form : {'sqrt', 'linear', 'cosine', 'square'}
        Of the last part: with its share ``y``, ``1 - sqrt(y)`` (Hägele et al., 2024), ``1 - y``, half a
        cosine or ``1 - y ** 2`` of the way is left.
    start : float
        The first value.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.schedules import wsd
    >>> wsd(1.0, 10, warmup=0.2, decay=0.4)(np.arange(11)).round(3)
    array([0.   , 0.5  , 1.   , 1.   , 1.   , 1.   , 1.   , 0.5  , 0.293,
           0.134, 0.   ])
    """

    choices: ClassVar[dict[str, tuple[Any, ...]]] = {"form": ("sqrt", "linear", "cosine", "square")}
    warmup: float = 0.05
    decay: float = 0.2
    form: str = "sqrt"
    start: float = 0.0

    def check(self) -> None:
        """Check the parameters."""
        super().check()
        check_share(self, warmup=self.warmup, decay=self.decay)
        if self.warmup + self.decay > 1:
            raise ValueError(
                f"wsd(warmup={self.warmup!r}, decay={self.decay!r}): together they must not exceed 1"
            )

    def values(self, clock: Clock) -> np.ndarray:
        """Return the values at the times of a `Clock`."""
        ticks, length = clock.ticks(self.unit), clock.length(self.length, self.unit)
        first, last = self.warmup * length, self.decay * length
        # In ticks, because the root would make 1e-8 of a rounding error of shares.
        y = np.clip((ticks - (length - last)) / (last or np.inf), 0.0, 1.0)
        left = {"sqrt": 1.0 - y**0.5, "linear": 1.0 - y, "square": 1.0 - y * y, "cosine": half_cosine(y)}
        down = self.end + (self.value - self.end) * left[self.form]
        up = self.start + (self.value - self.start) * ticks / (first or np.inf)
        return np.where(ticks < first, up, down)


def check_share(owner: Schedule, **shares: float) -> None:
    """Raise ValueError if a parameter is not in [0, 1)."""
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise ValueError(f"{type(owner).__name__}({name}={share!r}): {name} must be a number in [0, 1)")
