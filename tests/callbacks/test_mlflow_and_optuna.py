"""Fits as runs of MLflow and as trials of Optuna, each in a store of its own."""

import math
import sys
import warnings

import numpy as np
import pytest
from joblib import Parallel, delayed
from reference.mlflow_store import metric, runs
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastopt import Adam, MLPClassifier
from fastopt._extras import MissingExtraError
from fastopt.callbacks import MLflowLogger, OptunaPruning

pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from version 1.9 on")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)


def network(**kwargs):
    return MLPClassifier((8,), **{"max_iter": 4, "random_state": 0, "batch_size": 50} | kwargs)


@pytest.mark.parametrize("module", ["mlflow", "optuna"])
def test_each_says_which_extra_it_needs(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf'pip install "fastopt\[{module}\]"'):
        MLflowLogger() if module == "mlflow" else OptunaPruning(None)


def test_a_fit_logs_to_the_active_run(mlflow):
    with mlflow.start_run():
        fitted = network(solver=Adam(lr=0.02)).set_callbacks(MLflowLogger())
        fitted.fit(X[::2], Y[::2], X_val=X[1::2], y_val=Y[1::2])
        assert mlflow.active_run() is not None
    (run,) = runs(mlflow)
    for name, values in fitted.history_.items():
        assert metric(mlflow, run, name) == dict(enumerate(values.tolist(), 1))
    assert {*run.data.metrics} == {"loss", "val_loss", "val_score", "lr", "seconds"}
    assert run.data.params["hidden_layer_sizes"] == "(8,)"
    assert run.data.params["solver__lr"] == "0.02"
    assert {*run.data.params} == {*fitted.get_params()}


def test_a_fit_without_an_active_run_has_one_of_its_own(mlflow):
    fitted = network().set_callbacks(MLflowLogger(run_name="mine")).fit(X, Y)
    (run,) = runs(mlflow)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "mine")
    assert mlflow.active_run() is None
    assert {*run.data.metrics} == {"loss", "lr", "seconds"}  # nothing is validated
    assert metric(mlflow, run, "loss") == dict(enumerate(fitted.loss_curve_, 1))


def test_a_fit_that_fails_leaves_a_failed_run(mlflow):
    class Fails(MLflowLogger):
        def _epoch_ends(self, estimator, state):
            super()._epoch_ends(estimator, state)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        network().set_callbacks(Fails()).fit(X, Y)
    (run,) = runs(mlflow)
    assert run.info.status == "FAILED"
    assert mlflow.active_run() is None


def test_lbfgs_is_logged_by_iterations(mlflow):
    fitted = network(solver="lbfgs", batch_size="auto").set_callbacks(MLflowLogger()).fit(X, Y)
    (run,) = runs(mlflow)
    assert {*run.data.metrics} == {"loss", "seconds"}
    assert len(metric(mlflow, run, "loss")) == fitted.n_iter_ == 4


def test_the_fits_of_a_search_are_nested_runs_and_the_refit_is_the_active_one(mlflow):
    inner = make_pipeline(StandardScaler(), network())
    inner[-1].set_callbacks(MLflowLogger())
    with mlflow.start_run() as outer:
        search = GridSearchCV(inner, {"mlpclassifier__alpha": [0.0, 0.1]}, cv=2).fit(X, Y)
    everything = runs(mlflow)
    nested = [run for run in everything if run.data.tags.get("mlflow.parentRunId") == outer.info.run_id]
    assert len(everything) == 1 + len(nested) == 5
    assert sorted(run.data.params["alpha"] for run in nested) == ["0.0", "0.0", "0.1", "0.1"]
    refit = mlflow.get_run(outer.info.run_id)
    assert refit.data.metrics["loss"] == search.best_estimator_[-1].loss_


def test_processes_of_a_search_log_runs_of_their_own(mlflow):
    Parallel(n_jobs=2)(delayed(len)([]) for _ in range(4))  # they are older than the experiment
    mlflow.set_experiment("another")
    inner = network(max_iter=2).set_callbacks(MLflowLogger())
    GridSearchCV(inner, {"alpha": [0.0, 0.1]}, cv=2, n_jobs=2).fit(X, Y)
    assert [run.info.status for run in runs(mlflow)] == ["FINISHED"] * 5


@pytest.fixture
def optuna():
    module = pytest.importorskip("optuna")
    module.logging.set_verbosity(module.logging.WARNING)
    return module


def test_optuna_sees_each_epoch_and_prunes(optuna):
    """Each trial after the first is worse from its first epoch on: the median pruner ends it there."""

    def objective(trial):
        rate = [0.02, 1e-6, 1e-7, 0.02][trial.number]
        estimator = network(learning_rate_init=rate, max_iter=6).set_callbacks(
            OptunaPruning(trial, "val_loss")
        )
        return estimator.fit(X[::2], Y[::2], X_val=X[1::2], y_val=Y[1::2]).history_["val_loss"][-1]

    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=2))
    study.optimize(objective, n_trials=4)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "PRUNED", "COMPLETE"]
    steps = [[*trial.intermediate_values] for trial in study.trials]
    assert steps == [[1, 2, 3, 4, 5, 6], [1, 2], [1, 2], [1, 2, 3, 4, 5, 6]]
    assert study.trials[0].value == study.trials[0].intermediate_values[6]


def test_optuna_gets_what_a_function_returns(optuna):
    def objective(trial):
        watched = OptunaPruning(trial, lambda estimator: estimator.score(X, Y))
        return network().set_callbacks(watched).fit(X, Y).score(X, Y)

    study = optuna.create_study(direction="maximize")
    study.optimize(objective, n_trials=1)
    alone = {n: network(max_iter=n).fit(X, Y).score(X, Y) for n in (1, 2, 3, 4)}
    assert study.trials[0].intermediate_values == alone


def test_the_study_has_the_direction_of_the_monitor(optuna):
    for direction, monitor, other in (
        ("maximize", "loss", "val_score"),
        ("minimize", "val_score", "val_loss"),
    ):
        trial = optuna.create_study(direction=direction).ask()
        with pytest.raises(ValueError, match=f"{direction} its objective.*Watch '{other}'"):
            OptunaPruning(trial, monitor)
    trial = optuna.create_study(directions=["minimize", "minimize"]).ask()
    with pytest.raises(ValueError, match="2 objectives"):
        OptunaPruning(trial, "loss")
    network().set_callbacks(OptunaPruning(optuna.trial.FixedTrial({}), "loss")).fit(X, Y)


def test_a_trial_has_one_fit_and_no_search(optuna):
    trial = optuna.create_study().ask()
    estimator = network().set_callbacks(OptunaPruning(trial, "loss")).fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Optuna would warn that it ignores the steps
        with pytest.raises(ValueError, match="this trial has had a fit"):
            estimator.fit(X, Y)
    searched = network().set_callbacks(OptunaPruning(optuna.create_study().ask(), "loss"))
    with pytest.raises(ValueError, match="for a fit of its own"):
        GridSearchCV(searched, {"alpha": [0.0]}, cv=2, error_score="raise").fit(X, Y)


def test_optuna_takes_the_step_once_and_nan(optuna):
    """What `OptunaPruning` relies on, as Optuna has it."""
    study = optuna.create_study()
    trial = study.ask()
    trial.report(math.nan, 1)
    with pytest.warns(UserWarning, match="already reported"):
        trial.report(1.0, 1)
    assert np.isnan(trial._cached_frozen_trial.intermediate_values[1])
