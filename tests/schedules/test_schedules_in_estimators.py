"""Schedules as the learning rates of estimators."""

import pickle

import numpy as np
import pytest
import sklearn.neural_network as sk
from sklearn.base import clone
from sklearn.datasets import load_digits, make_classification
from sklearn.model_selection import GridSearchCV

import fastopt
from fastopt import EMA, Adam, AdamW, MLPClassifier, MLPRegressor, Muon
from fastopt.schedules import (
    Run,
    constant,
    cosine,
    exponential,
    linear,
    plateau,
    step,
    warmup,
)

X, Y = make_classification(n_samples=100, n_features=6, random_state=0)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 6, "random_state": 0, "batch_size": 20, "tol": 0}


SOLVERS = {"adam": "adam", "sgd": "sgd", "lion": "lion", "AdamW": AdamW(lr=0.02, weight_decay=0.1)}


class _Watched(MLPClassifier):
    """Sets the learning rate by hand: one batch an epoch, so that a rate a step is a rate an epoch."""

    def by_hand(self, rates):
        self.set_params(warm_start=True, max_iter=1, reset_optimizer=False)
        curve = []
        for rate in rates:
            if isinstance(self.solver, str):
                self.set_params(learning_rate_init=float(rate))
            else:
                self.set_params(solver__lr=float(rate))
            curve.append(self.fit(X, Y).loss_)
        return curve


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    "rate", ["cosine", "onecycle", linear(0.05, 4), exponential(0.1, 0.5, 1, unit="epoch")]
)
def test_the_loss_curve_is_that_of_setting_the_rate_by_hand(solver, rate):
    settings = SMALL | {"batch_size": 100, "shuffle": False, "learning_rate_init": 0.02}
    ours = MLPClassifier(solver=SOLVERS[solver], learning_rate=rate, **settings).fit(X, Y)
    schedule = rate if not isinstance(rate, str) else fastopt.schedules.get_schedule(rate, value=0.02)
    rates = schedule(np.arange(6), n_steps=6, steps_per_epoch=1)
    theirs = _Watched(solver=clone(SOLVERS[solver], safe=False), **settings)
    rates = np.maximum(rates, 1e-300)  # learning_rate_init must be positive
    np.testing.assert_allclose(ours.loss_curve_, theirs.by_hand(rates), rtol=1e-13)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_steps_within_an_epoch_have_their_own_rates(solver):
    """Five batches an epoch, against scikit-learn's own update with the rate set in every step."""
    ours = MLPClassifier(solver=solver, learning_rate=linear(0.05, 30, 0.001), **SMALL).fit(X, Y)
    theirs = sk.MLPClassifier(solver=solver, **SMALL)
    module = sk._stochastic_optimizers
    rates = iter(np.linspace(0.05, 0.001, 31))
    name = {"adam": "AdamOptimizer", "sgd": "SGDOptimizer"}[solver]
    original = getattr(module, name)._get_updates

    def with_rate(self, grads):
        setattr(self, "learning_rate" if solver == "sgd" else "learning_rate_init", next(rates))
        return original(self, grads)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(getattr(module, name), "_get_updates", with_rate)
        theirs.fit(X, Y)
    # The engine's parity with scikit-learn: another BLAS, 30 steps.
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-10)
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("rule", ["constant", "invscaling", "adaptive"])
def test_scikit_learns_rules_do_nothing_for_other_solvers(rule):
    with_rule = MLPClassifier(solver="adam", learning_rate=rule, **SMALL).fit(X, Y)
    assert with_rule.loss_curve_ == MLPClassifier(solver="adam", **SMALL).fit(X, Y).loss_curve_


def test_a_function_takes_the_share_of_the_run_and_scales_the_rate():
    seen = []

    def half(share):
        seen.append(share)
        return 0.5

    ours = MLPClassifier(learning_rate=half, learning_rate_init=0.02, **SMALL).fit(X, Y)
    assert ours.loss_curve_ == MLPClassifier(learning_rate_init=0.01, **SMALL).fit(X, Y).loss_curve_
    assert {0.0, 0.5, 29 / 30} <= set(seen)


def test_warmup_is_a_share_of_the_epochs_and_goes_with_any_schedule():
    for rate, then in (("constant", constant(0.01)), ("cosine", cosine(0.01)), (linear(0.3), linear(0.3))):
        by_name = MLPClassifier(learning_rate=rate, warmup=0.25, learning_rate_init=0.01, **SMALL).fit(X, Y)
        by_object = MLPClassifier(learning_rate=warmup(then, 0.25, unit="run"), **SMALL).fit(X, Y)
        assert by_name.loss_curve_ == by_object.loss_curve_
    lr = warmup(cosine(0.01), 0.25, unit="run")
    solver = Adam(lr=cosine(0.01), eps_mode="hat")
    by_solver = MLPClassifier(solver=solver, warmup=0.25, **SMALL).fit(X, Y)
    assert by_solver.loss_curve_ == MLPClassifier(learning_rate=lr, **SMALL).fit(X, Y).loss_curve_


