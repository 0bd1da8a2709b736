import signal
import warnings

import numpy as np
import pandas as pd
import pytest
from reference.small_study import SOLVERS, iris, network, small_study
from sklearn.datasets import load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.metrics import confusion_matrix, make_scorer
from sklearn.neural_network import MLPClassifier, MLPRegressor

import fastopt
from fastopt.report import render_report
from fastopt.study import OptimizerStudy


def test_the_results_hold_one_row_for_each_fit():
    study = small_study(n_seeds=4, n_tuning_seeds=2).fit(*iris())
    assert study.results_.groupby(["phase", "optimizer"]).size().to_dict() == {
        ("comparison", "adam"): 4,
        ("comparison", "momentum"): 4,
        ("tuning", "adam"): 4,
        ("tuning", "momentum"): 4,
    }
    assert len(study.curves_) == 16 * 3


def test_one_seed_names_no_winner():
    study = small_study(n_seeds=1).fit(*iris())
    assert study.best_optimizer_ is None
    assert study.comparisons_.empty
    assert "No winner is named" in study.verdict_[0]


def test_twins_are_called_within_noise():
    study = small_study({"one": {"solver": "adam"}, "other": {"solver": "adam"}}).fit(*iris())
    assert not study.comparisons_["distinguishable"].any()
    assert "within noise" in study.verdict_[0]
    assert any("Differences within noise are not differences" in note for note in study.notes_)


def test_a_clear_difference_is_said_with_its_margin():
    slow = {"adam": {"solver": "adam"}, "asleep": {"solver": "sgd", "momentum": 0.0}}
    study = small_study(slow, lr={"adam": 0.03, "asleep": 1e-6}, n_seeds=8, max_epochs=15).fit(*iris())
    assert study.best_optimizer_ == "adam"
    (row,) = study.comparisons_.itertuples()
    assert row.distinguishable
    assert row.low > 0
    assert any(s.startswith("adam beats asleep by ") and "±" in s and "8 seeds" in s for s in study.verdict_)


def test_the_differences_are_those_of_the_paired_scores():
    study = small_study().fit(*iris())
    runs = study.results_[study.results_["phase"] == "comparison"]
    scores = runs.pivot(index="seed", columns="optimizer", values="accuracy")
    (row,) = study.comparisons_.itertuples()
    expected = (scores[study.best_optimizer_] - scores[row.optimizer]).mean()
    assert row.difference == pytest.approx(expected, abs=1e-15)


def test_epochs_and_seconds_to_the_target_are_two_questions_and_ties_are_ties():
    # Of the twins one is by chance quicker; 'asleep' never gets there.
    twins = {
        "one": {"solver": "adam"},
        "other": {"solver": "adam"},
        "asleep": {"solver": "sgd", "momentum": 0.0},
    }
    rates = {"one": 0.03, "other": 0.03, "asleep": 1e-6}
    study = small_study(twins, lr=rates, n_seeds=4, max_epochs=12, target_score=0.8).fit(*iris())
    epochs = study.summary_.set_index("optimizer")["epochs_to_target"]
    assert f"Fewest epochs to accuracy 0.8: one and other, {epochs['one']:g} (median)." in study.verdict_
    (seconds,) = [s for s in study.verdict_ if s.startswith("Least training time to it: ")]
    assert "asleep" not in seconds


def test_a_rate_at_the_end_of_the_grid_is_pointed_out():
    study = small_study(lr=[1e-5, 1e-4, 0.01], n_tuning_seeds=4, max_epochs=10).fit(*iris())
    assert any("largest learning rate of its grid (0.01)" in note for note in study.notes_)


def test_a_diverged_fit_is_recorded_and_loses():
    wild = {"wild": {"solver": "sgd", "momentum": 0.0}, "adam": {"solver": "adam"}}
    X, y = load_diabetes(return_X_y=True)
    study = OptimizerStudy(
        MLPRegressor(hidden_layer_sizes=(8,), activation="identity"),
        wild,
        lr={"wild": 1.0, "adam": 0.01},
        n_seeds=2,
        max_epochs=3,
    ).fit(X * 1e3, y)
    runs = study.results_.set_index("optimizer")
    assert runs.loc["wild", "diverged"].all()
    assert runs.loc["wild", "r2"].isna().all()
    assert study.best_optimizer_ == "adam"
    assert any("wild diverged in 2 of its 2 fits" in note for note in study.notes_)


