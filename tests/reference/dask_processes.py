"""A Dask cluster of processes that this one starts, whose workers it may kill and replace.

A `LocalCluster` has nannies, which sometimes start no worker in place of one that was killed.
"""

import os
import subprocess
import sys
import tempfile
import time

from distributed import Client

#: Seconds that a process may take to start or to be missed: many, on a machine with other work.
_PATIENCE = 120


class DaskProcesses:
    """A scheduler, workers of one thread each without nannies, and a client; a context manager.

    Parameters
    ----------
    n_workers : int
    *options : str
        More arguments of ``dask worker``.

    Attributes
    ----------
    client : distributed.Client
    """

    def __init__(self, n_workers=2, *options):
        self._n_workers, self._options, self._processes = n_workers, options, {}

    def __enter__(self):
        """Start the processes, wait for them, and return the cluster."""
        self._folder = tempfile.TemporaryDirectory()
        where = os.path.join(self._folder.name, "scheduler.json")
        try:
            self._start("scheduler", "--port", "0", "--scheduler-file", where)
            self.client = Client(scheduler_file=where, set_as_default=False, timeout=_PATIENCE)
            self.start_workers(self._n_workers)
            self.wait_for_workers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        """Kill all processes that are left."""
        if hasattr(self, "client"):
            self.client.close()
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._folder.cleanup()

    def _start(self, name, *options):
        """Start a process of Dask, which finds what can be imported here."""
        module = f"distributed.cli.dask_{name.partition('-')[0]}"
        self._processes[name] = subprocess.Popen(
            [sys.executable, "-m", module, *options, "--no-dashboard"],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def start_workers(self, n):
        """Start workers; they join the cluster some time later."""
        for _ in range(n):
            name = f"worker-{len(self._processes)}"
            options = ("--no-nanny", "--nthreads", "1", "--name", name, *self._options)
            self._start(name, self.client.scheduler.address, *options)

    def wait_for_workers(self):
        """Wait until as many workers have joined as the cluster began with."""
        self.client.wait_for_workers(self._n_workers, timeout=_PATIENCE)

    def kill(self, n=1):
        """Kill some workers with SIGKILL and start none; return the names of those that are dead."""
        alive = [name for name, one in self._processes.items() if name != "scheduler" and one.poll() is None]
        for name in alive[:n]:
            self._processes[name].kill()
            self._processes[name].wait()
        return alive[:n]

    def replace(self, n=1):
        """Kill workers, start as many once the scheduler knows, and return the names of the dead."""
        n_joined = len(self.client.nthreads())
        killed, end = self.kill(n), time.monotonic() + _PATIENCE
        while len(self.client.nthreads()) > n_joined - len(killed):
            if time.monotonic() > end:
                raise TimeoutError("The scheduler has not noticed the death of a worker.")
            time.sleep(0.02)
        self.start_workers(n)
        return killed

    def replace_at_work(self, n=1):
        """Replace workers when all have joined, and one has something to do.

        Where they have done their work before they are seen at it, their results die with them.
        """
        self.wait_for_workers()
        end = time.monotonic() + 5
        while not any(self.client.processing().values()) and time.monotonic() < end:
            time.sleep(0.02)
        return self.replace(n)
