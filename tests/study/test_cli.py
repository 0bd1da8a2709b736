import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sklearn.datasets import load_iris

from fastopt import cli, datasets
from fastopt.cli import output
from fastopt.datasets import bundled
from fastopt.study.experiment import Experiment

ROOT = Path(__file__).parents[2]
QUICK = ["--epochs", "2", "--seeds", "2", "--tuning-seeds", "1", "--lr", "0.01", "--hidden", "8"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def flowers(here):
    """A table as people have them: words, numbers, gaps, an identifier, a constant."""
    table = load_iris(as_frame=True).frame.rename(columns={"target": "species"})
    table["species"] = table["species"].map({0: "setosa", 1: "versicolor", 2: "virginica"})
    table["colour"] = np.resize(["blue", "violet", None], len(table))
    table["id"] = [f"plant {i}" for i in range(len(table))]
    table["planet"] = "Earth"
    table.iloc[::7, 1] = np.nan
    table.loc[3, "species"] = None
    table.to_csv("flowers.csv", index=False)
    return "flowers.csv"


def test_compare_writes_picture_report_and_table(here, capsys):
    assert cli.main(["compare", "--optimizers", "adam,momentum", *QUICK]) == 0
    written = {path.name for path in (here / "fastopt-results/latest").iterdir()}
    assert written == {"comparison.png", "confusion.png", "comparison.html", "comparison.csv"}
    out = capsys.readouterr().out
    for heading in ("Validation accuracy", "Macro recall", "Final loss", "Epochs to", "Epoch (ms)"):
        assert heading in out
    for row in ("Adam", "Momentum", "scikit-learn Adam"):
        assert row in out


def test_compare_without_names_runs_the_six_of_the_story(here, capsys):
    assert cli.main(["compare", "--dataset", "iris", *QUICK]) == 0
    results = pd.read_csv("fastopt-results/latest/comparison.csv")
    assert list(dict.fromkeys(results["optimizer"])) == [
        "Gradient descent",
        "Momentum",
        "Nesterov",
        "RMSprop",
        "Adam",
        "AdamW",
        "scikit-learn Adam",
    ]


def test_the_yardstick_does_the_same_work(here, capsys):
    cli.main(["compare", "--dataset", "iris", "--optimizers", "momentum", *QUICK])
    results = pd.read_csv("fastopt-results/latest/comparison.csv").set_index("optimizer")
    ours, theirs = results.loc["Momentum"], results.loc["scikit-learn momentum"]
    # Equal split, weights and batches in float32: the losses part only by rounding. torch's momentum differs
    # from scikit-learn's by nothing at a constant rate.
    np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=1e-3)
    assert ours["lr"].tolist() == theirs["lr"].tolist()


def test_a_second_run_reads_what_the_first_measured(here, capsys):
    arguments = ["compare", "--dataset", "iris", "--optimizers", "adam", *QUICK]
    cli.main(arguments)
    cli.main(arguments)
    assert "4 of 4 fits were read from" in capsys.readouterr().out
    # Another process finds them too, though the preprocessing of iris holds a function.
    assert "4 of 4 fits were read from" in _run(arguments).stdout
    cli.main([*arguments, "--fresh"])
    assert "were read from" not in capsys.readouterr().out


def test_each_study_has_a_folder_of_its_own_and_latest_points_to_the_last(here, capsys):
    for name in ("iris", "wine", "wine"):
        assert cli.main(["compare", "--dataset", name, "--optimizers", "adam", *QUICK]) == 0
    folders = [
        path for path in (here / "fastopt-results").iterdir() if path.is_dir() and not path.is_symlink()
    ]
    assert sorted(path.name.partition("-")[0] for path in folders) == ["iris", "wine", "wine"]
    assert all((path / "comparison.html").exists() for path in folders)
    latest = (here / "fastopt-results/latest").resolve()
    assert latest == max(folders, key=lambda path: path.stat().st_mtime)
    assert "4 of 4 fits were read from" in capsys.readouterr().out  # the store is shared by all


