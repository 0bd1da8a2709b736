"""Piecewise schedules: step decay, and values or curves between given boundaries."""

from collections.abc import Sequence
from itertools import pairwise
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fastopt.schedules.base import Schedule, schedule
from fastopt.schedules.clock import Clock
from fastopt.schedules.decay import half_cosine
from fastopt.schedules.endless import periods


@schedule
class step(Schedule):
    """Multiply by ``factor`` each time ``every`` is over, as torch's ``StepLR(step_size, gamma)``.

    Parameters
    ----------
    value : float
        The first value.
    every : float
        How long each value holds, in units of `unit`.
    factor : float
        What the value is multiplied by.
    unit : {'step', 'epoch', 'run'}
        See `Schedule`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.schedules import step
    >>> step(1.0, 2, 0.5)(np.arange(6))
    array([1.  , 1.  , 0.5 , 0.5 , 0.25, 0.25])
    """

    value: float | None
    every: float
    factor: float = 0.1

    def values(self, clock: Clock) -> np.ndarray:
        """Return the values at the times of a `Clock`."""
        return self.value * self.factor ** periods(clock.ticks(self.unit), self.every)


@schedule
class multistep(Schedule):
    """Multiply by ``factor`` at each boundary, as torch's ``MultiStepLR(milestones, gamma)``.

    Parameters
    ----------
    value : float
        The first value.
    boundaries : sequence of float
        Ascending times, in units of `unit`; the change holds from each boundary on. A boundary that is given
        twice multiplies twice, as in torch.
    factor : float
        What the value is multiplied by.
    unit : {'step', 'epoch', 'run'}
        See `Schedule`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.schedules import multistep
    >>> multistep(1.0, (2, 3), 0.5)(np.arange(5))
    array([1.  , 1.  , 0.5 , 0.25, 0.25])
    """

    value: float | None
    boundaries: Sequence[float]
    factor: float = 0.1

    def check(self) -> None:
        """Check the parameters."""
        super().check()
        check_boundaries(self, self.boundaries)

    def values(self, clock: Clock) -> np.ndarray:
        """Return the values at the times of a `Clock`."""
        passed = np.searchsorted(self.boundaries, clock.ticks(self.unit), side="right")
        return self.value * self.factor ** passed.astype(np.float64)


@schedule
class piecewise(Schedule):
    """A constant value between each two boundaries, or lines or half cosines from value to value.

    optax's ``piecewise_constant_schedule`` and ``piecewise_interpolate_schedule``; with ``strict=True``
    Keras' ``PiecewiseConstantDecay``. torch's ``ConstantLR(factor, total_iters)`` at learning rate ``lr`` is
    ``piecewise((factor * lr, lr), (total_iters,))``.

    Parameters
    ----------
    levels : sequence of float
        The values, one more than there are boundaries.
    boundaries : sequence of float
        Ascending times, in units of `unit`. Level ``i + 1`` is reached at boundary ``i``; between two equal
        ones there is a level, or a line, of no length.
    interpolate : {None, 'linear', 'cosine'}
        How to go from level to level; None jumps.
    strict : bool
        Jump after a boundary, at ``k > boundary``, rather than at it.
    unit : {'step', 'epoch', 'run'}
        See `Schedule`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.schedules import piecewise
    >>> piecewise((1.0, 0.5, 0.1), (2, 4))(np.arange(6))
    array([1. , 1. , 0.5, 0.5, 0.1, 0.1])
    >>> piecewise((0.0, 1.0, 0.0), (2, 4), interpolate="linear")(np.arange(6))
    array([0. , 0.5, 1. , 0.5, 0. , 0. ])
    """

    choices: ClassVar[dict[str, tuple[Any, ...]]] = {
        "interpolate": (None, "linear", "cosine"),
        "strict": (False, True),
    }
    levels: Sequence[float]
    boundaries: Sequence[float]
    interpolate: str | None = None
    strict: bool = False

    def check(self) -> None:
        """Check the parameters."""
        super().check()
        check_boundaries(self, self.boundaries)
        for level in self.levels:
            self._check_number(f"piecewise(levels={self.levels!r}): each level", "level", level, 0.0)
        if len(self.levels) != len(self.boundaries) + 1:
            raise ValueError(
                f"piecewise has {len(self.levels)} levels for {len(self.boundaries)} boundaries; give one "
                "level more than boundaries"
            )
        if self.strict and self.interpolate:
            raise ValueError("piecewise(strict=True) is about jumps; leave it out beside interpolate")

    def values(self, clock: Clock) -> np.ndarray:
        """Return the values at the times of a `Clock`."""
        ticks = clock.ticks(self.unit)
        if self.interpolate:
            return between(ticks, (0, *self.boundaries), self.levels, self.interpolate)
        level = np.searchsorted(self.boundaries, ticks, side="left" if self.strict else "right")
        return np.asarray(self.levels, np.float64)[level]


def between(ticks: np.ndarray, moments: npt.ArrayLike, levels: npt.ArrayLike, form: str) -> np.ndarray:
    """Interpolate ``levels`` at ``moments`` by lines or half cosines; two equal moments make a jump."""
    moments, levels = np.asarray(moments, np.float64), np.asarray(levels, np.float64)
    i = np.clip(np.searchsorted(moments, ticks, side="right") - 1, 0, len(moments) - 2)
    span = moments[i + 1] - moments[i]
    x = np.clip((ticks - moments[i]) / np.where(span > 0, span, np.inf), 0.0, 1.0)
    x = np.where(span > 0, x, 1.0)  # past a last part of no length
    left = half_cosine(x) if form == "cosine" else 1.0 - x
    return levels[i + 1] + (levels[i] - levels[i + 1]) * left


def check_boundaries(owner: Schedule, boundaries: Sequence[float]) -> None:
    """Raise TypeError or ValueError unless boundaries are ascending numbers >= 0, at least one."""
    what = (
        f"{type(owner).__name__}(boundaries={boundaries!r}): boundaries must be numbers >= 0, at least one "
        "and none smaller than the one before"
    )
    if isinstance(boundaries, (str, Real)) or not all(isinstance(b, Real) for b in boundaries):
        raise TypeError(what)
    if not len(boundaries) or not all(a <= b for a, b in pairwise((0, *boundaries))):
        raise ValueError(what)
