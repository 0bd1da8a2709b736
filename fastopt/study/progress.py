"""Progress of a study: a bar for the study with the remaining time, and one for the current fit."""

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
        """Report the number of epochs done in the current fit."""

    def fit_done(self):
        """Report that a fit has ended, or that its result was read from disk."""


class LiveProgress(Progress):
    """Two bars of a `rich.progress.Progress`."""

    def __init__(self, bars):
        self._bars = bars
        self._study = bars.add_task("Study", total=0, unit="fits  ")
        self._fit = bars.add_task("", total=None, unit="epochs", visible=False)

    def expect(self, n_fits):
        """Increase the total of the study's bar."""
        self._bars.update(self._study, total=self._bars.tasks[self._study].total + n_fits)

    def fit_started(self, what, n_epochs):
        """Restart the second bar."""
        self._bars.reset(self._fit, total=n_epochs, description=what, visible=True)

    def epoch_done(self, n_done):
        """Advance the second bar."""
        self._bars.update(self._fit, completed=n_done)

    def fit_done(self):
        """Advance the first bar."""
        self._bars.advance(self._study)


class PartOfProgress(Progress):
    """The part of one of several studies in a progress that knows already how many fits all of them make."""

    def __init__(self, whole, name):
        self._whole, self._name = whole, name

    def fit_started(self, what, n_epochs):
        """Announce a fit, with the name of the study."""
        self._whole.fit_started(f"{self._name}: {what}", n_epochs)

    def epoch_done(self, n_done):
        """Report to the whole."""
        self._whole.epoch_done(n_done)

    def fit_done(self):
        """Report to the whole."""
        self._whole.fit_done()


@contextmanager
def shown(wanted):
    """Yield live bars if `wanted` and if something can show them, else a progress that shows nothing.

    A progress is yielded as it is.
    """
    if isinstance(wanted, Progress):
        yield wanted
        return
    if not wanted:
        yield Progress()
        return
    with live_bars() as bars:
        yield Progress() if bars is None else LiveProgress(bars)
