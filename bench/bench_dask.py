"""What Dask costs and what it survives: rounds, studies, first fits and killed workers, on this machine.

``python bench/bench_dask.py [SECTION ...]``:

- ``round``: a round of two replicas and 1 MB of parameters beside its compute; target 45 ms
- ``study``: 120 fits, against ``n_jobs=2``; target 1.15 times its time
- ``first``: the first fit of a fresh worker, import of fastopt included, and of one that was started with
  ``--preload fastopt.dask``; target 1.5 s
- ``kills``: 20 fits whose workers are killed have the bits of one undisturbed
- ``study-kills``: a study under 20 kills has each fit once, with the numbers of one process
- ``peers``: what XGBoost and LightGBM do when a worker is killed; needs both

Scheduler and two workers are processes of their own on loopback. With other work on the machine (``load``),
times say little.
"""

import argparse
import json
import os
import random
import statistics
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np

# Everything else is imported where it is used: workers import this file, and are to import no more for it.
TESTS = Path(__file__).parents[1] / "tests"  # which have the cluster whose workers can be killed


def idle_round(params, replica):
    """Do what a local round does but train: copy the parameters and give them back."""
    from fastopt.dask import rounds
    from fastopt.kernels import aligned_memory

    copied = aligned_memory.zeros(params.size, params.dtype)
    copied[:] = params
    return rounds.Outcome(copied, 0.0, 1)


def cluster(*arguments):
    """Return a cluster of processes, with two workers unless told otherwise."""
    from reference.dask_processes import DaskProcesses

    return DaskProcesses(*arguments)


def bench_round(processes, n_rounds=60):
    """Time rounds of two replicas with 1 MB of parameters that take no steps."""
    from fastopt.dask import rounds
    from fastopt.dask.cluster import ClusterExecutor

    executor, params = ClusterExecutor(processes.client, "bench"), np.zeros(1 << 18, np.float32)
    seconds = []
    for _ in range(n_rounds):
        began = time.perf_counter()
        root = executor.submit(rounds.itself, params)
        outcomes = [executor.submit(idle_round, root, replica) for replica in range(2)]
        params = executor.result(rounds.reduced(executor, rounds.add_outcomes, outcomes, 16)).params
        seconds.append(time.perf_counter() - began)
    seconds = seconds[5:]
    return {"median_ms": 1000 * statistics.median(seconds), "least_ms": 1000 * min(seconds), "target_ms": 45}


def bench_study(processes, n_times=3):
    """Time 120 fits on two Dask workers and in two processes of joblib, in turns, all warm."""
    from sklearn.datasets import make_classification

    from fastopt import MLPClassifier
    from fastopt.study import OptimizerStudy

    X, y = make_classification(4000, 20, n_informative=8, random_state=0)
    arguments = {"lr": [0.001, 0.01], "n_seeds": 16, "n_tuning_seeds": 4, "max_epochs": 20}

    def study(**where):
        made = OptimizerStudy(
            MLPClassifier((64,)), ["adam", "nesterov", "rmsprop", "lion", "adamw"], **arguments
        )
        began = time.perf_counter()
        made.set_params(**where).fit(X, y)
        return time.perf_counter() - began, len(made.results_)

    found = {"dask": [], "n_jobs": []}
    on_dask = {"client": processes.client}
    study(**on_dask), study(n_jobs=2)
    for _ in range(n_times):
        seconds, n_fits = study(**on_dask)
        found["dask"].append(seconds)
        found["n_jobs"].append(study(n_jobs=2)[0])
    ratios = [ours / theirs for ours, theirs in zip(found["dask"], found["n_jobs"], strict=True)]
    return {"n_fits": n_fits, **found, "ratio": statistics.median(ratios), "target": 1.15}


def _first_fit(X, y):
    began, busy = time.perf_counter(), time.process_time()
    from fastopt import MLPClassifier

    imported, busy_imported = time.perf_counter(), time.process_time()
    MLPClassifier((64,), max_iter=2).fit(X, y)
    return (
        imported - began,
        time.perf_counter() - imported,
        busy_imported - busy,
        time.process_time() - busy_imported,
    )


def bench_first(_, n_times=5):
    """Time the first fit of a worker process that has just been started, import of fastopt included."""
    from sklearn.datasets import make_classification

    from fastopt import MLPClassifier

    X, y = make_classification(2000, 20, random_state=0)
    MLPClassifier((64,), max_iter=2).fit(X, y)  # fills the cache of kernels
    found = {"plain": [], "preloaded": []}
    for _ in range(n_times):
        for name, options in (("plain", ()), ("preloaded", ("--preload", "fastopt.dask"))):
            with cluster(1, *options) as processes:
                processes.client.submit(len, "").result()
                began = time.perf_counter()
                parts = processes.client.submit(_first_fit, X, y, pure=False).result()
                found[name].append((time.perf_counter() - began, *parts))
    columns = ("seconds", "importing", "fitting", "importing_cpu", "fitting_cpu")
    return {
        name: {column: statistics.median(row[i] for row in rows) for i, column in enumerate(columns)}
        for name, rows in found.items()
    } | {"target": 1.5}


class Killer(threading.Thread):
    """Kills one or both workers now and then until told to stop, and starts as many."""

    def __init__(self, processes, every, most):
        super().__init__(daemon=True)
        self.processes, self.every, self.most = processes, every, most
        self.killed, self.over = 0, threading.Event()

    def run(self):
        while self.killed < self.most and not self.over.wait(self.every * random.uniform(0.5, 1.5)):
            if len(self.processes.client.nthreads()) == 2:
                self.killed += len(self.processes.replace(random.choice((1, 1, 2))))


