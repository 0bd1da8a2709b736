"""The progress bar of a fit, or in a notebook its loss curve."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from fastopt._live import live_bars
from fastopt.neural_network.live_curve import Curves, live_curve, notebook


@contextmanager
def fit_bar(
    estimator: Any, incremental: bool, curves: Callable[[], Curves] | None = None
) -> Iterator[Callable[[int, float], None]]:
    """Show a progress bar, or in a notebook the loss curve, while the block fits ``estimator``.

    Only if its ``progress`` asks for it. Yields a function of the number of epochs (or iterations) done and
    the loss. `partial_fit` never shows anything, because it trains for a single epoch. ``curves`` returns
    training and validation losses of an estimator that keeps no history while it is fitted.
    """
    name = type(estimator).__name__
    is_shown = estimator.progress and not incremental
    if is_shown and notebook() is not None:
        with live_curve(estimator, curves) as update:
            yield update or ignore
        return
    with _bar(name, estimator.max_iter, shown=is_shown) as update:
        if update is None:
            yield ignore
        else:
            yield lambda n_done, loss: update(n_done, f"{name}, loss {loss:.4g}")


@contextmanager
def ensemble_bar(estimator) -> Iterator[Callable[[int], None]]:
    """Show a progress bar while the block fits the members of ``estimator``.

    Yields a function of the number of epochs (or iterations) that they have done in all.
    """
    n, name = estimator.n_members, type(estimator).__name__
    with _bar(f"{n} x {name}", n * estimator.max_iter, shown=estimator.progress) as update:
        yield (lambda n_done: None) if update is None else update


@contextmanager
def _bar(description, total, *, shown):
    """Show a bar while the block runs; yield a function that updates it, or None if nothing is shown."""
    with live_bars() if shown else nullcontext() as bars:
        if bars is None:
            yield None
            return
        task = bars.add_task(description, total=total, unit="epochs at most")
        yield lambda n_done, text=description: bars.update(task, completed=n_done, description=text)


def ignore(n_done: int, loss: float) -> None:
    """Do nothing: the callback where no bar is shown."""
