"""One study over several data sets: that it is the studies of each set, and what it says over all of them."""

import numpy as np
import pandas as pd
import pytest
from reference.small_study import SOLVERS, iris, small_study
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, load_wine
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastopt.display import CriticalDifferenceDisplay
from fastopt.study import StudyOverSets, compare_over_sets
from fastopt.study.executor import Executor

THREE = {"momentum": {"solver": "sgd"}, "adam": {"solver": "adam"}, "slow": {"solver": "sgd", "alpha": 1.0}}


def sets():
    return {"iris": load_iris(), "wine": load_wine(return_X_y=True), "half": tuple(a[::2] for a in iris())}


@pytest.fixture(scope="module")
def over():
    return StudyOverSets(small_study(THREE, max_epochs=8), rope=0.01).fit(sets())


def test_each_set_has_the_study_that_it_would_have_alone(over):
    assert list(over.studies_) == ["iris", "wine", "half"]
    alone = small_study(THREE, max_epochs=8).fit(*load_wine(return_X_y=True))
    times = ["seconds_per_epoch", "fit_seconds"]
    pd.testing.assert_frame_equal(
        over.studies_["wine"].results_.drop(columns=times), alone.results_.drop(columns=times)
    )
    means = alone.results_[alone.results_["phase"] == "comparison"].groupby("optimizer")["accuracy"].mean()
    assert over.scores_.loc["wine"].to_dict() == pytest.approx(means.to_dict(), rel=1e-12)


def test_the_comparison_is_that_of_the_table_of_scores(over):
    again = compare_over_sets(over.scores_, rope=0.01)
    pd.testing.assert_frame_equal(over.comparison_.pairwise, again.pairwise)
    summary = over.summary_.set_index("optimizer")
    pd.testing.assert_series_equal(summary["mean_rank"], again.mean_ranks, check_names=False)
    best = over.scores_.eq(over.scores_.max(axis=1), axis=0).sum()
    assert summary["n_first"].to_dict() == best.to_dict()
    assert over.verdict_[0].startswith(f"{again.mean_ranks.index[0]} has the best mean rank over 3 data sets")
    assert any("differences below 0.01" in sentence for sentence in over.verdict_)


def test_what_ranks_equally_is_told_together():
    study = small_study({"one": {"solver": "adam"}, "two": {"solver": "adam"}}, lr=0.01, n_seeds=2)
    over = StudyOverSets(study).fit({"iris": iris(), "wine": load_wine(return_X_y=True)})
    assert over.verdict_[0] == "one and two share the best mean rank over 2 data sets, 1.50 of 2."
    assert "Within noise of one" in over.verdict_[1]


def test_tables_say_which_set_a_row_is_of(over):
    assert over.results_.columns[0] == over.curves_.columns[0] == "dataset"
    counts = over.results_.groupby("dataset").size()
    assert counts.to_dict() == dict.fromkeys(["iris", "wine", "half"], 3 * (2 + 3))
    assert counts.sum() == StudyOverSets(small_study(THREE)).plan(sets())


def test_it_is_shown_in_notebooks_and_pictures(over):
    assert "mean rank" in over._repr_html_()
    assert "mean_rank" in over._repr_html_()
    names = [text.get_text() for text in CriticalDifferenceDisplay.from_study(over).names_]
    assert all(any(label in name for name in names) for label in THREE)


def test_the_study_given_is_not_changed_and_parameters_are_scikit_learns():
    study = small_study()
    over = StudyOverSets(study)
    assert clone(over).study is not study
    over.set_params(study__max_epochs=1).fit({"a": iris(), "b": load_wine(return_X_y=True)})
    assert not hasattr(study, "results_")
    assert {len(s.curves_["epoch"].unique()) for s in over.studies_.values()} == {1}


def test_a_set_may_have_a_network_folds_and_groups_of_its_own():
    X, y = iris()
    regression = make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(8,)))
    own = {
        "grouped": {"X": X, "y": y, "groups": np.arange(150) % 30, "cv": 3, "n_seeds": None},
        "diabetes": dict(zip("Xy", load_diabetes(return_X_y=True), strict=True)) | {"estimator": regression},
    }
    over = StudyOverSets(small_study()).fit(own)
    assert over.studies_["grouped"]._experiment.splits.n_folds == 3
    assert over.studies_["diabetes"].scoring_ == "r2"
    assert any("judged by accuracy and r2" in note for note in over.notes_)


def test_an_optimizer_that_diverges_ranks_last_and_yardsticks_do_not_compete():
    optimizers = {**SOLVERS, "wild": {"solver": "sgd"}, "other": MLPClassifier((4,))}
    rates = {"adam": 0.01, "momentum": 0.01, "wild": 1e300, "other": "adam"}
    study = small_study(optimizers, lr=rates, n_seeds=2)
    over = StudyOverSets(study).fit({"iris": iris(), "wine": load_wine(return_X_y=True)})
    assert list(over.scores_) == ["momentum", "adam", "wild"]
    assert over.scores_["wild"].isna().all()
    assert over.comparison_.mean_ranks["wild"] == 3
    assert "wild diverged with every seed on iris and wine, and ranks last there." in over.notes_


