"""The number of threads for a batch, chosen by measured times.

Whether a second thread helps depends on the network, on how far apart two cores are and on who else uses
them. As no bit of the result depends on it, the engine tries.
"""

import math
import time
from collections.abc import Callable, Hashable

from fastopt.engine.thread_cache import ThreadCache

#: Seconds of one trial, and between two trials of what was slower.
_TRIAL, _AGAIN = 1e-3, 1.0
#: Trials of each number of workers at first: one may be disturbed.
_FIRST_TRIALS = 2
#: Weight of the newest measurement of what is running: one slow slice is not yet a reason to change.
_NEWEST = 0.3
#: Operations a second that one trial is planned with before anything is known.
_GUESS = 5e10


#: Choosers that a thread keeps: what one fit has learnt, the next need not learn.
_choosers = ThreadCache(64)


def thread_chooser(kind: Hashable, most: int, flops: float) -> "ThreadChooser":
    """Return this thread's `ThreadChooser` for a kind of work.

    Parameters
    ----------
    kind : hashable
        Whatever the cost of a batch depends on.
    most, flops
        As `ThreadChooser` takes them.
    """
    return _choosers.get(kind, lambda: ThreadChooser(most, flops))


class ThreadChooser:
    """Chooses the number of threads for the next batches, by trying each and comparing measured times.

    Parameters
    ----------
    most : int
        Most workers.
    flops : float
        Operations of a batch.
    clock : callable, optional
        Returns seconds.

    Examples
    --------
    >>> chooser, tried = ThreadChooser(2, 1e9), []
    >>> for _ in range(4):
    ...     tried.append(chooser.next(100)[0])
    ...     chooser.record(0.1)
    >>> tried
    [2, 1, 2, 1]
    """

    def __init__(self, most: int, flops: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        options = [most]
        while options[-1] > 1:
            options.append(options[-1] // 2)
        self._cost = dict.fromkeys(options, math.inf)  # seconds a batch
        self._trials = options * _FIRST_TRIALS if most > 1 else []
        self._seconds = flops / _GUESS
        self._again = None
        self._current = most, 1

    def next(self, n_left: int) -> tuple[int, int]:
        """Return how many workers are to run how many of the ``n_left`` remaining batches."""
        if self._trials:
            self._current = self._trials[0], min(n_left, max(1, round(_TRIAL / self._seconds)))
        else:
            self._current = min(self._cost, key=self._cost.get), n_left
        return self._current

    def record(self, seconds: float) -> None:
        """Record the time of the batches that `next` returned."""
        workers, n_batches = self._current
        cost = self._seconds = seconds / n_batches
        if self._trials:
            self._trials.pop(0)
            self._cost[workers] = min(cost, self._cost[workers])
            if not self._trials:
                self._again = self._clock() + _AGAIN
        elif len(self._cost) > 1:
            self._cost[workers] += _NEWEST * (cost - self._cost[workers])
            if self._clock() > self._again:
                self._trials = [option for option in self._cost if option != workers]
                self._cost.update(dict.fromkeys(self._trials, math.inf))
