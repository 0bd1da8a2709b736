"""Scores of out-of-fold predictions with intervals, and what simple models get on the same folds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtri

_LEAST = 1e-15  # probability whose logarithm is taken where a model gives 0


@dataclass(frozen=True)
class Score:
    """A score with the interval that its sampling error allows.

    Attributes
    ----------
    name : str
    value, low, high : float
    terms : ndarray of shape (n_rows,)
        Whose weighted mean differs from the score by a constant, to first order in the rows.
    is_better_high : bool
    """

    name: str
    value: float
    low: float
    high: float
    terms: np.ndarray = field(repr=False)
    is_better_high: bool = True


@dataclass(frozen=True)
class Scored:
    """The out-of-fold scores of a model.

    Attributes
    ----------
    name : str
    scores : list of Score
        The first is the one by which models are compared.
    """

    name: str
    scores: list[Score]


def classification_scores(
    y: np.ndarray, probabilities: np.ndarray, classes: np.ndarray, weights: np.ndarray | None = None
) -> list[Score]:
    """Return accuracy and log-loss of predicted probabilities.

    Parameters
    ----------
    y : ndarray of shape (n_rows,)
    probabilities : ndarray of shape (n_rows, n_classes)
    classes : ndarray of shape (n_classes,)
        Sorted.
    weights : ndarray of shape (n_rows,) or None

    Examples
    --------
    >>> import numpy as np
    >>> p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    >>> accuracy, loss = classification_scores(np.array([0, 1, 1]), p, np.array([0, 1]))
    >>> print(f"{accuracy.value:.2f}, {accuracy.low:.2f} to {accuracy.high:.2f}")
    0.67, 0.21 to 0.94
    """
    place = np.searchsorted(classes, y)
    right = (probabilities.argmax(axis=1) == place).astype(np.float64)
    loss = -np.log(np.maximum(probabilities[np.arange(len(y)), place], _LEAST))
    accuracy = np.average(right, weights=weights)
    low, high = wilson(float(accuracy), _n_rows(y, weights))
    return [
        Score("accuracy", float(accuracy), low, high, right),
        _mean_score("log loss", loss, weights, is_better_high=False),
    ]


def regression_scores(
    y: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None
) -> list[Score]:
    """Return R2, root mean squared error and mean absolute error.

    Parameters
    ----------
    y, predictions : ndarray of shape (n_rows,)
    weights : ndarray of shape (n_rows,) or None
    """
    squared = (y - predictions) ** 2
    spread = (y - np.average(y, weights=weights)) ** 2
    mse, variance = np.average(squared, weights=weights), np.average(spread, weights=weights)
    r2 = _mean_score("R2", 1 - squared / variance, weights)
    # R2 is a ratio of two means of the same rows: its first-order terms.
    terms = 1 - squared / variance + (spread - variance) * mse / variance**2
    half = _half_width(terms, weights)
    rmse = math.sqrt(mse)
    by_root = _half_width(squared / (2 * rmse or 1.0), weights)
    return [
        Score("R2", r2.value, r2.value - half, min(1.0, r2.value + half), terms),
        Score("RMSE", rmse, max(0.0, rmse - by_root), rmse + by_root, squared, is_better_high=False),
        _mean_score("MAE", np.sqrt(squared), weights, is_better_high=False),
    ]


def difference(ours: Score, theirs: Score, weights: np.ndarray | None = None) -> tuple[float, float, float]:
    """Return by how much a score is better than another on the same rows, and the interval of that.

    The rows are paired: what makes a row hard for both cancels.
    """
    sign = 1 if ours.is_better_high else -1
    gain, half = sign * (ours.value - theirs.value), _half_width(ours.terms - theirs.terms, weights)
    return gain, gain - half, gain + half


def wilson(share: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a share of ``n`` independent rows.

    Unlike that of the normal approximation it has a length where all rows or none are right.
    """
    z2 = float(ndtri((1 + confidence) / 2)) ** 2
    center = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 / n * (share * (1 - share) + z2 / (4 * n))) / (1 + z2 / n)
    return max(0.0, min(share, center - half)), min(1.0, max(share, center + half))  # not past it by rounding


def _mean_score(name, terms, weights, is_better_high=True):
    value, half = float(np.average(terms, weights=weights)), _half_width(terms, weights)
    return Score(name, value, value - half, value + half, terms, is_better_high)


def _n_rows(y, weights):
    """Return the number of rows of equal weight that have the same precision."""
    return len(y) if weights is None else weights.sum() ** 2 / (weights**2).sum()


def _half_width(terms, weights, confidence=0.95):
    mean = np.average(terms, weights=weights)
    n = _n_rows(terms, weights)
    variance = np.average((terms - mean) ** 2, weights=weights) / max(1.0, n - 1)
    return float(ndtri((1 + confidence) / 2)) * math.sqrt(variance)


def on_folds(
    folds: np.ndarray, predict: Callable[[np.ndarray, np.ndarray], np.ndarray], n_outputs: int
) -> np.ndarray:
    """Return out-of-fold predictions of a model.

    Parameters
    ----------
    folds : ndarray of shape (n_rows,)
        The fold of each row; rows of fold -1 are held out of none.
    predict : callable
        Fits to the rows of the first array of numbers, and predicts for those of the second.
    n_outputs : int
        For each row.

    Returns
    -------
    ndarray of shape (n_rows, n_outputs)
        NaN for rows of fold -1.
    """
    found = np.full((len(folds), n_outputs), np.nan)
    for fold in np.unique(folds[folds >= 0]):
        held_out = np.flatnonzero(folds == fold)
        rest = np.flatnonzero((folds != fold) & (folds >= 0))
        found[held_out] = predict(rest, held_out).reshape(len(held_out), n_outputs)
    return found


def constant(
    y: np.ndarray, classes: np.ndarray | None = None, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return what can be predicted without a look at the columns: shares of the classes, or the mean.

    They are those of all rows, not of the rows outside a fold: one row among many makes no difference, and a
    rare class has a share.

    Parameters
    ----------
    y : ndarray of shape (n_rows,)
    classes : ndarray of shape (n_classes,), optional
        Of a classification.
    weights : ndarray of shape (n_rows,), optional

    Returns
    -------
    ndarray of shape (n_rows, n_classes) or (n_rows, 1)
    """
    if classes is None:
        return np.full((len(y), 1), np.average(y, weights=weights))
    shares = np.bincount(np.searchsorted(classes, y), weights, minlength=len(classes))
    return np.tile(shares / shares.sum(), (len(y), 1))
