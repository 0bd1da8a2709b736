"""What surrounds a fit: start-up and compile time, memory, and a machine that is busy with something else.

    python bench/bench_conditions.py [startup memory busy dead] [--data mnist.npz] [--json conditions.json]

startup  seconds to import beside scikit-learn, of the first fit with an empty kernel cache, and of the first
         fit from the cache, of a copy of the package without kernels
memory   the most that a fit allocates beside its data, for S2-S5, in a process of its own
busy     S1-S3 while two other processes keep the cores busy, against the same fit on the quiet machine
dead     200 epochs behind inputs that are always zero, in one thread's own time: the last epochs against the
         first, and how many weights and slots of state are subnormal numbers at the end, which take some
         processors ten times as long
"""

import argparse
import collections
import dataclasses
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc

import numpy as np
from _measure import measure, run_sections
from fit_cases import CASES, fit_ours, fit_sklearn

import fastopt

_IMPORT = """
import json, time
import sklearn.neural_network
start = time.perf_counter(), time.process_time()
from fastopt import MLPClassifier
print(json.dumps([time.perf_counter() - start[0], time.process_time() - start[1]]))
"""

_FIRST_FIT = """
import json, time, warnings
import numpy as np
from fastopt import MLPClassifier
from scipy.sparse import csr_array
warnings.simplefilter("ignore")
X = np.random.default_rng(0).standard_normal((1000, 10))
y = (X[:, 0] > 0).astype(int)
seconds = {}
for name, data in (
    ("float32", X.astype(np.float32)), ("float64", X), ("sparse float32", csr_array(X.astype(np.float32)))
):
    start = time.perf_counter(), time.process_time()
    MLPClassifier((32, 16), batch_size=32, max_iter=3, random_state=0).fit(data, y)
    seconds[name] = time.perf_counter() - start[0], time.process_time() - start[1]
print(json.dumps(seconds))
"""
_REPEATS = 5


