"""Tables whose rows are of few kinds, seen many times: as good, and told to be as good, as the best rule."""

import numpy as np
import pytest
from sklearn.base import clone

from fastopt import TabularMLPClassifier, TabularMLPRegressor

#: Shares of label 1 at four combinations of two columns, which no sum of one term for each column has.
SHARES = np.array([[0.1, 0.9], [0.9, 0.1]])


def draw(n_rows, seed):
    """Return two columns of two levels, labels, and the shares by which these are drawn."""
    rs = np.random.RandomState(seed)
    X = rs.randint(0, 2, (n_rows, 2))
    shares = SHARES[X[:, 0], X[:, 1]]
    return X.astype(str), (rs.uniform(size=n_rows) < shares).astype(int), shares


def test_labels_that_vary_at_equal_inputs_are_learnt_and_scored_as_they_vary():
    X, y, shares = draw(600, 0)
    clf = TabularMLPClassifier(n_members=5, hidden_layer_sizes=16, random_state=0).fit(X, y)
    # No rule is right more often than the more frequent label of each combination, which errs in 58 of 600.
    best = ((shares > 0.5) == y).mean()
    assert abs(clf.oof_score_ - best) < 0.01
    # The share of 150 rows of one combination has a standard deviation of 0.025.
    assert np.abs(clf.predict_proba(X)[:, 1] - shares).max() < 0.1
    assert np.abs(clf.oof_predictions_[:, 1] - shares).max() < 0.15


def test_rules_without_exception_are_learnt_from_copies():
    X, _, shares = draw(600, 1)
    y = shares > 0.5
    clf = TabularMLPClassifier(n_members=5, hidden_layer_sizes=16, random_state=0).fit(X, y)
    assert clf.oof_score_ == clf.score(X, y) == 1


def test_numbers_that_vary_at_equal_inputs_have_intervals_that_cover():
    X, y, shares = draw(600, 2)
    regr = TabularMLPRegressor(n_members=5, n_cv=5, hidden_layer_sizes=16, random_state=0).fit(X, y)
    # The best R2 is that of the shares; a standard deviation of 0.04 at 600 rows.
    best = 1 - ((y - shares) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert abs(regr.oof_score_ - best) < 0.05
    X_new, y_new, _ = draw(2000, 3)
    low, high = regr.predict_interval(X_new, coverage=0.8).T
    # An interval of residuals near 0.1 covers 0.9 of the rows, the shares' own.
    assert 0.85 < ((low <= y_new) & (y_new <= high)).mean() < 0.95


@pytest.mark.parametrize("estimator", [TabularMLPClassifier(), TabularMLPRegressor()])
def test_weights_are_copies_to_the_bit(estimator):
    X, y, _ = draw(40, 4)
    weights = np.random.RandomState(0).randint(0, 4, 40)
    estimator.set_params(n_members=3, n_cv=3, hidden_layer_sizes=8, max_iter=31, random_state=0)
    weighed = estimator.fit(X, y, sample_weight=weights)
    copied = clone(estimator).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    assert np.array_equal(weighed.predict(X), copied.predict(X))
    assert weighed.oof_score_ == pytest.approx(copied.oof_score_, rel=1e-12)  # sums in another order