def test_plateau_sees_the_training_loss_or_the_validation_score():
    settings = SMALL | {"max_iter": 12, "n_iter_no_change": 100}
    rate = plateau(0.5, 0.5, 0, 0.01)
    clf = MLPClassifier(learning_rate=rate, **settings).fit(X, Y)
    schedule = rate
    for loss in clf.loss_curve_:
        schedule = schedule.observe(loss)
    assert clf._optimizer.learning_rate == schedule(0) < 0.5
    clf = MLPClassifier(learning_rate=rate, early_stopping=True, **settings).fit(X, Y)
    schedule = rate
    for score in clf.validation_scores_:
        schedule = schedule.observe(score, greater_is_better=True)
    assert clf._optimizer.learning_rate == schedule(0) < 0.5
    assert clf.learning_rate == plateau(0.5, 0.5, 0, 0.01)  # the parameter is left alone


def test_a_plateau_without_patience_of_its_own_is_scikit_learns_adaptive():
    """Executed here: the rate falls to a fifth whenever patience runs out, until it is 1e-6 or less."""
    settings = {**SMALL, "max_iter": 400, "tol": 1e-3, "n_iter_no_change": 3, "learning_rate_init": 0.05}
    theirs = sk.MLPClassifier(solver="sgd", learning_rate="adaptive", **settings).fit(X, Y)
    rate = plateau(0.05, 0.2, patience=10**6)
    ours = MLPClassifier(solver="sgd", learning_rate=rate, **settings).fit(X, Y)
    assert ours.n_iter_ == theirs.n_iter_ < 400
    # The engine's parity with scikit-learn over some 100 epochs; a fifth is not 0.2 times, by a rounding.
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    rate = theirs._optimizer.learning_rate
    assert rate < 1e-6
    assert ours._optimizer.learning_rate == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_plateau_by_name_acts_before_training_ends(early_stopping):
    data = load_digits(return_X_y=True)
    settings = {"max_iter": 400, "tol": 1e-2, "random_state": 0, "early_stopping": early_stopping}
    fixed = MLPClassifier((16,), **settings).fit(*data)
    clf = MLPClassifier((16,), learning_rate="plateau", **settings).fit(*data)
    n = fixed.n_iter_
    assert clf.loss_curve_[:n] == fixed.loss_curve_
    # Patience for 11 bad epochs at each of 1e-3, 1e-4, 1e-5 and 1e-6, at which scikit-learn's rule ends.
    assert n + 3 * 11 <= clf.n_iter_ < 400
    assert clf._optimizer.learning_rate <= 1e-6 * (1 + 1e-9)