def test_latest_is_a_text_file_where_there_are_no_links(here, monkeypatch):
    def no_links(*args, **kwargs):
        raise OSError("A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", no_links)
    folder = output.study_folder(here / "out", "a b/c")
    assert folder.name.startswith("a-b-c-2")
    assert output.point_to(folder) == here / "out/latest.txt"
    assert (here / "out/latest.txt").read_text() == f"{folder.name}\n"


WILD = ["--optimizers", "gradient descent", "--lr", "1e30"]


@pytest.mark.parametrize("dataset", ["iris", "diabetes"])
def test_where_everything_diverged_the_results_are_said_all_the_same(here, capsys, dataset):
    assert cli.main(["compare", "--dataset", dataset, *QUICK, *WILD, "--no-yardstick"]) == 0
    assert "Every optimizer diverged with every seed" in capsys.readouterr().out
    sweep = ["--batch-size", "16", "32", "--epochs", "1", "--seeds", "1", "--hidden", "8"]
    assert cli.main(["sweep", "--dataset", dataset, *WILD, "1e31", *sweep]) == 0
    out = capsys.readouterr().out
    assert "Every setting diverged" in out
    assert "could not be drawn" not in out
    assert len(pd.read_csv("fastopt-results/latest/sweep.csv")) == 4


def test_classes_that_look_like_mathematics_are_drawn_as_they_are(here, capsys):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=60), "$y": np.resize(["$\\frac{a$", "$x^{2$ _b", "_$"], 60)})
    frame.to_csv("$a$ $.csv", index=False)
    arguments = ["--dataset", "$a$ $.csv", "--target", "$y", "--optimizers", "adam", "--no-yardstick"]
    assert cli.main(["compare", *arguments, *QUICK]) == 0
    assert "could not be drawn" not in capsys.readouterr().out
    assert Path("fastopt-results/latest/confusion.png").exists()


