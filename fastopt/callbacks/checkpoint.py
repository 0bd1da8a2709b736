"""The model as it is, saved every few epochs."""

import datetime
import os
import time
from numbers import Integral
from typing import Any

from fastopt._extras import require
from fastopt.callbacks.base import NetworkCallback
from fastopt.neural_network import save
from fastopt.neural_network.caller_warnings import warn


class Checkpoint(NetworkCallback):
    """Save the model as it is, every so many epochs or minutes, with `fastopt.save`.

    Each file is a whole model for `fastopt.load`. The estimators' parameter ``checkpoint`` is something else:
    a file from which a fit that was killed goes on.

    Parameters
    ----------
    path : path-like
        The file. ``{epoch}`` in it becomes the number of epochs so far, ``{epoch:04d}`` with leading zeros;
        without it each file replaces the one before. Other braces are doubled, as in `str.format`.
    every : int or datetime.timedelta, default=1
        Epochs between two files, or the least time.
    optimizer : bool, default=False
        Whether the files hold the optimizer's state, too; see `fastopt.save`.

    Raises
    ------
    MissingExtraError
        If scikit-learn is older than 1.9, or safetensors is not installed (extra ``files``).
    ValueError
        If a parameter is not acceptable.
    FileNotFoundError
        In ``fit``, if the folder does not exist.

    Warns
    -----
    UserWarning
        If a file cannot be written (a full disk); the fit goes on.

    Notes
    -----
    The end of a fit writes no file: what it leaves is yours to save. All fits of a search write to the same
    path, the refit last.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_iris
    >>> from fastopt import MLPClassifier, load
    >>> from fastopt.callbacks import Checkpoint
    >>> folder = tempfile.TemporaryDirectory()
    >>> keep = Checkpoint(os.path.join(folder.name, "iris-{epoch:03d}"), every=50)
    >>> clf = MLPClassifier((8,), max_iter=100, random_state=0).set_callbacks(keep)
    >>> _ = clf.fit(*load_iris(return_X_y=True))
    >>> sorted(os.listdir(folder.name))
    ['iris-050', 'iris-100']
    >>> load(os.path.join(folder.name, "iris-050")).n_iter_
    50
    >>> folder.cleanup()
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every: int | datetime.timedelta = 1,
        optimizer: bool = False,
    ) -> None:
        super().__init__()
        require("safetensors", "fastopt.callbacks.Checkpoint", "files")
        self.path: str = os.fspath(path)
        self.every: int | datetime.timedelta = every
        self.optimizer: bool = optimizer
        try:
            self.path.format(epoch=1)
        except (LookupError, ValueError, AttributeError) as error:
            raise ValueError(
                f"path={self.path!r} of Checkpoint: {error!r}. Only {{epoch}} stands for something; write "
                "other braces twice."
            ) from None
        if isinstance(every, datetime.timedelta):
            is_acceptable = every > datetime.timedelta(0)
        else:
            is_acceptable = isinstance(every, Integral) and not isinstance(every, bool) and every >= 1
        if not is_acceptable:
            raise ValueError(
                f"every={every!r} of Checkpoint is neither a number of epochs from 1 on nor a "
                "datetime.timedelta above 0"
            )

    def _begin(self, estimator: Any, context: Any) -> dict[str, float]:
        folder = os.path.dirname(os.path.abspath(self.path.format(epoch=1)))
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"Checkpoint: there is no folder {folder!r}; make it first")
        return {"written_at": time.perf_counter(), "n_failures": 0}

    def _epoch_ends(self, estimator: Any, state: dict[str, float]) -> bool:
        if isinstance(self.every, datetime.timedelta):
            is_due = time.perf_counter() - state["written_at"] >= self.every.total_seconds()
        else:
            is_due = estimator.n_iter_ % self.every == 0
        if is_due:
            self._write(estimator, state)
            state["written_at"] = time.perf_counter()
        return False

    def _write(self, estimator, state):
        path = self.path.format(epoch=estimator.n_iter_)
        try:
            save(estimator, path, optimizer=self.optimizer)
        except OSError as error:
            state["n_failures"] += 1
            if state["n_failures"] == 1:
                warn(f"Checkpoint could not write {path!r} ({error}); the fit goes on")
