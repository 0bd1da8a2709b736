"""Live progress bars on standard error, shown in terminals and notebooks only."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager

from ._extras import require

_showing = threading.Lock()  # two displays would draw over each other: the first one stays


@contextmanager
def live_bars():
    """Show progress bars while the block runs; yields a `rich.progress.Progress`, or None without a terminal.

    Nobody would where standard error is neither a terminal nor a notebook, and beside bars that are already
    shown. Each task of the bars needs a field ``unit``.

    Raises
    ------
    MissingExtraError
        If rich is not installed.
    """
    rich = require("rich.progress", "progress=True")
    console = require("rich.console", "progress=True").Console(file=sys.stderr)
    # Not `is_terminal`: FORCE_COLOR makes that true of a pipe.
    is_seen = sys.stderr.isatty() or console.is_jupyter
    if not is_seen or not _showing.acquire(blocking=False):
        yield None
        return
    try:
        with rich.Progress(
            rich.TextColumn("{task.description:<34.34}"),
            rich.BarColumn(bar_width=None),
            rich.MofNCompleteColumn(),
            rich.TextColumn("{task.fields[unit]}"),
            rich.TimeElapsedColumn(),
            rich.TextColumn("left"),
            rich.TimeRemainingColumn(),
            console=console,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # what is printed to a file stays out of the terminal
        ) as bars:
            yield bars
    finally:
        _showing.release()