def _python(code, folder=None, **environment):
    environment = os.environ | environment
    command = [sys.executable, "-c", code]
    return json.loads(
        subprocess.check_output(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    )


def _copy_without_kernels(folder):
    """Copy the package as it is after its installation, and return the variables of processes that use it.

    Kernels beside the package and in other folders would be found there, whatever NUMBA_CACHE_DIR says.
    """
    source = os.path.dirname(fastopt.__file__)
    shutil.copytree(source, os.path.join(folder, "fastopt"), ignore=shutil.ignore_patterns("*.nbc"))
    others = dict.fromkeys(("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "TMPDIR"), os.path.join(folder, "cache"))
    os.mkdir(others["TMPDIR"])
    return {"PYTHONPATH": folder} | others


def bench_startup(options):
    """Time imports and first fits, each in a fresh process: seconds by the clock, and of the processor."""
    found = collections.defaultdict(list)
    for _ in range(_REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            environment = _copy_without_kernels(folder)
            found["import beside scikit-learn's"].append(_python(_IMPORT, folder, **environment))
            for state in ("empty cache", "from the cache"):
                for name, seconds in _python(_FIRST_FIT, folder, **environment).items():
                    found[f"first fit, {name}, {state}"].append(seconds)
    rows = {}
    for name, seconds in found.items():
        clock, processor = np.median(seconds, axis=0)
        rows[name] = {"clock": clock, "processor": processor}
        print(f"{name:>42} {clock:6.2f} s, {processor:6.2f} s of the processor", flush=True)
    return rows


def _allocated(name, library, data):
    """Return the bytes that one epoch allocates at the most; run in a process of its own."""
    case = dataclasses.replace(CASES[name], epochs=1)
    fit = fit_ours if library == "fastopt" else fit_sklearn
    X, y = case.load(data)
    small = dataclasses.replace(case, hidden=(3,) * len(case.hidden), batch_size=50)
    fit(small, X[:100], y[:100])  # what the first fit of a process loads and keeps
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    fit(case, X, y)
    return tracemalloc.get_traced_memory()[1] - before


def bench_memory(options):
    """Measure what a fit allocates."""
    rows = {}
    for name in ("S2", "S3", "S4", "S5"):
        row = rows[name] = {}
        for library in ("fastopt", "scikit-learn"):
            code = (
                f"import bench_conditions as b; print(b._allocated({name!r}, {library!r}, {options.data!r}))"
            )
            row[library] = _python(code, PYTHONPATH=os.path.dirname(os.path.abspath(__file__)))
        print(f"{name}  " + ", ".join(f"{library} {size / 1e6:6.2f} MB" for library, size in row.items()))
    return rows


def bench_busy(options):
    """Time fits on the quiet machine and beside two processes that use all they can get."""
    rows = {}
    for name in ("S1", "S2", "S3"):
        case = CASES[name]
        X, y = case.load(options.data)
        calls = [functools.partial(fit, case, X, y) for fit in (fit_ours, fit_sklearn)]
        quiet = np.median(measure(calls, 5), axis=0)
        others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
        try:
            busy = np.median(measure(calls, 5), axis=0)
        finally:
            for other in others:
                other.kill()
                other.wait()
        slower = busy / quiet
        rows[name] = {"quiet": quiet.tolist(), "busy": busy.tolist(), "slower": slower.tolist()}
        print(
            f"{name}  fastopt {slower[0]:.2f} times as long, scikit-learn {slower[1]:.2f}; "
            f"{busy[1] / busy[0]:.1f}x scikit-learn while busy",
            flush=True,
        )
    return rows


def _dead_inputs():
    """Yield names and float32 data in which some features are zero in every row."""
    rng = np.random.default_rng(0)
    one_hot = np.zeros((2000, 200), np.float32)
    one_hot[np.arange(2000)[:, None], rng.integers(0, 190, (2000, 10))] = 1
    yield "one-hot, 2,000 x 200", one_hot
    images = np.zeros((2000, 28, 28), np.float32)
    images[:, 6:22, 6:22] = rng.random((2000, 16, 16))
    yield "2,000 images with empty borders", images.reshape(2000, -1)


def _count_subnormal(arrays):
    return sum(np.count_nonzero((a != 0) & (np.abs(a) < np.finfo(a.dtype).tiny)) for a in arrays)


def bench_dead(options):
    """Time the first and the last epochs of a fit behind dead inputs, and count what is subnormal then."""
    rows = {}
    for name, X in _dead_inputs():
        y = (X[:, 0::2].sum(axis=1) > X[:, 1::2].sum(axis=1)).astype(int)
        for solver in (fastopt.RMSprop(lr=1e-3), fastopt.Adam(lr=1e-3)):
            network = fastopt.MLPClassifier((64, 32), solver=solver, batch_size=32, random_state=0, n_jobs=1)
            seconds = []
            for _ in range(200):
                start = time.thread_time()
                network.partial_fit(X, y, classes=[0, 1])
                seconds.append(time.thread_time() - start)
            first, last = np.median(seconds[1:21]), np.median(seconds[-20:])
            row = rows[f"{name}, {type(solver).__name__}"] = {
                "first": first,
                "last": last,
                "slower": last / first,
                "subnormal weights": _count_subnormal(network.coefs_),
                "subnormal slots": _count_subnormal([network._optimizer.update.state]),
            }
            print(
                f"{name}, {type(solver).__name__}: {first * 1e3:.2f} ms an epoch, at last {last * 1e3:.2f} "
                f"({row['slower']:.2f}x); subnormal: {row['subnormal weights']:,} weights, "
                f"{row['subnormal slots']:,} slots",
                flush=True,
            )
    return rows


SECTIONS = {"startup": bench_startup, "memory": bench_memory, "busy": bench_busy, "dead": bench_dead}


def main():
    """Run the sections and print their tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="MNIST as .npz with X_train, y_train, X_test, y_test")
    run_sections(parser, SECTIONS, list(SECTIONS))


if __name__ == "__main__":
    main()
