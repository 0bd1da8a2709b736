"""Training in cycles of the learning rate, which may end after each: by the loss, the time or a callback."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastopt.engine import monotonic_clock
from fastopt.neural_network.stopwatch import Stopwatch
from fastopt.schedules import coslog4
from fastopt.tabular.bag import N_CYCLES, Bag

#: From which cycle on, counted from 0, training may end because a cycle has not helped.
_FIRST_TO_STOP = 2
#: Share of the time left for which a last cycle is planned.
_CAUTION = 0.95
#: Epochs below which a last cycle is not worth it: the learning rate is near 0 in most of its steps.
_SHORTEST = 4


def cycle_lengths(max_iter: int) -> list[int]:
    """Return the epochs of each cycle of the learning rate; cycles of no epoch are left out.

    Examples
    --------
    >>> from fastopt.tabular.cycles import cycle_lengths
    >>> cycle_lengths(186)
    [6, 12, 24, 48, 96]
    """
    ends = np.rint([0, *coslog4(1.0, cycles=N_CYCLES, unit="epoch").cycle_ends(max_iter)])
    return [int(length) for length in np.diff(ends) if length]


def train_in_cycles(
    bag: Bag,
    max_iter: int,
    stopwatch: Stopwatch,
    cycle_ends: Callable[[int], bool],
    tick: Callable[[int], Any] | None = None,
) -> str:
    """Train a bag until a cycle has not lowered the pooled loss of the rows held out, or all are done.

    Where time will be over before the next cycle would be, that is shortened to the time left, so that
    training ends with a learning rate of 0.

    Parameters
    ----------
    bag : Bag
    max_iter : int
        Epochs of all cycles.
    stopwatch : Stopwatch
        Says when time is over.
    cycle_ends : callable
        Called with the number of epochs done after each cycle. A true answer ends the training.
    tick : callable, optional
        Called with the number of epochs done, four times a second at most.

    Returns
    -------
    str
        Why training has ended: 'max_iter', 'loss', 'callback', 'diverged'; 'max_time', with a learning rate
        of 0, or 'cut_short' by it in the middle of a cycle.
    """
    before, n_done, pace = math.inf, 0, 0.0
    for number, length in enumerate(cycle_lengths(max_iter)):
        planned = length
        if stopwatch.until is not None and number:
            planned = min(length, math.floor(_CAUTION * _seconds_left(stopwatch) / max(pace, 1e-9)))
            if planned < min(length, _SHORTEST):
                return "max_time"
            if planned < length:
                bag.end_within(planned)
        pace = _train_cycle(bag, planned, n_done, stopwatch.until, tick)
        loss = bag.losses()[1]
        is_cut, n_done = len(loss) < n_done + planned, len(loss)
        if cycle_ends(n_done):
            return "callback"
        if bag.has_diverged():
            return "diverged"
        if is_cut or planned < length:
            return "cut_short" if is_cut else "max_time"
        if number >= _FIRST_TO_STOP and loss[-1] > before:
            return "loss"
        before = loss[-1]
    return "max_iter"


def _seconds_left(stopwatch):
    return max(0.0, stopwatch.until - monotonic_clock.now())


def _train_cycle(bag, n_epochs, n_done, until, tick):
    """Train for some epochs; return the seconds that one takes."""
    on_tick = None if tick is None else lambda n: tick(n_done + n / len(bag.members))
    if until is None:
        bag.train(n_epochs, None, on_tick)
        return 0.0
    bag.train(n_epochs - n_epochs // 2, until, on_tick)  # with whatever has to be compiled before
    if bag.lacks_epochs():
        bag.train(1)
    began = monotonic_clock.now()
    if monotonic_clock.is_past(until):
        return np.inf
    bag.train(n_epochs // 2, until, on_tick)
    return (monotonic_clock.now() - began) / max(1, n_epochs // 2)
