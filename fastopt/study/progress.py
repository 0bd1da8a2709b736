"""Progress of a study: one bar for the study with the time left, one for the fit in hand."""

from __future__ import annotations

import sys


class Progress:
    """Says nothing; the base of `RichProgress`, and what is used when output is piped."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return None

    def expect(self, n_fits):
        """Announce `n_fits` more fits."""

    def fit_started(self, what, n_epochs):
        """Announce the fit of `what`, of `n_epochs` epochs (None: unknown)."""

    def epoch_done(self, n_done):
        """Tell how many epochs the fit in hand has done."""

    def fit_done(self, what, read=False):
        """Tell that a fit has ended, or that its result was `read` from disk."""


class RichProgress(Progress):
    """Live bars on standard error."""

    def __init__(self, console):
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bars = Progress(
            TextColumn("{task.description:<34.34}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._study = self._fit = None

    def __enter__(self):
        self._bars.start()
        self._study = self._bars.add_task("Study", total=0, unit="fits  ")
        self._fit = self._bars.add_task("", total=None, unit="epochs", visible=False)
        return self

    def __exit__(self, *exception):
        self._bars.stop()

    def expect(self, n_fits):
        """Lengthen the study's bar."""
        total = self._bars.tasks[self._study].total or 0
        self._bars.update(self._study, total=total + n_fits)

    def fit_started(self, what, n_epochs):
        """Start the second bar anew."""
        self._bars.reset(self._fit, total=n_epochs, description=what, visible=True)

    def epoch_done(self, n_done):
        """Move the second bar."""
        self._bars.update(self._fit, completed=n_done)

    def fit_done(self, what, read=False):
        """Move the first bar."""
        self._bars.advance(self._study)


def make_progress(wanted):
    """Return live bars if `wanted` and there is a terminal or a notebook to show them in, else silence."""
    if isinstance(wanted, Progress):
        return wanted
    if not wanted:
        return Progress()
    from .._extras import require

    console = require("rich.console", "the progress bar").Console(file=sys.stderr)
    return RichProgress(console) if console.is_terminal or console.is_jupyter else Progress()
