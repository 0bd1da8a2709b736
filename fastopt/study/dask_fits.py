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

#: Fits that are given to the cluster for each of its threads: one runs while the next one waits.
_FITS_PER_THREAD = 2
#: How often a fit is given to the cluster again after its worker died, which Dask itself has repeated before.
_RETRIES = 5


def fit_on_cluster(
    client: Any, fit: Callable, tasks: list, data: tuple, claimed: Iterator[int], progress: Any
) -> Iterator[tuple[int, dict]]:
    """Yield the numbers and records of fits as they end on the workers of a cluster.

    Parameters
    ----------
    client : distributed.Client
    fit : callable
        Called on a worker as ``fit(number, task, *data)``; returns number and record.
    tasks : list of Task
    data : tuple
        What all fits need. Sent to the cluster once; workers pass it on to each other.
    claimed : iterator of int
        Numbers of the tasks to fit; drawn from as the cluster, whose size may change, becomes free.
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

    def submit(i):
        key = f"fastopt-fit-{study}-{i}-{attempts[i]}"
        future = client.submit(_on_worker, fit, __version__, i, tasks[i], sent, key=key)
        running[future.key] = i, future
        future.add_done_callback(ended.put)

    try:
        while True:
            n_threads = sum(client.nthreads().values())
            n_free = max(1, _FITS_PER_THREAD * n_threads) - len(running)
            for i in itertools.islice(claimed, max(0, n_free)):
                sent = _sent(client, data) if sent is None else sent
                submit(i)
            if not running:
                return
            progress.fit_started(f"{len(running)} fits given to {n_threads} threads of Dask workers", None)
            future = patience.next_of(ended)
            i, _ = running.pop(future.key)
            try:
                result = future.result()
            except lost as problem:
                attempts[i] += 1
                if attempts[i] > _RETRIES:
                    raise RuntimeError(
                        f"{tasks[i].config}, seed {tasks[i].seed}: its Dask worker died in each of "
                        f"{_RETRIES + 1} attempts. Does it run out of memory? Its log says more."
                    ) from problem
                if sent.status in ("error", "cancelled"):
                    sent = _sent(client, data)
                submit(i)
            else:
                yield result
    finally:
        client.cancel([future for _, future in running.values()])


def _sent(client, data):
    """Return a future of data as the result of a task, which Dask repeats when all workers that have it die.

    What `Client.scatter` sends is then lost, and it fails itself where a worker dies meanwhile.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph")
        return client.submit(_itself, data, key=f"fastopt-data-{uuid.uuid4().hex}")


def _itself(data):
    return data


def _on_worker(fit, version, i, task, data):
    """Fit on a worker, with the threads that Dask means a task to have."""
    if version != __version__:
        raise RuntimeError(
            f"A Dask worker has fastopt {__version__}, and the study runs with {version}: their numbers may "
            "differ. Install one version everywhere."
        )
    with environment_share():
        return fit(i, task, *data)
