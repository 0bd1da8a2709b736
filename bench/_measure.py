"""Timing that can be trusted on a shared machine: alternating pairs, medians, and what machine it was."""

import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from fastopt.kernels import threads


def fingerprint():
    """Describe the machine, the versions and how busy it is."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("numba", "numpy", "scipy", "scikit-learn")},
        "threads": threads.describe(),
    }


def _seconds(call, inner):
    start = time.perf_counter()
    for _ in range(inner):
        call()
    return (time.perf_counter() - start) / inner


def measure_pair(ours, theirs, repeats=11, inner=1):
    """Time two calls in turn; return their median seconds and the median of the ratios pair by pair."""
    ours(), theirs()
    pairs = np.array([(_seconds(ours, inner), _seconds(theirs, inner)) for _ in range(repeats)])
    low, ratio, high = np.percentile(pairs[:, 1] / pairs[:, 0], (25, 50, 75))
    first, second = np.median(pairs, axis=0)
    return {"ours": first, "theirs": second, "ratio": ratio, "quartiles": [low, high]}


def copy_bandwidth(n=20_000_000):
    """Return the bytes per second, read plus written, of NumPy's copy of a large array on one thread."""
    source, target = np.ones(n, np.float32), np.empty(n, np.float32)
    times = [_seconds(lambda: np.copyto(target, source), 1) for _ in range(7)]
    return 2 * source.nbytes / np.median(times)


def write_json(path, rows):
    """Write rows beside the machine's fingerprint."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps({"machine": fingerprint(), "rows": rows}, indent=2) + "\n")
