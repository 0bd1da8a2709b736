"""The store of results: one line of JSON per fit, written when the fit ends."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import warnings
from pathlib import Path

from .file_locks import locks_of


class StoreError(OSError):
    """A result could not be written; results so far are still in memory."""


class ResultStore:
    """The results of a study by key; with a folder they are kept on disk.

    Parameters
    ----------
    folder : path or None
        Where ``results-<fingerprint>.jsonl`` is kept; ``None`` keeps results in memory only.
    identity : dict
        What makes results comparable: data, splitting, network. Its digest names the file, so two studies
        may share a folder and never mix.

    Attributes
    ----------
    path : Path or None
    n_resumed : int
        Fits found on disk.

    Examples
    --------
    >>> store = ResultStore(None, {"data": "digits"})
    >>> store.add({"label": "Adam", "seed": 0}, {"loss": [0.5]})
    >>> store.get({"seed": 0, "label": "Adam"})["loss"]
    [0.5]
    """

    def __init__(self, folder, identity):
        self._records, self._identity = {}, identity
        self.path, self.n_resumed = None, 0
        self._end = self._n_lines = 0  # how much of the file has been read
        self._is_lockable, self._guard, self._claims = True, threading.RLock(), set()
        if folder is None:
            return
        digest = hashlib.sha256(_canonical(identity).encode()).hexdigest()[:12]
        self.path = Path(folder) / f"results-{digest}.jsonl"
        if os.path.lexists(folder) and not os.path.isdir(folder):
            raise NotADirectoryError(f"results go into a folder, which {str(folder)!r} is not: name another.")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.refresh() or not self._end:  # there is half a line, or none
            self._append()
        self.n_resumed = len(self._records)

    def get(self, key):
        """Return the record of `key`, or ``None``."""
        return self._records.get(_canonical(key))

    def add(self, key, record):
        """Keep `record` under `key`, on disk first.

        Raises
        ------
        StoreError
            If the disk refuses; the record is then kept in memory all the same.
        """
        self._records[_canonical(key)] = record
        if self.path is not None:
            self._append({"key": key, "record": record})

    def forget(self):
        """Delete all results, on disk as well."""
        self._records.clear()
        self.n_resumed = 0
        if self.path is not None:
            with self._locked():
                os.truncate(self.path, 0)
            self._append()

    def claim(self, key):
        """Claim the fit of `key` for this study until `release`, and read what others have written.

        Returns
        -------
        bool
            False if another study on the same file is at it. The claim of a process that was killed ends with
            it.
        """
        locks = self._locks()
        if locks is not None:
            if not locks.try_lock(_number(key)):
                return False
            self._claims.add(_number(key))
        self.refresh()  # another study may have ended this fit just before
        return True

    def release(self, key):
        """Give up a claim; does nothing without one."""
        number, locks = _number(key), self._locks()
        if locks is not None and number in self._claims:
            locks.unlock(number)
            self._claims.remove(number)

    def refresh(self):
        """Read the whole lines that have been written since; return the bytes of a line that is not whole."""
        if self.path is None:
            return b""
        with self._guard:
            try:
                if self.path.stat().st_size < self._end:  # another study has deleted the results
                    self._end = self._n_lines = 0
                with self.path.open("rb") as file:
                    file.seek(self._end)
                    content = file.read()
            except FileNotFoundError:
                return b""
            whole = content[: content.rfind(b"\n") + 1]
            self._end += len(whole)
            for line in whole.splitlines():
                self._n_lines += 1
                self._take(line)
            return content[len(whole) :]

    def _take(self, line):
        """Keep the record of a line of the file."""
        try:
            entry = json.loads(line)
            if "study" not in entry:
                self._records[_canonical(entry["key"])] = entry["record"]
        except (ValueError, KeyError, TypeError):
            warnings.warn(
                f"{self.path}, line {self._n_lines}, is damaged and ignored. "
                "A fit that no other line holds is run again.",
                stacklevel=4,
            )

    def _append(self, entry=None):
        """Write a line after the last whole one; the first line says which study this is."""
        try:
            with self._locked(), self.path.open("ab+") as file:
                size = file.seek(0, os.SEEK_END)
                end = _end_of_lines(file, size)
                if end < size:  # a process was killed in the middle of a line: that fit is run again
                    file.truncate(end)  # in place: a kill at any moment leaves every whole line
                entries = [*([] if end else [{"study": self._identity}]), *([] if entry is None else [entry])]
                file.write("".join(json.dumps(one) + "\n" for one in entries).encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as problem:
            raise StoreError(
                problem.errno,
                f"cannot write results ({problem.strerror}). Earlier results are safe; free some space or "
                "choose another folder, and run the same study again to continue",
                str(self.path),
            ) from problem

    def _locked(self):
        """Return the context in which this process alone writes."""
        locks = self._locks()
        return contextlib.nullcontext() if locks is None else locks.locked(_WRITING)

    def _locks(self):
        """Return the locks that studies on one file share, or None where there are none."""
        if self.path is None or not self._is_lockable:
            return None
        path = self.path.with_suffix(".lock")
        try:
            return locks_of(path)
        except OSError as problem:
            self._is_lockable = False
            warnings.warn(
                f"{path} cannot be locked ({problem.strerror}): two studies at once on this store would each "
                "make every fit.",
                stacklevel=5,
            )
            return None


#: The lock under which lines are written; those of fits have larger numbers.
_WRITING = 0


def _number(key):
    """Return the number of a fit's lock."""
    return 1 + int(hashlib.sha256(_canonical(key).encode()).hexdigest()[:10], 16)


def _end_of_lines(file, size):
    """Return where the last whole line of an open file ends."""
    if size:
        file.seek(size - 1)
        if file.read(1) == b"\n":
            return size
        file.seek(0)
        return file.read().rfind(b"\n") + 1
    return 0


def _canonical(value):
    return json.dumps(value, sort_keys=True)
