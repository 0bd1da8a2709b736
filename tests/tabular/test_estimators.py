"""Bags of networks on tables: their predictions by hand, their folds, and what must not change them."""

import pickle
import time
from functools import partial

import joblib
import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

import fastopt
from fastopt import TabularMLPClassifier, TabularMLPRegressor

IRIS, SPECIES = load_iris(return_X_y=True)
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
ESTIMATORS = [TabularMLPClassifier, TabularMLPRegressor]


def fitted(cls, **parameters):
    """Return an estimator fitted to 120 rows, with small networks and few epochs."""
    quick = {"max_iter": 16, "hidden_layer_sizes": (8, 8), "n_members": 5, "random_state": 0} | parameters
    X, y = table(cls)
    return cls(**quick).fit(X[:120], y[:120])


def table(cls):
    rows = np.random.RandomState(0).permutation(150)
    X, y = (IRIS, SPECIES) if cls is TabularMLPClassifier else (DIABETES, PROGRESS)
    return X[rows].copy(), y[rows].astype(int)


def output(estimator, X):
    return estimator.predict_proba(X) if hasattr(estimator, "predict_proba") else estimator.predict(X)


def forward(member, Z):
    """Return the output before the last activation, in float64."""
    values = Z.astype(np.float64) * member.input_scale_
    for weights, biases in zip(member.coefs_[:-1], member.intercepts_[:-1], strict=True):
        values = values @ weights + biases
        values = values / (1 + np.exp(-values))
    return values @ member.coefs_[-1] + member.intercepts_[-1]


def softmax(values):
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_probabilities_by_hand():
    """The mean of the members' softmax, whose logarithm is divided by the temperature."""
    X, _ = table(TabularMLPClassifier)
    clf = fitted(TabularMLPClassifier, n_members=7)
    Z = clf.encoder_.transform(X[120:])
    mean = np.mean([softmax(forward(member, Z)) for member in clf.members_], axis=0)
    # The engine computes in float32, to 1e-6 or so of each number.
    np.testing.assert_allclose(
        clf.predict_proba(X[120:]), softmax(np.log(mean) / clf.temperature_), rtol=1e-4
    )
    assert (clf.predict(X) == clf.classes_[clf.predict_proba(X).argmax(axis=1)]).all()


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_rows_held_out_are_predicted_by_the_networks_that_have_not_seen_them(cls):
    X, y = table(cls)
    estimator = fitted(cls, n_members=10, n_cv=5, max_iter=1)  # the best epoch is everyone's
    Z = estimator.encoder_.transform(X[:120])
    of_members = [forward(member, Z) for member in estimator.members_]
    assert estimator.folds_.shape == (2, 120)
    for row in (0, 17, 119):
        outside = [of_members[5 * repeat + estimator.folds_[repeat, row]][row] for repeat in range(2)]
        if cls is TabularMLPClassifier:
            logs = np.log(np.mean([softmax(one[np.newaxis]) for one in outside], axis=0))
            expected = softmax(logs / estimator.temperature_)[0]
        else:
            # Standardised targets of the rows that differ: all of them do.
            expected = np.mean(outside) * y[:120].std() + y[:120].mean()
            expected = np.clip(expected, y[:120].min(), y[:120].max())
        np.testing.assert_allclose(estimator.oof_predictions_[row], expected, rtol=2e-4)


def test_best_epochs_and_history_are_of_the_rows_held_out():
    X, y = table(TabularMLPClassifier)
    clf = fitted(TabularMLPClassifier, calibration=None)
    Z = clf.encoder_.transform(X[:120])
    losses = []
    for number, member in enumerate(clf.members_):
        own = clf.folds_[0] == number
        p = softmax(forward(member, Z[own]))
        losses.append(-np.log(p[np.arange(own.sum()), y[:120][own]]).mean())
        assert member.best_loss_ == pytest.approx(losses[-1], rel=1e-4)
    assert len(clf.history_["val_loss"]) == len(clf.history_["loss"]) == clf.n_iter_
    # Each network is at its own best epoch, so their pooled loss is below that of any epoch of all.
    assert np.mean(losses) <= clf.history_["val_loss"].min() + 1e-6
    assert clf.oof_score_ == np.mean(clf.oof_predictions_.argmax(axis=1) == y[:120])


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_threads_change_no_bit(cls):
    X, _ = table(cls)
    one, two = fitted(cls, n_jobs=1), fitted(cls, n_jobs=2)
    np.testing.assert_array_equal(output(one, X), output(two, X))
    np.testing.assert_array_equal(one.oof_predictions_, two.oof_predictions_)
    np.testing.assert_array_equal(one.feature_importances_, two.feature_importances_)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_neither_the_order_of_rows_nor_a_copy_instead_of_a_weight_changes_a_bit(cls):
    X, y = table(cls)
    X, y = X[:120], y[:120]
    estimator = cls(max_iter=6, hidden_layer_sizes=(8,), n_members=5, random_state=0)
    weights = np.random.RandomState(1).randint(0, 3, 120)
    expected = output(clone(estimator).fit(X, y, weights), X)
    rows = np.random.RandomState(2).permutation(np.repeat(np.arange(120), weights))
    np.testing.assert_array_equal(output(clone(estimator).fit(X[rows], y[rows]), X), expected)


