"""The report of a study: one self-contained HTML file with its results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..study import StudyOverSets
from . import page, sets
from . import study as of_one

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from fastopt.study import OptimizerStudy


def write_report(
    study: OptimizerStudy | StudyOverSets,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    data: str = "",
    command: str = "",
    notes: Sequence[str] = (),
) -> Path:
    """Write the report of a fitted `OptimizerStudy` or `StudyOverSets`.

    Parameters
    ----------
    study : OptimizerStudy or StudyOverSets
        After `fit` or `sweep`; partial results are reported as such.
    path : path
        HTML file to write. It needs no network and no other file.
    title : str, optional
    data : str
        One line that describes the data.
    command : str
        How to reproduce the study.
    notes : sequence of str
        Further remarks, such as what was done to the data.

    Returns
    -------
    Path

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastopt import MLPClassifier
    >>> from fastopt.study import OptimizerStudy
    >>> study = OptimizerStudy(MLPClassifier((8,)), ["momentum", "adam"], n_seeds=2, max_epochs=3)
    >>> write_report(study.fit(*load_iris(return_X_y=True)), "report.html", data="iris").name
    'report.html'
    """
    path = Path(path)
    path.write_text(render_report(study, title=title, data=data, command=command, notes=notes), "utf-8")
    return path


def render_report(
    study: OptimizerStudy | StudyOverSets,
    *,
    title: str | None = None,
    data: str = "",
    command: str = "",
    notes: Sequence[str] = (),
) -> str:
    """Return the report as a string of HTML; parameters as in `write_report`."""
    found = (sets if isinstance(study, StudyOverSets) else of_one).contents(study)
    found["notes"] += notes
    frame = {"title": title or "Which optimizer?", "data": data, "command": command}
    return page.render("report.html.j2", **frame, **found)
