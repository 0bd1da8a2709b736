"""Output of ``compare`` and ``sweep``: tables, pictures and files."""

from __future__ import annotations

import itertools
import os
import re
import sys
import textwrap
from datetime import datetime
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from ..display import HeatMapDisplay, overview
from ..report import write_report
from ..report.page import attempt
from ..report.sets import score_cells
from ..report.study import confusion, grid_cells, summary_columns

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

# Wide enough for the table where there is no terminal to ask: a cut table in a log file helps nobody.
_PIPED_WIDTH = 160
#: Columns of words.
_LEFT = ("Optimizer", "Model", "Column", "Kind", "What was done", "Data set")


def new_console(width: int | None = None) -> Console:
    """Return a console of the terminal's width, or of a fixed one where there is no terminal."""
    # No markup: a column called "[cm]" is not a style.
    plain = {"highlight": False, "markup": False, "emoji": False}
    return Console(width=width or (None if sys.stdout.isatty() else _PIPED_WIDTH), **plain)


def announce(data, study, settings, n_fits):
    """Print what will be run."""
    console = new_console()
    introduce(console, data)
    say_work(console, study, settings, n_fits)


def introduce(console, data):
    """Print what a data set is."""
    console.print(data.description, style="bold")
    for note in data.notes:
        console.print(f"  {note}", style="dim")


def say_work(console, study, settings, n_fits):
    """Print what is trained, and how often."""
    sizes = " x ".join(map(str, settings["hidden"]))
    is_shorter = study.max_seconds is not None or study.search == "halving"
    most = f"{'up to ' if is_shorter else ''}{study.max_epochs} epochs"
    work = f"{len(study.optimizers)} contenders, {n_fits} fits of {most}"
    console.print(f"Hidden layers {sizes}; {work}.")


def write_study(study, out, data, stem, command, caught):
    """Write and print the results, then draw pictures; a picture that fails costs no other output.

    Parameters
    ----------
    study : OptimizerStudy
        Fitted.
    out : Path
        Gets a folder for this study, and ``latest``, which points to it.
    data : Dataset
    stem : {'comparison', 'sweep'}
        What files are called.
    command : str
        How to reproduce the study.
    caught : list of warnings.WarningMessage
    """
    console = new_console()
    files, problems = {}, []
    if not study.results_.empty:
        folder = study_folder(out, data.name)
        files["Fits"] = folder / f"{stem}.csv"
        study.results_.to_csv(files["Fits"], index=False)
    _say_results(console, study, caught)
    if files:
        pictures, problems = _draw(study, folder, data, stem)
        files.update(pictures)
        files["Report"] = folder / f"{stem}.html"
        title = "Which optimizer?" if stem == "comparison" else "Learning rate and batch size"
        texts = {"title": title, "data": data.description, "command": command, "notes": data.notes}
        write_report(study, files["Report"], **texts)
        files["Latest"] = point_to(folder)
    say_files(console, files, problems)


def say_files(console, files, problems):
    """Print what could not be drawn, and where everything is."""
    for problem in problems:
        console.print(f"Note: {problem}", style="yellow", soft_wrap=True)
    console.print()
    width = max(9, *map(len, files)) if files else 0
    for what, path in files.items():
        console.print(f"{what:<{width}} {path}", soft_wrap=True)


def say_warnings(console, caught):
    """Print the warnings that are meant for users."""
    found = (str(warning.message) for warning in caught if issubclass(warning.category, UserWarning))
    for message in dict.fromkeys(found):  # several data sets have the same to say
        console.print(f"Warning: {message}", style="yellow", soft_wrap=True)


def print_scores(console, over):
    """Print the mean scores over sets."""
    console.print()
    columns, rows = score_cells(over)
    print_table(console, columns, [[text for text, _ in row] for row in rows], (), None)


def _say_results(console, study, caught):
    """Print the table, the verdict and the notes."""
    say_warnings(console, caught)
    if not study.results_.empty:
        console.print()
        make = _grid_table if study.summary_.empty else _summary_table
        print_table(console, *make(study))
    say_findings(console, study)


