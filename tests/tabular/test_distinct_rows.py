"""Equal rows become one: what NumPy's search for unique rows finds, of arrays and of sparse matrices."""

import numpy as np
import pytest
import scipy.sparse

from fastopt.tabular.distinct_rows import distinct_rows

RS = np.random.RandomState(0)
#: 9,000 rows, more than are hashed in one go, of which many are equal.
X = RS.randint(-1, 2, (9000, 5)).astype(np.float32)
LABELS = RS.randint(0, 2, (9000, 1)).astype(np.float64)
WEIGHTS = RS.randint(0, 3, 9000).astype(np.float64)


@pytest.mark.parametrize("as_x", [np.asarray, scipy.sparse.csr_matrix, scipy.sparse.csr_array])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_rows_and_weights_are_those_that_numpy_finds(as_x, weights):
    found = distinct_rows(as_x(X), LABELS, weights)
    each = np.ones(len(X)) if weights is None else weights
    expected, inverse = np.unique(np.hstack([X, LABELS]), axis=0, return_inverse=True)
    sums = np.bincount(inverse.ravel(), each)
    table = np.hstack([X, LABELS])[found.rows]
    assert len(found.rows) == (sums > 0).sum()
    assert {(*row, w) for row, w in zip(table.tolist(), found.weights, strict=True)} == {
        (*row, w) for row, w in zip(expected.tolist(), sums, strict=True) if w
    }
    present = each > 0
    assert (table[found.inverse[present]] == np.hstack([X, LABELS])[present]).all()
    assert (found.inverse[~present] == -1).all()


def test_order_is_that_of_the_content():
    order = RS.permutation(len(X))
    a, b = distinct_rows(X, LABELS, WEIGHTS), distinct_rows(X[order], LABELS[order], WEIGHTS[order])
    assert (X[a.rows] == X[order][b.rows]).all()
    assert (LABELS[a.rows] == LABELS[order][b.rows]).all()
    assert (a.weights == b.weights).all()


def test_rows_that_all_differ_have_no_weights():
    found = distinct_rows(np.arange(10.0)[:, np.newaxis], np.zeros((10, 1)), None)
    assert sorted(found.rows) == [*range(10)]
    assert found.weights is None


def test_equal_inputs_with_other_labels_differ_and_minus_zero_is_zero():
    assert len(distinct_rows(np.zeros((2, 1)), np.array([[0.0], [1.0]]), None).rows) == 2
    assert len(distinct_rows(np.array([[0.0], [-0.0]]), np.zeros((2, 1)), None).rows) == 1


def test_neighbouring_numbers_and_exchanged_columns_differ():
    x = np.float32([1, 2])
    near = np.array([x, np.nextafter(x, np.float32(9)), x[::-1], x * 2, x * 4, -x])
    assert len(distinct_rows(near, np.zeros((len(near), 1)), None).rows) == len(near)


def test_rows_with_other_labels_elsewhere_are_parted_up_to_their_copies():
    x, y = (
        np.array([[1.0], [1], [1], [1], [1], [2], [2], [3]]),
        np.array([[0.0], [0], [0], [1], [0], [0], [0], [1]]),
    )
    found = distinct_rows(x, y, None, n_parts=3)
    each = {}
    for row, weight in zip(found.rows.tolist(), found.weights.tolist(), strict=True):
        each.setdefault((x[row, 0], y[row, 0]), []).append(weight)
    # Four copies in three parts and one beside it that differs in its label; copies of one label are one row.
    assert each == {(1, 0): [4 / 3] * 3, (1, 1): [1], (2, 0): [2], (3, 1): [1]}
    assert np.ptp(np.bincount(found.inverse[[0, 1, 2, 4]])[found.inverse[[0, 1, 2, 4]]]) == 1  # 2, 1 and 1
    assert (np.hstack([x, y])[found.rows[found.inverse]] == np.hstack([x, y])).all()


@pytest.mark.parametrize("n_parts", [3, 10])
def test_parts_are_the_same_for_weights_and_copies(n_parts):
    weighed = distinct_rows(X[:90], LABELS[:90], WEIGHTS[:90], n_parts)
    order = RS.permutation(np.repeat(np.arange(90), WEIGHTS[:90].astype(int)))
    copied = distinct_rows(X[order], LABELS[order], None, n_parts)
    assert len(weighed.rows) > len(np.unique(weighed.rows))
    assert (np.hstack([X, LABELS])[weighed.rows] == np.hstack([X, LABELS])[order[copied.rows]]).all()
    np.testing.assert_allclose(weighed.weights, copied.weights, rtol=1e-15)  # one division


def test_many_copies_are_parted_whatever_their_labels():
    x = np.repeat(np.arange(4.0), 5)[:, np.newaxis]
    assert (distinct_rows(x, x, None, n_parts=3).weights == 5 / 3).all()
    assert sorted(distinct_rows(x[:-1], x[:-1], None, n_parts=3).weights) == [4, 5, 5, 5]
    assert len(distinct_rows(x, x, None).rows) == 4
