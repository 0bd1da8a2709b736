"""Folds are even in size and in every stratum, as scikit-learn's are where it allows the strata."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from fastopt.tabular.folds import repeated_folds


def counts(fold, strata, n_folds):
    """Return the number of rows of each stratum (row) in each fold (column)."""
    table = np.zeros((strata.max() + 1, n_folds), int)
    np.add.at(table, (strata, fold), 1)
    return table


@pytest.mark.parametrize("sizes", [(50, 30, 21), (7, 1, 1, 1), (5, 4, 3, 2, 1), (100,), (1, 1, 1)])
def test_strata_and_sizes_differ_by_one_at_most(sizes):
    strata = np.repeat(np.arange(len(sizes)), sizes)
    n_folds = min(5, len(strata))
    folds = repeated_folds(strata, n_folds, 3, np.random.RandomState(1))
    assert folds.shape == (3, len(strata))
    for fold in folds:
        table = counts(fold, strata, n_folds)
        assert (np.ptp(table, axis=1) <= 1).all()
        assert np.ptp(table.sum(axis=0)) <= 1


def test_counts_are_those_of_scikit_learn():
    strata = np.random.RandomState(0).choice(3, 203, p=[0.6, 0.3, 0.1])
    (fold,) = repeated_folds(strata, 5, 1, np.random.RandomState(0))
    theirs = np.empty_like(strata)
    for k, (_, test) in enumerate(StratifiedKFold(5, shuffle=True, random_state=0).split(strata, strata)):
        theirs[test] = k
    # Which fold has one more of a stratum differs.
    assert (np.sort(counts(fold, strata, 5)) == np.sort(counts(theirs, strata, 5))).all()


def test_repeats_differ_and_rows_of_a_stratum_are_mixed():
    strata = np.zeros(1000, int)
    a, b = repeated_folds(strata, 5, 2, np.random.RandomState(0))
    assert 0.1 < (a == b).mean() < 0.3  # 0.2 by chance, with a standard deviation of 0.013
    assert abs(np.corrcoef(a, np.arange(1000))[0, 1]) < 0.1  # a standard deviation of 0.03
