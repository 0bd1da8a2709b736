"""What a `TabularMLPClassifier` costs: 20,000 rows of 50 numbers in 10 classes, with its defaults.

    python bench/bench_tabular_time.py [threads predict memory] [--quick] [--json results/tabular_time.json]

threads  wall and CPU seconds of a fit on one core and on two, each with a process of its own
predict  probabilities of one row and of 100,000
memory   the most that a fit allocates beside its data
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from _measure import measure, run_sections
from sklearn.datasets import make_classification

import fastopt

N_ROWS, N_COLUMNS, N_CLASSES, N_TO_PREDICT = 20_000, 50, 10, 100_000


def table(n_rows=N_ROWS):
    """Return rows of which half the columns tell something, and their classes, as float32."""
    X, y = make_classification(
        n_rows, N_COLUMNS, n_informative=N_COLUMNS // 2, n_classes=N_CLASSES, random_state=0
    )
    return X.astype(np.float32), y


def fitted(n_rows, n_jobs):
    """Return the network, fitted after one that loads the kernels, with its wall and CPU seconds."""
    X, y = table(n_rows)
    fastopt.TabularMLPClassifier(max_iter=6, n_jobs=n_jobs, random_state=0).fit(X[:2500], y[:2500])
    wall, cpu = time.perf_counter(), time.process_time()
    network = fastopt.TabularMLPClassifier(n_jobs=n_jobs, random_state=0).fit(X, y)
    return network, {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def _alone(code):
    """Run code of this module in a process of its own; return what it prints, as JSON."""
    folders = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    code = f"import json, bench_tabular_time as b; print(json.dumps({code}))"
    return json.loads(subprocess.check_output([sys.executable, "-c", code], env=environment).splitlines()[-1])


def _n_rows(options):
    return N_ROWS // 5 if options.quick else N_ROWS


def bench_threads(options):
    """Time a fit on one core and on two."""
    rows = {}
    for n_jobs in (1, 2):
        seconds = rows[f"n_jobs={n_jobs}"] = _alone(f"b.fitted({_n_rows(options)}, {n_jobs})[1]")
        print(f"n_jobs={n_jobs}: {seconds['wall']:.1f} s, {seconds['cpu']:.1f} s of CPU", flush=True)
    return rows


def bench_predict(options):
    """Time the probabilities of one row and of many."""
    network, _ = fitted(N_ROWS // 5, None)  # their number does not matter for this
    X = np.random.default_rng(0).standard_normal((N_TO_PREDICT, N_COLUMNS)).astype(np.float32)
    rows = {}
    for what, part, n_calls in (("one row", X[:1], 100), (f"{len(X)} rows", X, 1)):
        wall = float(measure([lambda part=part: network.predict_proba(part)], 5).min())
        cpu = time.process_time()
        for _ in range(n_calls):
            network.predict_proba(part)
        rows[what] = {"wall": wall, "cpu": (time.process_time() - cpu) / n_calls}
        print(f"{what}: {wall * 1e3:.2f} ms at best, {rows[what]['cpu'] * 1e3:.2f} ms of CPU", flush=True)
    return rows


def _resident(which):
    """Return the process's resident bytes: `VmRSS`, those of now, or `VmHWM`, the most since a reset."""
    line = next(line for line in Path("/proc/self/status").read_text("utf-8").splitlines() if which in line)
    return int(line.split()[1]) * 1024


def peak(n_rows):
    """Return the bytes that a fit holds at the most beside its data, and those of the data (Linux)."""
    X, y = table(n_rows)
    fastopt.TabularMLPClassifier(max_iter=6, random_state=0).fit(X[:2500], y[:2500])
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", "utf-8")  # forgets the peak
    fastopt.TabularMLPClassifier(max_iter=6, random_state=0).fit(X, y)
    return {"beside the data": _resident("VmHWM") - before, "data": X.nbytes + y.nbytes}


def bench_memory(options):
    """Measure the peak of a fit of a few epochs, which allocates what one of many does."""
    found = _alone(f"b.peak({_n_rows(options)})")
    print(", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in found.items()))
    return found


def main():
    """Run the sections."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a fifth of the rows")
    sections = {"threads": bench_threads, "predict": bench_predict, "memory": bench_memory}
    run_sections(parser, sections, list(sections))


if __name__ == "__main__":
    main()
