"""Trainers that predict, kept between calls."""

from fastopt.engine import make_trainer
from fastopt.engine.thread_cache import ThreadCache
from fastopt.rules.activations import ACTIVATIONS

#: Trainers that a thread keeps, with their buffers.
_trainers = ThreadCache(8)


def predictor(**network):
    """Return this thread's trainer for a network: setting one up costs more than predicting a row.

    Parameters
    ----------
    **network
        As `fastopt.engine.make_trainer` takes them.
    """
    # The function too, because a notebook may register another one under the same name.
    key = (*network.values(), ACTIVATIONS.get(network["activation"]))
    return _trainers.get(key, lambda: make_trainer(**network))
