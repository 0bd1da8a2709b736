"""Patience and the best epoch's weights, against scikit-learn's own method, executed."""

import numpy as np
import pytest
import sklearn.neural_network as sk
from hypothesis import given
from hypothesis import strategies as st

from fastopt.neural_network.early_stopping import EarlyStopping

# Few different values, so that ties and differences of exactly tol occur.
VALUES = st.one_of(st.sampled_from([0.0, 0.1, 0.2, 0.30000000000000004, 1.0, -1.0, np.nan]), st.floats(-2, 2))


class Scored(sk.MLPClassifier):
    """scikit-learn's estimator with given validation scores."""

    def _score(self, X, y, sample_weight):
        return self.given


@given(st.lists(VALUES, min_size=1, max_size=30), st.sampled_from([0.0, 0.1, 1e-4]), st.booleans())
def test_counts_and_bests_are_scikit_learns(values, tol, by_score):
    theirs = Scored(tol=tol)
    theirs._no_improvement_count, theirs.loss_curve_, theirs.validation_scores_ = 0, [], []
    theirs.best_loss_, theirs.best_validation_score_ = np.inf, -np.inf
    theirs.coefs_, theirs.intercepts_ = [np.zeros(1)], []
    theirs._best_coefs = [np.full(1, np.nan)]
    ours = EarlyStopping(
        best=-np.inf if by_score else np.inf, tol=tol, n_iter_no_change=3, greater_is_better=by_score
    )
    weights = np.full(1, np.nan)
    ours.keep_best(weights)
    for epoch, value in enumerate(values):
        weights[0] = theirs.coefs_[0][0] = epoch
        theirs.given = value
        theirs.loss_curve_.append(value)
        theirs._update_no_improvement_count(by_score, None, None, None)
        ours.observe(value, weights)
        assert ours.n_bad == theirs._no_improvement_count
        assert ours.best == (theirs.best_validation_score_ if by_score else theirs.best_loss_)
        assert ours.has_run_out == (theirs._no_improvement_count > 3)
    if by_score:  # scikit-learn keeps weights with early stopping only
        ours.restore(weights)
        np.testing.assert_array_equal(weights, theirs._best_coefs[0])


@pytest.mark.parametrize(("first", "expected"), [(np.array([7.0]), 7.0), (None, 9.0)])
def test_without_an_improvement_the_weights_before_training_come_back_or_nothing_changes(first, expected):
    watch = EarlyStopping(best=1.0, tol=0.0, n_iter_no_change=5)
    watch.keep_best(first)
    weights = np.array([9.0])
    watch.observe(2.0, weights)
    watch.restore(weights)
    assert weights[0] == expected


def test_patience_may_begin_anew():
    watch = EarlyStopping(best=1.0, tol=0.0, n_iter_no_change=1)
    for _ in range(2):
        watch.observe(2.0, np.zeros(1))
    assert watch.has_run_out
    watch.begin_again()
    assert not watch.has_run_out
    watch.observe(2.0, np.zeros(1))
    assert not watch.has_run_out
