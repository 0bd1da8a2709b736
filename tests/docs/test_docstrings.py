"""The examples in docstrings."""

import doctest
import importlib
import pkgutil

import pytest

import fastopt

MODULES = [module.name for module in pkgutil.walk_packages(fastopt.__path__, "fastopt.")]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # examples train briefly
def test_the_examples_give_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where they write files
    if name.startswith("fastopt.callbacks."):
        pytest.importorskip("sklearn.callback")  # from version 1.9 on
    if name == "fastopt.onnx_export.export":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("skl2onnx")
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0
