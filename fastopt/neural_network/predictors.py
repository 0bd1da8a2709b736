"""Trainers that predict, kept between calls."""

import threading

from fastopt.engine import make_trainer

#: Networks whose buffers a thread keeps.
_MOST_KEPT = 8

_local = threading.local()


def predictor(**network):
    """Return this thread's trainer for a network: setting one up costs more than predicting a row.

    Parameters
    ----------
    **network
        As `fastopt.engine.make_trainer` takes them.
    """
    kept = _local.__dict__.setdefault("predictors", {})
    key = tuple(network.values())
    if key not in kept:
        if len(kept) >= _MOST_KEPT:
            del kept[next(iter(kept))]
        kept[key] = make_trainer(**network)
    return kept[key]
