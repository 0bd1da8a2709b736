"""Scores for early stopping, computed from network outputs.

They equal `sklearn.metrics.accuracy_score` and `r2_score`, whose input checks cost more than a whole epoch
of a small network.
"""

import numpy as np


def accuracy(targets: np.ndarray, outputs: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Return the share of rows whose labels are all correct.

    Parameters
    ----------
    targets : ndarray of shape (n_samples, n_outputs)
        One-hot rows, or one 0/1 column per label.
    outputs : ndarray of shape (n_samples, n_outputs)
        Probabilities. Rows that sum to one pick their largest; labels are on above 0.5.
    sample_weight : ndarray of shape (n_samples,), optional

    Returns
    -------
    float
    """
    return float(np.average(((outputs > 0.5) == (targets > 0.5)).all(axis=1), weights=sample_weight))


def multiclass_accuracy(
    targets: np.ndarray, outputs: np.ndarray, sample_weight: np.ndarray | None = None
) -> float:
    """Return the share of rows whose most probable class is correct; see `accuracy`."""
    return float(np.average(outputs.argmax(axis=1) == targets.argmax(axis=1), weights=sample_weight))


def r2(targets: np.ndarray, outputs: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Return R2, averaged over the outputs; NaN if an output is not finite.

    A constant target counts 1 when predicted exactly and 0 otherwise, as in scikit-learn.

    Parameters
    ----------
    targets, outputs : ndarray of shape (n_samples, n_outputs)
    sample_weight : ndarray of shape (n_samples,), optional

    Returns
    -------
    float
    """
    if not np.isfinite(outputs).all():
        return float("nan")
    weight = 1.0 if sample_weight is None else sample_weight[:, None]
    mean = np.average(targets, axis=0, weights=sample_weight)
    residual = (weight * (targets - outputs) ** 2).sum(axis=0)
    total = (weight * (targets - mean) ** 2).sum(axis=0)
    constant = total == 0
    return float(np.mean(np.where(constant, residual == 0, 1 - residual / np.where(constant, 1, total))))
