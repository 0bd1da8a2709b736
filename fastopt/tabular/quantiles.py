"""Quantiles of weighted numbers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def quantiles(
    values: np.ndarray, weights: np.ndarray | None, n_parts: int, which: Iterable[int]
) -> list[float]:
    """Return quantiles that a row of weight two moves as much as two rows do.

    This is the definition of ``numpy.quantile(..., method="averaged_inverted_cdf")``: the median of an even
    number of rows is the mean of the two in the middle.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Finite, at least one, in ascending order.
    weights : ndarray of shape (n,) or None
        Positive; None is 1 for each.
    n_parts : int
        Into how many parts of the same weight the quantiles divide the values.
    which : iterable of int
        From 0, which asks for the smallest value, to ``n_parts``, which asks for the largest.

    Examples
    --------
    >>> import numpy as np
    >>> quantiles(np.array([1.0, 2.0, 4.0, 8.0]), None, 4, range(5))
    [1.0, 1.5, 3.0, 6.0, 8.0]
    """
    n = len(values)
    until = np.arange(1.0, n + 1) if weights is None else np.cumsum(weights)
    wanted = np.array([k * until[-1] / n_parts for k in which])
    # Sums of weights that are no whole numbers are not exact; 1e-12 of the whole is no weight of a row.
    slack = 1e-12 * until[-1]
    low = np.minimum(np.searchsorted(until, wanted - slack), n - 1)
    high = np.minimum(np.searchsorted(until, wanted + slack, side="right"), n - 1)
    low[wanted == 0] = high[wanted == 0] = 0
    low, high = values[low], values[high]
    return np.where(low == high, low, low / 2 + high / 2).tolist()  # half a subnormal number is rounded
