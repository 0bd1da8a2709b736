"""The example notebook runs as it is, and shows what it promises."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "which-optimizer.ipynb"


def test_the_example_notebook_runs_and_shows_tables_and_pictures(monkeypatch):
    monkeypatch.delenv(
        "MPLBACKEND", raising=False
    )  # a forced backend would keep pictures out of the notebook
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": NOTEBOOK.parents[2]}}
    )
    client.execute()
    shown = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in data for data in shown) == 2
    html = [data["text/html"] for data in shown if "text/html" in data]
    assert any("best mean accuracy" in text for text in html)  # the study's own representation
    assert any("distinguishable" in text for text in html)  # a table
