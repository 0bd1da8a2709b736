"""The store of results: one line of JSON per fit, written when the fit ends."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from pathlib import Path


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
        if folder is None:
            return
        digest = hashlib.sha256(_canonical(identity).encode()).hexdigest()[:12]
        self.path = Path(folder) / f"results-{digest}.jsonl"
        if os.path.lexists(folder) and not os.path.isdir(folder):
            raise NotADirectoryError(f"results go into a folder, which {str(folder)!r} is not: name another.")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self._read()
        else:
            self._append({"study": identity})

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
            os.truncate(self.path, 0)
            self._append({"study": self._identity})

    def _append(self, entry):
        line = json.dumps(entry) + "\n"
        try:
            with self.path.open("a") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as problem:
            raise StoreError(
                problem.errno,
                f"cannot write results ({problem.strerror}). Earlier results are safe; free some space or "
                "choose another folder, and run the same study again to continue",
                str(self.path),
            ) from problem

    def _read(self):
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:  # the process was killed in the middle of a line: that fit is run again
            os.truncate(self.path, len(whole))  # in place: a kill at any moment leaves every whole line
        if not whole:
            self._append({"study": self._identity})
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                entry = json.loads(line)
                if "study" not in entry:
                    self._records[_canonical(entry["key"])] = entry["record"]
            except (ValueError, KeyError, TypeError):
                warnings.warn(
                    f"{self.path}, line {number}, is damaged and ignored. "
                    "A fit that no other line holds is run again.",
                    stacklevel=2,
                )
        self.n_resumed = len(self._records)


def _canonical(value):
    return json.dumps(value, sort_keys=True)
