"""Imports point one way: the layers that ``docs/architecture.py`` declares are those of the code."""

import graphlib
import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "architecture.py"
if not SCRIPT.exists():
    pytest.skip("an installation without its documentation", allow_module_level=True)
_SPEC = importlib.util.spec_from_file_location("architecture", SCRIPT)
architecture = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(architecture)


def test_every_part_of_the_package_has_a_layer():
    declared = {*architecture.HELPERS, *(part for row in architecture.LAYERS for part in row)}
    found = {architecture.part_of(name) for name in architecture.modules()}
    assert found <= declared, "add the new part to LAYERS in docs/architecture.py"


def test_imports_point_down():
    upward = {
        f"{module} imports {target}"
        for (source, target), module in architecture.edges().items()
        if architecture.rank(source) >= architecture.rank(target) and source not in architecture.HELPERS
    }
    assert not upward


def test_no_modules_import_each_other():
    """Apart from a package's front, which may load its own modules when they are asked for."""
    graph = {
        name: {other for other in architecture.imports(name, path) if not is_front(other, name)}
        for name, path in architecture.modules().items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # CycleError names the circle


def is_front(one, other):
    """Tell whether one of two modules is the package that has the other."""
    return other.startswith(f"{one}.") or one.startswith(f"{other}.")


def test_helpers_import_no_layer():
    rising = {
        pair
        for pair in architecture.edges()
        if pair[0] in architecture.HELPERS and pair[1] not in architecture.HELPERS
    }
    assert not rising


def test_an_import_upward_is_seen(tmp_path):
    """The check itself: a module under rules that imports upward, in each of the ways one can write it."""
    low = tmp_path / "low.py"
    low.write_text(
        "def f():\n    from ..neural_network import _base\n"
        "import fastopt.study.store\nfrom fastopt import MLPClassifier\n"
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from fastopt import cli\n",
        "utf-8",
    )
    seen = {architecture.part_of(name) for name in architecture.imports("fastopt.rules.low", low)}
    assert seen == {"neural_network", "study"}


def test_the_picture_is_that_of_the_imports():
    drawn = architecture.PICTURE.read_text("utf-8")
    assert drawn == architecture.picture(), "run python docs/architecture.py"
