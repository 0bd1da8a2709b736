"""Output of ``fit`` and ``predict``: what is printed, and the files that are written."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from ..datasets.columns import some
from ..report.model import column_table, of_summary, score_table
from ..report.model_summary import shown, summarize
from .model_file import save_model
from .output import new_console, print_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from ..datasets.model_tables import NewTable, TrainingTable

_MOST_COLUMNS = 30  # in the terminal; the report has all


def announce(data: TrainingTable) -> None:
    """Print what was read."""
    console = new_console()
    console.print(data.description, style="bold")
    for note in data.notes:
        console.print(f"  {note}", style="dim", soft_wrap=True)


def write_model(
    model: Any,
    data: TrainingTable,
    others: Mapping[str, np.ndarray],
    caught: Sequence[str],
    *,
    out: Path,
    report: Path,
    command: str,
) -> None:
    """Print the scores and the columns of a model; write the model and its report.

    Parameters
    ----------
    model : TabularMLPClassifier or TabularMLPRegressor
        Fitted.
    data : TrainingTable
    others : dict of str to ndarray
        Out-of-fold predictions of baselines.
    caught : sequence of str
        Warnings of the fit.
    out, report : Path
    command : str
        How to make this again.
    """
    console = new_console()
    summary = summarize(model, data.y, others=others, sample_weight=data.sample_weight)
    for note in caught:
        console.print(f"Warning: {note}", style="yellow", soft_wrap=True)
    print_table(console, *_plain(score_table(summary)))
    for sentence in summary.sentences:
        console.print(sentence, style="bold" if sentence == summary.sentences[0] else None, soft_wrap=True)
    _, _, headings, rows = column_table(summary)
    kept = rows[:_MOST_COLUMNS]
    title = "Columns" if len(kept) == len(rows) else f"The {len(kept)} most important of {len(rows)} columns"
    texts = [[*(text for text, _ in row[:-1]), textwrap.shorten(row[-1][0], 80)] for row in kept]
    print_table(console, headings, texts, (), title)
    save_model(model, data.form, out)
    title = f"A model of {data.form.target}"
    page = of_summary(
        model,
        summary,
        title=title,
        data=data.description,
        command=command,
        notes=[*caught, *data.notes],
    )
    report.write_text(page, "utf-8")
    console.print(f"Model   {out}", soft_wrap=True)
    console.print(f"Report  {report}", soft_wrap=True)


def _plain(table):
    """Return a report's table for the terminal: headings, rows, rows to dim, title."""
    heading, _, columns, rows = table
    return columns, [[text for text, _ in row] for row in rows], (), heading


def say_predictions(model: Any, data: NewTable, target: str, found: pd.DataFrame, out: Path) -> None:
    """Print what was predicted, and how good it is where the table has the target."""
    console = new_console()
    console.print(f"{len(found):,} rows predicted: {out}", soft_wrap=True)
    if data.target is None or not data.target.notna().any():
        return
    console.print(f"The table has {target!r}{_score(model, data, target, found)}.", soft_wrap=True)


def _score(model, data, target, found):
    """Return in words the score on rows whose target is known, or why there is none."""
    from ..tabular.out_of_fold import classification_scores, regression_scores

    known = data.target.notna().to_numpy()
    y = data.target[known]
    if not hasattr(model, "classes_"):
        if y.dtype.kind not in "iuf":
            return f", which holds {y.iloc[0]!r} and the like, and no score: the model predicts numbers"
        score = regression_scores(y.to_numpy(float), found[target].to_numpy()[known])[0]
        return f": {score.name} {shown(score)}"
    place = {_text(label): j for j, label in enumerate(model.classes_.tolist())}
    codes = np.array([place.get(_text(label), -1) for label in y.tolist()])
    if (codes < 0).any():
        unknown = sorted({_text(label) for label, code in zip(y.tolist(), codes, strict=True) if code < 0})
        return f", and no score: the model does not know the classes {some(unknown)}"
    columns = [f"{target}={label}" for label in model.classes_]
    classes = np.arange(len(columns))
    score = classification_scores(codes, found[columns].to_numpy()[known], classes)[0]
    return f": {score.name} {shown(score)}"


def _text(label):
    """Return a label as text, a whole number without its point: gaps make numbers of a file fractions."""
    return f"{label:g}" if isinstance(label, (int, float)) and not isinstance(label, bool) else str(label)
