"""Where compiled kernels are kept on disk: the one place that decides.

Kernels are looked for in all folders in order, and written to the first that takes them. So a cache that was
filled while an image was built, and is read-only for the user who runs it, serves that user as well.
"""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from numba import config
from numba.misc.appdirs import AppDirs

_PACKAGE = Path(__file__).parents[1]


class CacheFolder(NamedTuple):
    """A folder that may hold compiled kernels; it need not exist.

    Attributes
    ----------
    path : str
        Absolute.
    origin : str
        What names it, in words.
    is_shared : bool
        Whether other users may create files beside it, so that its owner must be checked.
    """

    path: str
    origin: str
    is_shared: bool = False

    def prepare(self) -> None:
        """Create the folder if need be.

        Raises
        ------
        OSError
            If that cannot be done, or if another user could write into the folder.
        """
        os.makedirs(self.path, mode=0o700 if self.is_shared else 0o777, exist_ok=True)
        if not self.is_trusted():
            raise PermissionError(errno.EACCES, "not a folder of this user alone", self.path)

    def is_trusted(self) -> bool:
        """Tell whether only this user can have put files there: what is loaded from a cache is executed.

        Folders that are not shared are as trusted as the package itself: the user or the administrator named
        them.
        """
        if not self.is_shared or os.name == "nt":  # Windows has a temporary folder for each user
            return True
        try:
            found, parent = os.lstat(self.path), os.stat(os.path.dirname(self.path))
        except OSError:
            return False
        # Where others may write and nothing is sticky, they could put a folder of theirs in its place.
        is_replaceable = parent.st_mode & 0o022 and not parent.st_mode & stat.S_ISVTX
        is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
        return is_own and not found.st_mode & 0o077 and not is_replaceable

    def is_writable(self) -> bool:
        """Tell whether a small file can be written there now, by writing one."""
        try:
            self.prepare()
            with tempfile.TemporaryFile(dir=self.path) as file:
                file.write(bytes(4096))
        except OSError:
            return False
        return True


def folders() -> Iterator[CacheFolder]:
    """Yield the folders in the order in which kernels are looked for and written.

    Yields
    ------
    CacheFolder
    """
    if config.CACHE_DIR:
        yield CacheFolder(os.path.abspath(os.path.join(config.CACHE_DIR, "fastopt")), "NUMBA_CACHE_DIR")
    yield CacheFolder(str(_PACKAGE / "__pycache__"), "beside the package")
    users = AppDirs("fastopt", appauthor=False).user_cache_dir
    if os.path.isabs(users):  # "~" remains where neither HOME nor the system's list of users names a home
        yield CacheFolder(users, "the user's cache folder")
    try:
        temporary = os.path.abspath(tempfile.gettempdir())
    except FileNotFoundError:
        return
    user = f"-{os.geteuid()}" if hasattr(os, "geteuid") else ""
    yield CacheFolder(os.path.join(temporary, f"fastopt{user}"), "the temporary folder", is_shared=True)


def writable_folder() -> CacheFolder | None:
    """Return the folder that the next kernel will be written to, or None if there is none.

    Returns
    -------
    CacheFolder or None
    """
    return next((folder for folder in folders() if folder.is_writable()), None)
