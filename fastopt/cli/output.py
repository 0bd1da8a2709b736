"""What ``compare`` and ``sweep`` print and write."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from ..display import HeatMapDisplay, overview
from ..display.style import pyplot
from ..report import grid_cells, summary_columns, write_report

# Wide enough for the table where there is no terminal to ask: a cut table in a log file helps nobody.
_PIPED_WIDTH = 160


def _console():
    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)


def announce(data, study, settings, n_fits):
    """Say what will be run."""
    console = _console()
    console.print(data.description, style="bold")
    for note in data.notes:
        console.print(f"  {note}", style="dim")
    sizes = " x ".join(map(str, settings["hidden"]))
    work = f"{len(study.optimizers)} contenders, {n_fits} fits of {study.max_epochs} epochs"
    console.print(f"Hidden layers {sizes}; {work}.")


def conclude(study, data, files, caught):
    """Print the table, the verdict, the cautions and the files."""
    console = _console()
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            console.print(f"Warning: {warning.message}", style="yellow", soft_wrap=True)
    if not study.results_.empty:
        console.print()
        console.print(_table(study) if not study.summary_.empty else _grid_table(study))
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


def _table(study):
    table = Table(header_style="bold")
    columns = summary_columns(study)
    for heading, _ in columns:
        table.add_column(heading, justify="left" if heading == "Optimizer" else "right", no_wrap=True)
    for _, row in study.summary_.iterrows():
        is_yardstick = row["optimizer"] in study.yardsticks_
        cells = [cell(row)[0] for _, cell in columns]
        table.add_row(*cells, style="dim" if is_yardstick else None)
    return table


def _grid_table(study, n_shown=10):
    columns, rows = grid_cells(study)
    table = Table(header_style="bold", title=f"Best {min(n_shown, len(rows))} of {len(rows)} settings")
    for heading in columns:
        table.add_column(heading, justify="left" if heading == "Optimizer" else "right", no_wrap=True)
    for row in rows[:n_shown]:
        table.add_row(*(text for text, _ in row))
    return table


def write_files(study, folder, data, command):
    """Write pictures, report and tables; return ``{what: path}``."""
    if study.results_.empty:
        return {}
    stem = "comparison" if not study.summary_.empty else "sweep"
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    if not study.summary_.empty:
        files["Picture"] = folder / f"{stem}.png"
        _save(overview(study, title=data.description), files["Picture"])
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