def test_a_picture_that_fails_is_a_note_after_the_results(here, capsys, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("no such font")

    monkeypatch.setattr(output, "overview", broken)
    assert cli.main(["compare", "--dataset", "iris", "--optimizers", "adam", *QUICK]) == 0
    out = capsys.readouterr().out
    assert out.index("has the best mean accuracy") < out.index(
        "comparison.png could not be drawn: no such font"
    )
    written = {path.name for path in Path("fastopt-results/latest").iterdir()}
    assert written == {"confusion.png", "comparison.html", "comparison.csv"}


def test_a_preset_on_other_data_takes_the_metrics_for_its_classes(here, capsys):
    arguments = ["--preset", "classify-1000x10", "--dataset", "iris", "--optimizers", "adam"]
    assert cli.main(["compare", *arguments, *QUICK]) == 0
    results = pd.read_csv("fastopt-results/latest/comparison.csv")
    assert {"recall_macro", "precision_macro", "f1_macro"} <= set(results.columns)


def test_folds_and_groups_are_options(here, capsys):
    table = load_iris(as_frame=True).frame.assign(plant=np.arange(150) % 30)
    table.to_csv("flowers.csv", index=False)
    arguments = ["--dataset", "flowers.csv", "--target", "target", "--groups", "plant", "--cv", "3"]
    assert cli.main(["compare", *arguments, "--optimizers", "adam", *QUICK[:2], *QUICK[4:]]) == 0
    results = pd.read_csv("fastopt-results/latest/comparison.csv")
    assert set(results["seed"]) == {0, 1, 2}
    assert "Rows with the same 'plant' stay on one side of each split" in capsys.readouterr().out


def test_a_table_with_words_and_gaps_works_and_says_what_was_left_out(here, flowers, capsys):
    arguments = ["--dataset", flowers, "--target", "species", "--optimizers", "adam"]
    assert cli.main(["compare", *arguments, *QUICK]) == 0
    out = capsys.readouterr().out
    assert "149 rows, 4 numeric and 1 categorical columns, classification of 'species'" in out
    assert "1 rows without a 'species'" in out
    assert "Column 'id' has a different text" in out
    assert "Column 'planet' has one value" in out


def test_a_quantity_as_target_is_a_regression(here, flowers, capsys):
    arguments = ["--dataset", flowers, "--target", "petal width (cm)", "--optimizers", "adam"]
    assert cli.main(["compare", *arguments, *QUICK]) == 0
    out = capsys.readouterr().out
    assert "regression of" in out
    assert "Validation r2" in out


def test_gaps_become_a_category_and_a_median_in_training_rows(here, flowers):
    data = datasets.load(flowers, target="species")
    prepared = data.preprocessor.fit_transform(data.X, data.y)
    assert prepared.dtype == np.float32
    assert np.isfinite(prepared).all()
    names = data.preprocessor.get_feature_names_out()
    assert "colour_missing" in names
    gaps = [name for name in data.X if data.X[name].dtype.kind == "f" and data.X[name].isna().any()]
    assert gaps
    assert {f"{name}_missing" for name in gaps} <= {*names}


def test_sweep_maps_learning_rate_by_batch_size(here, capsys):
    arguments = ["--dataset", "iris", "--optimizers", "adam", "--lr", "0.01", "0.1", "--batch-size", "16,32"]
    assert cli.main(["sweep", *arguments, "--epochs", "1", "--seeds", "2", "--hidden", "8"]) == 0
    written = {path.name for path in (here / "fastopt-results/latest").iterdir()}
    maps = {"sweep-score.png", "sweep-loss.png", "sweep-speed.png"}
    assert written == {*maps, "sweep.html", "sweep.csv"}
    assert "Best 4 of 4 settings" in capsys.readouterr().out


def test_the_first_experiment_has_its_metrics_and_adam_at_its_rate(here, capsys):
    arguments = ["--preset", "classify-1000x10", "--epochs", "1", "--seeds", "2", "--tuning-seeds", "1"]
    assert cli.main(["compare", *arguments, "--lr", "0.01"]) == 0
    results = pd.read_csv("fastopt-results/latest/comparison.csv")
    assert {"accuracy", "recall", "precision", "f1"} <= set(results.columns)
    assert set(results.loc[results["optimizer"] == "Adam at 0.001", "lr"]) == {0.001}
    assert "Confusion matrix" in Path("fastopt-results/latest/comparison.html").read_text("utf-8")


def test_the_second_experiment_runs_from_a_file(here, capsys):
    rng = np.random.default_rng(0)
    y = np.resize(np.arange(10), 120)
    X = (rng.integers(0, 100, (120, 28, 28)) + 15 * y[:, None, None]).astype(np.uint8)
    np.savez("mnist.npz", X_train=X[:80], y_train=y[:80], X_test=X[80:], y_test=y[80:])
    arguments = ["--preset", "mnist", "--data", "mnist.npz", "--epochs", "1", "--seeds", "2", "--lr", "0.1"]
    assert cli.main(["compare", *arguments, "--optimizers", "gradient descent"]) == 0
    assert "which tuning did not see" in capsys.readouterr().out


def test_mnist_without_a_network_says_both_ways_out(here, monkeypatch, capsys):
    def no_network(*args, **kwargs):
        raise OSError("Name or service not known")

    monkeypatch.setattr(bundled, "fetch_openml", no_network)
    assert cli.main(["compare", "--preset", "mnist"]) == 2
    message = capsys.readouterr().err
    assert "--data mnist.npz" in message
    assert "--dataset digits" in message
    assert "connect once" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "--optimizers", "adma"], "Did you mean 'adam'?"),
        (["compare", "--dataset", "digts"], "Did you mean 'digits'?"),
        (["compare", "--dataset", "missing.csv", "--target", "y"], "there is no file 'missing.csv'"),
        (["compare", "--lr", "fast"], "'fast' is not a positive number"),
        (["compare", "--lr", "-0.1"], "'-0.1' is not a positive number"),
        (["compare", "--lr", "0"], "'0' is not a positive number"),
        (["compare", "--hidden", "0"], "'0' is not a whole number of at least 1"),
        (["compare", "--epochs", "2.5"], "'2.5' is not a whole number"),
        (["compare", "--seeds", "0"], "'0' is not a whole number"),
        (["compare", "--preset", "cifar"], "cifar"),
        (["compare", "--target", "species"], "--dataset FILE.csv"),
        (["compare", "--dataset", "iris", "--target", "species"], "knows its own"),
        (["compare", "--optimizers", "adam", "Adam"], "named twice"),
        (["compare", "--jobs", "0"], "n_jobs=0"),
        (["compare", "--epochs", ""], "'' is not a whole number"),
        (["compare", "--lr", ","], "lr is empty"),
        (["compare", "--max-seconds", "-1"], "'-1' is not a positive number"),
        (["compare", "--scoring", "acuracy"], "Did you mean 'accuracy'?"),
        (["compare", "--dataset", "iris", "--epochs", "1", "--scoring", "neg_log_los"], "neg_log_loss"),
        (
            ["compare", "--dataset", "diabetes", "--scoring", "neg_log_loss"],
            "does not suit this target (a quantity)",
        ),
        (
            ["compare", "--dataset", "iris", "--scoring", "f1"],
            "For any classes: 'f1_macro' or 'f1_weighted'.",
        ),
        (["compare", "--dataset", "iris", "--encoding", "latin-1"], "encoding='latin-1' is for tables"),
        (["compare", "--epoch-count", "3"], "--epoch-count"),
        (["dance"], "dance"),
        ([], "COMMAND"),
    ],
)
def test_a_bad_argument_gets_one_line_and_exit_code_2(here, capsys, arguments, message):
    try:
        code = cli.main(arguments)
    except SystemExit as end:
        code = end.code
    captured = capsys.readouterr()
    assert code == 2
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_column_that_does_not_exist_is_answered_with_those_that_do(here, flowers, capsys):
    assert cli.main(["compare", "--dataset", flowers, "--target", "specie"]) == 2
    assert "Did you mean 'species'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it is empty"),
        ("a,b\n1,2\n", "too few to train"),
        ("a,b\n" + "1,x\n" * 20, "'b' has one class, 'x': there"),
        ("b\n" + "x\ny\n" * 20, "no usable column"),
    ],
)
def test_a_useless_table_is_refused_with_the_reason(here, capsys, content, message):
    Path("bad.csv").write_text(content)
    assert cli.main(["compare", "--dataset", "bad.csv", "--target", "b"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (None, "is not an .npz file"),
        ({"a": np.ones(3)}, "holds a. Needed: X_train"),
        ({"X": np.ones((50, 2)), "y": np.arange(40) % 2}, "50 rows of X and 40 of y"),
        ({"X": np.ones((5, 2)), "y": np.arange(5) % 2}, "5 rows: too few"),
        ({"X": np.full((50, 2), np.nan), "y": np.arange(50) % 2}, "not all finite"),
        ({"X": np.full((50, 2), "a"), "y": np.arange(50) % 2}, "not all finite numbers"),
        ({"X": np.full((50, 2), None), "y": np.arange(50) % 2}, "cannot be read"),
        ({"X": np.ones((50, 2)), "y": np.full(50, np.inf)}, "y of 'bad.npz' has values that are not finite"),
        ({"X": np.ones((50, 2)), "y": np.zeros(50, int)}, "has one class"),
    ],
)
def test_a_useless_array_file_is_refused_with_the_reason(here, capsys, arrays, message):
    Path("bad.npz").write_text("no zip") if arrays is None else np.savez("bad.npz", **arrays)
    assert cli.main(["compare", "--dataset", "bad.npz"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_unknown_option_is_answered_with_where_the_known_ones_are(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["compare", "--results", "here"])
    assert "--results here; fastopt COMMAND --help lists those" in capsys.readouterr().err


def test_results_do_not_replace_a_file(here, capsys):
    Path("taken").touch()
    assert cli.main(["compare", "--dataset", "iris", "--optimizers", "adam", *QUICK, "--out", "taken"]) == 1
    assert "results go into a folder, which 'taken' is not: name another." in capsys.readouterr().err


def test_the_last_column_is_offered_as_a_target_of_a_wide_table(here, capsys):
    names = [f"x{i}" for i in range(20)] + ["price"]
    Path("wide.csv").write_text(",".join(names) + "\n" + ",".join("1" * 21) + "\n")
    assert cli.main(["compare", "--dataset", "wide.csv"]) == 2
    assert "one of 'x0', 'x1'" in (error := capsys.readouterr().err)
    assert "'x10', 9 more, and 'price'." in error


def test_ctrl_c_while_rates_are_chosen_reports_what_there_is(here, capsys, monkeypatch):
    def press(experiment, progress):
        experiment.tune(experiment.tuning_seeds)
        raise KeyboardInterrupt

    monkeypatch.setattr(Experiment, "tune_and_compare", press)
    arguments = ["--dataset", "iris", "--optimizers", "adam", *QUICK, "--lr", "0.01", "0.1"]
    assert cli.main(["compare", *arguments]) == 130
    assert "Study interrupted: 2 fits are done and saved in" in capsys.readouterr().out
    assert len(pd.read_csv("fastopt-results/latest/comparison.csv")) == 2
    assert "partial results" in Path("fastopt-results/latest/comparison.html").read_text("utf-8")


def test_a_preset_takes_other_optimizers(here, capsys):
    arguments = ["--preset", "classify-1000x10", "--optimizers", "lion", "--epochs", "1", "--lr", "0.01"]
    assert cli.main(["compare", *arguments, "--seeds", "2"]) == 0
    assert "Lion" in capsys.readouterr().out


def test_another_scorer_and_a_budget_in_seconds_are_taken(here, capsys):
    arguments = ["--dataset", "iris", "--optimizers", "adam", "--scoring", "neg_log_loss"]
    assert cli.main(["compare", *arguments, *QUICK, "--max-seconds", "1e-9"]) == 0
    results = pd.read_csv("fastopt-results/latest/comparison.csv")
    assert set(results["n_epochs"]) == {1}  # the budget is looked at after each epoch
    assert "Validation neg log loss" in capsys.readouterr().out


def test_a_scorer_that_the_target_does_not_suit_is_one_line(here, flowers, capsys):
    arguments = ["--dataset", flowers, "--target", "species", "--optimizers", "adam", "--scoring", "r2"]
    assert cli.main(["compare", *arguments, *QUICK]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_narrow_terminal_gets_a_closer_table_with_whole_figures(capsys):
    headings, row = ["Optimizer", "Learning rate", "Validation accuracy"], ["Adam", "0.01", "0.9747 ± 0.0095"]
    output.print_table(Console(width=36), headings, [row], (), None)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, map(str.rstrip, lines))) <= 36
    assert any(line.split() == ["Optimizer", "rate", "accuracy"] for line in lines)
    assert any("0.9747 ± 0.0095" in line for line in lines)


def _run(arguments, code="", **environment):
    start = f"{code}\nimport sys\nfrom fastopt.cli import main\nsys.exit(main({arguments!r}))"
    settings = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-c", start]
    return subprocess.run(command, capture_output=True, text=True, env=settings, timeout=300, check=False)


def test_without_the_extra_one_line_says_what_to_install(here):
    hide = "import sys\nfor name in ('rich', 'matplotlib', 'pandas', 'jinja2'): sys.modules[name] = None"
    done = _run(["compare"], hide)
    assert done.returncode == 1
    assert 'pip install "fastopt[cli]"' in done.stderr
    assert done.stderr.count("\n") == 1
    assert _run(["info"], hide).returncode == 0


def test_piped_output_is_quiet_of_bars_and_whole(here):
    done = _run(["compare", "--dataset", "iris", "--optimizers", "adam", *QUICK])
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith("fastopt: compiling")]
    assert said == []  # an empty cache is announced, and rightly
    assert "\x1b" not in done.stdout
    assert "…" not in done.stdout


def test_a_folder_that_cannot_be_written_is_a_clear_failure(here, capsys):
    Path("occupied").write_text("a file")
    assert (
        cli.main(["compare", "--dataset", "iris", "--optimizers", "adam", *QUICK, "--out", "occupied"]) == 1
    )
    assert "occupied" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["compare"], ["sweep"], ["info"], ["warmup"], ["bench"]])
def test_help_imports_only_what_it_shows(command):
    done = _run(
        [*command, "--help"],
        "import atexit, sys, time; start = time.process_time()\n"
        "atexit.register(lambda: print('CPU', time.process_time() - start, *sys.modules, file=sys.stderr))",
    )
    seconds, *modules = done.stderr.split("CPU ")[1].split()
    assert not {"numba", "numpy", "sklearn", "pandas", "rich"} & set(modules)
    assert float(seconds) < 0.3
