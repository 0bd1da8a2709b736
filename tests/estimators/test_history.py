"""The history of training: ``history_``, the curves, and what boosting libraries call them."""

import copy
import pickle
import time

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

import fastopt
from fastopt import MLPClassifier, MLPRegressor, schedules
from fastopt.engine import monotonic_clock
from fastopt.schedules import Run

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_iris(return_X_y=True)
ROWS = np.random.RandomState(0).permutation(150)
TRAIN, VAL = ROWS[:100], ROWS[100:]
SMALL = {"hidden_layer_sizes": (4,), "max_iter": 12, "random_state": 0, "batch_size": 25, "tol": 0.0}
VALIDATION = {"X_val": X[VAL], "y_val": Y[VAL]}
COLUMNS = ["loss", "val_loss", "val_score", "lr", "seconds"]


def fitted(validated=False, **settings):
    return MLPClassifier(**SMALL | settings).fit(X[TRAIN], Y[TRAIN], **VALIDATION if validated else {})


@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lamb", "lbfgs"])
@pytest.mark.filterwarnings("ignore:Parameters of")
def test_every_epoch_is_recorded(solver, validated):
    began = time.perf_counter()
    clf = fitted(validated, solver=solver)
    took = time.perf_counter() - began
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(clf.history_)
    assert list(table) == COLUMNS
    assert len(table) == clf.n_iter_ == SMALL["max_iter"]
    assert table.loss.iloc[-1] == clf.loss_
    assert table.lr.isna().all() if solver == "lbfgs" else (table.lr == 0.001).all()
    assert (np.diff(table.seconds) > 0).all()
    assert 0 < table.seconds.iloc[0] < table.seconds.iloc[-1] < took
    assert table.val_loss.notna().all() == table.val_score.notna().all() == validated
    if solver != "lbfgs":  # which has no curve, as in scikit-learn
        assert table.loss.tolist() == clf.loss_curve_
        assert (clf.validation_scores_ is None) != validated
    if validated:
        assert table.val_score.iloc[-1] == clf.score(X[VAL], Y[VAL])
        assert table.val_loss.tolist() == clf.validation_loss_curve_
    else:
        assert clf.validation_loss_curve_ is None


def test_times_of_compiled_epochs_are_those_of_the_clock(monkeypatch):
    before = monotonic_clock.now()
    clf = MLPClassifier((4,), max_iter=3000, n_iter_no_change=np.inf, random_state=0).fit(X, Y)
    seconds, took = clf.history_["seconds"], monotonic_clock.now() - before
    assert (np.diff(seconds) > 0).all()
    assert seconds[-1] < took
    # Where there is no such function, the epochs of a run share its time.
    monkeypatch.setattr(monotonic_clock, "ADDRESS", 0)
    before = monotonic_clock.now()
    shared = MLPClassifier((4,), max_iter=3000, n_iter_no_change=np.inf, random_state=0).fit(X, Y)
    assert shared.loss_curve_ == clf.loss_curve_
    assert (np.diff(shared.history_["seconds"]) > 0).all()
    assert shared.history_["seconds"][-1] < monotonic_clock.now() - before


@pytest.mark.parametrize("rate", ["cosine", "onecycle", "exponential"])
@pytest.mark.parametrize("validated", [False, True])  # in compiled epochs and one by one
def test_the_rate_is_that_of_an_epochs_first_step(rate, validated):
    clf = fitted(validated, learning_rate=rate, learning_rate_init=0.01)
    n_batches, n_epochs = 4, SMALL["max_iter"]
    schedule = schedules.get_schedule(rate).based_on(0.01)
    run = Run(n_batches * n_epochs, n_batches, epochs_end_steps=True)
    expected = schedule.at(run.clock(n_batches * np.arange(n_epochs)))
    np.testing.assert_array_equal(clf.history_["lr"], expected)


def test_the_rates_of_adaptive_and_invscaling_are_those_that_are_used():
    # What scikit-learn's optimizer holds as each epoch begins (executed: `_optimizer.learning_rate`).
    import sklearn.neural_network as sk

    for rule in ("adaptive", "invscaling"):
        settings = SMALL | {"solver": "sgd", "learning_rate": rule, "max_iter": 1, "warm_start": False}
        theirs = sk.MLPClassifier(**settings | {"tol": 10.0, "n_iter_no_change": 1})
        ours = MLPClassifier(**settings | {"tol": 10.0, "n_iter_no_change": 1, "max_iter": 8})
        used, update = [], sk._stochastic_optimizers.SGDOptimizer.iteration_ends
        with pytest.MonkeyPatch.context() as patch:

            def ends(self, time_step, used=used, update=update):
                used.append(self.learning_rate)
                update(self, time_step)

            patch.setattr(sk._stochastic_optimizers.SGDOptimizer, "iteration_ends", ends)
            theirs.set_params(max_iter=8).fit(X, Y)
        np.testing.assert_allclose(ours.fit(X, Y).history_["lr"], used, rtol=1e-14)
        assert len(set(used)) > 1