def say_findings(console, study):
    """Print the verdict, the notes, and how much was read from the store."""
    for sentence in study.verdict_:
        console.print(sentence, style="bold" if sentence == study.verdict_[0] else None, soft_wrap=True)
    if study.notes_:
        console.print()
    for note in study.notes_:
        console.print(f"Note: {note}", style="yellow", soft_wrap=True)
    if study.n_read_:
        where = f"{getattr(study, 'store_path_', 'the store')} (--fresh measures again)"
        console.print(
            f"{study.n_read_} of {len(study.results_)} fits were read from {where}.", soft_wrap=True
        )


def _summary_table(study):
    """Return headings, rows, rows to dim, and a title."""
    columns = summary_columns(study)
    rows = [[cell(row)[0] for _, cell in columns] for _, row in study.summary_.iterrows()]
    dim = [i for i, label in enumerate(study.summary_["optimizer"]) if label in study.yardsticks_]
    return [heading for heading, _ in columns], rows, dim, None


def _grid_table(study, n_shown=10):
    columns, rows = grid_cells(study)
    shown = [[text for text, _ in row] for row in rows[:n_shown]]
    return columns, shown, (), f"Best {len(shown)} of {len(rows)} settings"


def print_table(
    console: Console,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    dim: Container[int],
    title: str | None,
) -> None:
    """Print a table, with narrow columns if the terminal is narrow."""
    unlimited = console.options.update(width=1000)
    table = _table(headings, rows, dim, title)
    if console.measure(table, options=unlimited).maximum > console.width:
        close = {"box": box.SIMPLE_HEAD, "padding": 0, "pad_edge": False}
        headings = [textwrap.fill(heading, 9, break_long_words=False) for heading in headings]
        table = _table(headings, rows, dim, title, **close)
    # Rather lines that the terminal breaks than figures cut short.
    width = console.measure(table, options=unlimited).maximum
    new_console(max(width, console.width)).print(table)


def _table(headings, rows, dim, title, **look):
    table = Table(header_style="bold", title=title, **look)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in _LEFT else "right", no_wrap=True)
    for i, row in enumerate(rows):
        table.add_row(*row, style="dim" if i in dim else None)
    return table


def study_folder(out, name):
    """Make and return a folder in `out` of its own for a study of the data set `name`."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "data"
    dated = f"{stem}-{datetime.now():%Y-%m-%d-%H%M%S}"
    out.mkdir(parents=True, exist_ok=True)
    names = (dated if n == 1 else f"{dated}-{n}" for n in itertools.count(1))
    folder = out / next(name for name in names if not (out / name).exists())
    folder.mkdir()
    return folder


def point_to(folder):
    """Make ``latest`` beside `folder` point to it: a link, or a text file where there are no links."""
    latest = folder.parent / "latest"
    aside = folder.parent / f".latest-{os.getpid()}"
    try:
        aside.symlink_to(folder.name, target_is_directory=True)
        os.replace(aside, latest)  # at no moment is there no link
    except OSError:  # Windows without the privilege, or a file system without links
        aside.unlink(missing_ok=True)
        latest = latest.with_suffix(".txt")
        latest.write_text(f"{folder.name}\n", "utf-8")
    return latest


def _draw(study, folder, data, stem):
    """Write the pictures; return ``({what: path}, problems)``."""
    files, problems = {}, []
    for what, name, draw in _pictures(study, data, stem):
        path = folder / name
        problems += attempt(name, draw, lambda figure, path=path: figure.savefig(path))
        files.update({what: path} if path.exists() else {})
    return files, problems


def _pictures(study, data, stem):
    """Return ``(what, file name, function that draws)`` of each picture."""
    if not study.summary_.empty:
        found = [("Picture", f"{stem}.png", lambda: overview(study, title=data.description))]
        if study.confusion_:
            found.append(("Confusion", "confusion.png", lambda: confusion(study).figure_))
        return found
    columns = {"score": study.curves_.columns[-1], "loss": "loss", "speed": "seconds_per_epoch"}
    return [
        (
            f"Map {what}",
            f"{stem}-{what}.png",
            lambda column=column: HeatMapDisplay.from_study(study, metric=column).figure_,
        )
        for what, column in columns.items()
    ]
