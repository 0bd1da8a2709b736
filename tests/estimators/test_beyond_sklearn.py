"""Defects of scikit-learn's estimators that ours do not have, and the options that are ours alone."""

import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network as sk
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split

import fastopt
from fastopt import SGD, AdamW, MLPClassifier, MLPRegressor
from fastopt.neural_network import scoring

X, Y = make_classification(n_samples=120, n_features=6, random_state=0)
quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_a_warm_start_after_convergence_has_its_full_patience_again():
    settings = {"tol": 10.0, "n_iter_no_change": 4, "warm_start": True, "random_state": 0}
    ours, theirs = MLPClassifier((5,), **settings), sk.MLPClassifier((5,), **settings)
    epochs = [[e.fit(X, Y).n_iter_ for _ in range(3)] for e in (ours, theirs)]
    assert epochs[1] == [6, 1, 1]  # the defect
    assert epochs[0] == [6, 5, 5]  # the first epoch of all improves on infinity


@quiet
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_batch_without_weight_changes_nothing(dtype):
    weight = np.ones(120)
    weight[30:60] = 0.0
    clf = MLPClassifier((5,), batch_size=30, shuffle=False, max_iter=1, random_state=0, solver=SGD(lr=0.1))
    kept = clf.fit(X.astype(dtype), Y, weight).coefs_[0].copy()
    rows = np.r_[0:30, 60:120]
    without = clf.fit(X[rows].astype(dtype), Y[rows]).coefs_[0]
    np.testing.assert_array_equal(kept, without)


@quiet
@pytest.mark.parametrize("size", [1e-46, 1e-44, 1e-42, 1e-39, 1e-30, 1e30, 1e37, 1e39, 5e-324, 1e-310, 1e300])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs", SGD(lr=0.1), fastopt.LAMB(lr=0.1)], ids=repr)
def test_equal_weights_of_any_size_are_weights_of_one(solver, size):
    # The weights' sum divides their gradient. float32 itself ends at 1e-45 and 3e38.
    settings = {"hidden_layer_sizes": (5,), "solver": solver, "alpha": 0.0, "max_iter": 5, "random_state": 0}
    rows = X.astype(np.float32)
    expected = MLPClassifier(**settings).fit(rows, Y, np.ones(120))
    actual = MLPClassifier(**settings).fit(rows, Y, np.full(120, size))
    # Products with other weights than powers of two are rounded; lbfgs amplifies that.
    np.testing.assert_allclose(actual.coefs_[0], expected.coefs_[0], rtol=2e-3, atol=1e-5)


@quiet
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs", fastopt.LAMB(lr=0.1)], ids=repr)
def test_weights_and_alpha_times_a_power_of_two_change_no_bit(solver, dtype):
    weight = np.random.RandomState(0).uniform(0.1, 1, 120)
    shift = 2.0**-100 if dtype == np.float32 else 2.0**-600
    settings = {"hidden_layer_sizes": (5,), "solver": solver, "max_iter": 5, "random_state": 0}
    one, other = (
        MLPClassifier(**settings, alpha=0.1 * factor).fit(X.astype(dtype), Y, (weight * factor).astype(dtype))
        for factor in (1.0, shift)
    )
    np.testing.assert_array_equal(one.coefs_[0], other.coefs_[0])
    np.testing.assert_array_equal(one.loss_, other.loss_)


@quiet
def test_tiny_float32_weights_train_as_in_scikit_learn():
    settings = {"hidden_layer_sizes": (5,), "max_iter": 5, "random_state": 0}
    weight = np.random.RandomState(0).uniform(1e-43, 1e-41, 120)
    ours, theirs = (
        library.MLPClassifier(**settings).fit(X.astype(np.float32), Y, weight) for library in (fastopt, sk)
    )
    # alpha divided by such a sum is all that counts, in both.
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-3)  # float32, and subnormal in scikit-learn
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-3, atol=1e-5)


@quiet
def test_a_weight_below_the_numbers_of_float32_beside_others_is_zero():
    weight = np.r_[np.ones(60), np.full(60, 1e-42)]
    settings = {
        "hidden_layer_sizes": (5,),
        "batch_size": 30,
        "shuffle": False,
        "max_iter": 5,
        "random_state": 0,
    }
    actual = MLPClassifier(**settings).fit(X.astype(np.float32), Y, weight)
    expected = MLPClassifier(**settings).fit(X.astype(np.float32), Y, (weight > 0.5).astype(float))
    np.testing.assert_array_equal(actual.coefs_[0], expected.coefs_[0])


