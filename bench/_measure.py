"""Timing that can be trusted on a shared machine: alternating pairs, medians, and what machine it was."""

import concurrent.futures
import json
import os
import platform
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  loaded, so that its threads are to_list
from llvmlite.binding import get_host_cpu_name
from threadpoolctl import threadpool_info

from fastopt.kernels import threading_layer
from fastopt.kernels.simd_vectors import vector_bytes

_REST = _BLOCK = 0.02


def fingerprint():
    """Describe the machine, the versions and how busy it is."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":")[1].strip()
            for line in info.read_text("utf-8").splitlines()
            if "model name" in line
        ]
        cpu = names[0] if names else cpu
    packages = ("numba", "numpy", "scipy", "scikit-learn", "torch", "jax", "optax", "keras", "skorch")
    blas = [pool for pool in threadpool_info() if "scipy" in pool["filepath"]]
    threads = threading_layer.describe()
    threads["tbb"] = threads["tbb"] and Path(threads["tbb"]).name  # results are published: no folders in them
    return {
        "cpu": cpu,
        "target": get_host_cpu_name(),
        "vector_bytes": vector_bytes(),
        "cores": os.cpu_count(),
        "blas": {key: blas[0][key] for key in ("internal_api", "version", "architecture")} if blas else None,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": {
            name: version(name)
            for name in packages
            if find_spec("sklearn" if name == "scikit-learn" else name)
        },
        "threads": threads,
    }


def _seconds(call, inner):
    """Return the seconds of one call, averaged over ``inner``, after one that warms up.

    First a rest: the idle threads of OpenMP spin for milliseconds and would slow whoever comes next.
    """
    time.sleep(_REST)
    call()
    start = time.perf_counter()
    for _ in range(inner):
        call()
    return (time.perf_counter() - start) / inner


def measure(calls, repeats=11):
    """Time several calls in turn, each for at least ``_BLOCK`` seconds; return an array (repeats, calls)."""
    inner = [max(1, round(_BLOCK / min(_seconds(call, 1) for _ in range(3)))) for call in calls]
    return np.array(
        [[_seconds(call, n) for call, n in zip(calls, inner, strict=True)] for _ in range(repeats)]
    )


def measure_after_rest(calls, repeats, seconds):
    """Time single calls in turn, each after ``seconds`` of sleep, as of a user who types; see `measure`."""
    times = np.empty((repeats, len(calls)))
    for row in times:
        for column, call in enumerate(calls):
            time.sleep(seconds)
            start = time.perf_counter()
            call()
            row[column] = time.perf_counter() - start
    return times


def compare(times, first, second):
    """Summarise two columns of `measure`: their medians, and the median of second / first pair by pair."""
    low, ratio, high = np.percentile(times[:, second] / times[:, first], (25, 50, 75))
    ours, theirs = np.median(times[:, [first, second]], axis=0)
    return {"ours": ours, "theirs": theirs, "ratio": ratio, "quartiles": [low, high]}


def _sweep(arrays, operation, n_passes):
    """Return the bytes per second of ``operation`` on thread-sized parts of the arrays."""
    n_threads = threading_layer.n_available()
    parts = list(zip(*(np.array_split(a, n_threads) for a in arrays), strict=True))
    with concurrent.futures.ThreadPoolExecutor(n_threads) as pool:
        times = measure([lambda: list(pool.map(lambda part: operation(*part), parts))])
    return n_passes * arrays[0].nbytes / np.median(times)


def copy_bandwidth(n=20_000_000):
    """Return the bytes per second, read plus written, of copying a large array with every thread."""
    return _sweep([np.ones(n, np.float32), np.ones(n, np.float32)], np.copyto, 2)


def in_place_bandwidth(n=20_000_000):
    """Return the bytes per second, read plus written, of scaling a large array in place with every thread.

    The closer ceiling for an optimizer: memory that is written has been read before, where a copy reads its
    target, too, but does not count that.
    """
    return _sweep([np.ones(n, np.float32)], lambda a: np.multiply(a, np.float32(1), out=a), 2)


def run_sections(parser, sections, default):
    """Parse the command line, run the sections that it names, and write their rows to ``--json``.

    Returns the options and the rows by section.
    """
    parser.add_argument("sections", nargs="*", metavar="section", help=f"of {', '.join(sections)}")
    parser.add_argument("--json", help="where to write the rows")
    options = parser.parse_args()
    chosen = options.sections or default
    unknown = [name for name in chosen if name not in sections]
    if unknown:
        parser.error(f"{unknown[0]!r} is not one of {', '.join(sections)}")
    rows = {name: sections[name](options) for name in chosen}
    if options.json:
        write_json(options.json, rows)
    return options, rows


def write_json(path, rows):
    """Write rows beside the machine's fingerprint."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps({"machine": fingerprint(), "rows": rows}, indent=2) + "\n")
