"""``scoring``: by which score training stops and the best weights are kept."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import accuracy_score, get_scorer, log_loss, make_scorer, max_error
from sklearn.model_selection import train_test_split

from fastopt import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
X_TRAIN, X_VAL, Y_TRAIN, Y_VAL = train_test_split(X, NAMES, random_state=0)
GIVEN = {"X_val": X_VAL, "y_val": Y_VAL}
WEIGHT = np.random.RandomState(0).uniform(0.2, 2, len(Y_VAL))
SMALL = {"hidden_layer_sizes": (4,), "max_iter": 8, "random_state": 0, "learning_rate_init": 0.02}
STOPPED = SMALL | {"early_stopping": True, "max_iter": 60, "n_iter_no_change": 3}


def fitted(scoring, weight=None, **settings):
    clf = MLPClassifier(scoring=scoring, **STOPPED | settings)
    return clf.fit(X_TRAIN, Y_TRAIN, **GIVEN, sample_weight_val=weight)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
@pytest.mark.parametrize("scoring", ["neg_log_loss", "f1_macro", "roc_auc_ovr", "balanced_accuracy"])
def test_the_best_weights_have_the_best_score_of_scikit_learns_scorer(scoring, weight):
    clf = fitted(scoring, weight)
    kwargs = {} if weight is None else {"sample_weight": weight}
    expected = get_scorer(scoring)(clf, X_VAL, Y_VAL, **kwargs)
    assert max(clf.validation_scores_) == clf.best_validation_score_ == expected


def test_accuracy_by_name_is_the_default():
    np.testing.assert_allclose(
        fitted("accuracy").validation_scores_, fitted(None).validation_scores_, rtol=1e-15
    )


def test_the_loss_counts_as_its_negative():
    clf = fitted("loss", WEIGHT)
    assert clf.validation_scores_ == [-loss for loss in clf.validation_loss_curve_]
    best = log_loss(Y_VAL, clf.predict_proba(X_VAL), sample_weight=WEIGHT)
    assert -clf.best_validation_score_ == pytest.approx(best, rel=1e-14)
    worse = fitted(None, WEIGHT)
    assert best < log_loss(Y_VAL, worse.predict_proba(X_VAL), sample_weight=WEIGHT)


def test_a_scorer_sees_the_network_as_it_is_after_each_epoch():
    seen = []

    def scorer(estimator, X, y):
        seen.append((estimator.n_iter_, len(estimator.loss_curve_), estimator.coefs_[0].copy()))
        assert set(y) <= set(estimator.classes_) == set(NAMES)
        assert estimator.predict(X).shape == y.shape
        np.testing.assert_array_equal(X, X_VAL)
        return estimator.score(X, y)

    clf = MLPClassifier(scoring=scorer, **SMALL).fit(X_TRAIN, Y_TRAIN, **GIVEN)
    assert [row[:2] for row in seen] == [(n, n) for n in range(1, 9)]
    shorter = MLPClassifier(**SMALL | {"max_iter": 3}).fit(X_TRAIN, Y_TRAIN)
    np.testing.assert_array_equal(seen[2][2], shorter.coefs_[0])
    np.testing.assert_array_equal(seen[-1][2], clf.coefs_[0])


def test_a_scorer_may_train_the_estimator_that_it_is_given():
    def spoiler(estimator, X, y):
        score = estimator.score(X, y)
        estimator.set_params(max_iter=1, scoring=None, early_stopping=False).fit(X, y)
        return score

    np.testing.assert_array_equal(fitted(spoiler)._params, fitted(None)._params)


def test_multilabel_and_regression_targets_have_the_form_of_y():
    labels, forms = np.eye(3, dtype=int)[Y], []

    def scorer(estimator, X, y):
        forms.append((y.shape, estimator.predict(X).shape))
        return accuracy_score(y, estimator.predict(X)) if y.dtype.kind == "i" else estimator.score(X, y)

    ours = MLPClassifier(scoring=scorer, **STOPPED).fit(X, labels)
    theirs = MLPClassifier(**STOPPED).fit(X, labels)
    assert ours.validation_scores_ == theirs.validation_scores_
    for y in (X[:, 0], X[:, :2]):
        ours = MLPRegressor(scoring=scorer, **STOPPED).fit(X, y)
        theirs = MLPRegressor(**STOPPED).fit(X, y)
        np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, rtol=1e-13)
    assert {form for form, _ in forms} == {form for _, form in forms} == {(15, 3), (15,), (15, 2)}


def test_a_scorer_without_weights_is_used_with_a_warning():
    y = X[:, 0]
    reg = MLPRegressor(scoring="neg_max_error", **STOPPED)
    with pytest.warns(UserWarning, match="takes no sample_weight"):
        reg.fit(X, y, X_val=X, y_val=y, sample_weight_val=np.ones(150))
    assert reg.best_validation_score_ == pytest.approx(-max_error(y, reg.predict(X)), rel=1e-14)


@pytest.mark.parametrize(
    ("scoring", "message"),
    [
        (["accuracy", "f1"], "Early stopping goes by one score"),
        ({"a": "accuracy"}, "Early stopping goes by one score"),
        ("acuracy", "Did you mean 'accuracy'"),
        (3, "must be None, 'loss'"),
    ],
)
def test_other_values_are_refused_in_words(scoring, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(scoring=scoring, **STOPPED).fit(X, Y)


def test_what_is_no_scorer_is_refused():
    with pytest.raises(ValueError, match="looks like it is a metric function"):
        fitted(accuracy_score)
    with pytest.raises(TypeError, match="must return one number, not"):
        fitted(lambda estimator, X, y: {"accuracy": 1.0, "f1": 0.5})
    for settings in ({}, {"greater_is_better": False}):
        scorer = make_scorer(accuracy_score, **settings)
        sign = -1 if settings else 1
        assert fitted(scorer).validation_scores_[0] == sign * fitted("accuracy").validation_scores_[0]


def test_an_error_of_the_scorer_is_the_fits_error():
    def broken(estimator, X, y):
        raise RuntimeError("no score today")

    with pytest.raises(RuntimeError, match="no score today"):
        fitted(broken)


@pytest.mark.parametrize(("restores", "left"), [("auto", "with which it began"), (False, "the last weights")])
def test_scores_that_are_never_numbers_are_warned_of(restores, left):
    model = MLPClassifier(scoring=lambda *_: np.nan, restore_best_weights=restores, **STOPPED)
    with pytest.warns(UserWarning, match=f"was NaN or -inf after every epoch, .*{left}"):
        model.fit(X, Y)


def test_scikit_learn_refuses_the_same_metric_functions():
    # Executed: its own check is the one that is called.
    from sklearn.metrics import check_scoring

    with pytest.raises(ValueError, match="looks like it is a metric function"):
        check_scoring(SGDClassifier(), accuracy_score)