@quiet
@pytest.mark.filterwarnings("ignore:overflow")  # of scikit-learn's
@pytest.mark.parametrize("solver", ["adam", "adamw", "rmsprop", "adagrad", "nadam", "amsgrad"])
@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.parametrize("magnitude", [1e12, 1e15, 1e17])
def test_unscaled_float32_columns_train_as_with_scikit_learns_adam(name, solver, magnitude):
    # Such as times in microseconds: the squares of its gradients overflow float32.
    rows = np.column_stack([X, magnitude * (1 + X[:, 0])]).astype(np.float32)
    y = Y if name == "MLPClassifier" else X[:, 0]
    for library, of in ((sk, "adam"), (fastopt, solver)):
        network = getattr(library, name)(hidden_layer_sizes=(8,), solver=of, max_iter=20, random_state=0)
        assert all(np.isfinite(w).all() for w in network.fit(rows, y).coefs_)


def test_held_out_rows_without_weight_are_refused():
    weight = np.ones(120)
    clf = MLPClassifier((5,), early_stopping=True, random_state=0)
    state = np.random.RandomState(0)
    state.uniform(size=6 * 5 + 5 + 5 * 1 + 1)  # the draws of the initial parameters come first
    _, held_out = train_test_split(np.arange(120), random_state=state, test_size=0.1, stratify=Y)
    weight[held_out] = 0.0
    with pytest.raises(ValueError, match="total sample_weight of 0"):
        clf.fit(X, Y, weight)


def test_lbfgs_has_no_partial_fit_in_either_estimator():
    for estimator in (MLPClassifier(solver="lbfgs"), MLPRegressor(solver="LBFGS")):
        assert not hasattr(estimator, "partial_fit")
        with pytest.raises(AttributeError, match="has no attribute 'partial_fit'") as raised:
            _ = estimator.partial_fit
        assert "partial_fit is only available for stochastic optimizers" in str(raised.value.__cause__)


def test_poisson_refuses_negative_targets():
    with pytest.raises(ValueError, match=r"loss='poisson' needs y >= 0, got a smallest value of -1.0"):
        MLPRegressor(loss="poisson").fit(X, Y - 1.0)


def test_training_stops_when_the_loss_is_no_longer_finite():
    reg = MLPRegressor(
        hidden_layer_sizes=(20,),
        activation="identity",
        solver="sgd",
        learning_rate_init=1.0,
        early_stopping=True,
        random_state=0,
    )
    with pytest.warns(ConvergenceWarning, match=r"the loss is (inf|nan) after \d+ iteration"):
        reg.fit(X * 100, Y)
    assert reg.n_iter_ < reg.max_iter
    assert not np.isfinite(reg.loss_curve_[-1])
    assert np.isfinite(reg.loss_curve_[:-1]).all()
    assert np.isfinite(reg.coefs_[0]).all()  # the best epoch's


@quiet
def test_diverged_weights_are_an_error():
    reg = MLPRegressor("squared_error", 20, "identity", solver="sgd", learning_rate_init=1.0, random_state=0)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        reg.fit(X * 100, Y)
    assert reg.n_iter_ < reg.max_iter


