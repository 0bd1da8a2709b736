"""Prediction intervals from residuals of rows that were held out: CV+."""

from collections.abc import Sequence

import numpy as np

#: Halvings of the range in which a bound is sought, to float32's precision.
_N_HALVINGS = 30


def cv_plus(
    predictions: np.ndarray,
    residuals: Sequence[np.ndarray],
    coverage: float,
    *,
    weights: Sequence[np.ndarray] | None = None,
    n_repeats: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of CV+ intervals (Barber, Candès, Ramdas & Tibshirani, 2021).

    With ``n`` rows, of which row ``i`` was held out of model ``k(i)`` with the residual ``r_i``, the upper
    bound is the ``ceil(coverage * (n + 1))``-th smallest of ``predictions[k(i)] + r_i``, and the lower bound
    the as many-th largest of ``predictions[k(i)] - r_i``. Rows that were held out in several repeats count in
    each by that share.

    Parameters
    ----------
    predictions : ndarray of shape (n_models, n_samples)
        Of each model for the rows that are to have an interval.
    residuals : sequence of n_models ndarrays
        Absolute residuals of the rows that each model was not trained on.
    coverage : float
        Between 0 and 1.
    weights : sequence of n_models ndarrays, optional
        Weights of these rows; a row of weight 2 counts as two.
    n_repeats : int
        In how many models each row was held out.

    Returns
    -------
    lower, upper : ndarray of shape (n_samples,)
        Infinite where there are too few rows for the coverage.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.tabular.intervals import cv_plus
    >>> cv_plus(np.array([[0.0], [10.0]]), [np.array([1.0, 2.0]), np.array([1.0, 3.0])], 0.8)
    (array([-2.]), array([13.]))
    """
    weights = [np.ones(len(r)) for r in residuals] if weights is None else weights
    orders = [np.argsort(r, kind="stable") for r in residuals]
    values = [r[order] for r, order in zip(residuals, orders, strict=True)]
    counts = [np.append(0.0, np.cumsum(w[order])) for w, order in zip(weights, orders, strict=True)]
    n_rows = sum(count[-1] for count in counts)
    # A count that is a rounding error short of this is enough: 0.9 * 10.
    needed = coverage * (n_rows + n_repeats) * (1 - 1e-12)
    if needed > n_rows:
        infinite = np.full(predictions.shape[1], np.inf)
        return -infinite, infinite
    return -_bound(-predictions, values, counts, needed), _bound(predictions, values, counts, needed)


def _bound(predictions, values, counts, needed):
    """Return the least number that so many sums of a model's prediction and a residual do not exceed."""
    # All models' own quantiles of this share are: the largest of them has at least as many sums below.
    share = needed / sum(count[-1] for count in counts)
    own = [
        r[np.searchsorted(count[1:], share * count[-1]).clip(max=len(r) - 1)]
        for r, count in zip(values, counts, strict=True)
    ]
    high = (predictions + np.array(own)[:, np.newaxis]).max(axis=0)
    low = np.minimum(predictions.min(axis=0), high)  # residuals are not negative
    for _ in range(_N_HALVINGS):
        middle = low + (high - low) / 2
        below = np.zeros(len(middle))
        for one, r, count in zip(predictions, values, counts, strict=True):
            below += count[np.searchsorted(r, middle - one, side="right")]
        high, low = np.where(below >= needed, middle, high), np.where(below >= needed, low, middle)
    return high
