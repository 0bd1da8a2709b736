"""The promises of a tool that services run, a few cases of each; ``bench/soak.py`` tries them for hours.

What is tried stands in ``tests/reference/robustness``.
"""

import sys

import numpy as np
import pytest
from reference.robustness import fuzzing, odd

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and kills with SIGKILL")

#: Examples that take one to three seconds.
N_FUZZED = {
    "optimizers": 60, "arrays": 120, "states": 100, "parameters": 80, "rows": 80, "tables": 100,
    "commands": 3,
}  # fmt: skip


@pytest.mark.parametrize("target", N_FUZZED)
def test_any_input_works_or_is_refused_in_words_and_stays_as_it_was(target):
    assert fuzzing.fuzz(target, N_FUZZED[target], 0) == N_FUZZED[target]


@pytest.mark.parametrize(
    "call",
    [lambda: [].x, lambda: {}["a"], lambda: 1 + "a", lambda: int("a"), lambda: float(10**400), lambda: 1 / 0],
)
def test_fuzzing_finds_errors_without_words(call):
    with pytest.raises(odd.Unusable):
        odd.works_or_explains(call)


@pytest.mark.parametrize(("kind", "n"), [("store", 25), ("compiling", 8), ("fit", 12), ("full disk", 5)])
def test_killed_processes_and_full_disks_lose_nothing_that_was_acknowledged(kind, n, tmp_path, monkeypatch):
    if kind == "fit":
        pytest.importorskip("safetensors")
    kills = pytest.importorskip("reference.robustness.kills")
    monkeypatch.setattr(kills.numba.config, "CACHE_DIR", kills.numba.config.CACHE_DIR)
    rng = np.random.default_rng(0)
    for _ in range(n):
        kills.KINDS[kind](rng, tmp_path)


def test_damaged_kernels_are_compiled_again(tmp_path, monkeypatch):
    caches = pytest.importorskip("reference.robustness.caches")
    monkeypatch.setattr(caches.numba.config, "CACHE_DIR", caches.numba.config.CACHE_DIR)
    rng = np.random.default_rng(0)
    for _ in range(12):
        caches.damage(rng, tmp_path)


@pytest.mark.parametrize("layer", ["tbb", "omp", "workqueue"])
def test_threads_and_forks_work_on_every_threading_layer(layer):
    pytest.importorskip("reference.robustness.layers").run(layer, 24, 6)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_fits_leave_no_memory_behind():
    memory = pytest.importorskip("reference.robustness.memory")
    assert memory.growth(60) < 4e6