def test_a_stopped_study_keeps_whole_sets_and_goes_on_from_the_folder(tmp_path, monkeypatch):
    study, data = small_study(lr=0.01, store=tmp_path), {**sets(), "last": (iris()[0][:99], iris()[1][:99])}
    evaluate, n_calls = Executor.evaluate, []

    def stopping(executor, phase, tasks):
        n_calls.append(phase)
        if len(n_calls) == 3:
            evaluate(executor, phase, tasks[:2])
            raise KeyboardInterrupt
        return evaluate(executor, phase, tasks)

    monkeypatch.setattr(Executor, "evaluate", stopping)
    with pytest.warns(UserWarning, match="Study interrupted: 2 fits are done and saved in .* to continue"):
        over = StudyOverSets(study).fit(data)
    assert over.interrupted_
    assert list(over.studies_) == ["iris", "wine", "half"]
    assert list(over.scores_.index) == ["iris", "wine"]  # not the set that was stopped, nor the one behind it
    assert any("interrupted" in note for note in over.notes_)
    monkeypatch.undo()
    again = StudyOverSets(study).fit(data)
    assert again.n_read_ == 6 + 6 + 2
    assert len(again.results_) == 4 * 6
    pd.testing.assert_frame_equal(again.scores_, StudyOverSets(small_study(lr=0.01)).fit(data).scores_)


def test_without_two_whole_sets_nothing_is_compared(monkeypatch):
    def stop(executor, phase, tasks):
        raise KeyboardInterrupt

    monkeypatch.setattr(Executor, "evaluate", stop)
    with pytest.warns(UserWarning, match="Study interrupted: 0 fits"):
        over = StudyOverSets(small_study()).fit(sets())
    assert over.comparison_ is None
    assert over.results_.empty
    assert "No comparison over sets" in over.verdict_[0]
    assert "No comparison over sets" in over._repr_html_()
    with pytest.raises(ValueError, match="nothing to draw"):
        CriticalDifferenceDisplay.from_study(over)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"iris": iris()}, ValueError, "sets has 1 data sets"),
        ([iris(), iris()], TypeError, "sets is a list"),
        ({"a": iris(), "b": iris()[0]}, TypeError, "data set 'b' is a ndarray"),
        ({"a": iris(), "b": (*iris(), None)}, TypeError, "data set 'b' is 3 items"),
        ({"a": iris(), "b": {"X": iris()[0]}}, ValueError, "data set 'b' has no y"),
        ({"a": iris(), "b": {"X": 1, "y": 1, "estimater": 1}}, ValueError, "'estimater' is no .*'estimator'"),
        ({"a": iris(), "b": (iris()[0], iris()[1][:9])}, ValueError, "data set 'b': .*inconsistent"),
        (
            {"a": iris(), "b": (iris()[0][:0], iris()[1][:0])},
            ValueError,
            "data set 'b': X and y have no r",
        ),
        ({"a": iris(), ("b", 1): iris()}, TypeError, r"\('b', 1\) is no name of a data set"),
        (
            {"a": iris(), "b": {"X": iris()[0], "y": iris()[1], "optimizers": {"adam": {"solver": "adam"}}}},
            ValueError,
            "data set 'b' compares adam, and 'a' compares momentum, adam",
        ),
    ],
    ids=["one", "list", "array", "three", "no-y", "unknown", "lengths", "empty", "name", "optimizers"],
)
def test_sets_that_cannot_be_used_are_refused_before_anything_is_trained(data, error, message, tmp_path):
    with pytest.raises(error, match=message):
        StudyOverSets(small_study(store=tmp_path)).fit(data)
    assert not list(tmp_path.iterdir())


def test_wrong_parameters_are_refused():
    with pytest.raises(TypeError, match="is not an OptimizerStudy"):
        StudyOverSets(MLPClassifier()).fit(sets())
    for rope in (-1, np.nan, "0.01"):
        with pytest.raises(ValueError, match=f"rope={rope!r}"):
            StudyOverSets(small_study(), rope=rope).fit(sets())
    with pytest.raises(ValueError, match="data set 'iris': max_epochs=0"):
        StudyOverSets(small_study(max_epochs=0)).fit(sets())


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_an_error_of_a_fit_names_its_data_set():
    X, y = iris()
    with pytest.raises(ValueError, match=r"data set 'holes': .*NaN"):
        StudyOverSets(small_study()).fit({"iris": (X, y), "holes": (X * np.nan, y)})
