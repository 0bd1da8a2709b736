"""Many Python threads, and forks meanwhile, on one threading layer of Numba.

``python -m reference.robustness.layers tbb 40 20``: 40 jobs in 8 threads, 20 forks; prints what went wrong.
"""

import concurrent.futures
import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

LAYERS = ("tbb", "omp", "workqueue")
SECONDS = 60


def run(layer, n_jobs, n_forks):
    """Run jobs and forks in a process of their own, under a layer; raise AssertionError if one fails."""
    tests, package = Path(__file__).parents[2], Path(__file__).parents[3]
    environment = os.environ | {
        "NUMBA_THREADING_LAYER": layer,
        "PYTHONPATH": os.pathsep.join([str(tests), str(package), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-W", "ignore", "-m", __spec__.name, layer, str(n_jobs), str(n_forks)]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    said = (found.stdout + found.stderr)[-2000:]
    assert found.returncode == 0, f"{layer} ended with {found.returncode}: {said}"
    assert f"0 of {n_jobs} jobs failed, 0 of {n_forks} forks" in found.stdout, f"{layer}: {said}"


def main(layer, n_jobs, n_forks):
    import numba
    import numpy as np

    import fastopt

    def steps(seed, n_threads=2):
        w = np.full(150_000, 1.0 + seed, np.float32)
        stepper = fastopt.Adam().bind(w, n_threads=n_threads)
        for _ in range(3):
            stepper.step(w.copy())
        return w.tobytes()

    def fit(seed):
        X = np.random.default_rng(seed).normal(size=(600, 60)).astype("f")
        network = fastopt.MLPRegressor(hidden_layer_sizes=(80, 80), max_iter=2, random_state=0, n_jobs=2)
        return network.fit(X, X[:, 0]).predict(X[:5]).tobytes()

    def job(seed):
        return (steps if seed % 2 else fit)(seed % 6)

    warnings.simplefilter("ignore")
    expected = [job(seed) for seed in range(6)]
    assert numba.threading_layer() == layer
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(job, range(n_jobs)))
    n_wrong = sum(a != expected[k % 6] for k, a in enumerate(found))
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            steps(1)
            fit(0)

    others = [threading.Thread(target=busy) for _ in range(2)]
    for thread in others:
        thread.start()
    n_stuck = sum(not _child_works(lambda k=k: job(k) == expected[k % 6]) for k in range(n_forks))
    stop.set()
    for thread in others:
        thread.join()
    print(f"{n_wrong} of {n_jobs} jobs failed, {n_stuck} of {n_forks} forks")


def _child_works(work):
    """Fork; tell whether the child says that the work went well, in time."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if work() else 1
        finally:
            os._exit(status)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.005)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
