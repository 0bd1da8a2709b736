"""The progress bar of a fit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastopt._live import live_bars


@contextmanager
def fit_bar(estimator, incremental: bool) -> Iterator[Callable[[int, float], None]]:
    """Show a progress bar while the block fits ``estimator``, if its ``progress`` asks for one.

    Yields a function of the number of epochs (or iterations) done and the loss. `partial_fit` never shows
    a bar, because it trains for a single epoch.
    """
    if incremental or not estimator.progress:
        yield ignore
        return
    with live_bars() as bars:
        if bars is None:
            yield ignore
            return
        name = type(estimator).__name__
        task = bars.add_task(name, total=estimator.max_iter, unit="epochs at most")

        def report(n_done, loss):
            bars.update(task, completed=n_done, description=f"{name}, loss {loss:.4g}")

        yield report


def ignore(n_done: int, loss: float) -> None:
    """Do nothing: the callback where no bar is shown."""
