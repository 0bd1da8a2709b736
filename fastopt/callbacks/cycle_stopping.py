"""Stopping between the cycles of a learning rate."""

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np

from fastopt.callbacks.base import NetworkCallback
from fastopt.callbacks.monitor import Monitor
from fastopt.schedules import Schedule, product


class CycleStopping(NetworkCallback):
    """Stop a fit at the end of a cycle of the learning rate that has made a number worse.

    In the middle of a cycle the rate is high and losses say little; at its end the network has settled. There
    its number is compared with that at the end of the cycle before.

    Parameters
    ----------
    monitor : {'val_loss', 'val_score', 'loss'} or callable, default='val_loss'
        A column of ``history_``, or a function of the network, which is called at the ends of cycles.
    first : int, default=3
        The first cycle that may end the training, counted from 1; at least 2.
    mode : {'min', 'max'}, optional
        Whether lesser or greater values of a function are better. Needed for a function, known of a column.

    Raises
    ------
    MissingExtraError
        If scikit-learn is older than 1.9.
    ValueError
        If a parameter is not acceptable; in ``fit`` if the learning rate has no cycles, or nothing is
        validated and ``monitor`` needs it.

    Notes
    -----
    The learning rate is a schedule with the method ``cycle_ends``: `fastopt.schedules.coslog4`,
    `fastopt.schedules.cosine_restarts` or one of your own, alone or times others. A cycle that ends within an
    epoch counts as ended at the end of that epoch. The loss rises when a cycle begins, on which patience may
    run out: ``n_iter_no_change=np.inf`` leaves the stopping to this callback.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.preprocessing import scale
    >>> from fastopt import MLPClassifier
    >>> from fastopt.callbacks import CycleStopping
    >>> from fastopt.schedules import coslog4
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
    >>> rate = coslog4(0.1, cycles=5)  # over 62 epochs cycles end after 2, 6, 14, 30 and 62
    >>> clf = MLPClassifier((32,), learning_rate=rate, max_iter=62, n_iter_no_change=np.inf, random_state=0)
    >>> clf.set_callbacks(CycleStopping()).fit(X, y, X_val=X_val, y_val=y_val).n_iter_
    14
    """

    def __init__(
        self,
        monitor: str | Callable[[Any], float] = "val_loss",
        *,
        first: int = 3,
        mode: str | None = None,
    ) -> None:
        super().__init__()
        self.monitor: Monitor = Monitor(monitor, mode, type(self).__name__)
        if self.monitor.mode is None:
            raise ValueError(
                "CycleStopping needs mode='min' or mode='max' to know what of a function is better"
            )
        if isinstance(first, bool) or not isinstance(first, Integral) or first < 2:
            raise ValueError(f"first={first!r} of CycleStopping is no number of a cycle from 2 on")
        self.first: int = first

    def _begin(self, estimator, context):
        return {}  # the number at the end of each cycle, by its epoch

    def _epoch_ends(self, estimator, state):
        ends, n = _cycle_ends(estimator), estimator.n_iter_
        if n not in ends:
            return False
        values = self.monitor.all(estimator)
        for end in ends[ends <= n].tolist():
            state.setdefault(end, values[end - 1])  # a checkpoint may have brought earlier ones
        number = int(np.flatnonzero(ends == n)[0])
        if number + 1 < self.first:
            return False
        before, now = (self.monitor.sign * state[int(end)] for end in ends[number - 1 : number + 1])
        return now < before or (np.isnan(now) and not np.isnan(before))


def _cycle_ends(estimator):
    """Return the epochs, counted from 1, at whose ends cycles of the learning rate have ended."""
    solver = getattr(estimator, "_optimizer", None)
    lr = None if solver is None else solver.update.hyper.get("lr")
    parts = lr.factors if isinstance(lr, product) else [lr]
    cyclic = [part for part in parts if isinstance(part, Schedule) and hasattr(part, "cycle_ends")]
    if len(cyclic) != 1:
        raise ValueError(
            f"CycleStopping needs a learning rate in cycles, such as learning_rate='coslog4' or "
            f"fastopt.schedules.cosine_restarts(...), and that of this fit is {lr!r}"
        )
    update = solver.update
    run = update.optimizer.inner_run(update.run)
    until = run.clock(np.zeros(1, np.int64)).length(None, cyclic[0].unit)
    ends = cyclic[0].cycle_ends(until) / until * estimator.max_iter
    return np.unique(np.ceil(ends - 1e-9).astype(np.int64))
