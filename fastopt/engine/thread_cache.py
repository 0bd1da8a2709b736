"""A bounded cache with separate entries for each Python thread."""

import threading
from collections.abc import Callable, Hashable
from typing import TypeVar

_Value = TypeVar("_Value")


class ThreadCache:
    """A cache of costly objects that threads must not share; the oldest entries are dropped first.

    Parameters
    ----------
    max_size : int
        Entries of one thread.

    Examples
    --------
    >>> cache = ThreadCache(2)
    >>> cache.get("a", list) is cache.get("a", list)
    True
    """

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self._local = threading.local()

    def get(self, key: Hashable, make: Callable[[], _Value]) -> _Value:
        """Return this thread's entry for ``key``, made by ``make()`` at the first call."""
        entries = self._local.__dict__.setdefault("entries", {})
        entry = entries.get(key, self)  # which is no entry
        if entry is self:
            if len(entries) >= self.max_size:
                del entries[next(iter(entries))]
            entry = entries[key] = make()
        return entry
