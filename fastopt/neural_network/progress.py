"""The live bar of one fit."""

from contextlib import contextmanager

from fastopt._live import live_bars


@contextmanager
def fit_bar(estimator, incremental):
    """Show a bar while the block fits ``estimator``, if its ``progress`` asks for one.

    Yields what is to be called with the number of epochs (or iterations) done and the loss. An incremental
    fit is a single epoch: whoever counts those has a bar of their own.
    """
    if incremental or not estimator.progress:
        yield _ignore
        return
    with live_bars() as bars:
        if bars is None:
            yield _ignore
            return
        name = type(estimator).__name__
        task = bars.add_task(name, total=estimator.max_iter, unit="epochs at most")

        def report(n_done, loss):
            bars.update(task, completed=n_done, description=f"{name}, loss {loss:.4g}")

        yield report


def _ignore(n_done, loss):
    """Answer the call of a fit that nobody watches."""
