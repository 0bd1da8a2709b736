"""How many workers take part: chosen by what batches have cost, not by a constant.

Whether a second thread helps depends on the network, on how far apart two cores are and on who else uses
them. As no bit of the result depends on it, the engine tries.
"""

import math
import threading
import time

#: Seconds of one trial, and between two trials of what was slower.
_TRIAL, _AGAIN = 1e-3, 1.0
#: Trials of each number of workers at first: one may be disturbed.
_FIRST_TRIALS = 2
#: Weight of the newest measurement of what is running: one slow slice is not yet a reason to change.
_NEWEST = 0.3
#: Operations a second that one trial is planned with before anything is known.
_GUESS = 5e10


#: Kinds of work that a Python thread remembers.
_MOST_KEPT = 64

_local = threading.local()


def remembered(kind, most, flops):
    """Return the `Pace` of a kind of work: what one fit has learnt in this thread, the next need not learn.

    Parameters
    ----------
    kind : hashable
        Whatever the cost of a batch depends on.
    most, flops
        As `Pace` takes them.
    """
    kept = _local.__dict__.setdefault("kept", {})
    if kind not in kept:
        if len(kept) >= _MOST_KEPT:
            del kept[next(iter(kept))]
        kept[kind] = Pace(most, flops)
    return kept[kind]


class Pace:
    """Chooses the number of workers for each part of a run.

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
    >>> pace, tried = Pace(2, 1e9), []
    >>> for _ in range(4):
    ...     tried.append(pace.next(100)[0])
    ...     pace.record(0.1)
    >>> tried
    [2, 1, 2, 1]
    """

    def __init__(self, most, flops, clock=time.perf_counter):
        self._clock = clock
        options = [most]
        while options[-1] > 1:
            options.append(options[-1] // 2)
        self._cost = dict.fromkeys(options, math.inf)  # seconds a batch
        self._trials = options * _FIRST_TRIALS if most > 1 else []
        self._seconds = flops / _GUESS
        self._again = None
        self._current = most, 1

    def next(self, n_left):
        """Return how many workers shall run how many of the ``n_left`` batches that remain."""
        if self._trials:
            self._current = self._trials[0], min(n_left, max(1, round(_TRIAL / self._seconds)))
        else:
            self._current = min(self._cost, key=self._cost.get), n_left
        return self._current

    def record(self, seconds):
        """Note how long what `next` said took."""
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
