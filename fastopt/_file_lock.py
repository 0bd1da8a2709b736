"""A lock that one process or thread holds on a file, and that ends with the process, however it ends."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # before it is closed, because a fork may have it open, too


@contextlib.contextmanager
def file_lock(path: str | os.PathLike[str]) -> Iterator[bool]:
    """Hold the lock of a file for a block, by means of a file ``path + '.lock'``, without waiting.

    Yields whether the lock was free and is held now; the block has to look. A process that is killed leaves
    the ``.lock`` file behind, but not the lock. Where the file system has no locks, it warns and goes on.

    Parameters
    ----------
    path : path-like
        Need not exist, but its folder must.

    Raises
    ------
    OSError
        If the ``.lock`` file cannot be made.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastopt._file_lock import file_lock
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "results")
    ...     with file_lock(path) as first, file_lock(path) as second:
    ...         print(first, second)
    True False
    """
    name = os.fspath(path) + ".lock"
    descriptor = _acquired(name)
    if descriptor is None:
        yield False
        return
    try:
        yield True
    finally:
        with contextlib.suppress(OSError):  # on Windows an open file stays
            os.unlink(name)
        with contextlib.suppress(OSError):  # there may be no locks
            _unlock(descriptor)
        os.close(descriptor)


def _acquired(name):
    """Return the descriptor of the locked file, or None if another has locked it."""
    while True:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor)
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            return None
        except OSError as error:
            warnings.warn(
                f"{name}: this file system has no locks ({error}); see to it that no other process writes "
                f"{name.removesuffix('.lock')!r} meanwhile",
                stacklevel=2,
            )
        if _is_named(descriptor, name):
            return descriptor
        os.close(descriptor)  # its last holder has removed it since


def _is_named(descriptor, name):
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(name))
    except FileNotFoundError:
        return False