def test_a_yardstick_is_shown_but_does_not_compete():
    with_yardstick = {**SOLVERS, "yardstick": MLPClassifier((8,), solver="adam")}
    study = small_study(with_yardstick, lr={"yardstick": "adam"}).fit(*iris())
    assert study.yardsticks_ == ["yardstick"]
    assert "yardstick" in set(study.summary_["optimizer"])
    assert "yardstick" not in {*study.comparisons_["optimizer"], study.best_optimizer_}
    assert study.best_params_["yardstick"] == study.best_params_["adam"]
    assert any(sentence.startswith("yardstick on the same work") for sentence in study.verdict_)


def test_regression_is_scored_by_r2():
    X, y = load_diabetes(return_X_y=True)
    study = OptimizerStudy(
        MLPRegressor(hidden_layer_sizes=(8,)), SOLVERS, lr=0.01, n_seeds=2, max_epochs=2
    ).fit(X, (y - 152) / 77)
    assert study.summary_["r2"].between(-2, 1).all()
    assert study.confusion_ == {}


def test_any_scorer_can_judge():
    def right_share(y_true, y_pred):
        return np.mean(y_true == y_pred)

    named = small_study(scoring="neg_log_loss", metrics=["f1_macro"]).fit(*iris())
    assert {"neg_log_loss", "f1_macro"} <= set(named.summary_.columns)
    own = small_study(scoring=make_scorer(right_share), metrics=[]).fit(*iris())
    plain = small_study(metrics=[]).fit(*iris())
    own_scores = own.results_.filter(regex="right_share").to_numpy().ravel()
    np.testing.assert_array_equal(own_scores, plain.results_["accuracy"])


def test_the_confusion_matrix_is_summed_over_seeds():
    X, y = iris()
    study = small_study({"adam": {"solver": "adam"}}, lr=0.01, n_seeds=2).fit(X, y)
    expected = 0
    for seed in (0, 1):
        split = study._experiment.splits.get(seed)
        fitted = MLPClassifier((8,), learning_rate_init=0.01, random_state=np.random.RandomState(seed))
        for _ in range(3):
            fitted.partial_fit(split.X_train, split.y_train, classes=[0, 1, 2])
        expected = expected + confusion_matrix(split.y_val, fitted.predict(split.X_val))
    np.testing.assert_array_equal(study.confusion_["adam"], expected)


def test_the_first_epoch_at_the_target_is_counted():
    study = small_study(n_seeds=2, max_epochs=10, target_score=0.5).fit(*iris())
    for row in study.summary_.itertuples():
        curves = study.curves_[
            (study.curves_["optimizer"] == row.optimizer) & (study.curves_["phase"] == "comparison")
        ]
        first = [curve["epoch"][curve["accuracy"] >= 0.5].min() for _, curve in curves.groupby("seed")]
        assert row.epochs_to_target == np.median([np.inf if np.isnan(f) else f for f in first])


def test_a_budget_in_samples_ends_after_the_epoch_that_reaches_it():
    study = small_study(max_epochs=None, max_samples=300).fit(*iris())  # 120 rows an epoch
    assert set(study.results_["n_epochs"]) == {3}


def test_a_budget_in_seconds_ends_by_the_clock_of_training():
    study = small_study(max_epochs=None, max_seconds=0.05, n_seeds=1).fit(*iris())
    before_last = (
        study.results_["fit_seconds"]
        - study.curves_.groupby(["optimizer", "lr", "seed"])["seconds"]
        .apply(lambda s: s.diff().iloc[-1] if len(s) > 1 else s.iloc[-1])
        .max()
    )
    assert (study.results_["fit_seconds"] >= 0.05).all()
    assert (before_last < 0.05).all()


