"""Trainers kept between calls, because making one takes longer than training on a row."""

from typing import Any

from fastopt.engine import make_trainer
from fastopt.engine.cpu.few_rows import FewRows
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
    return _trainers.get(_key(purpose, network), lambda: make_trainer(**network))


def few_rows(network: dict[str, Any]) -> FewRows:
    """Return this thread's predictor of few rows for a network on the CPU, made at the first call.

    Parameters
    ----------
    network : dict
        The arguments of `fastopt.engine.make_trainer`; not passed by name, as copies take a tenth of the time
        of a prediction.
    """
    return _trainers.get(_key("few rows", network), lambda: FewRows(make_trainer(**network)))


def _key(purpose, network):
    # The functions too, because a notebook may register others under the same names.
    activation = network["activation"]
    if isinstance(activation, str):
        functions = ACTIVATIONS.get(activation)
    else:
        functions = tuple(map(ACTIVATIONS.get, activation))
    return purpose, functions, LOSSES.get(network["loss"]), *network.values()
