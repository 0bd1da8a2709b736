"""The number that a callback watches: a column of the network's history, or what a function returns."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastopt._parameters import suggestion

#: Columns of ``history_`` that can be watched, and which of their values are better.
_BETTER = {"loss": "min", "val_loss": "min", "val_score": "max"}
_MODES = ("min", "max")


class Monitor:
    """A number for each epoch, and the sign with which the greater one is better.

    Parameters
    ----------
    what : {'loss', 'val_loss', 'val_score'} or callable
        A column of ``history_``, or a function of the network.
    mode : {'min', 'max'}, optional
        Which values are better; known of the columns.
    owner : str
        Name of the callback, for messages.
    """

    def __init__(self, what: str | Callable[[Any], float], mode: str | None, owner: str) -> None:
        if not callable(what) and what not in _BETTER:
            raise ValueError(
                f"monitor={what!r} of {owner} is none of {', '.join(map(repr, _BETTER))} and no function of "
                f"the network.{suggestion(what, _BETTER)}"
            )
        if mode not in (None, *_MODES):
            raise ValueError(f"mode={mode!r} of {owner} is neither 'min' nor 'max'")
        self.what = what
        self.owner = owner
        self.mode = mode if callable(what) else _BETTER[what]
        if mode not in (None, self.mode):
            raise ValueError(
                f"mode={mode!r} of {owner} does not go with monitor={what!r}, of which the "
                f"{'least' if self.mode == 'min' else 'greatest'} is the best: leave mode out"
            )

    @property
    def sign(self) -> float:
        """1 if greater values are better, else -1."""
        return 1.0 if self.mode == "max" else -1.0

    def last(self, estimator: Any) -> float:
        """Return the number of the epoch that has just ended."""
        if callable(self.what):
            return float(self.what(estimator))
        return self.all(estimator)[-1]

    def all(self, estimator: Any) -> list[float]:
        """Return the numbers of all epochs of this fit; of a function only the last, the others NaN.

        Raises
        ------
        ValueError
            If nothing is validated and the number needs it.
        """
        n = estimator.n_iter_
        if n == 0:
            return []
        if callable(self.what):
            return [np.nan] * (n - 1) + [self.last(estimator)]
        values = estimator.history_[self.what][-n:]
        if self.what != "loss" and np.isnan(values).all() and np.isfinite(estimator.loss_):
            raise ValueError(
                f"{self.owner} watches {self.what!r}, but nothing is validated: pass X_val and y_val to fit, "
                "set early_stopping=True, or watch 'loss'"
            )
        return values.tolist()