def test_ctrl_c_keeps_what_is_done_and_says_how_to_continue(tmp_path, ctrl_c):
    calls = []

    def press_ctrl_c(y_true, y_pred):
        calls.append(1)
        if len(calls) == 10:
            ctrl_c()
        return float(np.mean(y_true == y_pred))

    study = small_study(scoring=make_scorer(press_ctrl_c), metrics=[], store=tmp_path)
    with pytest.warns(UserWarning, match="Study interrupted: 5 fits are done and saved in .* to continue"):
        study.fit(*iris())  # 4 tuning fits are scored once each, then 3 times: in the 6th fit
    assert study.interrupted_
    assert len(study.results_) == 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_that_the_network_swallows_still_stops_the_study(ctrl_c):
    class Deaf(MLPClassifier):
        """Catches KeyboardInterrupt in training, as scikit-learn's loop does."""

        def partial_fit(self, X, y, sample_weight=None, classes=None):
            try:
                ctrl_c()
            except KeyboardInterrupt:
                warnings.warn("Training interrupted by user.", stacklevel=1)
            return super().partial_fit(X, y, classes=classes)

    study = OptimizerStudy(Deaf((4,)), {"adam": {"solver": "adam"}}, lr=0.01, n_seeds=3, max_epochs=2)
    with pytest.warns(UserWarning, match="Study interrupted"):
        study.fit(*iris())
    assert len(study.results_) == 0


def test_a_network_with_early_stopping_is_studied_without_it_and_the_study_says_so():
    network = MLPClassifier((8,), early_stopping=True, n_iter_no_change=2)
    settings = {"lr": [0.003, 0.03], "n_seeds": 2, "n_tuning_seeds": 1, "max_epochs": 3}
    study = OptimizerStudy(network, SOLVERS, **settings).fit(*iris())
    assert (study.curves_.groupby(["phase", "optimizer", "lr", "seed"])["epoch"].max() == 3).all()
    assert any("without the early_stopping" in note for note in study.notes_)
    assert network.early_stopping  # the user's own object stays as it is
    assert study.configured().early_stopping
    plain = OptimizerStudy(MLPClassifier((8,)), SOLVERS, **settings).fit(*iris())
    assert not any("early_stopping" in note for note in plain.notes_)
    assert list(plain.summary_["accuracy"]) == list(study.summary_["accuracy"])


def test_the_chosen_network_can_be_had_unfitted():
    study = small_study().fit(*iris())
    chosen = study.configured()
    assert chosen[-1].learning_rate_init == study.best_params_[study.best_optimizer_]["lr"]
    assert chosen.fit(*iris()).score(*iris()) > 0.5


def test_a_tiny_last_batch_is_pointed_out():
    study = small_study(batch_size=17, lr=0.01).fit(*iris())  # 120 = 7 * 17 + 1
    assert any("1 rows instead of 17" in note for note in study.notes_)
    assert not any("instead of" in note for note in small_study(batch_size=30, lr=0.01).fit(*iris()).notes_)


def test_the_plan_counts_the_fits_without_training():
    study = small_study()
    assert study.plan(*iris()) == len(study.fit(*iris()).results_)
    assert small_study().plan(*iris(), sweep=True) == 2 * 2 * 3


def test_a_sweep_trains_the_whole_grid_on_every_seed():
    study = small_study(batch_size=[16, 64]).sweep(*iris())
    assert study.results_.groupby(["optimizer", "lr", "batch_size"]).size().eq(3).all()
    assert set(study.results_["phase"]) == {"sweep"}
    assert study.summary_.empty


def test_the_notebook_representation_says_the_verdict_and_escapes_labels():
    study = small_study({"<b>bold</b>": {"solver": "adam"}, "other": {"solver": "sgd"}}).fit(*iris())
    html = study._repr_html_()
    assert "best mean accuracy" in html
    assert "<b>bold" not in html


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_seeds": 0}, "n_seeds=0 is not a whole number of at least 1"),
        ({"max_epochs": 1.5}, "max_epochs=1.5 is not a whole number"),
        ({"max_seconds": -1}, "max_seconds=-1 is not a positive number"),
        ({"random_state": None}, "random_state=None .* repeatable"),
        ({"validation_fraction": 1.0}, "validation_fraction=1.0 is not between 0 and 1"),
        ({"search": "random"}, "search='random' is not one of 'grid', 'halving', 'optuna'"),
        ({"backend": "ray"}, "backend='ray' is not one of 'loky', 'threading', 'dask'"),
        ({"halving_factor": 1}, "halving_factor=1 is not a whole number of at least 2"),
        ({"scoring": "acuracy"}, "acuracy"),
    ],
)
def test_a_wrong_parameter_is_named_before_anything_is_trained(wrong, message):
    with pytest.raises(ValueError, match=message):
        small_study(**wrong).fit(*iris())


