"""The client of a Dask cluster as a parameter of scikit-learn's kind, and a cluster that has no worker."""

from __future__ import annotations

import copy
import queue
from collections.abc import Callable
from typing import Any

from ._extras import require

#: Seconds without a result after which it is looked whether there is a worker at all.
_PATIENCE = 5.0


def client_of(client: Any, purpose: str) -> Any:
    """Return a client of `distributed` that can be used: the one given, or else the current one.

    Parameters
    ----------
    client : distributed.Client or None
    purpose : str
        What needs it, for messages.

    Raises
    ------
    MissingExtraError
        If Dask is not installed.
    TypeError, ValueError
        If there is no client, or it is closed or of another kind.
    """
    distributed = require("distributed", purpose, "dask")
    if client is None:
        try:
            client = distributed.default_client()
        except ValueError:
            raise ValueError(
                f"{purpose} found no Dask client: make one first with distributed.Client(address), or pass "
                "client=..."
            ) from None
    if not isinstance(client, distributed.Client):
        raise TypeError(f"client={client!r} is not a distributed.Client.")
    if client.asynchronous:
        raise ValueError(f"client={client!r} is asynchronous: make one without asynchronous=True.")
    if client.status != "running":
        raise ValueError(
            f"client={client!r} is {client.status}: make a new one with distributed.Client(address)."
        )
    return client


class Patience:
    """Waits for results of a cluster, and says so, once, if it has no worker that could make them.

    Parameters
    ----------
    client : distributed.Client
    owner : str
        What waits, for the message.
    warn : callable
        Takes the message.
    """

    def __init__(self, client: Any, owner: str, warn: Callable[[str], object]) -> None:
        self._client, self._owner, self._warn = client, owner, warn
        self._has_told = False

    def next_of(self, ended: queue.SimpleQueue[Any]) -> Any:
        """Wait for the next future that has ended; each puts itself into the queue."""
        while True:
            try:
                return ended.get(timeout=_PATIENCE)
            except queue.Empty:
                self._look()

    def _look(self):
        if not self._has_told and not self._client.nthreads():
            self._has_told = True
            address = self._client.scheduler.address
            self._warn(
                f"{self._owner} waits, because the Dask cluster at {address} has no worker. It goes on when "
                f"one joins, such as by `dask worker {address}`; Ctrl-C ends it."
            )


class HasClient:
    """Lets an estimator with a parameter ``client`` be cloned, copied and pickled, which a client cannot be.

    Clones and copies share the client; a pickle has None in its place.
    """

    client: Any

    def __sklearn_clone__(self) -> Any:
        without = copy.copy(self)
        without.client = None
        made = super(HasClient, without).__sklearn_clone__()
        made.client = self.client
        return made

    def __copy__(self) -> Any:
        made = type(self).__new__(type(self))
        vars(made).update(vars(self))
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        memo[id(self.client)] = self.client
        vars(made).update((name, copy.deepcopy(value, memo)) for name, value in vars(self).items())
        return made

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"client": None}