@quiet
def test_reset_optimizer_false_continues_as_if_never_stopped():
    settings = {"hidden_layer_sizes": (5,), "shuffle": False, "random_state": 0, "tol": 0.0}
    at_once = MLPClassifier(max_iter=8, **settings).fit(X, Y)
    in_parts = (
        MLPClassifier(max_iter=4, warm_start=True, reset_optimizer=False, **settings).fit(X, Y).fit(X, Y)
    )
    for a, b in zip(at_once.coefs_, in_parts.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    in_parts.set_params(reset_optimizer=True).fit(X, Y)
    assert in_parts._optimizer.update.t == 4


@quiet
def test_reset_optimizer_false_takes_a_new_learning_rate():
    clf = MLPClassifier((5,), solver=AdamW(lr=0.1), warm_start=True, reset_optimizer=False, max_iter=2).fit(
        X, Y
    )
    clf.set_params(solver__lr=0.01).fit(X, Y)
    assert clf._optimizer.learning_rate == 0.01
    assert clf._optimizer.update.t == 4
    assert clf.set_params(solver=SGD(lr=0.01)).fit(X, Y)._optimizer.update.t == 2  # another optimizer


@quiet
def test_restore_best_weights_ends_with_the_epoch_of_least_loss():
    # A learning rate this high makes the loss rise again.
    settings = {"hidden_layer_sizes": (8,), "solver": "sgd", "learning_rate_init": 2.0, "random_state": 1}
    settings |= {"n_iter_no_change": 100, "shuffle": False}
    last = MLPClassifier(max_iter=30, **settings).fit(X, Y)
    best_epoch = int(np.argmin(last.loss_curve_)) + 1
    assert best_epoch < 30
    restored = MLPClassifier(max_iter=30, restore_best_weights=True, **settings).fit(X, Y)
    stopped = MLPClassifier(max_iter=best_epoch, **settings).fit(X, Y)
    np.testing.assert_array_equal(restored.coefs_[0], stopped.coefs_[0])
    assert not np.array_equal(restored.coefs_[0], last.coefs_[0])


@quiet
def test_restore_best_weights_can_be_switched_off_under_early_stopping():
    settings = {"hidden_layer_sizes": (8,), "early_stopping": True, "random_state": 1, "tol": 0.0}
    settings |= {"max_iter": 30, "learning_rate_init": 0.05}
    best = MLPClassifier(**settings).fit(X, Y)
    last = MLPClassifier(restore_best_weights=False, **settings).fit(X, Y)
    assert best.validation_scores_ == last.validation_scores_
    assert not np.array_equal(best.coefs_[0], last.coefs_[0])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weighted", [False, True])
def test_the_scores_are_scikit_learns_metrics(seed, weighted):
    rs = np.random.RandomState(seed)
    weight = rs.uniform(size=40) if weighted else None
    one_hot, p = np.eye(4)[rs.randint(4, size=40)], rs.uniform(size=(40, 4))
    labels = (rs.uniform(size=(40, 2)) > 0.5).astype(float)
    expected = accuracy_score(one_hot.argmax(1), p.argmax(1), sample_weight=weight)
    assert scoring.multiclass_accuracy(one_hot, p, weight) == pytest.approx(expected, rel=1e-14)
    expected = accuracy_score(labels, p[:, :2] > 0.5, sample_weight=weight)
    assert scoring.accuracy(labels, p[:, :2], weight) == pytest.approx(expected, rel=1e-14)
    assert scoring.r2(one_hot, p, weight) == pytest.approx(
        r2_score(one_hot, p, sample_weight=weight), rel=1e-12
    )


def test_the_r2_of_a_constant_target_is_scikit_learns():
    target, other = np.column_stack([np.ones(5), np.arange(5.0)]), np.column_stack([np.ones(5), np.zeros(5)])
    for outputs in (target, other, other + 1):
        assert scoring.r2(target, outputs) == pytest.approx(r2_score(target, outputs), rel=1e-14)
    assert np.isnan(scoring.r2(target, np.full_like(target, np.inf)))


@quiet
@pytest.mark.parametrize("columns", [(1, 2), (2, 1), (2, 3)])
def test_more_training_with_another_number_of_targets_is_refused(columns):
    first, second = (np.tile(X[:, :1], (1, n)).squeeze() for n in columns)
    for settings, more in (({}, "partial_fit"), ({"warm_start": True}, "fit")):
        reg = MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, random_state=0, **settings).fit(X, first)
        before = reg.coefs_[0].copy()
        with pytest.raises(ValueError, match=f"has {columns[0]} outputs.* y stands for {columns[1]} outputs"):
            getattr(reg, more)(X, second)
        np.testing.assert_array_equal(reg.coefs_[0], before)
        assert reg.predict(X).shape == first.shape


@quiet
def test_coefs_for_other_features_are_refused_in_prediction():
    clf = MLPClassifier((4,), max_iter=2, random_state=0).fit(X, Y)
    clf.coefs_ = [np.zeros((9, 4)), np.zeros((4, 1))]
    with pytest.raises(ValueError, match="X has 6 features, but the network takes 9"):
        clf.predict(X)


@pytest.mark.parametrize("y", [np.array(list("ab") * 60), scipy.sparse.csr_array(np.column_stack([Y, Y]))])
def test_the_regressor_refuses_targets_that_are_no_numbers(y):
    with pytest.raises(ValueError, match="y must be a dense array of numbers, got"):
        MLPRegressor().fit(X, y)


def test_sizes_that_are_no_whole_numbers_are_refused():
    with pytest.raises(TypeError, match=r"hidden_layer_sizes must be whole numbers > 0, .* got \(2\.5,\)"):
        MLPClassifier((2.5,)).fit(X, Y)


@quiet
def test_sparse_indicator_targets_give_sparse_predictions():
    labels = scipy.sparse.csr_matrix(np.column_stack([Y, 1 - Y, X[:, 0] > 0]))
    ours, theirs = (
        library((4,), max_iter=3, random_state=0).fit(X, labels).predict(X)
        for library in (MLPClassifier, sk.MLPClassifier)
    )
    assert type(ours) is type(theirs)
    np.testing.assert_array_equal(ours.toarray(), theirs.toarray())
