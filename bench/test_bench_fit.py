"""Fits under pytest-benchmark, checked before they are timed: ``pytest bench``."""

import functools

import pytest
from bench_fit import believe
from fit_cases import CASES, MNIST, fit_ours, fit_sklearn, fit_torch

LIBRARIES = {
    "fastopt": fit_ours,
    "scikit-learn": fit_sklearn,
    "torch": functools.partial(fit_torch, n_threads=1),
}


@functools.cache
def data(name):
    """Return a case's data, once the libraries agree on them."""
    X, y = CASES[name].load(None)
    believe(CASES[name], X, y)
    return X, y


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", CASES)
def test_fit(benchmark, name, library):
    pytest.importorskip("torch")
    if name in ("S3", "S4") and not MNIST.exists():
        pytest.skip(f"no {MNIST}")
    if name == "S5" and library == "torch":
        pytest.skip("torch has no sparse linear layer")
    benchmark.group = f"{name}: {CASES[name].what}"
    benchmark.pedantic(LIBRARIES[library], args=(CASES[name], *data(name)), rounds=3, warmup_rounds=1)
