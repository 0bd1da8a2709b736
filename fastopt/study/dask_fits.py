"""Fits of a study as tasks on a Dask cluster."""

from __future__ import annotations

import itertools
import queue
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from .. import __version__
from .._dask_client import Patience
from .._extras import require
from ..kernels.threading_layer import environment_share
from ..neural_network.caller_warnings import warn

#: Tasks that are given to the cluster for each of its threads: one runs while the next one waits.
_TASKS_PER_THREAD = 2
#: Groups of fits for each thread: so many that all threads end at about the same time.
_GROUPS_PER_THREAD = 4
#: How often a fit is given to the cluster again after its worker died, which Dask itself has repeated before.
_RETRIES = 5


def group_size(client: Any, n_fits: int) -> int:
    """Return how many fits that can be made side by side a task of the cluster should make."""
    return max(1, n_fits // (_GROUPS_PER_THREAD * max(1, sum(client.nthreads().values()))))


def fit_on_cluster(
    client: Any, fit: Callable, tasks: list, data: tuple, groups: Iterator[list[int]], progress: Any
) -> Iterator[tuple[int, dict]]:
    """Yield the numbers and records of fits as they end on the workers of a cluster.

    Parameters
    ----------
    client : distributed.Client
    fit : callable
        Called on a worker as ``fit(group, *data)`` with a dict of tasks; returns their numbers and records.
    tasks : list of Task
    data : tuple
        What all fits need. Sent to the cluster once; workers pass it on to each other.
    groups : iterator of list of int
        Numbers of the tasks to fit together; drawn from as the cluster, whose size may change, becomes free.
        If a group loses its workers again and again, its fits are made one by one.
    progress : Progress

    Raises
    ------
    RuntimeError
        If the worker of a fit died again and again, or has another version of fastopt.
    """
    distributed = require("distributed", 'backend="dask"', "dask")
    lost = (distributed.KilledWorker, distributed.client.FutureCancelledError)
    study, running, attempts = uuid.uuid4().hex, {}, Counter()
    ended, sent, patience = queue.SimpleQueue(), None, Patience(client, "OptimizerStudy", warn)

    def submit(group):
        key = f"fastopt-fit-{study}-{'+'.join(map(str, group))}-{attempts[group[0]]}"
        chosen = {i: tasks[i] for i in group}
        future = client.submit(_on_worker, fit, __version__, chosen, sent, key=key)
        running[future.key] = group, future
        future.add_done_callback(ended.put)

    try:
        while True:
            n_threads = sum(client.nthreads().values())
            n_free = max(1, _TASKS_PER_THREAD * n_threads) - len(running)
            for group in itertools.islice(groups, max(0, n_free)):
                sent = _sent(client, data) if sent is None else sent
                submit(group)
            if not running:
                return
            n_given = sum(len(group) for group, _ in running.values())
            progress.fit_started(f"{n_given} fits given to {n_threads} threads of Dask workers", None)
            future = patience.next_of(ended)
            group, _ = running.pop(future.key)
            try:
                found = future.result()
            except lost as problem:
                _count_death(attempts, group, tasks, problem)
                if sent.status in ("error", "cancelled"):
                    sent = _sent(client, data)
                for i in group:
                    submit([i])
            else:
                yield from found
    finally:
        client.cancel([future for _, future in running.values()])


def _count_death(attempts, group, tasks, problem):
    """Count the death of a group's worker; RuntimeError for a fit that has had too many."""
    attempts.update(group)
    if attempts[group[0]] > _RETRIES:
        raise RuntimeError(
            f"{tasks[group[0]].config}, seed {tasks[group[0]].seed}: its Dask worker died in each of "
            f"{_RETRIES + 1} attempts. Does it run out of memory? Its log says more."
        ) from problem


def _sent(client, data):
    """Return a future of data as the result of a task, which Dask repeats when all workers that have it die.

    What `Client.scatter` sends is then lost, and it fails itself where a worker dies meanwhile.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph")
        return client.submit(_itself, data, key=f"fastopt-data-{uuid.uuid4().hex}")


def _itself(data):
    return data


def _on_worker(fit, version, group, data):
    """Fit on a worker, with the threads that Dask means a task to have."""
    if version != __version__:
        raise RuntimeError(
            f"A Dask worker has fastopt {__version__}, and the study runs with {version}: their numbers may "
            "differ. Install one version everywhere."
        )
    with environment_share():
        return fit(group, *data)
