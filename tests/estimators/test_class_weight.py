"""``class_weight``: what scikit-learn's ``compute_sample_weight`` gives, times the sample weights."""

import numpy as np
import pytest
from sklearn.datasets import make_classification, make_multilabel_classification
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

import fastopt
from fastopt import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, CLASSES = make_classification(
    n_samples=160, n_classes=3, n_informative=4, weights=[0.6, 0.3], random_state=0
)
_, LABELS = make_multilabel_classification(n_samples=160, n_classes=3, random_state=0)
SMALL = {"hidden_layer_sizes": (4,), "max_iter": 4, "random_state": 0, "batch_size": 50}

#: Targets, and weights of their classes.
CASES = {
    "balanced": (CLASSES, "balanced"),
    "binary": (CLASSES == 1, "balanced"),
    "dict": (CLASSES, {0: 0.5, 2: 3.0}),
    "names": (np.array(["low", "mid", "top"])[CLASSES], {"low": 2.0, "mid": 0.5, "top": 0.0}),
    "labels, balanced": (LABELS, "balanced"),
    "labels, dicts": (LABELS, [{0: 1, 1: 5}, {0: 2, 1: 1}, {0: 1, 1: 1}]),
}


def same_fit(one, other):
    np.testing.assert_array_equal(one._params, other._params)
    assert one.loss_curve_ == other.loss_curve_
    assert one.validation_loss_curve_ == other.validation_loss_curve_
    assert one.validation_scores_ == other.validation_scores_


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_rows_weigh_what_scikit_learn_computes(case, early_stopping):
    # Rows that early stopping holds out weigh as much as the others.
    y, class_weight = CASES[case]
    settings = SMALL | {"early_stopping": early_stopping}
    given = np.random.RandomState(0).uniform(0.5, 2, len(y))
    weighted = MLPClassifier(class_weight=class_weight, **settings)
    for sample_weight in (None, given):
        by_hand = compute_sample_weight(class_weight, y) * (1 if sample_weight is None else sample_weight)
        theirs = MLPClassifier(**settings).fit(X, y, by_hand)
        same_fit(weighted.fit(X, y, sample_weight), theirs)
    assert weighted.loss_ != MLPClassifier(**settings).fit(X, y).loss_


def test_rows_of_a_validation_set_weigh_by_the_frequencies_in_y():
    weights = compute_class_weight("balanced", classes=np.arange(3), y=CLASSES[:100])[CLASSES]
    given = np.random.RandomState(0).uniform(0.5, 2, 60)
    data = {"X_val": X[100:], "y_val": CLASSES[100:]}
    ours = MLPClassifier(class_weight="balanced", **SMALL).fit(
        X[:100], CLASSES[:100], **data, sample_weight_val=given
    )
    theirs = MLPClassifier(**SMALL).fit(
        X[:100],
        CLASSES[:100],
        weights[:100],
        **data,
        sample_weight_val=weights[100:] * given,
    )
    same_fit(ours, theirs)


def test_partial_fit_takes_a_dict_and_batches_without_some_of_its_classes():
    class_weight = {0: 1.0, 1: 2.0, 2: 3.0}
    ours, theirs = MLPClassifier(class_weight=class_weight, **SMALL), MLPClassifier(**SMALL)
    for rows in (slice(0, 80), np.flatnonzero(CLASSES != 1)):
        y = CLASSES[rows]
        ours.partial_fit(X[rows], y, classes=np.arange(3))
        theirs.partial_fit(X[rows], y, 1.0 + y, classes=np.arange(3))
        same_fit(ours, theirs)


def test_balanced_is_refused_by_partial_fit_in_scikit_learns_words():
    messages = []
    for cls in (SGDClassifier, MLPClassifier):
        with pytest.raises(ValueError, match="'balanced' is not supported for partial_fit") as caught:
            cls(class_weight="balanced").partial_fit(X, CLASSES, classes=np.arange(3))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize(
    ("y", "class_weight", "message"),
    [
        (CLASSES, [{0: 1}], "a list of dicts is for multilabel"),
        (LABELS, {0: 1, 1: 2}, "a list of 3 dicts"),
        (LABELS, [{0: 1, 1: 2}], "a list of 3 dicts"),
        (CLASSES, {0: 0, 1: 0, 2: 0}, "leaves no row with a weight"),
        (CLASSES, {0: 1, 1: -1, 2: 1}, "weight of a class must be a finite number >= 0, not -1"),
        (CLASSES, {0: np.nan, 1: 1, 2: 1}, "must be a finite number >= 0, not nan"),
        (CLASSES, {0: 1, 1: "2", 2: 1}, "must be a finite number >= 0, not '2'"),
        (LABELS, [{0: 1, 1: np.inf}] * 3, "must be a finite number >= 0, not inf"),
        (CLASSES, "heavy", "'class_weight' parameter of MLPClassifier"),
    ],
)
def test_weights_that_do_not_belong_to_the_classes_are_refused(y, class_weight, message):
    clf = MLPClassifier(class_weight=class_weight, **SMALL)
    with pytest.raises(ValueError, match=message):
        clf.fit(X, y)
    assert not hasattr(clf, "coefs_")


def test_classes_that_y_lacks_are_named_as_scikit_learn_does():
    with pytest.raises(ValueError, match="are not in class_weight") as theirs:
        compute_class_weight({0: 1, 7: 2}, classes=np.arange(3), y=CLASSES)
    with pytest.raises(ValueError, match="are not in class_weight") as ours:
        MLPClassifier(class_weight={0: 1, 7: 2}, **SMALL).fit(X, CLASSES)
    assert str(ours.value) == str(theirs.value)


def test_weights_can_be_searched_and_saved(tmp_path):
    search = GridSearchCV(
        MLPClassifier(**SMALL), {"class_weight": [None, "balanced", {0: 1, 1: 2, 2: 3}]}, cv=2
    ).fit(X, CLASSES)
    assert len(search.cv_results_["params"]) == 3
    clf = MLPClassifier(class_weight={0: 1, 1: 2, 2: 3}, **SMALL).fit(X, CLASSES)
    fastopt.save(clf, tmp_path / "model")
    assert fastopt.load(tmp_path / "model").class_weight == clf.class_weight
