"""The report of a model that was fitted to a table: one self-contained HTML file."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import page
from .model_summary import ModelSummary, shown, summarize

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

_METHOD = (
    "Each network is trained on the rows outside one fold and keeps the epoch that is best on that fold; "
    "scores, calibration and pictures come from the rows that a network was not trained on, after the epoch "
    "that is best on the other folds. The 95 % intervals are for the choice of the rows, "
    "not for that of the seed."
)


def write_model_report(
    model: Any,
    y: npt.ArrayLike,
    path: str | os.PathLike[str],
    *,
    sample_weight: npt.ArrayLike | None = None,
    others: Mapping[str, np.ndarray] | None = None,
    title: str | None = None,
    data: str = "",
    command: str = "",
    notes: Sequence[str] = (),
) -> Path:
    """Write the report of a fitted `TabularMLPClassifier` or `TabularMLPRegressor`.

    It has the out-of-fold scores with their intervals, what was done to each column and how important it is,
    and pictures: importances, calibration and confusion, or residuals.

    Parameters
    ----------
    model : TabularMLPClassifier or TabularMLPRegressor
        Fitted to one target, without ``X_val``.
    y : array-like of shape (n_samples,)
        The targets that it was fitted to.
    path : path
        HTML file to write. It needs no network and no other file.
    sample_weight : array-like of shape (n_samples,), optional
        That it was fitted with.
    others : dict of str to ndarray of shape (n_samples, n_outputs), optional
        Out-of-fold predictions of other models on the same folds, ``model.folds_[0]``.
    title : str, optional
    data : str
        One line that describes the data.
    command : str
        How to reproduce the model.
    notes : sequence of str
        Further remarks, such as how the table was read.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If the model has no out-of-fold predictions or several targets, or y is another than in `fit`.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from fastopt import TabularMLPClassifier
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> model = TabularMLPClassifier(hidden_layer_sizes=(8,), max_iter=6, random_state=0).fit(X, y)
    >>> write_model_report(model, y, "report.html").name
    'report.html'
    """
    path = Path(path)
    text = render_model_report(
        model,
        y,
        sample_weight=sample_weight,
        others=others,
        title=title,
        data=data,
        command=command,
        notes=notes,
    )
    path.write_text(text, "utf-8")
    return path


def render_model_report(
    model: Any,
    y: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    others: Mapping[str, np.ndarray] | None = None,
    title: str | None = None,
    data: str = "",
    command: str = "",
    notes: Sequence[str] = (),
) -> str:
    """Return the report as a string of HTML; parameters as in `write_model_report`."""
    weights = None if sample_weight is None else np.asarray(sample_weight, np.float64)
    summary = summarize(model, np.asarray(y), others=others, sample_weight=weights)
    return of_summary(model, summary, title=title, data=data, command=command, notes=notes)


def of_summary(
    model: Any,
    summary: ModelSummary,
    *,
    title: str | None = None,
    data: str = "",
    command: str = "",
    notes: Sequence[str] = (),
) -> str:
    """Return the report of a summary that has been made."""
    pictures, problems = page.pictures(_drawings(model, summary))
    return page.render(
        "report.html.j2",
        title=title or "A model of a table",
        data=data,
        command=command,
        verdict=summary.sentences,
        notes=[*notes, *problems],
        tables=[score_table(summary)],
        late_tables=[column_table(summary)],
        pictures=pictures,
        settings=_settings(model),
        method=_METHOD,
        work=f"{len(model.members_)} networks of {model.n_iter_} epochs",
    )


def score_table(summary: ModelSummary) -> tuple[str, str, list[str], list[list[tuple[str, Any]]]]:
    """Return the table of scores as ``(heading, explanation, columns, rows)``; a cell is (text, sort key)."""
    names = [score.name for score in summary.models[0].scores]
    rows = [
        [(model.name, model.name), *((shown(score), score.value) for score in model.scores)]
        for model in summary.models
    ]
    text = (
        "Out of fold, with 95 % intervals. Models share the rows, so intervals that overlap may still differ."
    )
    return "Scores", text, ["Model", *(name[0].upper() + name[1:] for name in names)], rows


def column_table(summary: ModelSummary) -> tuple[str, str, list[str], list[list[tuple[str, Any]]]]:
    """Return the table of the columns, most important first."""
    ranked = sorted(summary.columns, key=lambda column: -column["importance"])
    rows = [
        [
            (column["column"], column["column"]),
            (f"{column['importance']:.3g}", column["importance"]),
            (column["kind"], column["kind"]),
            (f"{column['missing']:,}", column["missing"]),
            (str(column["inputs"]), column["inputs"]),
            (column["treatment"], column["treatment"]),
        ]
        for column in ranked
    ]
    text = (
        "Importance is the rise of the loss when the column is shuffled among the rows held out: what the "
        "model owes to it alone. Columns that hold the same information are all low."
    )
    return "Columns", text, ["Column", "Importance", "Kind", "Missing", "Inputs", "What was done"], rows


def _drawings(model, summary):
    from ..display import table_model

    names = [column["column"] for column in summary.columns]
    values = np.array([column["importance"] for column in summary.columns])
    shuffled = "By how much the loss rises when a column is shuffled among the rows held out."
    found = [("Importance", shuffled, lambda: table_model.importances(names, values))]
    found += _of_classes(model, summary) if hasattr(model, "classes_") else _of_numbers(summary)
    cycles = (
        "Of all networks; each keeps its best epoch, not its last. The learning rate falls to 0 in cycles, "
        "each twice as long as the one before."
    )
    found.append(
        ("Loss while training", cycles, lambda: table_model.losses(model.history_, ax=page.narrow_axes(0.2)))
    )
    return found


def _of_classes(model, summary):
    from ..display import ConfusionDisplay, table_model

    place = np.searchsorted(model.classes_, summary.y)
    n_classes = len(model.classes_)
    if n_classes == 2:
        said = f"Predicted probability of {model.classes_[1]}"
        predicted, came_true = summary.predictions[:, 1], place == 1
    else:
        said = "Probability of the class that was predicted"
        predicted, came_true = summary.predictions.max(axis=1), summary.predictions.argmax(axis=1) == place
    counts = np.zeros((n_classes, n_classes))
    weights = np.ones(len(place)) if summary.weights is None else summary.weights
    np.add.at(counts, (place, summary.predictions.argmax(axis=1)), weights)

    def calibration():
        return table_model.calibration(
            predicted, came_true, xlabel=said, weights=summary.weights, ax=page.narrow_axes(0.2)
        )

    def confusion():
        return ConfusionDisplay({"Out of fold": counts}, model.classes_).plot().figure_

    bars = "How often predictions came true, with 95 % intervals. Below the line: too sure of itself."
    return [
        ("Calibration", bars, calibration),
        ("Confusion matrix", "Rows are true classes, in percent.", confusion),
    ]


def _of_numbers(summary):
    from ..display import table_model

    found = summary.predictions[:, 0]
    most = 1000
    some = "" if len(found) <= most else f" {most:,} of {len(found):,} rows."
    return [
        (
            "True against predicted",
            f"Rows held out; on the line the prediction is right.{some}",
            lambda: table_model.residuals(summary.y, found, ax=page.narrow_axes(), most=most),
        ),
        (
            "Residuals",
            "Right of 0 the model predicts too little.",
            lambda: table_model.errors(summary.y, found, ax=page.narrow_axes()),
        ),
    ]


def _settings(model):
    parameters = {
        name: textwrap.shorten(str(value), 400, placeholder=" ...")
        for name, value in model.get_params(deep=False).items()
    }
    found = {"model": type(model).__name__, **parameters}
    if hasattr(model, "temperature_"):
        found["temperature (fitted)"] = f"{model.temperature_:.4g}"
    return found
