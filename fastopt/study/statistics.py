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
        return Interval(mean, mean, mean, float(stats.binomtest(n, n).pvalue) if mean else 1.0, n)
    # SciPy's t test has no place for the correction of the variance, nor has any library that is kept.
    error = math.sqrt(values.var(ddof=1) * (1 / n + val_to_train))
    low, high = stats.t.interval(confidence, n - 1, loc=mean, scale=error)
    p_value = 2 * stats.t.sf(abs(mean) / error, n - 1)
    return Interval(mean, float(low), float(high), float(p_value), n)


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
    # Not in SciPy, whose false_discovery_control bounds another rate; statsmodels is heavy for a few lines.
    p_values = np.asarray(p_values, dtype=float)
    adjusted = np.full(p_values.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, p_values[index] * (len(order) - rank)))
        adjusted[index] = running
    return adjusted


def bayesian_signed_rank(
    differences: npt.ArrayLike,
    *,
    rope: float = 0.0,
    prior: float = 0.5,
    n_samples: int = 50_000,
    random_state: int = 0,
) -> np.ndarray:
    """Return the probabilities that a method is better, practically equal, or worse over data sets.

    Bayes' form of the signed-rank test (Benavoli et al. 2014, ICML): the differences are draws from a
    distribution with a Dirichlet process as its prior, and the question is on which side of the region of
    practical equivalence the mean of two draws lies. The probabilities are the shares of posterior samples in
    which each answer is the likeliest.

    Parameters
    ----------
    differences : array-like of shape (n_sets,) or (n_sets, n_pairs)
        Score of the one minus score of the other on each data set, where more is better. Infinities are
        allowed: differences larger than any.
    rope : float, default=0
        Half width of the region of practical equivalence around zero.
    prior : float, default=0.5
        Weight of one more set, with no difference, that is added.
    n_samples : int, default=50000
    random_state : int, default=0

    Returns
    -------
    ndarray of shape (3,) or (n_pairs, 3)
        The probabilities of better, equal and worse, which add up to 1. With ``rope=0`` that of equal is 0.

    Raises
    ------
    ValueError
        If a difference is NaN, or there is none.

    Examples
    --------
    >>> better, equal, worse = bayesian_signed_rank([0.03, 0.02, 0.04, 0.001, 0.03, 0.02], rope=0.01)
    >>> bool(better > 0.9)
    True
    """
    differences = np.asarray(differences, dtype=float)
    if differences.ndim not in (1, 2) or not differences.size or np.isnan(differences).any():
        raise ValueError(f"differences={differences!r}: one number for each data set is wanted, and no NaN.")
    alpha = np.concatenate([[prior], np.ones(len(differences))])
    weights = np.random.RandomState(random_state).dirichlet(alpha, n_samples)
    pairs = np.atleast_2d(differences.T)
    found = np.array([_shares_of_samples(np.append(0.0, pair), rope, weights) for pair in pairs])
    return found[0] if differences.ndim == 1 else found


def _shares_of_samples(values, rope, weights):
    """Return in what share of the samples of `weights` better, equal and worse are the likeliest."""
    with np.errstate(invalid="ignore", over="ignore"):
        sums = values[:, None] + values
    sums[np.isnan(sums)] = 0.0  # one larger than any, one smaller than any
    shares = np.full((3, len(weights)), -1.0)
    for row, side in ((0, sums), (2, -sums)):
        shares[row] = np.einsum("ni,ni->n", weights @ np.heaviside(side - 2 * rope, 0.5), weights)
    if rope:
        shares[1] = 1 - shares[0] - shares[2]
    is_likeliest = shares == shares.max(axis=0)
    return (is_likeliest / is_likeliest.sum(axis=0)).mean(axis=1)
