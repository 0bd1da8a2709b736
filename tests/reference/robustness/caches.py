"""Damage to files of compiled kernels, and places where none can be kept."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numba
from numba import int64

from fastopt.kernels import code_cache

from .kills import own_function


def damaged(rng, content):
    """Return bytes that differ from the given ones as a crash, a disk or another program may leave them."""
    kind = rng.integers(5)
    if kind == 0:
        return content[: rng.integers(len(content))]
    if kind == 1:
        return rng.bytes(int(rng.integers(1, 2000)))
    changed = bytearray(content)
    if kind == 2:
        start = int(rng.integers(len(content)))
        changed[start : start + 4096] = bytes(len(changed[start : start + 4096]))
    elif kind == 3:
        for _ in range(rng.integers(1, 20)):
            changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
    else:
        changed += rng.bytes(30)
    return bytes(changed)


def damage(rng, folder):
    """Damage a kernel's file: the next process gets the right result, and the one after it a cache hit."""
    triple = own_function(folder)
    numba.config.CACHE_DIR = str(Path(folder, "cache"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code_cache.jit(int64(int64))(triple)
        (file,) = Path(folder, "cache").rglob("*.nbc")
        whole = file.read_bytes()
        changed = damaged(rng, whole)
        file.write_bytes(changed)
        assert code_cache.jit(int64(int64))(triple)(7) == 21
        healed = code_cache.jit(int64(int64))(triple)
    assert healed(7) == 21
    assert sum(healed.stats.cache_hits.values()) == 1, "the damaged file stays"
    return 0


PLACES = ("named folder", "beside the package", "user's folder", "temporary folder", "none")

FIT = """
import warnings, pathlib, tempfile
from fastopt.kernels import cache_folders
cache_folders._PACKAGE = pathlib.Path({package!r})
tempfile.tempdir = {temporary!r}
import numpy as np
from fastopt import MLPClassifier, Adam
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    X = np.linspace(-1, 1, 80).reshape(20, 4)
    print(MLPClassifier((3,), max_iter=3).fit(X, X[:, 0] > 0).n_iter_)
"""


def place(number, folder):
    """Import and fit where the first ``number`` places for compiled kernels cannot be written to."""
    names = [Path(folder, name) for name in ("named", "package", "user", "temporary")]
    for k, path in enumerate(names):
        path.write_text("no folder") if k < number else path.mkdir()
    variables = {"NUMBA_CACHE_DIR": str(names[0]), "HOME": str(names[2]), "XDG_CACHE_HOME": str(names[2])}
    code = FIT.format(package=str(names[1]), temporary=str(names[3]))
    found = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert found.stdout.split() == ["3"], found.stderr[-2000:]
