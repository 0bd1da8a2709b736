"""``fastopt fit`` and ``fastopt predict``: from a file to a model, a report and predictions."""

import contextlib
import io
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reference.browser import Browser, needs_chromium
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import accuracy_score, log_loss, r2_score
from threadpoolctl import threadpool_limits

import fastopt
from fastopt import cli
from fastopt.cli import model_file
from fastopt.datasets.model_tables import load_training
from fastopt.report import render_model_report, write_model_report
from fastopt.tabular import TabularMLPClassifier, TabularMLPRegressor
from fastopt.tabular.baselines import gradient_boosting

N = 150


def flowers():
    """A table as people have them: words, numbers, gaps, dates, an identifier, a constant."""
    rng = np.random.default_rng(0)
    size = rng.normal(size=N)
    colour = rng.choice(["red", "blue", "violet"], N)
    noisy = size + (colour == "red") + 0.3 * rng.normal(size=N)
    frame = pd.DataFrame({"id": [f"plant {i}" for i in range(N)], "size": size.round(3), "colour": colour})
    frame["seen"] = pd.date_range("2024-01-01", periods=N).strftime("%d.%m.%Y")
    frame["rare"] = np.resize(["yes", "no", None], N)
    frame["planet"] = "Earth"
    frame.loc[::7, "size"] = np.nan
    frame["height"] = (20 + 3 * noisy).round(2)
    frame["kind"] = np.where(noisy > 0.5, "tall", "short")
    return frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with two tables, a model of each, and what the command printed of the first."""
    folder = tmp_path_factory.mktemp("fit")
    table = flowers()
    table.drop(columns="height").to_csv(folder / "kinds.csv", index=False)
    table.drop(columns="kind").to_csv(folder / "heights.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def kinds(folder):
    """Return where the model of the kinds is, and what was printed."""
    printed = run(folder, "fit", "kinds.csv", "--target", "kind", "--baseline", "hgb", "--jobs", "1")
    return folder / "kinds.fastopt", printed


@pytest.fixture(scope="module")
def heights(folder):
    printed = run(
        folder, "fit", "heights.csv", "--target", "height", "--out", "tall.model", "--report", "t.html"
    )
    return folder / "tall.model", printed


def run(folder, *arguments, code=0):
    """Run a command in a folder; return what it printed, in one line where it failed."""
    out, error, before = io.StringIO(), io.StringIO(), Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            assert cli.main([*arguments]) == code
    finally:
        os.chdir(before)
    if code:
        lines = [line for line in error.getvalue().splitlines() if "compiling" not in line]
        assert len(lines) == 1, lines
        return lines[0]
    return out.getvalue()


def test_fit_prints_scores_beside_baselines_and_the_columns(kinds):
    path, printed = kinds
    model = fastopt.load(path)
    y = flowers()["kind"].to_numpy()
    accuracy = accuracy_score(y, model.classes_[model.oof_predictions_.argmax(axis=1)])
    assert f"Out of fold, {100 * accuracy:.1f} % (" in printed
    assert f"of {N} rows are classified right" in printed
    assert f"{log_loss(y, model.oof_predictions_):.3f} (" in printed
    assert "No column: shares of the classes" in printed
    assert "HistGradientBoosting on the same folds has accuracy" in printed
    assert re.search(r"size +│ +[\d.]+ │ number │ +22 │", printed)
    assert re.search(r"planet .* left out: it is always Earth", printed)
    assert "Column 'id' has a different text in every row and was left out." in printed
    assert "Column 'seen' was read as dates (01.01.2024 as 01 January 2024)" in printed


def test_the_baseline_is_scikit_learns_on_the_same_folds(kinds):
    """By hand, from the table as a user would prepare it; levels are numbered in another order."""
    model = fastopt.load(kinds[0])
    table = flowers()
    X = table[["size", "colour", "rare", "seen"]].copy()
    X["seen"] = pd.to_datetime(X["seen"], dayfirst=True)
    y = table["kind"].to_numpy()
    found = gradient_boosting(X.assign(planet="Earth")[model.feature_names_in_], y, model)
    X["seen"] = (X["seen"] - pd.Timestamp(0)) / pd.Timedelta(days=1)
    X = X.astype({"colour": "category", "rare": "category"})
    with threadpool_limits(1, user_api="openmp"):
        for fold in range(5):
            held_out = model.folds_[0] == fold
            trees = HistGradientBoostingClassifier(random_state=0).fit(X[~held_out], y[~held_out])
            np.testing.assert_allclose(found[held_out], trees.predict_proba(X[held_out]), rtol=1e-9)


def test_the_report_has_what_was_printed_and_needs_nothing_else(folder, kinds, heights):
    html = (folder / "kinds.html").read_text("utf-8")
    assert html.count('<svg role="img"') == html.count("<figure") == 4
    for heading in ("Importance", "Calibration", "Confusion matrix", "Loss while training", "Columns"):
        assert heading in html
    assert "left out: it is always Earth" in html
    assert "python -m fastopt" in html
    numbers = (folder / "t.html").read_text("utf-8")
    assert numbers.count('<svg role="img"') == 4
    for heading in ("True against predicted", "Residuals"):
        assert heading in numbers
    for page in (html, numbers):
        assert "could not be drawn" not in page
        assert not re.search(r'(?:src|href)="(?!#|data:)', re.sub(r'xmlns(:\w+)?="[^"]*"', "", page))


@needs_chromium
@pytest.mark.parametrize(("page", "width", "scheme"), [("kinds", 390, "dark"), ("t", 1280, "light")])
def test_in_a_browser_nothing_overflows_and_text_is_readable(
    folder, kinds, heights, page, width, scheme, tmp_path
):
    copied = tmp_path / "report.html"
    copied.write_text((folder / f"{page}.html").read_text("utf-8"), "utf-8")
    Browser(copied).check(width, scheme)


def test_predict_applies_the_model_of_the_file(folder, kinds):
    model = fastopt.load(kinds[0])
    new = flowers().drop(columns=["height", "kind", "planet"]).assign(planet="Mars")[:7]
    new.to_csv(folder / "new.csv", index=False)
    assert "7 rows predicted" in run(folder, "predict", "kinds.fastopt", "new.csv", "--out", "p.csv")
    found = pd.read_csv(folder / "p.csv")
    assert found.columns.tolist() == ["id", "kind", "kind=short", "kind=tall"]
    assert found["id"].tolist() == new["id"].tolist()
    X = new[["size", "colour", "rare"]].assign(seen=pd.to_datetime(new["seen"], dayfirst=True), planet="Mars")
    expected = model.predict_proba(X[model.feature_names_in_])
    np.testing.assert_allclose(found.to_numpy()[:, 2:].astype(float), expected, rtol=1e-12)
    assert found["kind"].tolist() == model.predict(X).tolist()
    kinds_of_some = ["tall", "short", None, *flowers()["kind"][3:7]]
    new.assign(kind=kinds_of_some).to_csv(folder / "some.csv", index=False)
    printed = run(folder, "predict", "kinds.fastopt", "some.csv", "--out", "p.csv")
    known = [i for i, kind in enumerate(kinds_of_some) if kind]
    right = sum(found["kind"][i] == kinds_of_some[i] for i in known)
    assert f"accuracy {100 * right / 6:.1f} % (" in printed
    new.assign(kind=["giant", *kinds_of_some[1:]]).to_csv(folder / "giant.csv", index=False)
    printed = run(folder, "predict", "kinds.fastopt", "giant.csv", "--out", "p.csv")
    assert "The table has 'kind', and no score: the model does not know the classes 'giant'." in printed


def test_predict_tells_the_score_where_the_table_has_the_target(folder, heights):
    table = flowers().drop(columns="kind")
    table.to_csv(folder / "all.csv", index=False)
    printed = run(folder, "predict", "tall.model", "all.csv", "--out", "p.csv", "--coverage", "0.8")
    found = pd.read_csv(folder / "p.csv")
    assert f"R2 {r2_score(table['height'], found['height']):.3f} (" in printed
    inside = (found["height from"] <= table["height"]) & (table["height"] <= found["height to"])
    assert inside.mean() > 0.8  # these rows were trained on
    table.assign(height="tall").to_csv(folder / "words.csv", index=False)
    printed = run(folder, "predict", "tall.model", "words.csv", "--out", "p.csv")
    assert "'height', which holds 'tall' and the like, and no score: the model predicts numbers." in printed


def test_whole_numbers_are_a_quantity_where_the_user_says_so(folder):
    table = flowers().drop(columns="kind")
    table["height"] = table["height"].round() // 2
    table.to_csv(folder / "rings.csv", index=False)
    data = load_training(str(folder / "rings.csv"), "height")
    assert data.task == "classification"
    assert any("--task regression predicts a quantity" in note for note in data.notes)
    run(folder, "fit", "rings.csv", "--target", "height", "--task", "regression", "--time", "1")
    assert isinstance(fastopt.load(folder / "rings.fastopt"), TabularMLPRegressor)


def test_tables_that_do_not_fit_are_refused_in_a_sentence(folder, kinds):
    table = flowers().drop(columns=["height", "kind"])
    for name, changed, words in [
        ("less", table.drop(columns="size"), r"less.csv lacks the columns 'size'"),
        ("more", table.assign(weight=1), r"has the columns 'weight', which the model has not seen"),
        ("text", table.assign(size="big"), r"column 'size' held numbers in fit, and holds text now"),
        ("infinite", table.assign(size="inf"), r"infinite.csv does not fit: Input X contains infinity"),
    ]:
        changed.to_csv(folder / f"{name}.csv", index=False)
        assert re.search(words, run(folder, "predict", "kinds.fastopt", f"{name}.csv", code=2))
    assert "are written as .csv" in run(
        folder, "predict", "kinds.fastopt", "less.csv", "--out", "p.xls", code=2
    )
    said = run(folder, "predict", "kinds.fastopt", "less.csv", "--coverage", "0.8", code=2)
    assert "--coverage is of intervals of numbers, and 'kind' has classes" in said
    assert "there is no file 'none'" in run(folder, "predict", "none", "less.csv", code=2)


def test_damaged_and_foreign_models_are_refused_in_a_sentence(folder, kinds, heights):
    whole = kinds[0].read_bytes()
    with zipfile.ZipFile(folder / "archive", "w") as archive:
        archive.writestr("data.pkl", b"cos\nsystem\n(S'true'\ntR.")
    (folder / "cut").write_bytes(whole[: len(whole) // 2])
    (folder / "flipped").write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
    fastopt.save(fastopt.load(kinds[0]), folder / "bare")
    for name, words in [
        ("cut", "is damaged"),
        ("flipped", "is damaged"),
        ("archive", "is damaged, or no file of fastopt's"),
        ("kinds.csv", "is damaged, or no file of fastopt's"),
        ("bare", "was not fitted by fastopt fit"),
    ]:
        said = run(folder, "predict", name, "kinds.csv", code=2)
        assert name in said
        assert words in said


def test_files_name_no_code_and_say_how_the_table_was_read(kinds):
    model, form = model_file.load_model(kinds[0])
    assert isinstance(model, TabularMLPClassifier)
    assert form.target == "kind"
    assert form.kinds == {
        "size": "number",
        "colour": "text",
        "seen": "date",
        "rare": "text",
        "planet": "text",
    }
    assert form.day_first == {"seen": True}
    assert b"pickle" not in kinds[0].read_bytes()


def test_settings_that_cannot_be_are_refused(folder):
    for arguments, words in [
        (["kinds.csv"], "which column is to be predicted? Give --target"),
        (["kinds.csv", "--target", "Kind"], "target 'Kind' is not a column of kinds.csv"),
        (["none.csv", "--target", "kind"], "there is no file 'none.csv'"),
        (["kinds.csv", "--target", "kind", "--out", "a", "--report", "a"], "must be two files"),
        (["kinds.csv", "--target", "kind", "--out", "none/a"], "none/a cannot be written"),
    ]:
        assert words in run(folder, "fit", *arguments, code=2)


def test_a_table_without_a_column_to_learn_from_is_its_own_baseline(folder):
    pd.DataFrame({"c": [3.0] * 60, "y": [0, 1] * 30}).to_csv(folder / "same.csv", index=False)
    printed = run(folder, "fit", "same.csv", "--target", "y", "--baseline", "hgb")
    assert "50.0 % (37.7 to 62.3) of 60 rows" in printed
    assert "without looking at a column it would be 50.0 %" in printed
    assert "HistGradientBoosting could not be fitted: no column of the table differs" in printed


def test_reports_are_of_one_target_and_of_rows_held_out(tmp_path):
    X, y = np.random.default_rng(0).normal(size=(2, 60, 2))
    settings = {"max_iter": 6, "n_members": 2, "n_cv": 2, "hidden_layer_sizes": (4,), "random_state": 0}
    two = TabularMLPRegressor(**settings).fit(X, y)
    with pytest.raises(ValueError, match="of one target"):
        render_model_report(two, y)
    held_out = TabularMLPRegressor(**settings).fit(X, y[:, 0], X_val=X, y_val=y[:, 0])
    with pytest.raises(ValueError, match="fitted with X_val"):
        render_model_report(held_out, y[:, 0])
    weighted = TabularMLPRegressor(**settings).fit(X, y[:, 0], sample_weight=np.arange(60.0))
    for other in (y[:10, 0], np.resize(y, 120)):
        with pytest.raises(ValueError, match=f"y has {len(other)} rows, and the model was fitted to 60"):
            render_model_report(weighted, other)
    path = write_model_report(
        weighted, y[:, 0], tmp_path / "r.html", sample_weight=np.arange(60.0), title="<b>"
    )
    assert "<h1>&lt;b&gt;</h1>" in path.read_text("utf-8")
    assert "on 59 rows" in path.read_text("utf-8")  # the first has no weight
