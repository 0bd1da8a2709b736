"""What wrappers and rules do with numbers and small arrays, in a form that a recorded step notes down."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastopt.kernels.recording import current
from fastopt.stepping.traced_values import number
from fastopt.stepping.tracing import Cell


def copy_arrays(targets: Sequence[np.ndarray], sources: Sequence[np.ndarray]) -> None:
    """Copy arrays to others of the same dtype, shape and memory order, or note down that they are copied."""
    recorder = current()
    for target, source in zip(targets, sources, strict=True):
        if recorder is None:
            target[...] = source
        else:
            recorder.copy(target, source)


def stacked(numbers: Sequence[Any]) -> Any:
    """Return numbers as a float64 array; some may be known only when a recorded step runs."""
    return np.array(numbers, np.float64) if current() is None else np.stack(numbers)


def by_count(ahead: Callable[[int], Any], count: Cell, shape: tuple[int, ...]) -> Any:
    """Return the numbers of a step that nothing but a count determines, which the step increases by one.

    Parameters
    ----------
    ahead : callable
        ``ahead(n)`` gives an array of shape ``(n, *shape)``: the numbers at the present count and later ones.
    count : Cell
    shape : tuple of int
    """
    recorder = current()
    return ahead(1)[0] if recorder is None else recorder.feed(ahead, ahead, shape, clock=count)


def assign(target: np.ndarray, values: Any) -> None:
    """Write values to an array, which may be known only when a recorded step runs."""
    recorder = current()
    if recorder is None:
        target[...] = values
    else:
        recorder.store(target, values)


__all__ = ["assign", "by_count", "copy_arrays", "number", "stacked"]
