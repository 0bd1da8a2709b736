"""``compare`` over several data sets: one command, one folder, and a report that says what the study says."""

import re

import pandas as pd
import pytest
from reference.small_study import SOLVERS, iris, small_study
from sklearn.datasets import load_diabetes, load_iris, load_wine

from fastopt import cli
from fastopt.report import render_report, write_report
from fastopt.study import StudyOverSets

QUICK = ["--epochs", "2", "--seeds", "2", "--tuning-seeds", "1", "--lr", "0.01", "--hidden", "8"]
TWO = ["--optimizers", "adam,momentum", "--no-yardstick"]


@pytest.fixture
def tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    load_iris(as_frame=True).frame.to_csv("flowers.csv", index=False)
    load_diabetes(as_frame=True).frame.rename(columns={"target": "progress"}).to_csv("sugar.csv", index=False)
    return tmp_path


def test_compare_takes_named_sets_and_files_with_a_target_each(tables, capsys):
    sets = ["--dataset", "wine", "flowers.csv", "sugar.csv", "--target", "target", "progress"]
    assert cli.main(["compare", *sets, *TWO, *QUICK, "--rope", "0.01"]) == 0
    out = capsys.readouterr().out
    for words in ("Wine: 178 wines", "regression of 'progress'", "Mean rank", "practically equal with"):
        assert words in out
    folder = (tables / "fastopt-results/latest").resolve()
    assert folder.name.startswith("3-sets-")
    assert {path.name for path in folder.iterdir()} == {
        "comparison.csv", "scores.csv", "critical-difference.png", "comparison.html",
        "wine.html", "flowers.html", "sugar.html",
    }  # fmt: skip
    scores = pd.read_csv(folder / "scores.csv", index_col="dataset")
    fits = pd.read_csv(folder / "comparison.csv")
    assert list(scores.index) == ["wine", "flowers", "sugar"]
    assert scores.loc["sugar", "Adam"] == pytest.approx(
        fits[(fits["dataset"] == "sugar") & (fits["optimizer"] == "Adam")]["r2"].mean()
    )
    assert f"{scores.loc['wine', 'Adam']:.4f}" in out


def test_a_second_run_reads_what_runs_of_single_sets_measured(tables, capsys):
    cli.main(["compare", "--dataset", "wine", *TWO, *QUICK])
    cli.main(["compare", "--dataset", "wine", "iris", *TWO, *QUICK])
    assert "4 of 8 fits were read from" in capsys.readouterr().out


def test_yardsticks_are_trained_and_do_not_rank(tables, capsys):
    cli.main(["compare", "--dataset", "wine", "iris", "--optimizers", "adam,momentum", *QUICK])
    fits = pd.read_csv("fastopt-results/latest/comparison.csv")
    assert set(fits["optimizer"]) == {"Adam", "Momentum", "scikit-learn Adam"}
    assert list(pd.read_csv("fastopt-results/latest/scores.csv")) == ["dataset", "Adam", "Momentum"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "--dataset", "wine", "wine"], "two data sets are called 'wine'"),
        (["compare", "--dataset", "wine", "iris", "--target", "y"], "--target names 1 columns for 0 files"),
        (["compare", "--dataset", "flowers.csv", "sugar.csv", "--target", *"abc"], "names 3 columns for 2"),
        (["compare", "--dataset", "flowers.csv", "--target", "a", "b"], "names 2 columns for 1 files"),
        (["compare", "--dataset", "wine", "iris", "--task", "regression"], "task='regression' is for tables"),
        (["compare", "--dataset", "wine", "none.csv"], "no file 'none.csv'"),
        (["compare", "--dataset", "wine", "--rope", "0.01"], "--rope is for several data sets"),
        (["compare", "--dataset", "wine", "iris", "--scoring", "nope"], "data set 'wine': scoring='nope'"),
        (["sweep", "--dataset", "wine", "iris"], "sweep takes one data set"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused_in_one_line(arguments, message, tables, capsys):
    assert cli.main([*arguments, *QUICK[:4]]) == 2
    assert message in capsys.readouterr().err
    assert not (tables / "fastopt-results").exists()


@pytest.fixture(scope="module")
def over():
    sets = {"iris": iris(), "wine <b>": load_wine(return_X_y=True)}
    return StudyOverSets(small_study(n_seeds=2), rope=0.01).fit(sets)


def test_the_report_has_scores_pairs_pictures_and_a_table_of_each_set(over, tmp_path):
    page = write_report(over, tmp_path / "report.html", data="two sets", notes=["a note"]).read_text("utf-8")
    for words in ("two sets", "a note", *over.verdict_[:1], "Mean rank", "P(equal)", "p (signed rank)"):
        assert words in page
    for label in SOLVERS:
        for score in over.scores_[label]:
            assert f"{score:.4f}" in page
    assert page.count("<svg") == 3  # the ranks, and the differences on each set
    assert "wine &lt;b&gt;" in page
    assert "wine <b>" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)


def test_a_study_without_two_whole_sets_is_reported_as_that(over):
    class Cut(StudyOverSets):
        """As it is after Ctrl-C in the second set."""

    cut = Cut(over.study)
    cut.studies_ = {"iris": over.studies_["iris"]}
    cut.interrupted_, cut.seconds_ = True, 1.0
    cut._tabulate()
    page = render_report(cut)
    assert "No comparison over sets" in page
    assert "sets that it had not finished are left out" in page


def test_nested_choices_from_the_command_line(tables, capsys):
    nested = ["--nested", "--cv", "3", "--lr", "0.003", "0.03", "--hidden", "8", "--epochs", "2"]
    assert cli.main(["compare", "--dataset", "iris", *TWO, *nested, "--tuning-seeds", "1"]) == 0
    fits = pd.read_csv("fastopt-results/latest/comparison.csv")
    assert fits.groupby("phase").size().to_dict() == {"comparison": 2 * 3, "tuning": 2 * 3 * 2}
    assert cli.main(["compare", "--dataset", "iris", *TWO, *QUICK, "--nested"]) == 2
    assert "nested=True has nothing to choose" in capsys.readouterr().err
