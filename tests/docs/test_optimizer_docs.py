"""The page on optimizers says what the registry holds, and its settings exist."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

import fastopt
from fastopt.optimizers.base import OPTIMIZERS

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "optimizers.md").read_text("utf-8") if DOCS.exists() else ""
pytestmark = pytest.mark.skipif(not TEXT, reason="an installation without its documentation")


def script(name):
    """Import a script of the documentation."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_the_registrys():
    assert script("optimizer_table").page(TEXT) == TEXT, "run python docs/optimizer_table.py"


def test_what_docstrings_share_is_said_alike(monkeypatch):
    """The paragraphs on `lr`, `maximize`, ..., and what an optimizer was executed against."""
    monkeypatch.syspath_prepend(DOCS)
    shared = script("optimizer_docstrings")
    assert len(shared.modules()) > 10
    for path in shared.modules():
        source = path.read_text("utf-8")
        assert shared.rewrite(source) == source, f"{path.name}: run python docs/optimizer_docstrings.py"
        changed = source.replace("Ascend instead of descend.", "Go up.")
        assert changed != source
        assert shared.rewrite(changed) == source


def test_every_optimizer_is_exported(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    shared = script("optimizer_docstrings")
    source = (shared.FOLDER / "__init__.py").read_text("utf-8")
    assert shared.rewrite_exports(source) == source, "run python docs/optimizer_docstrings.py"
    assert shared.rewrite_exports(source.replace(" Yogi\n", " _\n").replace('    "Yogi",\n', "")) == source


def test_the_page_of_oracles_is_what_the_audit_found():
    table, text = script("oracle_table"), (DOCS / "oracles.md").read_text("utf-8")
    assert table.page(text) == text, "run python docs/oracle_table.py"


def test_every_optimizer_was_executed_beside_another_librarys_or_says_that_none_has_it():
    table = script("oracle_table")
    rows = json.loads(table.RESULTS.read_text("utf-8"))["rows"]
    for row in rows:
        for scenario, value in row["worst"].items():
            assert value <= row["bounds"][scenario == "float32"], (row, scenario)
    built_in = {cls.__name__ for cls in OPTIMIZERS.values() if cls.__module__.startswith("fastopt.")}
    assert built_in == {*table.executed(rows), *table.elsewhere()}


def test_the_speeds_are_those_that_were_measured():
    table, text = script("speed_table"), (DOCS / "speed.md").read_text("utf-8")
    results = json.loads(table.RESULTS.read_text("utf-8"))
    assert table.page(text, results) == text, "run python docs/speed_table.py"


def test_an_optimizer_that_has_not_been_measured_is_named_when_the_documentation_is_refreshed(monkeypatch):
    table = script("speed_table")
    results = json.loads(table.RESULTS.read_text("utf-8"))
    assert "adam" not in table.unmeasured(results)
    assert "muon" not in table.unmeasured(results)
    new = type("Freshling", (fastopt.SGD,), {"__module__": "fastopt.optimizers.sgd"})
    monkeypatch.setitem(OPTIMIZERS, "freshling", new)
    assert "freshling" in table.unmeasured(results)


@pytest.mark.parametrize("setting", sorted(set(re.findall(r"`([A-Z]\w*\([^`]*\))`", TEXT))))
def test_every_setting_on_the_page_is_accepted(setting):
    optimizer = eval(setting, vars(fastopt).copy())
    optimizer.bind(np.ones((2, 3)))
