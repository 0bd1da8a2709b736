"""The figures of docs/tabular.md are those that bench/bench_tabular.py measured."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results" / "tabular.jsonl"


@pytest.fixture
def report(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "bench")
    return importlib.import_module("tabular_report")


def rows_of(model, figures, split=0):
    """Return a model's rows on tables 0, 1, ..., each with its error and a second of CPU time."""
    return [
        {"model": model, "table": f"t{i}", "split": split, "most_rows": 9, "error": x, "cpu": 1.0}
        for i, x in enumerate(figures)
    ]


def test_the_page_holds_what_was_measured(report):
    rows = report.read(RESULTS)
    page = (ROOT / "docs" / "tabular.md").read_text("utf-8")
    assert report.filled(page, report.made(report.by_model(rows))) == page, (
        "run python bench/bench_tabular.py --report --page docs/tabular.md --plot docs/images/tabular.png"
    )


def test_every_model_was_measured_on_every_table_and_split(report):
    found = report.by_model(report.read(RESULTS))
    assert {"TabularMLP", report.RIVAL} < set(found)
    assert all(of_model.keys() == found["TabularMLP"].keys() for of_model in found.values())
    assert len({table for table, _ in found["TabularMLP"]}) == 17


def test_two_models_are_compared_table_by_table(report):
    a, b = [0.02, 0.1, 0.3, 0.0], [0.03, 0.09, 0.4, 0.0]
    found = report.by_model([*rows_of("a", a), *rows_of("b", b)])
    compared = report.compared(found["a"], found["b"], "error")
    logs = np.log(np.array([a, b]) + 0.01)
    # SciPy's paired t-test of the same logarithms; rounding only.
    assert compared["p"] == pytest.approx(stats.ttest_rel(*logs).pvalue, rel=1e-12)
    assert compared["ratio"] == pytest.approx(stats.gmean(np.exp(logs[0])) / stats.gmean(np.exp(logs[1])))
    assert (compared["wins"], compared["losses"]) == (2, 1)


def test_splits_of_a_table_count_as_one_table(report):
    rows = [*rows_of("a", [0.02, 0.1]), *rows_of("a", [0.04, 0.2], split=1)]
    logs = report.log_figures(
        report.by_model(rows)["a"], "error", [(f"t{i}", s) for i in (0, 1) for s in (0, 1)]
    )
    np.testing.assert_allclose(logs, np.log([[0.03, 0.05], [0.11, 0.21]]).mean(axis=1), rtol=1e-12)


def test_a_figure_that_was_measured_again_replaces_the_first(report, tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [*rows_of("a", [0.5]), *rows_of("a", [0.1])]
    lines = [json.dumps(row) for row in [{"machine": {}}, *rows]]
    path.write_text("\n".join(lines), "utf-8")
    assert [row["error"] for row in report.read(path)] == [0.1]
