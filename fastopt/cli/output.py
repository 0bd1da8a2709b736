"""What ``compare`` and ``sweep`` print and write."""

from __future__ import annotations

import sys
import textwrap

from rich import box
from rich.console import Console
from rich.table import Table

from ..display import HeatMapDisplay, overview
from ..display.style import pyplot
from ..report import confusion, grid_cells, summary_columns, write_report

# Wide enough for the table where there is no terminal to ask: a cut table in a log file helps nobody.
_PIPED_WIDTH = 160


def _console(width=None):
    # No markup: a column called "[cm]" is not a style.
    plain = {"highlight": False, "markup": False, "emoji": False}
    return Console(width=width or (None if sys.stdout.isatty() else _PIPED_WIDTH), **plain)


def announce(data, study, settings, n_fits):
    """Say what will be run."""
    console = _console()
    console.print(data.description, style="bold")
    for note in data.notes:
        console.print(f"  {note}", style="dim")
    sizes = " x ".join(map(str, settings["hidden"]))
    is_shorter = study.max_seconds is not None or study.search == "halving"
    most = f"{'up to ' if is_shorter else ''}{study.max_epochs} epochs"
    work = f"{len(study.optimizers)} contenders, {n_fits} fits of {most}"
    console.print(f"Hidden layers {sizes}; {work}.")


def conclude(study, data, files, caught):
    """Print the table, the verdict, the cautions and the files."""
    console = _console()
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            console.print(f"Warning: {warning.message}", style="yellow", soft_wrap=True)
    if not study.results_.empty:
        console.print()
        make = _grid_table if study.summary_.empty else _summary_table
        _print_table(console, *make(study))
    for sentence in study.verdict_:
        console.print(sentence, style="bold" if sentence == study.verdict_[0] else None, soft_wrap=True)
    if study.notes_:
        console.print()
    for note in study.notes_:
        console.print(f"Note: {note}", style="yellow", soft_wrap=True)
    read = study.n_read_
    if read:
        where = f"{study.store_path_} (--fresh measures again)"
        console.print(f"{read} of {len(study.results_)} fits were read from {where}.", soft_wrap=True)
    console.print()
    for what, path in files.items():
        console.print(f"{what:<9} {path}", soft_wrap=True)


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


def _print_table(console, headings, rows, dim, title):
    """Print a table; closely set if the terminal is narrow."""
    unlimited = console.options.update(width=1000)
    table = _table(headings, rows, dim, title)
    if console.measure(table, options=unlimited).maximum > console.width:
        close = {"box": box.SIMPLE_HEAD, "padding": 0, "pad_edge": False}
        headings = [textwrap.fill(heading, 9, break_long_words=False) for heading in headings]
        table = _table(headings, rows, dim, title, **close)
    # Rather lines that the terminal breaks than figures cut short.
    width = console.measure(table, options=unlimited).maximum
    _console(max(width, console.width)).print(table)


def _table(headings, rows, dim, title, **look):
    table = Table(header_style="bold", title=title, **look)
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "Optimizer" else "right", no_wrap=True)
    for i, row in enumerate(rows):
        table.add_row(*row, style="dim" if i in dim else None)
    return table


def write_files(study, folder, data, stem, command):
    """Write pictures, report and tables called after `stem`; return ``{what: path}``."""
    if study.results_.empty:
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    if not study.summary_.empty:
        files["Picture"] = folder / f"{stem}.png"
        _save(overview(study, title=data.description), files["Picture"])
        if study.confusion_:
            files["Confusion"] = folder / "confusion.png"
            _save(confusion(study).figure_, files["Confusion"])
    else:
        metric = study.curves_.columns[-1]
        for what, column in (("score", metric), ("loss", "loss"), ("speed", "seconds_per_epoch")):
            files[f"Map {what[:5]}"] = path = folder / f"{stem}-{what}.png"
            _save(HeatMapDisplay.from_study(study, metric=column).figure_, path)
    files["Report"] = folder / f"{stem}.html"
    title = "Which optimizer?" if stem == "comparison" else "Learning rate and batch size"
    write_report(
        study, files["Report"], title=title, data=data.description, command=command, notes=data.notes
    )
    files["Fits"] = folder / f"{stem}.csv"
    study.results_.to_csv(files["Fits"], index=False)
    return files


def _save(figure, path):
    figure.savefig(path)
    pyplot().close(figure)
