"""The page on optimizers says what the registry holds, and its settings exist."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

import fastopt

DOCS = Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "optimizers.md").read_text() if DOCS.exists() else ""
pytestmark = pytest.mark.skipif(not TEXT, reason="an installation without its documentation")


def test_the_table_is_the_registrys():
    spec = importlib.util.spec_from_file_location("optimizer_table", DOCS / "optimizer_table.py")
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    assert table.page(TEXT) == TEXT, "run python docs/optimizer_table.py"


@pytest.mark.parametrize("setting", sorted(set(re.findall(r"`([A-Z]\w*\([^`]*\))`", TEXT))))
def test_every_setting_on_the_page_is_accepted(setting):
    optimizer = eval(setting, vars(fastopt).copy())
    optimizer.bind(np.ones((2, 3)))