def test_patience_begins_anew_when_a_plateau_has_lowered_the_rate_by_its_own_patience():
    """With a rate of 1e-30 every epoch is a bad one, and 1e-30 is too low to be lowered for more patience."""
    settings = {**SMALL, "max_iter": 90, "tol": 1e-4, "n_iter_no_change": 10, "solver": "sgd"}
    for value, n_iter in ((0.0, 12), (1e-30, 12), (1e-5, 90)):
        clf = MLPClassifier(learning_rate=plateau(value, 0.999, patience=5), **settings)
        clf.fit(1e-9 * X, Y)  # so that nothing is learned at 1e-5 either
        assert clf.n_iter_ == n_iter
    assert clf._optimizer.learning_rate == pytest.approx(1e-5 * 0.999 ** (89 // 6))


def test_a_plateau_watches_a_score_below_zero():
    """An R2 that stands still below zero, by a rate that moves nothing."""
    rate = plateau(1e-20, 0.5, patience=2)
    settings = {**SMALL, "max_iter": 10, "n_iter_no_change": 100, "early_stopping": True}
    reg = MLPRegressor(solver="sgd", learning_rate=rate, **settings).fit(X, 100.0 + Y)
    assert reg.validation_scores_[0] < 0
    assert len(set(reg.validation_scores_)) == 1
    assert reg._optimizer.learning_rate == 1e-20 * 0.5**3


def test_partial_fit_goes_on_in_the_run_and_fit_begins_anew():
    settings = SMALL | {"learning_rate": step(0.1, 1, 0.5, unit="epoch")}
    clf = MLPClassifier(**settings)
    for rows in (100, 40, 60):  # epochs of 5, 2 and 3 steps
        clf.partial_fit(X[:rows], Y[:rows], classes=[0, 1])
    assert clf._optimizer.learning_rate == 0.1 * 0.5**3
    warm = MLPClassifier(warm_start=True, reset_optimizer=False, **settings).fit(X, Y)
    assert warm.fit(X, Y)._optimizer.learning_rate == pytest.approx(0.1 * 0.5**6)
    assert warm._optimizer.update.t == 60  # Adam's own count goes on


def test_a_schedule_over_the_run_takes_max_iter_calls_of_partial_fit():
    settings = SMALL | {"learning_rate": "linear", "learning_rate_init": 0.1}
    clf = MLPClassifier(**settings)
    for _ in range(3):
        clf.partial_fit(X, Y, classes=[0, 1])
    assert clf._optimizer.learning_rate == pytest.approx(0.05)


def test_a_fitted_model_pickles_and_goes_on_in_its_schedule():
    settings = SMALL | {"learning_rate": warmup(plateau(0.1, 0.5, 0), 3, unit="epoch")}
    clf = MLPRegressor(**settings).partial_fit(X, Y)
    copy = pickle.loads(pickle.dumps(clf))
    for _ in range(5):
        clf.partial_fit(X, Y)
        copy.partial_fit(X, Y)
    assert clf.loss_curve_ == copy.loss_curve_
    assert clf._optimizer.learning_rate == copy._optimizer.learning_rate


@pytest.mark.parametrize("unit", ["run", "epoch"])
@pytest.mark.parametrize("solver", [EMA(AdamW(lr=0.1)), AdamW(lr=0.1), Muon(lr=0.1)], ids=repr)
def test_a_pickle_goes_on_in_a_schedule_that_begins_anew(solver, unit):
    """A rise from 0, evaluated before the step at which the second fit began, would be a negative rate."""
    rate = warmup(cosine(), 0.5 if unit == "run" else 2, unit=unit)
    settings = SMALL | {"solver": solver, "learning_rate": rate, "warm_start": True, "reset_optimizer": False}
    clf = MLPRegressor(**settings).fit(X, Y)
    for _ in range(2):
        copy = pickle.loads(pickle.dumps(clf)).fit(X, Y)
        clf.fit(X, Y)
        assert copy.loss_curve_ == clf.loss_curve_
        np.testing.assert_array_equal(copy.coefs_[0], clf.coefs_[0])
        clf = copy


def test_grid_search_over_schedules_and_into_them():
    grid = [
        {"learning_rate": ["constant", "cosine", linear(1e-9, 5)]},
        {
            "solver": [AdamW(lr=cosine(1e-9))],
            "solver__lr__value": [1e-9, 0.05],
            "learning_rate": ["constant"],
        },
    ]
    search = GridSearchCV(MLPClassifier(learning_rate_init=1e-9, **SMALL), grid, cv=2)
    search.fit(X, Y)
    assert search.best_params_["solver__lr__value"] == 0.05
    assert search.best_estimator_.solver == AdamW(lr=cosine(0.05))


def test_clone_and_repr_of_estimators_and_optimizers_with_schedules():
    clf = MLPClassifier(solver=Adam(lr=cosine(0.1, 10), betas=(linear(0.8, 9, 0.9), 0.99)))
    copy = clone(clf)
    assert copy.solver == clf.solver
    assert copy.solver.lr is not clf.solver.lr
    assert eval(repr(clf.solver), vars(fastopt) | vars(fastopt.schedules)) == clf.solver
    assert clf.get_params()["solver__lr__length"] == 10
    assert clf.set_params(solver__lr__length=20).solver.lr == cosine(0.1, 20)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"learning_rate": "cosin"},
            r"must be a str among \{'adaptive', .*Got 'cosin' instead. Did you mean 'cosine'",
        ),
        ({"learning_rate": cosine}, r"Did you mean cosine\(...\)\?"),
        ({"learning_rate": 0.1}, "The 'learning_rate' parameter of MLPClassifier must be"),
        ({"learning_rate": cosine(), "solver": Adam(lr=cosine(0.1))}, "whose lr is a schedule already"),
        ({"learning_rate": "adaptive", "solver": "sgd", "warmup": 0.1}, "does not go with"),
        ({"warmup": 1.0}, "The 'warmup' parameter of MLPClassifier must be"),
        ({"learning_rate": linear(0.1, end=-0.1)}, "lr must be a finite number >= 0; this is what lr=linear"),
    ],
)
def test_contradictions_are_refused_in_fit(settings, words):
    with pytest.raises(ValueError, match=words):
        MLPClassifier(**SMALL | settings).fit(X, Y)


def test_scikit_learn_gets_a_constant_rate_with_a_warning():
    clf = MLPClassifier(learning_rate="cosine", **SMALL).fit(X, Y)
    with pytest.warns(UserWarning, match="scikit-learn has no learning_rate='cosine'"):
        theirs = clf.to_sklearn()
    np.testing.assert_array_equal(theirs.predict(X), clf.predict(X))
    theirs.fit(X, Y)


def test_unequal_epochs_are_counted_from_what_was_seen():
    run = Run(n_steps=100, steps_per_epoch=3, seen=(10, 2))
    np.testing.assert_array_equal(run.clock(np.array([10, 12, 13, 16])).epochs, [2, 2, 3, 4])
