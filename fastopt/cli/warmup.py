"""``warmup``: fill the kernel cache, for images and machines where the first fit must not wait."""

from __future__ import annotations

import time

import numpy as np

from .. import engine


def add_arguments(parser):
    """Add the arguments of ``warmup``; return what runs it."""
    choices = ("float32", "float64")
    parser.add_argument(
        "--dtypes", nargs="+", choices=choices, default=list(choices), help="types to compile for"
    )
    return _warmup


def _warmup(arguments):
    start = time.perf_counter()
    for dtype in arguments.dtypes:
        engine.warmup([dtype])
        _networks(np.dtype(dtype))
        n_optimizers = _optimizers(np.dtype(dtype))
    seconds = time.perf_counter() - start
    kinds = " and ".join(arguments.dtypes)
    print(
        f"Kernels of the networks and of {n_optimizers} optimizers are ready for {kinds} ({seconds:.1f} s)."
    )


def _networks(dtype):
    """Train and predict once, dense and sparse: the engine compiles by type, not by shape or activation."""
    from scipy.sparse import csr_array

    from ..neural_network import MLPClassifier

    X = np.random.default_rng(0).standard_normal((40, 4)).astype(dtype)
    y = np.arange(40) % 3
    for rows in (X, csr_array(X)):
        network = MLPClassifier((8,), random_state=0)
        network.partial_fit(rows, y, classes=[0, 1, 2]).predict(rows)


def _optimizers(dtype):
    """Step each optimizer once, on its own defaults; return how many there are."""
    from .. import get_optimizer, list_optimizers

    for name in list_optimizers():
        params, grads = ([np.ones((8, 8), dtype), np.ones(8, dtype)] for _ in range(2))
        get_optimizer(name).bind(params).step(closure=lambda grads=grads: (1.0, grads))
    return len(list_optimizers())
