"""Dropout's rates, schedules included, and the seed and count from which each mini-batch has its masks."""

import dataclasses
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from fastopt.persistence import Persistent
from fastopt.rules import dropout as rules
from fastopt.schedules import Run, Schedule
from fastopt.stepping import scheduling


class DropoutState(Persistent):
    """Which units of a network are dropped in each mini-batch.

    The masks are a function of seed, mini-batch, layer, row of the mini-batch and unit, so they do not depend
    on threads, and a training that is interrupted goes on with the same.

    Parameters
    ----------
    rates : sequence of float or Schedule
        Share of the units that are dropped: of the inputs, and of each hidden layer. In [0, 1).
    seed : int
        Below 2 ** 32.
    run : Run, optional
        What schedules know about the run, whose steps are mini-batches.

    Attributes
    ----------
    hyper : dict
        ``rates``, a tuple.
    t : int
        Mini-batches so far.

    Raises
    ------
    TypeError, ValueError
        If a rate is not such a number.

    Examples
    --------
    >>> from fastopt.stepping.dropout import DropoutState
    >>> state = DropoutState((0.0, 0.5), seed=1)
    >>> state.drops, state.rows(3)[:, 1, 1]  # thresholds of 16 random bits
    ((False, True), array([32768, 32768, 32768]))
    """

    hyper: dict[str, Any]
    seed: int
    run: Run
    t: int

    _state_names = ("hyper", "seed", "run", "t")

    def __init__(self, rates: Sequence[float | Schedule], seed: int, run: Run | None = None):
        self.hyper, self.seed, self.run, self.t = {"rates": tuple(rates)}, int(seed), run or Run(), 0
        self._check_restored()

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._state_names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._set_drops()

    def _check_restored(self) -> None:
        """Raise ValueError or TypeError unless the attributes fit together, which a file may have given."""
        if type(self.seed) is not int or type(self.t) is not int or not 0 <= self.seed < 2**32 or self.t < 0:
            raise ValueError(f"no dropout has seed={self.seed!r} after {self.t!r} mini-batches")
        if not isinstance(self.run, Run) or self.hyper.keys() != {"rates"}:
            raise ValueError(f"{self.run!r} and {self.hyper!r} are not the run and the rates of dropout")
        for rate in self.hyper["rates"]:
            if isinstance(rate, bool) or not isinstance(rate, (Real, Schedule)):
                raise TypeError(f"dropout={rate!r} must be a number in [0, 1) or a schedule of such numbers")
        self._values(1)
        self._set_drops()

    def _set_drops(self):
        self._drops = tuple(isinstance(rate, Schedule) or rate > 0 for rate in self.hyper["rates"])

    @property
    def drops(self) -> tuple[bool, ...]:
        """Whether there is ever dropout of the inputs, and of each hidden layer."""
        return self._drops

    def _values(self, n):
        """Return the rates of the next ``n`` mini-batches, shape (n, rates)."""
        clock, values = self.run.clock(np.arange(self.t, self.t + n)), []
        for rate in self.hyper["rates"]:
            value = rate.at(clock) if isinstance(rate, Schedule) else np.full(n, float(rate))
            is_wrong = ~((value >= 0) & (value < 1))
            if is_wrong.any():
                given = f"; it gives {float(value[is_wrong][0])!r}" if isinstance(rate, Schedule) else ""
                raise ValueError(f"dropout={rate!r} must be in [0, 1){given}")
            values.append(value)
        return np.stack(values, axis=1)

    def rows(self, n: int) -> np.ndarray:
        """Return the keys and thresholds of the next mini-batches, without counting these as trained.

        Parameters
        ----------
        n : int

        Returns
        -------
        ndarray of int64, shape (n, rates, 2)
            See `fastopt.rules.dropout`.
        """
        rows = np.empty((n, len(self.drops), 2), np.int64)
        rows[:, :, 0] = rules.layer_keys(self.seed, np.arange(self.t, self.t + n), len(self.drops))
        rows[:, :, 1] = rules.thresholds(self._values(n))
        return rows

    def advance(self, n: int) -> None:
        """Count ``n`` mini-batches as trained."""
        self.t += n

    def go_on(self, run: Run, n_epochs: int) -> None:
        """Update what schedules know of the run: where it stands, and how long later epochs are."""
        origin = self.run.origin
        self.run = dataclasses.replace(run, origin=origin, seen=(self.t - origin, n_epochs))

    def observe(self, metric: float, *, greater_is_better: bool = False) -> None:
        """Pass the loss or score of an epoch to the schedules; `plateau` reacts to it."""
        self.hyper = scheduling.observe(self.hyper, metric, greater_is_better)

    def continue_from(self, other: "DropoutState") -> None:
        """Go on after the mini-batches of another state, with schedules that begin now."""
        self.seed, self.t = other.seed, other.t
        self.run = dataclasses.replace(self.run, origin=self.t)
