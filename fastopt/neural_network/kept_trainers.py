"""Trainers kept between calls, because making one takes longer than training on a row."""

from typing import Any

from fastopt.engine import make_trainer
from fastopt.engine.thread_cache import ThreadCache
from fastopt.rules.activations import ACTIVATIONS
from fastopt.rules.losses import LOSSES

#: Trainers that a thread keeps, with their buffers.
_trainers = ThreadCache(8)


def kept_trainer(purpose: str, **network: Any) -> Any:
    """Return this thread's trainer for a network, made at the first call.

    Parameters
    ----------
    purpose : str
        Each has a trainer of its own, whose buffers fit its batches.
    **network
        As `fastopt.engine.make_trainer` takes them.
    """
    # The functions too, because a notebook may register others under the same names.
    functions = ACTIVATIONS.get(network["activation"]), LOSSES.get(network["loss"])
    return _trainers.get((purpose, *network.values(), *functions), lambda: make_trainer(**network))
