"""In a notebook ``progress=True`` draws one figure of the loss curve, and redraws it."""

import pytest

_FIRST = """
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from fastopt import MLPClassifier, TabularMLPClassifier
X, y = load_iris(return_X_y=True)
network = MLPClassifier((4,), max_iter=30, tol=0.0, random_state=0, progress=True)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a function that runs cells in a kernel and returns their outputs, and those of each message."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")

    class Client(nbclient.NotebookClient):
        def process_message(self, message, cell, cell_index):
            messages.append(message["msg_type"])
            return super().process_message(message, cell, cell_index)

    messages = []

    def run_cells(*sources):
        messages.clear()
        cells = [nbformat.v4.new_code_cell(source) for source in (_FIRST, *sources)]
        notebook = nbformat.v4.new_notebook(cells=cells)
        folder = {"metadata": {"path": tmp_path_factory.mktemp("kernel")}}
        Client(notebook, timeout=300, kernel_name="python3", resources=folder).execute()
        return [cell["outputs"] for cell in notebook.cells[1:]], list(messages)

    return run_cells


def figures(outputs):
    return [
        output["data"]["text/html"]
        for output in outputs
        if output["output_type"] == "display_data" and "text/html" in output["data"]
    ]


def test_a_fit_has_one_figure_which_ends_with_the_last_epoch(run):
    (fitted, searched, loaded), messages = run(
        "network.fit(X, y, X_val=X, y_val=y);",
        "GridSearchCV(network, {'alpha': [0.0, 0.1, 1.0]}, cv=2).fit(X, y);",
        "import sys; print('matplotlib.pyplot' in sys.modules)",
    )
    (figure,) = figures(fitted)
    assert "MLPClassifier: epoch 30 of at most 30, loss 1." in figure
    assert "validation loss (dashed)" in figure
    assert figure.count("<path") == 2
    assert len(figures(searched)) == 1  # seven fits in one cell
    assert messages.count("update_display_data") >= 8  # each fit ends with a drawing
    assert loaded[0]["text"] == "False\n"


def test_without_progress_and_in_partial_fit_nothing_is_shown(run):
    (quiet, table), _ = run(
        "network.partial_fit(X, y, classes=[0, 1, 2]); network.set_params(progress=False).fit(X, y);",
        "TabularMLPClassifier(hidden_layer_sizes=(4,), max_iter=6, progress=True).fit(X, y);",
    )
    assert figures(quiet) == []
    (figure,) = figures(table)
    assert "TabularMLPClassifier: epoch 6 of at most 6" in figure


def test_outside_a_notebook_no_figure_is_asked_for():
    from fastopt.neural_network.live_curve import notebook

    assert notebook() is None
