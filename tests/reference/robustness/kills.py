"""Killing processes at random moments, and filling their disk; what they have acknowledged must be there.

A case forks this process, which has imported everything, and kills the child. Each returns how many results
were acknowledged, and raises AssertionError if one of them is lost or a file cannot be read.
"""

import importlib.util
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

import numba
import numpy as np
from numba import int64
from sklearn.datasets import load_iris

from fastopt import MLPClassifier
from fastopt.kernels import code_cache
from fastopt.study import StoreError
from fastopt.study.store import ResultStore

IDENTITY = {"data": "kills"}
CURVE = np.arange(1500.0).tolist()  # lines of 10 kB: one write each, of several pages


def killed_after(seconds, work):
    """Fork, let the child do ``work(acknowledge)``, kill it; return how often it called ``acknowledge``.

    With ``seconds=None`` it is not killed.

    Returns
    -------
    n_acknowledged : int
    was_killed : bool
        False if the work was over before.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work(lambda: os.write(writing, b"."))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        n_acknowledged = len(pipe.read())
    was_killed = os.WIFSIGNALED(status)
    assert was_killed or os.waitstatus_to_exitcode(status) == 0, "the child has failed by itself"
    return n_acknowledged, was_killed


def opened(folder):
    """Open the store, in which nothing may be damaged."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return ResultStore(folder, IDENTITY)


def store(rng, folder):
    """Kill a process that writes results, claims fits and repairs what the one before has left."""

    def work(acknowledge):
        own = ResultStore(folder, IDENTITY)
        for n in range(own.n_resumed, 10**6):
            assert own.claim({"seed": n})
            own.add({"seed": n}, {"curve": CURVE})
            own.release({"seed": n})
            acknowledge()

    before = opened(folder).n_resumed
    n, _ = killed_after(rng.uniform(0.0, 0.05), work)
    now = opened(folder)
    lost = before + n - now.n_resumed
    assert lost <= 0, f"{lost} of {before + n} results are lost"
    assert all(now.get({"seed": i}) == {"curve": CURVE} for i in range(now.n_resumed))
    if now.n_resumed > 100:
        now.forget()
    return n


def compiling(rng, folder):
    """Kill a process that compiles and writes its kernel to the cache; the next one must get its result."""
    triple = own_function(folder)
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(Path(folder, "cache"))

    def work(acknowledge):
        code_cache.jit(int64(int64))(triple)
        acknowledge()

    n, _ = killed_after(rng.uniform(0.0, 0.2), work)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert code_cache.jit(int64(int64))(triple)(7) == 21
        again = code_cache.jit(int64(int64))(triple)
        assert sum(again.stats.cache_hits.values()) == 1, "the cache is not filled"
        for file in Path(folder, "cache").rglob("*.nbc"):
            file.unlink()
    finally:
        numba.config.CACHE_DIR = before  # or the kernels of fits would go there as well
    return n


def own_function(folder):
    """Return a function to compile from a file in a folder."""
    file = Path(folder, "own_functions.py")
    if not file.exists():
        file.write_text("def triple(x):\n    return 3 * x\n", "utf-8")
    spec = importlib.util.spec_from_file_location("own_functions", file)
    module = sys.modules["own_functions"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.triple


X, Y = load_iris(return_X_y=True)
_whole = []


def network(path=None):
    return MLPClassifier((8,), max_iter=60, tol=0.0, n_iter_no_change=60, random_state=0, checkpoint=path)


def fit(rng, folder):
    """Kill fits with a checkpoint until one ends; it must have the bits of a fit that was left alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not _whole:
            _whole.append(network().fit(X, Y).coefs_)
        path = Path(folder, "fit.checkpoint")
        was_killed = path.exists() or rng.random() < 0.9
        if was_killed:
            _, was_killed = killed_after(rng.uniform(0.0, 0.12), lambda _: network(path).fit(X, Y))
        if not was_killed:
            found = network(path).fit(X, Y).coefs_
            assert all(a.tobytes() == b.tobytes() for a, b in zip(found, _whole[0], strict=True)), (
                "other bits"
            )
            path.unlink(missing_ok=True)
    return 0


def full_disk(rng, folder):
    """Let files of a child end at some size, as on a full disk: an error in words, and nothing is lost."""

    def work(acknowledge):
        own = ResultStore(folder, IDENTITY)
        size = os.path.getsize(own.path) + int(rng.integers(1, 60_000))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        words, n = "", own.n_resumed
        while not words:
            try:
                own.add({"seed": n}, {"curve": CURVE})
                acknowledge()
                n += 1
            except StoreError as error:
                words = str(error)
        assert "free some space" in words
        assert own.get({"seed": n}) is not None
        triple = own_function(folder)
        numba.config.CACHE_DIR = str(Path(folder, "full"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, size))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert code_cache.jit(int64(int64))(triple)(7) == 21

    before = opened(folder).n_resumed
    n, _ = killed_after(None, work)
    now = opened(folder)
    assert now.n_resumed >= before + n, "results are lost"
    if now.n_resumed > 100:
        now.forget()
    return n


KINDS = {"store": store, "compiling": compiling, "fit": fit, "full disk": full_disk}
