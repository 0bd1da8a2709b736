"""The learning-rate range test (Smith, 2017): a short training with a growing learning rate."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from ..neural_network._base import BaseMLP
from ..schedules import Schedule, exponential
from .contenders import network_of
from .epoch_by_epoch import for_partial_fit
from .preprocessing import pipeline_of, prepared

if TYPE_CHECKING:
    from typing import Any

    import numpy.typing as npt

# Weight of the past in the smoothed loss, and by how much it may exceed its best before the test is over.
_SMOOTHING, _DIVERGED = 0.9, 4.0


@dataclass(frozen=True)
class RangeTest:
    """The result of a range test.

    Attributes
    ----------
    rates : ndarray of shape (n,)
        The learning rate of each step.
    losses : ndarray of shape (n,)
        The loss of each step's batch, before the step.
    smoothed : ndarray of shape (n,)
        Their bias-corrected moving average.
    suggestion : float
        Where the loss falls most steeply over the logarithm of the rate, before the average's minimum.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggestion: float


def range_test(
    estimator: Any,
    X: Any,
    y: npt.ArrayLike,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    n_steps: int = 200,
    random_state: Any = None,
) -> RangeTest:
    """Train a copy for a few steps while the learning rate grows from `low` to `high`.

    Ends early when the loss explodes.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor or Pipeline that ends in one
        Not changed. Steps before the network are fitted on all of X.
    X, y : array-like
        Training data.
    low, high : float
        First and last learning rate.
    n_steps : int
        Steps, of the network's ``batch_size`` rows each.
    random_state : int, RandomState instance or None
        Of the initial weights and the order of the rows; None takes the network's.

    Returns
    -------
    RangeTest

    Raises
    ------
    TypeError, ValueError
        If the network is not one of fastopt's, has no learning rate, or the loss never falls.

    Examples
    --------
    >>> from fastopt import MLPClassifier
    >>> from fastopt.study import range_test
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> seen = range_test(MLPClassifier((16,), batch_size=32), X, y, random_state=0)
    >>> bool(1e-4 < seen.suggestion < 1)
    True
    """
    if not 0 < low < high < np.inf:
        raise ValueError(f"low={low!r}, high={high!r}: must be finite numbers with 0 < low < high")
    if n_steps < 20:
        raise ValueError(f"n_steps={n_steps!r} must be at least 20: a slope needs points")
    network = network_of(estimator)
    if not isinstance(network, BaseMLP):
        raise TypeError(f"the range test needs a network of fastopt, not {type(network).__name__}")
    random_state = check_random_state(network.random_state if random_state is None else random_state)
    if (pipeline := pipeline_of(estimator)) is not None:
        X, y, _ = prepared(pipeline, X, y, None, random_state.randint(2**31))
    growing = exponential(low, (high / low) ** (1.0 / (n_steps - 1)), 1)
    network = for_partial_fit(_prepared(network, growing, random_state), y)
    losses, smoothed, average = [], [], 0.0
    for loss in _losses(network, X, np.asarray(y), n_steps, random_state):
        losses.append(loss)
        average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
        smoothed.append(average / (1 - _SMOOTHING ** len(losses)))
        if smoothed[-1] > _DIVERGED * min(smoothed):
            break
    rates, smoothed = growing(np.arange(len(losses))), np.array(smoothed)
    return RangeTest(rates, np.array(losses), smoothed, _steepest(rates, np.array(losses), smoothed))


def _prepared(network, growing, random_state):
    network = clone(network)
    if isinstance(network.get_params().get("solver__lr"), Schedule):
        network.set_params(solver__lr=growing.value)
    seed = random_state.randint(2**31)
    return network.set_params(learning_rate=growing, warmup=0.0, early_stopping=False, random_state=seed)


def _losses(network, X, y, n_steps, random_state):
    """Yield the loss of each batch until it is no longer finite."""
    X = X.tocsr() if hasattr(X, "tocsr") else np.asarray(X)
    n = len(y)
    size = min(200 if network.batch_size == "auto" else network.batch_size, n)
    order = np.empty(0, int)
    options = {"classes": np.unique(y)} if hasattr(network, "predict_proba") else {}
    for step in range(n_steps):
        if len(order) < size:
            order = random_state.permutation(n)
        rows, order = order[:size], order[size:]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                network.partial_fit(X[rows], y[rows], **options)
        except ValueError:
            if step == 0 or np.isfinite(network._params).all():
                raise
            return  # the weights have overflowed
        if not isfinite(network.loss_):
            return
        yield network.loss_


def _steepest(rates, losses, smoothed):
    """Return the rate at which the loss falls most steeply.

    The slope is that of the line through a twentieth of the range on either side: differences of the losses
    of single batches, or of a moving average that lags behind, would say where the noise is.
    """
    half = max(5, len(rates) // 20)
    if len(rates) <= 2 * half:
        raise ValueError(
            f"the loss exploded within {len(rates)} steps, below {rates[-1]:g}: begin with a lower rate"
            if len(rates)
            else "the loss was not a number from the start: scale the data"
        )
    slope = np.correlate(losses, np.arange(-half, half + 1), mode="valid")
    slope = slope[: max(int(np.argmin(smoothed)) - half, 1)]
    if slope.min() >= 0:
        raise ValueError(
            f"the loss did not fall at any rate between {rates[0]:g} and {rates[-1]:g}: widen the range, "
            "take more steps, or scale the data"
        )
    return float(rates[half + np.argmin(slope)])
