"""The executor whose tasks run on a Dask cluster."""

import itertools
import queue
import uuid
import warnings
from collections.abc import Callable
from typing import Any

from fastopt._dask_client import Patience
from fastopt._extras import require
from fastopt.kernels.threading_layer import environment_share
from fastopt.neural_network.caller_warnings import warn


class ClusterExecutor:
    """Submits pure functions to a cluster, each under a key of its own.

    No task is bound to a worker, and no data are scattered, so that Dask can run everything again that is
    lost with a worker.

    Parameters
    ----------
    client : distributed.Client
    owner : str
        Whose tasks they are, for messages.
    """

    def __init__(self, client: Any, owner: str) -> None:
        distributed = require("distributed", "fastopt.dask", "dask")
        self.client = client
        self._patience = Patience(client, owner, warn)
        #: Errors after which a round is tried again: a task whose workers died too often, or lost results.
        self.lost: tuple[type[Exception], ...] = (
            distributed.KilledWorker,
            distributed.client.FutureCancelledError,
        )
        self._tag, self._count = uuid.uuid4().hex[:12], itertools.count()

    def submit(self, function: Callable, *arguments: Any) -> Any:
        """Return a future of the result; futures among the arguments stand for their results."""
        key = f"fastopt-{function.__name__}-{self._tag}-{next(self._count)}"
        with warnings.catch_warnings():
            # Parameters travel in the graph, where they can be taken from again.
            warnings.filterwarnings("ignore", "Sending large graph")
            return self.client.submit(_on_worker, function, *arguments, key=key)

    def result(self, future: Any) -> Any:
        """Wait for a future and return its result."""
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        future.add_done_callback(ended.put)
        self._patience.next_of(ended)
        try:
            return future.result()
        except self.lost:
            # The scheduler would keep all that it depends on as failed, and not compute it again.
            future.release()
            raise

    def check(self, future: Any) -> None:
        """Raise the error of a future that has failed by itself, and not because workers died."""
        if future.status == "error" and not isinstance(future.exception(), self.lost):
            future.result()

    def forget_lost(self) -> None:
        """Have the scheduler forget tasks that failed and are no longer referred to.

        A client lets go of a future in its event loop. Where a task of the same name, such as a partition, is
        asked for before, the scheduler answers with the old failure.
        """
        self.client.sync(_nothing)


async def _nothing():
    """Do nothing, after all that the event loop was given before."""


def _on_worker(function, *arguments):
    with environment_share():
        return function(*arguments)
