"""The package's names are there at first use, and not before."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastopt

ROOT = Path(__file__).parents[2]


def run(code):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_import_alone_loads_no_numba_and_a_star_loads_every_name():
    code = """
import sys
import fastopt
assert "numba" not in sys.modules and "sklearn" not in sys.modules
from fastopt import *
missing = [name for name in fastopt.__all__ if name not in globals()]
print(missing, Adam.__name__, MLPClassifier.__name__)
"""
    assert run(code) == "[] Adam MLPClassifier\n"


def test_submodules_are_attributes_and_threads_may_ask_at_once():
    code = """
from concurrent.futures import ThreadPoolExecutor
import fastopt
names = ["Adam", "MLPClassifier", "schedules", "list_optimizers"] * 4
with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(lambda name: getattr(fastopt, name), names))
print(len({id(one) for one in found}), fastopt.schedules.cosine.__name__)
"""
    assert run(code) == "4 cosine\n"


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'fastopt' has no attribute 'Adamm'"):
        _ = fastopt.Adamm
    assert not hasattr(fastopt, "__wrapped__")
    assert {"Adam", "MLPClassifier", "__version__"} <= set(dir(fastopt))


def test_no_module_asks_the_package_for_a_name_while_it_is_imported():
    asking = ["from fastopt import ", "from .. import ", "from ... import "]
    light = {"__version__", "datasets"}  # set at once, or imported by the command line before anything else
    found = [
        (path.name, line)
        for path in (ROOT / "fastopt").rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if any(line.startswith(start) for start in asking) and line.rpartition(" ")[2] not in light
    ]

    assert found == []
