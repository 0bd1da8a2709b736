"""Rows that are equal, made into one row with the sum of their weights.

So a row that stands twice in a table counts as one of weight 2, a row of weight 0 counts as one that is not
there, and neither their order nor copies of a row on both sides of a split change anything.

Where equal inputs have different labels, copies are no accident but repeated observations. A network from
which all those of one label were held out would learn that these inputs never have it. Such rows are made
into several parts of equal weight, which can be held out one by one.
"""

from typing import NamedTuple

import numpy as np

from fastopt.neural_network.validation import Rows

#: Rows that are looked at in one go.
_BLOCK = 4096
#: Nor are so many copies of each row on average, where fewer rows than this differ. Those of equal inputs may
#: all have one label, and would be unknown to every network that they are held out of.
_MANY_COPIES, _FEW_KINDS = 5, 100


class DistinctRows(NamedTuple):
    """Which rows of a table differ, in an order that depends on their content only.

    Rows are in the order of a hash of their inputs, those of equal inputs in the order of their labels.

    Attributes
    ----------
    rows : ndarray of int64, shape (n_distinct,)
        The number of the first of each, in the whole table. Rows without weight are left out; a row that is
        made into parts stands here as many times, one after the other.
    weights : ndarray of shape (n_distinct,) or None
        The sums of their weights; None if all are 1.
    inverse : ndarray of int64, shape (n_samples,)
        For each row of the table the index of its equal in ``rows``, -1 for those without weight. Copies take
        the parts in turn.
    """

    rows: np.ndarray
    weights: np.ndarray | None
    inverse: np.ndarray


def distinct_rows(
    X: Rows, labels: np.ndarray, sample_weight: np.ndarray | None, n_parts: int = 1
) -> DistinctRows:
    """Return which rows differ, in ``X`` or in their labels.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n_samples, n_features)
        Without NaN; sparse without duplicate entries.
    labels : ndarray of float64, shape (n_samples, n_targets)
    sample_weight : ndarray of shape (n_samples,) or None
    n_parts : int
        The most parts of a row whose inputs have another label elsewhere, or of all rows if fewer than 100
        differ and there are five copies of each on average. A row never has more parts than copies, of which
        a weight of 2 is two.

    Examples
    --------
    >>> distinct_rows(np.array([[2.0], [1.0], [2.0]]), np.zeros((3, 1)), None)
    DistinctRows(rows=array([0, 1]), weights=array([2., 1.]), inverse=array([0, 1, 0]))
    >>> distinct_rows(np.array([[2.0], [2.0], [2.0]]), np.array([[1.0], [0.0], [1.0]]), None, n_parts=5)
    DistinctRows(rows=array([1, 0, 0]), weights=None, inverse=array([1, 0, 2]))
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
    number = np.cumsum(is_new) - 1
    each = None if sample_weight is None else sample_weight[present[order]]
    weights = np.bincount(number, each).astype(np.float64)
    counts, first = np.bincount(number), np.flatnonzero(is_new)
    n_each = _parts(keys[first], counts, weights, n_parts)
    rank = np.arange(len(order)) - first[number]
    part = (np.cumsum(n_each) - n_each)[number] + rank % n_each[number]
    inverse = np.full(n_samples, -1)
    inverse[present[order]] = part
    rows, weights = np.repeat(present[order[first]], n_each), np.repeat(weights / n_each, n_each)
    return DistinctRows(rows, None if (weights == 1).all() else weights, inverse)


def _parts(keys, counts, weights, n_parts):
    """Return into how many parts each of the distinct rows is made, whose keys ascend."""
    is_other = np.append(keys[1:] != keys[:-1], True)
    is_alone = is_other & np.append(True, is_other[:-1])
    n_copies = max(counts.sum(), weights.sum())
    if len(counts) < _FEW_KINDS and n_copies >= _MANY_COPIES * len(counts):
        is_alone[:] = False
    copies = np.maximum(counts, np.floor(np.minimum(weights, n_parts))).astype(np.int64)
    return np.where(is_alone, 1, np.minimum(copies, n_parts))


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
