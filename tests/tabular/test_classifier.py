"""What is particular to the classifier: kinds of labels, rare classes, class weights, calibration."""

import numpy as np
import pytest
from sklearn.datasets import load_iris, make_classification
from sklearn.metrics import log_loss

from fastopt import TabularMLPClassifier

X, SPECIES = load_iris(return_X_y=True)
QUICK = {"max_iter": 16, "hidden_layer_sizes": (8,), "n_members": 5, "random_state": 0}


@pytest.mark.parametrize("kind", [str, object, bool, float])
def test_labels_may_be_of_any_kind(kind):
    names = np.array(["no", "yes"] if kind in (str, object) else [False, True])
    y = names[(SPECIES == 0).astype(int)].astype(kind)
    clf = TabularMLPClassifier(**QUICK).fit(X, y)
    assert clf.classes_.tolist() == sorted({*y.tolist()})
    assert clf.predict(X).dtype == clf.classes_.dtype
    assert clf.score(X, y) > 0.8


@pytest.mark.parametrize("counts", [(60, 3), (60, 1), (30, 2, 1, 1), (1, 1), (5, 5, 5, 5, 1)])
def test_classes_with_fewer_rows_than_folds(counts):
    rs = np.random.RandomState(0)
    y = np.repeat(np.arange(len(counts)), counts)
    rows = rs.standard_normal((len(y), 3)) + y[:, np.newaxis]
    clf = TabularMLPClassifier(**QUICK).fit(rows, y)
    p = clf.oof_predictions_
    assert p.shape == (len(y), len(counts))
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    assert (clf.predict_proba(rows) > 0).all()


def test_one_class_is_certain():
    clf = TabularMLPClassifier(**QUICK).fit(X, np.full(150, "only"))
    np.testing.assert_array_equal(clf.predict_proba(X), np.ones((150, 1)))
    assert (clf.predict(X) == "only").all()


def test_several_labels_of_a_row():
    Y = np.c_[SPECIES == 0, SPECIES > 0, X[:, 0] > 5.8].astype(int)
    clf = TabularMLPClassifier(**QUICK | {"max_iter": 62}).fit(X, Y)
    p = clf.predict_proba(X)
    assert p.shape == clf.oof_predictions_.shape == (150, 3)
    np.testing.assert_array_equal(clf.predict(X), p > 0.5)
    assert clf.oof_score_ > 0.8  # all three labels right
    # The pooled temperature: no other makes the mean cross-entropy of the labels less by more than the
    # observation added could.
    logit = np.log(clf.oof_predictions_ / (1 - clf.oof_predictions_))
    losses = [
        log_loss(Y.ravel(), 1 / (1 + np.exp(-logit.ravel() * scale)), labels=[0, 1])
        for scale in (0.9, 1, 1.1)
    ]
    assert losses[1] <= min(losses) + 1e-3


def test_a_column_of_labels_is_one_label_and_several_are_refused():
    with pytest.warns(UserWarning, match="column-vector"):
        TabularMLPClassifier(max_iter=1).fit(X, SPECIES[:, np.newaxis])
    with pytest.raises(ValueError, match=r"multiclass-multioutput|2 columns of labels"):
        TabularMLPClassifier(max_iter=1).fit(X, np.c_[SPECIES, SPECIES])
    with pytest.raises(ValueError, match="Unknown label type"):
        TabularMLPClassifier(max_iter=1).fit(X, X[:, 0])


def test_class_weights_are_sample_weights():
    quick = {**QUICK, "numeric_scaler": None}  # sample weights count in medians, too
    by_class = TabularMLPClassifier(**quick, class_weight={0: 1.0, 1: 3.0, 2: 0.5}).fit(X, SPECIES)
    by_row = TabularMLPClassifier(**quick).fit(X, SPECIES, np.array([1.0, 3.0, 0.5])[SPECIES])
    np.testing.assert_array_equal(by_class.predict_proba(X), by_row.predict_proba(X))
    assert by_class.temperature_ == by_row.temperature_
    assert by_class.predict_proba(X)[:, 1].mean() > SPECIES.mean() / 3  # more than its share


def test_balanced_weights_find_a_rare_class():
    rows, y = make_classification(
        600, 6, n_informative=4, weights=[0.94], class_sep=0.6, flip_y=0, random_state=1
    )
    plain = TabularMLPClassifier(**QUICK | {"max_iter": 31}).fit(rows, y)
    balanced = TabularMLPClassifier(**QUICK | {"max_iter": 31}, class_weight="balanced").fit(rows, y)
    assert balanced.predict(rows).mean() > plain.predict(rows).mean()


def test_calibration_lowers_the_loss_of_new_rows():
    rows, y = make_classification(1500, 8, n_informative=5, n_classes=3, flip_y=0.02, random_state=0)
    train, test = slice(0, 600), slice(600, None)
    losses = {}
    for calibration in (None, "temperature"):
        clf = TabularMLPClassifier(n_members=5, max_iter=31, random_state=0, calibration=calibration)
        clf.fit(rows[train], y[train])
        losses[calibration] = log_loss(y[test], clf.predict_proba(rows[test]))
    assert clf.temperature_ < 1  # label smoothing makes the networks too unsure
    assert losses["temperature"] < losses[None]
    # What is told of new rows is what was measured on those held out: within three standard errors.
    each = -np.log(clf.oof_predictions_[np.arange(600), y[train]])
    assert abs(losses["temperature"] - each.mean()) < 3 * each.std() * (1 / 600 + 1 / 900) ** 0.5


def test_focal_loss_is_calibrated():
    clf = TabularMLPClassifier(**QUICK | {"max_iter": 62}, loss="focal", focal_gamma=3.0).fit(X, SPECIES)
    assert clf.oof_score_ > 0.9
    assert clf.predict_proba(X).max() > 0.95  # the loss alone leaves probabilities near the middle
