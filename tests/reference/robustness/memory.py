"""Memory over many fits, steps and predictions."""

import gc
import os
import warnings
from pathlib import Path

import numpy as np

import fastopt

_KINDS = [
    ("adam", np.float64),
    (fastopt.EMA(fastopt.Clip(fastopt.Adam(), norm=1.0)), np.float32),
    ("lbfgs", np.float64),
    ("lamb", np.float32),
]


def resident():
    """Return this process's resident memory in bytes; Linux only."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def fits(first, n):
    """Make fits of changing shapes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in range(first, first + n):
            solver, dtype = _KINDS[k % len(_KINDS)]
            rng = np.random.default_rng(k)
            X = rng.normal(size=(100 + k % 50, 10 + k % 5)).astype(dtype)
            network = fastopt.MLPClassifier((8 + k % 7,), solver=solver, max_iter=3, random_state=k)
            network.fit(X, X[:, 0] > 0).predict_proba(X)


def growth(n):
    """Return the bytes that ``n`` fits add, after a third as many to warm up."""
    fits(0, n // 3)
    gc.collect()
    before = resident()
    fits(n, n)
    gc.collect()
    return resident() - before
