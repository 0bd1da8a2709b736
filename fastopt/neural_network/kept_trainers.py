"""Trainers kept between calls, because making one takes longer than training on a row."""

from typing import Any

import numpy as np

from fastopt.engine import Layout, Trainer, make_trainer
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
    # The functions too, because a notebook may register others under the same names.
    functions = ACTIVATIONS.get(network["activation"]), LOSSES.get(network["loss"])
    return _trainers.get((purpose, *network.values(), *functions), lambda: make_trainer(**network))


def few_rows(
    layout: Layout, activation: str, out_activation: str, loss: str, dtype: np.dtype[Any]
) -> FewRows:
    """Return this thread's predictor of few rows for a network on the CPU, made at the first call."""
    functions = ACTIVATIONS.get(activation), LOSSES.get(loss)
    key = (layout.layer_sizes, out_activation, dtype.num, *functions)
    return _trainers.get(
        key,
        lambda: FewRows(
            Trainer(
                layout,
                activation=activation,
                out_activation=out_activation,
                loss=loss,
                dtype=dtype,
            )
        ),
    )
