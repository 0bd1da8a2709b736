"""The client of a Dask cluster as a parameter of scikit-learn's kind."""

from __future__ import annotations

import copy
from typing import Any

from ._extras import require


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