@pytest.mark.parametrize(("n_members", "n_folds"), [(1, 5), (3, 5), (5, 5), (7, 7), (10, 10), (20, 10)])
def test_few_rows_have_as_many_folds_as_networks_up_to_ten(n_members, n_folds):
    clf = fitted(TabularMLPClassifier, n_members=n_members, max_iter=1)
    assert sorted({*clf.folds_.ravel().tolist()}) == [*range(n_folds)]
    assert len(clf.folds_) == max(1, n_members // n_folds)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_rows_without_weight_are_predicted_by_all_networks(cls):
    X, y = table(cls)
    weights = np.ones(120)
    weights[5] = 0
    quick = {"max_iter": 6, "hidden_layer_sizes": (8,), "n_members": 5, "random_state": 0}
    estimator = cls(**quick).fit(X[:120], y[:120], weights)
    np.testing.assert_allclose(estimator.oof_predictions_[5], output(estimator, X[5:6])[0], rtol=1e-6)
    assert estimator.folds_[0, 5] == -1


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_copies_pickles_and_files_predict_the_same(cls, tmp_path):
    pytest.importorskip("safetensors")
    X, _ = table(cls)
    estimator = fitted(cls)
    importances = estimator.feature_importances_
    fastopt.save(estimator, tmp_path / "model")
    joblib.dump(estimator, tmp_path / "joblib")
    for other in (
        pickle.loads(pickle.dumps(estimator)),
        joblib.load(tmp_path / "joblib"),
        fastopt.load(tmp_path / "model"),
    ):
        np.testing.assert_array_equal(output(other, X), output(estimator, X))
        np.testing.assert_array_equal(other.feature_importances_, importances)
        assert other.get_params() == estimator.get_params()
        np.testing.assert_array_equal(other.history_["loss"], estimator.history_["loss"])
    np.testing.assert_array_equal(
        output(clone(estimator).fit(X[:120], table(cls)[1][:120]), X), output(estimator, X)
    )


def test_importances_are_not_there_after_a_pickle_that_lacks_them():
    again = pickle.loads(pickle.dumps(fitted(TabularMLPClassifier, max_iter=2)))
    assert not hasattr(again, "feature_importances_")
    with pytest.raises(AttributeError, match="ask for them before it is saved"):
        _ = again.feature_importances_


def test_importances_find_the_columns_that_matter():
    rs = np.random.RandomState(0)
    X = rs.standard_normal((300, 4))
    X[:, 3] = 1.0  # constant: without inputs
    y = X[:, 1] + rs.standard_normal(300) * 0.1
    regr = TabularMLPRegressor(n_members=5, max_iter=31, hidden_layer_sizes=(16,), random_state=0).fit(X, y)
    found = regr.feature_importances_
    # Permuting all that matters makes the squared error twice the variance: R2 falls from about 1 to -1.
    assert 1.6 < found[1] < 2.3
    assert abs(found[[0, 2]]).max() < 0.1
    assert found[3] == 0


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_a_validation_set_takes_the_place_of_folds(cls):
    X, y = table(cls)
    quick = {"max_iter": 16, "hidden_layer_sizes": (8,), "n_members": 3, "random_state": 0}
    estimator = cls(**quick).fit(X[:100], y[:100], X_val=X[100:], y_val=y[100:])
    assert estimator.validation_score_ == pytest.approx(estimator.score(X[100:], y[100:]), rel=1e-6)
    assert not {"oof_score_", "oof_predictions_", "folds_"} & vars(estimator).keys()
    assert estimator.feature_importances_.shape == (X.shape[1],)
    # A fit without one leaves nothing of it.
    assert not hasattr(estimator.fit(X, y), "validation_score_")


def test_the_validation_set_is_checked():
    X, y = table(TabularMLPClassifier)
    clf = TabularMLPClassifier(max_iter=1)
    with pytest.raises(ValueError, match="y_val was passed without X_val"):
        clf.fit(X, y, y_val=y)
    with pytest.raises(ValueError, match=r"\(X_val, y_val\).*labels that y has not: \[7\]"):
        clf.fit(X, y, X_val=X, y_val=np.full(150, 7))
    with pytest.raises(ValueError, match=r"\(X_val, y_val\).*3 features"):
        clf.fit(X, y, X_val=X[:, :3], y_val=y)
    assert not hasattr(clf, "classes_") or not clf.__sklearn_is_fitted__()


@pytest.mark.parametrize("kind", [scipy.sparse.csr_matrix, scipy.sparse.csc_array])
def test_sparse_rows_are_the_same_as_dense_ones(kind):
    rs = np.random.RandomState(0)
    X = rs.standard_normal((80, 6)) * (rs.random_sample((80, 6)) < 0.3)
    y = (X[:, 0] + X[:, 1] > 0).astype(int)
    clf = TabularMLPClassifier(max_iter=6, hidden_layer_sizes=(8,), n_members=5, random_state=0)
    dense, sparse = clone(clf).fit(X, y), clone(clf).fit(kind(X), y)
    np.testing.assert_array_equal(dense.predict_proba(X), sparse.predict_proba(kind(X)))


def test_wide_one_hot_tables_stay_sparse():
    rs = np.random.RandomState(0)
    codes = rs.randint(0, 12, (500, 30))
    X, y = codes.astype(str).astype(object), (codes[:, 0] < 6).astype(int)
    clf = TabularMLPClassifier(max_iter=31, n_members=5, hidden_layer_sizes=(16,), random_state=0).fit(X, y)
    assert clf.encoder_.sparse_output_
    assert clf.oof_score_ > 0.7  # chance is 0.5, with a standard deviation of 0.02
    assert clf.feature_importances_.argmax() == 0


@pytest.mark.parametrize("cls", ESTIMATORS)
@pytest.mark.filterwarnings("ignore:Stopped after max_time")  # of a busy machine, in the middle of a cycle
def test_time_ends_a_fit(cls):
    X, y = table(cls)
    estimator = fitted(cls)  # whatever has to be compiled is
    estimator.set_params(max_iter=1_000_000, max_time=0.5)
    began = time.monotonic()
    estimator.fit(X, y)
    assert time.monotonic() - began < 10
    assert 1 <= estimator.n_iter_ < 1_000_000
    assert np.isfinite(output(estimator, X)).all()


def test_time_that_is_over_at_once_leaves_one_epoch_and_a_warning():
    X, y = table(TabularMLPClassifier)
    with pytest.warns(ConvergenceWarning, match="max_time=1e-09"):
        clf = TabularMLPClassifier(max_time=1e-9, n_members=2).fit(X, y)
    assert clf.n_iter_ == 1
    assert clf.predict_proba(X).shape == (150, 3)


def test_an_error_leaves_the_estimator_unfitted():
    clf = fitted(TabularMLPClassifier, max_iter=2)
    with pytest.raises(ValueError, match="at least 2 rows"):
        clf.fit(IRIS[:1], SPECIES[:1])
    assert not clf.__sklearn_is_fitted__()


def test_parameters_can_be_searched():
    search = GridSearchCV(
        TabularMLPClassifier(max_iter=2, n_members=2, random_state=0), {"label_smoothing": [0, 0.2]}, cv=2
    )
    assert search.fit(*table(TabularMLPClassifier)).best_score_ > 0.2


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"n_cv": 1}, "n_cv"),
        ({"n_members": 0}, "n_members"),
        ({"learning_rate_init": -1}, "learning_rate_init"),
        ({"hidden_layer_sizes": "wide"}, "hidden_layer_sizes"),
        ({"batch_size": "auto"}, "batch_size"),
        ({"numeric_scaler": "minmax"}, "numeric_scaler"),
    ],
)
def test_parameters_that_cannot_be_are_named(parameters, words):
    with pytest.raises(ValueError, match=words):
        TabularMLPClassifier(**parameters).fit(IRIS, SPECIES)


