"""Rows that are equal, made into one row with the sum of their weights.

So a row that stands twice in a table counts as one of weight 2, a row of weight 0 counts as one that is not
there, and neither their order nor copies of a row on both sides of a split change anything.
"""

from typing import NamedTuple

import numpy as np

from fastopt.neural_network.validation import Rows

#: Rows that are looked at in one go.
_BLOCK = 4096


class DistinctRows(NamedTuple):
    """Which rows of a table differ, in an order that depends on their content only.

    Rows are in the order of a hash of their inputs, those of equal inputs in the order of their labels.

    Attributes
    ----------
    rows : ndarray of int64, shape (n_distinct,)
        The number of the first of each, in the whole table. Rows without weight are left out.
    weights : ndarray of shape (n_distinct,) or None
        The sums of their weights; None if all are 1.
    inverse : ndarray of int64, shape (n_samples,)
        For each row of the table the index of its equal in ``rows``; -1 for those without weight.
    """

    rows: np.ndarray
    weights: np.ndarray | None
    inverse: np.ndarray


def distinct_rows(X: Rows, labels: np.ndarray, sample_weight: np.ndarray | None) -> DistinctRows:
    """Return which rows differ, in ``X`` or in their labels.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n_samples, n_features)
        Without NaN; sparse without duplicate entries.
    labels : ndarray of float64, shape (n_samples, n_targets)
    sample_weight : ndarray of shape (n_samples,) or None

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.tabular.distinct_rows import distinct_rows
    >>> distinct_rows(np.array([[2.0], [1.0], [2.0]]), np.zeros((3, 1)), None)
    DistinctRows(rows=array([0, 1]), weights=array([2., 1.]), inverse=array([0, 1, 0]))
    """
    n_samples = X.shape[0]
    present = np.arange(n_samples)
    if sample_weight is not None:
        present = np.flatnonzero(sample_weight)
    keys, own = _keys(X)[present], labels[present]
    order = np.lexsort((*own.T[::-1], keys))
    keys, own = keys[order], own[order]
    is_new = np.ones(len(order), bool)
    is_new[1:] = (keys[1:] != keys[:-1]) | (own[1:] != own[:-1]).any(axis=1)
    inverse = np.empty(len(order), np.int64)
    inverse[order] = np.cumsum(is_new) - 1
    first = order[is_new]
    each = None if sample_weight is None else sample_weight[present]
    weights = np.bincount(inverse, each, minlength=len(first)).astype(np.float64)
    inverse_of_all = np.full(n_samples, -1)
    inverse_of_all[present] = inverse
    return DistinctRows(present[first], None if (weights == 1).all() else weights, inverse_of_all)


def _keys(X):
    """Return a 64-bit hash of each row: a sum over its columns, to which zeros add nothing.

    Two of a million rows that differ have the same with a chance of 3e-8.
    """
    n_samples, n_features = X.shape
    places, keys = np.arange(n_features, dtype=np.uint64), np.empty(n_samples, np.uint64)
    for first in range(0, n_samples, _BLOCK):
        block = slice(first, first + _BLOCK)
        if isinstance(X, np.ndarray):
            keys[block] = _mixed(X[block], places).sum(axis=1, dtype=np.uint64)
        else:
            entries = slice(X.indptr[first], X.indptr[min(first + _BLOCK, n_samples)])
            ends = np.zeros(entries.stop - entries.start + 1, np.uint64)
            np.cumsum(_mixed(X.data[entries], X.indices[entries]), out=ends[1:])
            keys[block] = np.diff(ends[X.indptr[first : first + _BLOCK + 1] - X.indptr[first]])
    return keys


def _mixed(values, places):
    """Return a random-looking integer for each value and its place, 0 for 0.

    The mixing is SplitMix64's (Steele, Lea & Flood, 2014).
    """
    values = np.asarray(values)
    bits = values.view(f"u{values.itemsize}").astype(np.uint64)
    z = bits * np.uint64(0x9E3779B97F4A7C15) + (np.asarray(places, np.uint64) + np.uint64(1)) * np.uint64(
        0xD1B54A32D192ED03
    )
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return np.where(values == 0, np.uint64(0), z ^ (z >> np.uint64(31)))
