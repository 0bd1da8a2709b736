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
    """Train with each optimizer once, and step one on arrays; return how many there are."""
    from .. import Adam, MLPClassifier, list_optimizers

    X = np.random.default_rng(0).standard_normal((8, 4)).astype(dtype)
    for name in list_optimizers():
        MLPClassifier((3,), solver=name).partial_fit(X, np.arange(8) % 2, classes=[0, 1])
    Adam().bind(np.ones(64, dtype)).step([np.ones(64, dtype)])
    return len(list_optimizers())
