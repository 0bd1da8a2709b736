"""One Dask cluster of two workers for all tests of the run, and one that a test may kill."""

import contextlib
import os
import subprocess
import sys
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


#: Processes of `mortal_cluster`: its scheduler, and workers by their names. They have no nannies, which
#: sometimes start no worker in place of one that was killed.
PROCESSES: dict[str, subprocess.Popen] = {}


@pytest.fixture
def mortal_cluster(tmp_path):
    """Return the client of a cluster whose workers a test may kill; see `kill_workers`."""
    distributed = pytest.importorskip("distributed", reason='needs pip install "fastopt[dask]"')
    where = str(tmp_path / "scheduler.json")
    try:
        start("scheduler", "--port", "0", "--scheduler-file", where)
        with distributed.Client(scheduler_file=where, set_as_default=False, timeout=60) as client:
            start_workers(client, 2)
            client.wait_for_workers(2, timeout=60)
            yield client
    finally:
        for process in PROCESSES.values():
            process.kill()
            process.wait()
        PROCESSES.clear()


def start(name, *options):
    """Start a process of Dask, which finds what tests import where this one does."""
    module = f"distributed.cli.dask_{name.partition('-')[0]}"
    PROCESSES[name] = subprocess.Popen(
        [sys.executable, "-m", module, *options, "--no-dashboard"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.DEVNULL,
    )


def start_workers(client, n):
    """Start workers of one thread each."""
    for _ in range(n):
        name = f"worker-{len(PROCESSES)}"
        start(name, client.scheduler.address, "--no-nanny", "--nthreads", "1", "--name", name)


def kill_workers(client, n=1):
    """Kill some workers with SIGKILL and start as many; return the names of those that are dead."""
    alive = [name for name, one in PROCESSES.items() if name != "scheduler" and one.poll() is None]
    killed = alive[:n]
    for name in killed:
        PROCESSES[name].kill()
        PROCESSES[name].wait()
    end = time.monotonic() + 20
    while len(client.nthreads()) > len(alive) - n:
        assert time.monotonic() < end, "the scheduler has not noticed the death of a worker"
        time.sleep(0.02)
    start_workers(client, n)
    return killed