def test_a_data_frame_with_named_columns_works():
    X, y = iris()
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    plain, named = small_study().fit(X, y), small_study().fit(frame, y)
    # A frame gives the matrix product another memory order, so another order of sums.
    np.testing.assert_allclose(plain.results_["loss"], named.results_["loss"], rtol=1e-12)


def test_the_estimator_given_is_left_unfitted():
    given = network()
    OptimizerStudy(given, SOLVERS, lr=0.01, n_seeds=2, max_epochs=1).fit(*iris())
    assert not hasattr(given[-1], "coefs_")


def test_predictions_that_overflow_lose_instead_of_stopping_the_study():
    class Overflowing(MLPRegressor):
        """Has finite weights and loss, and predictions that are not, as after a last step too long."""

        def predict(self, X):
            return super().predict(X) + (np.inf if self.momentum == 0.5 else 0)

    X, y = load_diabetes(return_X_y=True)
    contenders = {"wild": {"solver": "sgd", "momentum": 0.5}, "adam": {"solver": "adam"}}
    study = OptimizerStudy(
        Overflowing(hidden_layer_sizes=(4,)), contenders, lr=0.01, n_seeds=2, max_epochs=2
    ).fit(X, (y - 152) / 77)
    runs = study.results_.set_index("optimizer")
    assert runs.loc["wild", "diverged"].all()
    assert not runs.loc["adam", "diverged"].any()


def test_rows_that_do_not_match_are_refused_before_anything_is_trained():
    X, y = iris()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        small_study().fit(X, y[:-1])
    with pytest.raises(ValueError, match="X_val and y_val belong together"):
        small_study().fit(X, y, X_val=X)


def test_settings_that_were_not_studied_stay_the_networks_own():
    lr = {"momentum": 0.03, "adam": [0.003, 0.03]}
    study = small_study(lr=lr, batch_size=None).fit(*iris())
    assert study.best_params_["adam"]["batch_size"] is None
    assert study.configured("momentum")[-1].batch_size == "auto"


def test_several_labels_for_a_row_are_scored_without_a_confusion_matrix():
    X, y = iris()
    study = small_study(n_seeds=2).fit(X, np.eye(3, dtype=int)[y])
    assert study.summary_["accuracy"].between(0, 1).all()
    assert study.confusion_ == {}


def test_a_sweep_of_few_seeds_does_not_call_settings_tied():
    rates = [1e-6, 0.03]
    few = small_study({"adam": {"solver": "adam"}}, lr=rates, n_seeds=2, max_epochs=10).sweep(*iris())
    assert "(2 seeds: too few to say which of the other 1 are worse)" in few.verdict_[0]
    enough = small_study({"adam": {"solver": "adam"}}, lr=rates, n_seeds=8, max_epochs=10).sweep(*iris())
    assert "(8 seeds); 0 of the other 1 settings are within noise of it" in enough.verdict_[0]


def test_where_everything_diverges_nothing_wins():
    X, y = load_diabetes(return_X_y=True)
    network = MLPRegressor(hidden_layer_sizes=(8,), activation="identity")
    wild = {label: {"solver": "sgd", "momentum": 0.0} for label in ("wild", "wilder")}
    study = OptimizerStudy(network, wild, lr=10.0, n_seeds=2, max_epochs=3).fit(X * 1e3, y)
    assert study.best_optimizer_ is None
    assert study.verdict_ == ["Every optimizer diverged with every seed: try smaller learning rates."]
    assert study.verdict_[0] in render_report(study)


def test_a_result_before_fit_says_that_the_study_has_not_run():
    study = small_study()
    with pytest.raises(NotFittedError, match="verdict_ is set when the study runs"):
        study.verdict_  # noqa: B018
    assert not hasattr(study, "results_")
    with pytest.raises(AttributeError, match="no attribute 'verdikt'"):
        study.verdikt  # noqa: B018


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_study_of_quantiles_goes_by_their_own_score():
    X = np.random.RandomState(0).standard_normal((80, 2))
    network = fastopt.MLPRegressor("quantile", (4,), quantile=[0.2, 0.8])
    study = OptimizerStudy(network, ["adam", "sgd"], lr=[0.01], n_seeds=2, n_tuning_seeds=1, max_epochs=2)
    study.fit(X, X[:, 0])
    assert np.isfinite(study.results_["d2_pinball_score"]).all()
    assert study.configured().get_params()["quantile"] == [0.2, 0.8]