def test_the_history_goes_on_over_warm_starts_and_partial_fit():
    clf = fitted(warm_start=True, max_iter=3)
    clf.fit(X[TRAIN], Y[TRAIN], **VALIDATION)
    clf.fit(X[TRAIN], Y[TRAIN])
    clf.partial_fit(X[TRAIN], Y[TRAIN])
    history = clf.history_
    assert len(history["loss"]) == len(clf.validation_scores_) == len(clf.validation_loss_curve_) == 10
    is_validated = np.isin(np.arange(10), [3, 4, 5])
    for values in (history["val_loss"], history["val_score"], clf.validation_scores_):
        np.testing.assert_array_equal(np.isfinite(values), is_validated)
    assert (np.diff(history["seconds"]) > 0).all()  # of training only, whatever passes between the calls
    clf.set_params(warm_start=False).fit(X[TRAIN], Y[TRAIN])
    assert len(clf.history_["loss"]) == 3


def test_another_score_begins_new_curves():
    clf = fitted(early_stopping=True, warm_start=True, max_iter=3)
    clf.set_params(scoring="loss").fit(X[TRAIN], Y[TRAIN])
    assert len(clf.history_["loss"]) == len(clf.validation_scores_) == 3
    assert clf.best_validation_score_ == max(clf.validation_scores_) < 0
    clf.fit(X[TRAIN], Y[TRAIN])
    assert len(clf.history_["loss"]) == 6


def test_the_best_epoch():
    plain = fitted()
    assert (plain.best_iteration_, plain.best_score_) == (
        np.argmin(plain.loss_curve_),
        min(plain.loss_curve_),
    )
    stopped = fitted(early_stopping=True, learning_rate_init=0.05, max_iter=40, n_iter_no_change=3)
    scores = stopped.validation_scores_
    assert stopped.best_iteration_ == np.argmax(scores) < len(scores) - 1
    assert stopped.best_score_ == max(scores) == stopped.best_validation_score_
    again = MLPClassifier(**SMALL | {"early_stopping": True, "learning_rate_init": 0.05})
    again.set_params(max_iter=stopped.best_iteration_ + 1).fit(X[TRAIN], Y[TRAIN])
    np.testing.assert_array_equal(again._params, stopped._params)  # those are the weights that were kept


def test_evals_result_has_the_form_of_lightgbms():
    assert fitted().evals_result_ == {"training": {"loss": fitted().loss_curve_}}
    for scoring, name in ((None, "accuracy"), ("roc_auc_ovr", "roc_auc_ovr"), ("loss", None)):
        clf = fitted(True, scoring=scoring)
        result = clf.evals_result_["validation"]
        assert result.pop("loss") == clf.validation_loss_curve_
        assert result == ({} if name is None else {name: clf.validation_scores_})
    reg = MLPRegressor(**SMALL).fit(X, Y, X_val=X, y_val=Y)
    assert [*reg.evals_result_["validation"]] == ["loss", "r2"]


@pytest.mark.parametrize("name", ["history_", "best_iteration_", "best_score_", "evals_result_"])
def test_there_is_none_before_a_fit(name):
    assert not hasattr(MLPClassifier(), name)
    with pytest.raises(AttributeError):
        setattr(MLPClassifier(), name, 1)


def test_it_is_kept_by_copies_pickles_and_files(tmp_path):
    clf = fitted(True)
    fastopt.save(clf, tmp_path / "model")
    for kept in (copy.deepcopy(clf), pickle.loads(pickle.dumps(clf)), fastopt.load(tmp_path / "model")):
        for name, column in clf.history_.items():
            np.testing.assert_array_equal(kept.history_[name], column)
        assert kept.evals_result_ == clf.evals_result_
        kept.partial_fit(X, Y)
        assert len(kept.history_["loss"]) == len(clf.history_["loss"]) + 1


def test_models_of_other_origins_have_the_curves_that_they_brought():
    import sklearn.neural_network as sk

    theirs = sk.MLPClassifier(**SMALL | {"early_stopping": True}).fit(X, Y)
    ours = fastopt.from_sklearn(theirs)
    assert ours.history_["loss"].tolist() == theirs.loss_curve_
    assert ours.history_["val_score"].tolist() == theirs.validation_scores_
    assert np.isnan(ours.history_["seconds"]).all()
    ours.set_params(early_stopping=False).partial_fit(X, Y)
    assert len(ours.history_["loss"]) == 1  # other curves, as in scikit-learn


def test_a_damaged_history_is_refused(tmp_path):
    clf = fitted()
    clf._history = clf._history[:-1]
    with pytest.raises(ValueError, match="reshape"):
        fastopt.save(clf, tmp_path / "model")


@pytest.mark.filterwarnings("ignore:overflow")
def test_epochs_of_a_diverged_fit_are_recorded():
    reg = MLPRegressor(**SMALL | {"solver": "sgd", "learning_rate_init": 1e120})
    with pytest.raises(ValueError, match="non-finite"), pytest.warns(ConvergenceWarning, match="the loss is"):
        reg.fit(X, Y, X_val=X, y_val=Y)
    assert len(reg.history_["loss"]) == len(reg.validation_scores_) == reg.n_iter_
    assert reg.best_iteration_ >= 0
