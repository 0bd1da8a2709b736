"""Progress of a study: one bar for the study with the time left, one for the fit in hand."""

from __future__ import annotations

from contextlib import contextmanager

from .._live import live_bars


class Progress:
    """Progress that shows nothing: the base of `LiveProgress`, used where output is piped."""

    def expect(self, n_fits):
        """Announce `n_fits` more fits."""

    def fit_started(self, what, n_epochs):
        """Announce the fit of `what`, of `n_epochs` epochs (None: unknown)."""

    def epoch_done(self, n_done):
        """Tell how many epochs the fit in hand has done."""

    def fit_done(self):
        """Tell that a fit has ended, or that its result was read from disk."""


class LiveProgress(Progress):
    """Two bars of a `rich.progress.Progress`."""

    def __init__(self, bars):
        self._bars = bars
        self._study = bars.add_task("Study", total=0, unit="fits  ")
        self._fit = bars.add_task("", total=None, unit="epochs", visible=False)

    def expect(self, n_fits):
        """Lengthen the study's bar."""
        self._bars.update(self._study, total=self._bars.tasks[self._study].total + n_fits)

    def fit_started(self, what, n_epochs):
        """Start the second bar anew."""
        self._bars.reset(self._fit, total=n_epochs, description=what, visible=True)

    def epoch_done(self, n_done):
        """Move the second bar."""
        self._bars.update(self._fit, completed=n_done)

    def fit_done(self):
        """Move the first bar."""
        self._bars.advance(self._study)


@contextmanager
def shown(wanted):
    """Yield live bars if they are `wanted` and something can show them, else bars that show nothing."""
    if not wanted:
        yield Progress()
        return
    with live_bars() as bars:
        yield Progress() if bars is None else LiveProgress(bars)
