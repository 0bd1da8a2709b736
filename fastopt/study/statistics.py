"""Paired comparisons over seeds.

Every seed gives each contender the same split, the same initial weights and the same batch order, so the
difference between two contenders is taken seed by seed: what the seed does to both cancels.

Where each seed draws its own split, the validation sets overlap and the seeds are not independent. The plain
t interval is then too narrow; the variance is corrected as in Nadeau & Bengio (2003), "Inference for the
generalization error", Machine Learning 52: ``1/n`` becomes ``1/n + n_val/n_train``. With fixed validation
rows the ratio is zero and the plain paired t interval is left, which speaks of this split only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    import numpy.typing as npt

_ROUNDING = 1e-9  # relative; equal scores differ by their last bits once they are subtracted


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval; bounds are NaN with one seed.

    Attributes
    ----------
    mean, low, high : float
    p_value : float
        Two-sided, of the hypothesis that the mean is zero.
    n : int
        Seeds that count: those where every value is finite.
    """

    mean: float
    low: float
    high: float
    p_value: float
    n: int

    @property
    def half_width(self) -> float:
        """Half of the interval's length."""
        return (self.high - self.low) / 2


def mean_interval(values: npt.ArrayLike, val_to_train: float = 0.0, confidence: float = 0.95) -> Interval:
    """Return the mean of `values` over seeds with its confidence interval.

    Parameters
    ----------
    values : array-like of shape (n_seeds,)
        One value per seed. Values that are not finite (diverged runs) are left out.
    val_to_train : float
        Rows of validation per row of training where each seed draws its own split; 0 for fixed rows.
    confidence : float
        Coverage wanted.

    Returns
    -------
    Interval
        Where all values are equal its length is 0, and its p-value that of the sign test.

    Examples
    --------
    >>> interval = mean_interval([0.8, 1.2, 1.0, 1.4])
    >>> print(f"{interval.mean:.2f} ({interval.low:.2f} to {interval.high:.2f})")
    1.10 (0.69 to 1.51)
    """
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    n = len(values)
    if n < 2:
        return Interval(float(values.mean()) if n else math.nan, math.nan, math.nan, math.nan, n)
    mean = float(values.mean())
    if np.ptp(values) <= _ROUNDING * abs(mean):
        # The same value with every seed, as happens where a score counts few rows. No spread can be estimated
        # from that, and it proves less than it seems to: what is left is the sign, n times the same.
        return Interval(mean, mean, mean, 0.5 ** (n - 1) if mean else 1.0, n)
    error = math.sqrt(values.var(ddof=1) * (1 / n + val_to_train))
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * error
    p_value = float(2 * stats.t.sf(abs(mean) / error, n - 1))
    return Interval(mean, mean - half, mean + half, p_value, n)


def paired_difference(
    a: npt.ArrayLike, b: npt.ArrayLike, val_to_train: float = 0.0, confidence: float = 0.95
) -> Interval:
    """Return the interval of ``a - b`` over the seeds where both are finite.

    Parameters
    ----------
    a, b : array-like of shape (n_seeds,)
        Scores of two contenders, aligned by seed.
    val_to_train, confidence
        As in `mean_interval`.

    Returns
    -------
    Interval

    Examples
    --------
    >>> paired_difference([0.9, 0.85, 0.8], [0.8, 0.74, 0.71]).p_value < 0.05
    True
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.shape != b.shape:
        raise ValueError(
            f"a has {a.size} seeds and b has {b.size}. A paired difference needs the same seeds."
        )
    with np.errstate(invalid="ignore"):  # inf - inf, where neither is a number to compare
        return mean_interval(a - b, val_to_train, confidence)


def holm(p_values: npt.ArrayLike) -> np.ndarray:
    """Return p-values adjusted by Holm's (1979) step-down method, which bounds the family-wise error rate.

    Parameters
    ----------
    p_values : array-like
        NaN stays NaN and counts as no test.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p_values = np.asarray(p_values, dtype=float)
    adjusted = np.full(p_values.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, p_values[index] * (len(order) - rank)))
        adjusted[index] = running
    return adjusted