def bench_kills(processes, n_fits=20):
    """Fit with workers killed in random rounds, and compare the bits."""
    import dask.array as da
    from sklearn.datasets import make_classification

    from fastopt.dask import DaskMLPClassifier

    warnings.simplefilter("ignore")
    X, y = make_classification(40_000, 40, n_informative=20, random_state=0)
    dX, dy = (da.from_array(one.astype(np.float32), chunks=(1000, -1)[: one.ndim]) for one in (X, y))
    clf = DaskMLPClassifier(
        (256, 128), batch_size=128, max_iter=12, n_replicas=4, local_steps=80, random_state=0,
        client=processes.client,
    )  # fmt: skip
    expected = clf.fit(dX, dy)._params.copy()
    began = time.perf_counter()
    clf.fit(dX, dy)
    alone = time.perf_counter() - began
    same, killed, seconds = 0, [], []
    for _ in range(n_fits):
        processes.wait_for_workers()
        killer = Killer(processes, every=alone / 4, most=3)
        began = time.perf_counter()
        killer.start()
        clf.fit(dX, dy)
        seconds.append(time.perf_counter() - began)
        killer.over.set()
        killer.join()
        same += np.array_equal(clf._params, expected)
        killed.append(killer.killed)
    return {
        "fits_with_the_same_bits": f"{same} of {n_fits}",
        "workers_killed": killed,
        "seconds_undisturbed": alone,
        "seconds_with_kills": statistics.median(seconds),
    }


def bench_study_kills(processes, n_kills=20):
    """Run a study of 60 fits while workers are killed, and compare it with one that nobody disturbs."""
    from sklearn.datasets import make_classification

    from fastopt import MLPClassifier
    from fastopt.study import OptimizerStudy

    X, y = make_classification(4000, 20, n_informative=8, random_state=0)
    study = OptimizerStudy(
        MLPClassifier((64,)), ["adam", "nesterov", "lion"], lr=[0.001, 0.01], n_seeds=14, max_epochs=400
    )
    columns = ["optimizer", "lr", "seed", "phase", "loss", "accuracy"]
    expected = study.fit(X, y).results_[columns]
    killer = Killer(processes, every=0.5, most=n_kills)
    killer.start()
    results = study.set_params(client=processes.client).fit(X, y).results_
    killer.over.set()
    killer.join()
    return {
        "workers_killed": killer.killed,
        "fits": f"{len(results)} of {len(expected)}",
        "twice": int(results.duplicated(columns[:4]).sum()),
        "same_numbers": bool(results[columns].equals(expected)),
    }


def bench_peers(processes):
    """Kill one of two workers in the middle of a fit of XGBoost, of LightGBM and of this library."""
    import dask.array as da
    import lightgbm
    import xgboost
    import xgboost.dask
    from distributed import wait
    from sklearn.datasets import make_classification

    from fastopt.dask import DaskMLPClassifier

    X, y = make_classification(200_000, 40, random_state=0)
    client = processes.client
    with client.as_current():
        dX, dy = (da.from_array(one, chunks=(10_000, -1)[: one.ndim]).persist() for one in (X, y))
        wait([dX, dy])
    cases = {
        f"xgboost {xgboost.__version__}": xgboost.dask.DaskXGBClassifier(n_estimators=3000, n_jobs=1),
        f"lightgbm {lightgbm.__version__}": lightgbm.DaskLGBMClassifier(
            n_estimators=3000, n_jobs=1, verbose=-1
        ),
        "fastopt": DaskMLPClassifier((128,), max_iter=60, random_state=0, n_replicas=4, client=client),
    }
    return {name: _with_a_kill(processes, model, dX, dy) for name, model in cases.items()}


def _tasks(client):
    return client.processing().values()


def _with_a_kill(processes, model, dX, dy):
    found, client = {}, processes.client

    def fit():
        try:
            with client.as_current():
                model.fit(dX, dy)
            found["outcome"] = "fitted"
        except BaseException as error:
            found["outcome"] = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"

    thread = threading.Thread(target=fit, daemon=True)
    began = time.perf_counter()
    thread.start()
    while thread.is_alive() and not any(
        "train" in str(keys) or "round" in str(keys) for keys in _tasks(client)
    ):
        time.sleep(0.1)
    time.sleep(8)  # well into it, also on a busy machine
    if not thread.is_alive():
        return found | {"killed": 0}
    found["killed"] = len(processes.replace(1))
    thread.join(180)
    found.setdefault("outcome", "still waiting after 180 s")
    processes.wait_for_workers()
    return found | {"seconds": time.perf_counter() - began}


SECTIONS = {
    "round": bench_round,
    "study": bench_study,
    "first": bench_first,
    "kills": bench_kills,
    "study-kills": bench_study_kills,
    "peers": bench_peers,
}


def main():
    sys.path.insert(0, str(TESTS))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", default=[*SECTIONS][:-1], choices=SECTIONS, metavar="SECTION")
    parser.add_argument("--json", help="file to write the figures to")
    arguments = parser.parse_args()
    found = {"load": os.getloadavg()[0]}
    for name in arguments.sections:
        with cluster() as processes:
            found[name] = SECTIONS[name](processes)
            print(name, json.dumps(found[name], default=float), flush=True)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1, default=float)


if __name__ == "__main__":
    main()
