"""One Dask cluster of two workers for all tests of the run, and one that a test may kill."""

import contextlib
import os
import time

import pytest


@contextlib.contextmanager
def local_cluster():
    distributed = pytest.importorskip("distributed", reason='needs pip install "fastopt[dask]"')
    options = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with (
        distributed.LocalCluster(n_workers=2, **options) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def cluster():
    """Return the client of a cluster that all tests share."""
    with local_cluster() as client:
        yield client


@pytest.fixture
def mortal_cluster():
    """Return the client of a cluster whose workers a test may kill; nannies start others.

    Not in every run of the tests: distributed's nannies sometimes start none, and then a test waits for ever.
    """
    if "FASTOPT_KILL_WORKERS" not in os.environ:
        pytest.skip("set FASTOPT_KILL_WORKERS=1 to kill Dask's workers")
    with local_cluster() as client:
        yield client


def kill_workers(client, n=1):
    """Kill some workers with SIGKILL; return when the scheduler has seen it, with their addresses."""
    nannies = client.cluster.workers.values()
    killed = {nanny.worker_address: nanny.process for nanny in list(nannies)[:n]}
    for process in killed.values():
        process.process._process.kill()
    end = time.monotonic() + 20
    while set(killed) & set(client.nthreads()):
        assert time.monotonic() < end, "the scheduler has not noticed the death of a worker"
        time.sleep(0.02)
    return set(killed)
