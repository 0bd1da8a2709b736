"""Locks that several processes share: bytes of a file, which the system releases when their process ends."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    fcntl: Any = None

#: The lock by which a file system shows that it has locks.
_PROBE = 1 << 41

_files: dict[tuple[int, str], FileLocks] = {}
_files_lock = threading.Lock()


class FileLocks:
    """Locks by number in one file; from `locks_of`, as a process has one object for each file.

    POSIX locks belong to the process, and closing the file would release them all: so the file stays open,
    and a set holds what threads of this process have locked.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        self._held: set[int] = set()
        self._guard = threading.Lock()
        if self.try_lock(_PROBE):
            self.unlock(_PROBE)

    def is_of(self, path: str | os.PathLike[str]) -> bool:
        """Tell whether this is still the file at `path`, not one that has been deleted."""
        try:
            return os.path.samestat(os.fstat(self._file), os.stat(path))
        except OSError:
            return False

    def try_lock(self, number: int) -> bool:
        """Take a lock and return True, or return False if a thread of any process has it."""
        with self._guard:
            if number in self._held:
                return False
            try:
                self._change(number, True)
            except (BlockingIOError, PermissionError):
                return False
            self._held.add(number)
            return True

    def unlock(self, number: int) -> None:
        """Release a lock that this process has; does nothing for another."""
        with self._guard:
            if number in self._held:
                self._change(number, False)
                self._held.remove(number)

    @contextmanager
    def locked(self, number: int) -> Iterator[None]:
        """Wait for a lock that is held for a short time only."""
        while not self.try_lock(number):
            time.sleep(0.001)
        try:
            yield
        finally:
            self.unlock(number)

    def _change(self, number, is_wanted):
        if fcntl is None:
            os.lseek(self._file, number, os.SEEK_SET)
            msvcrt.locking(self._file, msvcrt.LK_NBLCK if is_wanted else msvcrt.LK_UNLCK, 1)
        else:
            operation = fcntl.LOCK_EX | fcntl.LOCK_NB if is_wanted else fcntl.LOCK_UN
            fcntl.lockf(self._file, operation, 1, number)


def locks_of(path: str | os.PathLike[str]) -> FileLocks:
    """Return the `FileLocks` of the file at `path`, which is created if need be.

    Raises
    ------
    OSError
        If the file cannot be opened for writing, or its file system has no locks.
    """
    key = os.getpid(), os.path.realpath(path)  # a forked process has no locks of its parent
    with _files_lock:
        if key not in _files or not _files[key].is_of(path):
            _files[key] = FileLocks(path)
        return _files[key]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_files_lock.acquire,
        after_in_parent=_files_lock.release,
        after_in_child=_files_lock.release,
    )
