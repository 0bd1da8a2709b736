"""Early stopping by any number."""

import dataclasses
import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np

from fastopt.callbacks.base import NetworkCallback
from fastopt.callbacks.monitor import Monitor
from fastopt.neural_network.caller_warnings import warn


@dataclasses.dataclass
class _Patience:
    """The best epoch so far, and how many have passed since."""

    best: float = -math.inf
    best_epoch: int = 0
    n_epochs: int = 0
    weights: np.ndarray | None = None
    epoch_of_weights: int = 0


class EarlyStopping(NetworkCallback):
    """Stop a fit when a number has not improved for some epochs.

    Beside the parameter ``early_stopping``, which holds out rows and stops by their score: this one watches
    any number, and holds out nothing.

    Parameters
    ----------
    monitor : {'val_loss', 'val_score', 'loss'} or callable, default='val_loss'
        A column of ``history_``, or a function of the network that is called after each epoch and returns a
        number. It may predict with the network, and must not change it.
    patience : int, default=10
        Epochs in a row without improvement after which training stops: as many as in Keras, one fewer than
        with ``n_iter_no_change``.
    min_delta : float, default=0.0
        By how much a value has to be better than the best so far, to be an improvement; more than that.
    mode : {'min', 'max'}, optional
        Whether lesser or greater values of a function are better. Needed for a function, known of a column.
    restore_best : bool, default=False
        Leave the weights of the best epoch instead of the last, also after ``max_iter`` or Ctrl-C. NaN is
        never the best.

    Raises
    ------
    MissingExtraError
        If scikit-learn is older than 1.9.
    ValueError
        If a parameter is not acceptable; in ``fit`` if nothing is validated, and ``monitor`` needs it.

    Notes
    -----
    A fit that it stops has converged: nothing is warned. The fits of a search stop independently of each
    other, in threads and in processes. A fit that goes on from its ``checkpoint`` counts the epochs before,
    too (of a function it has no values of them); their weights are gone, which a warning says where
    ``restore_best`` wants them.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from fastopt import MLPClassifier
    >>> from fastopt.callbacks import EarlyStopping
    >>> X, X_val, y, y_val = train_test_split(*load_digits(return_X_y=True), random_state=0)
    >>> stop = EarlyStopping("val_loss", patience=3, restore_best=True)
    >>> clf = MLPClassifier((32,), learning_rate_init=0.01, random_state=0).set_callbacks(stop)
    >>> clf.fit(X, y, X_val=X_val, y_val=y_val).n_iter_ < 100
    True
    """

    def __init__(
        self,
        monitor: str | Callable[[Any], float] = "val_loss",
        *,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str | None = None,
        restore_best: bool = False,
    ) -> None:
        super().__init__()
        self.monitor: Monitor = Monitor(monitor, mode, type(self).__name__)
        if self.monitor.mode is None:
            raise ValueError(
                "EarlyStopping needs mode='min' or mode='max' to know what of a function is better"
            )
        if isinstance(patience, bool) or not isinstance(patience, Integral) or patience < 1:
            raise ValueError(f"patience={patience!r} of EarlyStopping is no number of epochs from 1 on")
        if not isinstance(min_delta, Real) or not 0 <= min_delta < math.inf:
            raise ValueError(f"min_delta={min_delta!r} of EarlyStopping is no number from 0 on")
        self.patience: int = patience
        self.min_delta: float = min_delta
        self.restore_best: bool = restore_best

    def _begin(self, estimator, context):
        return _Patience()

    def _count(self, estimator, state):
        """Count the epochs that are new: more than one where a checkpoint has brought earlier ones."""
        for value in self.monitor.all(estimator)[state.n_epochs :]:
            state.n_epochs += 1
            if self.monitor.sign * value > state.best + self.min_delta:
                state.best, state.best_epoch = self.monitor.sign * value, state.n_epochs

    def _epoch_ends(self, estimator, state):
        self._count(estimator, state)
        if self.restore_best and state.best_epoch == state.n_epochs:
            state.weights, state.epoch_of_weights = estimator._params.copy(), state.n_epochs
        return state.n_epochs - state.best_epoch >= self.patience

    def _fit_ends(self, estimator, state):
        if not self.restore_best:
            return
        if state.n_epochs < estimator.n_iter_:
            self._count(estimator, state)
        if state.best_epoch == state.epoch_of_weights and state.weights is not None:
            estimator._params[...] = state.weights
        elif state.best_epoch:
            warn(
                "EarlyStopping(restore_best=True) leaves the last weights: the best epoch, "
                f"{state.best_epoch}, was not of this call of fit, which went on from a checkpoint"
            )
        elif state.n_epochs:
            warn("EarlyStopping(restore_best=True) leaves the last weights: all values were NaN or infinite")
