"""Importance by permutation: what is lost, of arrays and sparse matrices, of one input or several."""

import numpy as np
import scipy.sparse

from fastopt.tabular.held_out import HeldOut
from fastopt.tabular.importance import permutation_importance

RS = np.random.RandomState(0)
X = RS.standard_normal((400, 5)) * (RS.random_sample((400, 5)) < 0.5)
#: A linear function, in which inputs 1 and 2 come from one column and input 4 is not used.
WEIGHTS = np.array([3.0, 1.0, -1.0, 0.5, 0.0])
SOURCES = np.array([0, 1, 1, 3, 4])
Y = X @ WEIGHTS


def importance(X, rows):
    held_out = HeldOut(X, Y[:, np.newaxis], None, None, rows)
    return permutation_importance(
        held_out,
        SOURCES,
        5,
        lambda number, own: (own @ WEIGHTS)[:, np.newaxis],
        lambda outputs: float(np.mean((outputs[:, 0] - Y) ** 2)),
        np.random.RandomState(0),
    )


def folds(k):
    return [np.flatnonzero(np.arange(400) % k == f) for f in range(k)]


def test_importance_is_twice_the_variance_that_a_column_explains():
    """The mean of (w x - w x')**2 over a permutation is 2 w**2 var(x)."""
    found = importance(X, folds(5))
    together = X[:, 1] - X[:, 2]
    expected = 2 * np.array([9 * X[:, 0].var(), together.var(), 0, 0.25 * X[:, 3].var(), 0])
    # By chance a permutation of 80 rows keeps some in place or near: some 10 % of each.
    np.testing.assert_allclose(found, expected, rtol=0.25, atol=1e-12)
    assert found[2] == found[4] == 0  # a column without inputs, and one that is not used


def test_sparse_rows_have_the_same_importance():
    for kind in (scipy.sparse.csr_matrix, scipy.sparse.csr_array):
        np.testing.assert_allclose(importance(kind(X), folds(3)), importance(X, folds(3)), rtol=1e-12)


def test_rows_held_out_twice_have_the_mean_of_both_predictions():
    held_out = HeldOut(X[:3], X[:3], None, None, [np.array([0, 1]), np.array([1])])
    mean = held_out.mean([np.array([[1.0], [2.0]]), np.array([[4.0]])])
    np.testing.assert_array_equal(mean, [[1.0], [3.0], [np.nan]])