@pytest.mark.parametrize(
    ("method", "keyword", "words"),
    [
        ("__init__", {"epochs": 50}, r"no argument 'epochs'\. Pass max_iter=50"),
        ("__init__", {"seed": 1}, r"Pass random_state=1"),
        ("__init__", {"patience": 5}, r"no argument 'patience'\.$"),  # there is nothing like it
        ("__init__", {"max_onehot": 5}, r"'max_one_hot'"),
        ("fit", {"eval_set": None}, r"fit\(X, y, X_val=\.\.\., y_val=\.\.\.\)\.$"),
        ("fit", {"weights": None}, r"sample_weight="),
        ("fit", {"classes": None}, r"no argument 'classes'"),
    ],
)
def test_keywords_of_other_libraries_are_answered(method, keyword, words):
    call = TabularMLPRegressor if method == "__init__" else partial(TabularMLPClassifier().fit, IRIS, SPECIES)
    with pytest.raises(TypeError, match=words):
        call(**keyword)


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (TabularMLPRegressor(quantile=[0.1, 0.9]), r"quantile=\[0\.1, 0\.9\] \(of loss='quantile' only\)"),
        (TabularMLPRegressor(loss="huber", power=2.0), r"power=2\.0 \(of loss='tweedie' only\)$"),
        (TabularMLPClassifier(focal_gamma=1.0), r"focal_gamma=1\.0 \(of loss='focal' only\)"),
    ],
)
def test_parameters_without_an_effect_are_told(estimator, words):
    X, y = table(type(estimator))
    with pytest.warns(UserWarning, match=words):
        estimator.set_params(max_iter=1, n_members=2).fit(X, y)


def test_folds_have_no_effect_beside_a_validation_set():
    with pytest.warns(UserWarning, match=r"n_cv=3 \(X_val takes the place of folds\)"):
        TabularMLPClassifier(max_iter=1, n_cv=3).fit(IRIS, SPECIES, X_val=IRIS, y_val=SPECIES)


def test_negative_weights_are_refused():
    with pytest.raises(ValueError, match=r"sample_weight has the negative number -1.0"):
        TabularMLPClassifier().fit(IRIS, SPECIES, np.where(np.arange(150) == 3, -1.0, 1.0))
