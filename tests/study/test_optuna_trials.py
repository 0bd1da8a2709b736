"""A study as one of Optuna's: the same fits and scores, and what Optuna makes of them."""

import math

import numpy as np
import pytest
from reference.small_study import iris, small_study
from sklearn.exceptions import NotFittedError

import fastopt

optuna = pytest.importorskip("optuna", reason='needs pip install "fastopt[optuna]"')
optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(scope="module")
def study():
    return small_study(batch_size=[16, 64], n_tuning_seeds=2).fit(*iris())


def rows(results, phase):
    return results[results["phase"] == phase]


def test_each_tuning_fit_is_a_trial_with_its_score(study):
    trials = study.to_optuna().trials
    tuning = rows(study.results_, "tuning")
    assert len(trials) == len(tuning) == 2 * 2 * 2 * 2
    for trial, row in zip(trials, tuning.itertuples(), strict=True):
        assert trial.state.name == "COMPLETE"
        assert trial.params == {"optimizer": row.optimizer, "lr": row.lr, "batch_size": row.batch_size}
        assert trial.value == row.accuracy
        assert trial.intermediate_values == {3: row.accuracy}  # tuning is scored after the last epoch
        assert (trial.user_attrs["seed"], trial.user_attrs["phase"]) == (row.seed, "tuning")
        assert trial.user_attrs["seconds"] == pytest.approx(row.fit_seconds)
    assert study.to_optuna().metric_names == ["accuracy"]


def test_optunas_best_trial_has_the_best_score(study):
    converted = study.to_optuna()
    assert converted.best_value == rows(study.results_, "tuning")["accuracy"].max()


def test_comparison_trials_have_the_validation_curve(study):
    trials = study.to_optuna(phase="comparison").trials
    assert len(trials) == 2 * 3
    for trial in trials:
        curves = study.curves_.query(
            "phase == 'comparison' and optimizer == @trial.params['optimizer'] and "
            "seed == @trial.user_attrs['seed']"
        )
        assert trial.intermediate_values == dict(zip(curves["epoch"], curves["accuracy"], strict=True))


def test_a_sweep_is_taken_where_nothing_was_tuned():
    study = small_study(n_seeds=2).sweep(*iris())
    trials = study.to_optuna().trials
    assert len(trials) == 2 * 2 * 2
    assert {trial.user_attrs["phase"] for trial in trials} == {"sweep"}
    assert {*trials[0].params} == {"optimizer", "lr"}  # one batch size is no choice
    assert all([*trial.intermediate_values] == [1, 2, 3] for trial in trials)


def test_optunas_plots_and_importances_take_it(study):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    converted = study.to_optuna()
    drawn = optuna.visualization.matplotlib
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        axes = drawn.plot_slice(converted)
    assert [ax.get_xlabel() for ax in np.ravel(axes)] == ["batch_size", "lr", "optimizer"]
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        lines = drawn.plot_intermediate_values(study.to_optuna(phase="comparison")).get_lines()
    assert len(lines) == 2 * 3
    importances = optuna.importance.get_param_importances(converted)
    assert {*importances} == {"optimizer", "lr", "batch_size"}
    assert sum(importances.values()) == pytest.approx(1)
    pyplot.close("all")


def test_importance_finds_the_parameter_that_matters():
    """Of two rates one is far too small to learn anything; the optimizers hardly differ beside that."""
    study = small_study(lr=[1e-6, 0.03], n_tuning_seeds=4, max_epochs=10, n_seeds=2).fit(*iris())
    importances = optuna.importance.get_param_importances(
        study.to_optuna(), evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )
    assert max(importances, key=importances.get) == "lr"


def test_diverged_fits_are_pruned_trials_without_a_value():
    study = small_study(["gradient descent"], lr=[0.03, 1e300], n_seeds=2)
    study.estimator = fastopt.MLPClassifier((8,))
    study.fit(*iris())
    results = rows(study.results_, "tuning")
    assert results["diverged"].tolist() == [False, True], "the rate was to be far too large"
    sound, diverged = study.to_optuna().trials
    assert (sound.state.name, diverged.state.name) == ("COMPLETE", "PRUNED")
    assert diverged.value is None
    assert diverged.user_attrs["diverged"]


def test_lower_rungs_of_halving_are_pruned_trials():
    rates = [0.001, 0.003, 0.01, 0.03]
    study = small_study({"adam": {"solver": "adam"}}, lr=rates, search="halving", max_epochs=6)
    trials = study.fit(*iris()).to_optuna().trials
    states = [(trial.state.name, trial.user_attrs["n_epochs"]) for trial in trials]
    assert states == [("PRUNED", 2)] * 4 + [("COMPLETE", 6)] * 2  # a third of the budget, then all of it
    best = study.to_optuna().best_params["lr"]
    assert best in [trial.params["lr"] for trial in trials[4:]]


def test_a_search_goes_on_from_the_trials_of_one_optimizer(study, tmp_path):
    pytest.importorskip("sqlalchemy")
    storage = f"sqlite:///{tmp_path}/study.db"
    converted = study.to_optuna("adam", study_name="iris", storage=storage)
    assert all("optimizer" not in trial.params for trial in converted.trials)
    known = len(converted.trials)
    converted.optimize(study.objective(*iris(), "adam"), n_trials=2)
    again = optuna.load_study(study_name="iris", storage=storage)
    assert len(again.trials) == known + 2
    assert all(0.003 <= trial.params["lr"] <= 0.03 for trial in again.trials)
    assert math.isfinite(again.trials[-1].value)


def test_what_there_is_not_is_refused(study):
    with pytest.raises(NotFittedError, match="call fit or sweep"):
        small_study().to_optuna()
    study.objective(*iris(), "adam")  # begins another experiment
    with pytest.raises(ValueError, match=r"label='lion' has no fits.*'adam', 'momentum'"):
        study.to_optuna("lion")
    with pytest.raises(ValueError, match="phase='tune' is none of 'tuning', 'sweep', 'comparison'"):
        study.to_optuna(phase="tune")
    with pytest.raises(ValueError, match=r"no fits of the phase 'sweep', only of \['tuning', 'comparison'\]"):
        study.to_optuna(phase="sweep")
