"""Early stopping: when to stop training, and which epoch's weights to keep."""

import numpy as np

from fastopt.persistence import Persistent
from fastopt.rules import patience


class EarlyStopping(Persistent):
    """Patience on a loss or a score by scikit-learn's rules, with a copy of the best epoch's weights.

    An epoch is bad unless it improves on the best value so far by more than ``tol``. Patience has run out
    after more than ``n_iter_no_change`` bad epochs in a row.

    Parameters
    ----------
    best : float
        The best loss or score so far; an infinity if there is none.
    tol : float
    n_iter_no_change : int or float
        Bad epochs in a row that are still accepted.
    greater_is_better : bool
        Whether `observe` is given scores instead of losses.
    n_bad : int
        Bad epochs in a row so far.

    Attributes
    ----------
    best : float
    n_bad : int

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.neural_network.early_stopping import EarlyStopping
    >>> watch, weights = EarlyStopping(best=np.inf, tol=0.0, n_iter_no_change=1), np.zeros(1)
    >>> watch.keep_best(weights)
    >>> for loss in (3.0, 2.0, 5.0, 4.0):
    ...     weights[0] = loss
    ...     watch.observe(loss, weights)
    >>> watch.has_run_out, watch.best
    (True, 2.0)
    >>> watch.restore(weights)
    >>> weights
    array([2.])
    """

    _state_names = ("best", "tol", "n_iter_no_change", "greater_is_better", "n_bad", "keeps_best", "_weights")

    def __init__(
        self,
        *,
        best: float,
        tol: float,
        n_iter_no_change: float,
        greater_is_better: bool = False,
        n_bad: int = 0,
    ):
        self.best: float = best
        self.tol: float = tol
        self.n_iter_no_change: float = n_iter_no_change
        self.greater_is_better: bool = greater_is_better
        self.n_bad: int = n_bad
        self.keeps_best: bool = False
        self._weights: np.ndarray | None = None

    def keep_best(self, params: np.ndarray | None) -> None:
        """Keep a copy of the best epoch's parameters from now on, for `restore`.

        Parameters
        ----------
        params : ndarray or None
            The best before training. None: `restore` changes nothing unless an epoch improves on ``best``.
        """
        self.keeps_best, self._weights = True, None if params is None else params.copy()

    def observe(self, value: float, params: np.ndarray) -> None:
        """Record an epoch's loss or score and its parameters."""
        sign = 1.0 if self.greater_is_better else -1.0
        score, best = sign * value, sign * self.best
        _, self.n_bad = patience.observe(score, best, self.n_bad, self.tol)
        if score > best:
            self.best = value
            if self.keeps_best:
                self._keep(params)

    def _keep(self, params):
        if self._weights is None:
            self._weights = params.copy()
        self._weights[...] = params

    @property
    def has_run_out(self) -> bool:
        """Whether there have been more bad epochs in a row than are tolerated."""
        return self.n_bad > self.n_iter_no_change

    def begin_again(self) -> None:
        """Reset the count of bad epochs, as after a reduction of the learning rate."""
        self.n_bad = 0

    def restore(self, params: np.ndarray) -> None:
        """Copy the best epoch's parameters into ``params``, if they were kept."""
        if self._weights is not None:
            params[...] = self._weights
