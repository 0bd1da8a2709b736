"""The file from which a fit on a cluster goes on after its client or scheduler was lost."""

import contextlib
import datetime
import hashlib
import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastopt import __version__
from fastopt._extras import require
from fastopt._file_lock import file_lock
from fastopt.dask.partitions import Facts
from fastopt.model_files.container import remove_leftovers
from fastopt.model_files.objects import load_objects, naming, save_objects
from fastopt.neural_network import fit_identity, history
from fastopt.neural_network.caller_warnings import warn

#: What the files hold (`fastopt.model_files.container`).
_KIND = "checkpoint of rounds"
#: What is saved of the estimator, beside its parameters and history.
_ATTRIBUTES = (
    "n_iter_ n_rounds_ t_ loss_ loss_curve_ validation_scores_ best_loss_ best_validation_score_".split()
)


class RoundCheckpoint:
    """The file of one fit: parameters, outer momentum, patience and history after a round.

    Parameters
    ----------
    path : path-like
    every : int or timedelta
        Rounds from one file to the next, or the least time.
    """

    def __init__(self, path: str | os.PathLike[str], every: int | datetime.timedelta) -> None:
        require("safetensors", "checkpoint=...", "files")
        self.path, self._every = os.path.realpath(path), every
        self._identity: dict[str, Any] = {}
        self._written_at = time.monotonic()
        self._saved = load_objects(self.path, _KIND) if os.path.exists(self.path) else None

    def seed(self, drawn: int) -> int:
        """Return the seed of the fit that the file is of, or the one drawn for a new fit."""
        if self._saved is None:
            return drawn
        with naming(self.path):
            return int(self._saved["seed"])

    @contextlib.contextmanager
    def opened(self, training: Any, facts: Facts) -> Iterator[None]:
        """Bring a `RoundTraining` to where the file stands, if there is one, and keep it for the block.

        Raises
        ------
        ValueError
            If the file is of another fit, cannot be read, or is being written by another fit.
        """
        recipe, digest = training.recipe, hashlib.sha256(repr((facts.n_rows, facts.checksums)).encode())
        labels = getattr(training.estimator, "classes_", np.empty(0)).tolist()
        self._identity = {
            **fit_identity.arguments(training.estimator),
            "n_replicas_": recipe.n_replicas,
            "local_steps_": recipe.local_steps,
            "the labels": repr(labels),
            "the data": digest.hexdigest(),
        }
        self._resume(training)
        with file_lock(self.path) as is_held:
            if not is_held:
                raise ValueError(
                    f"checkpoint={self.path!r} is being written by another fit that is still running; give "
                    "each fit a file of its own"
                )
            remove_leftovers(self.path)
            yield

    def round_ends(self, training: Any) -> None:
        """Write the file if that is due, or training ends."""
        if isinstance(self._every, datetime.timedelta):
            is_due = time.monotonic() - self._written_at >= self._every.total_seconds()
        else:
            is_due = training.n_rounds % self._every == 0
        if is_due or training.ending:
            self.write(training)

    def write(self, training: Any) -> None:
        """Write where training stands; what the disk refuses costs a warning, not the fit."""
        estimator = training.estimator
        state = {
            "fastopt": __version__,
            "identity": self._identity,
            "seed": training.recipe.seed,
            "ending": "" if training.ending == "max_time" else training.ending,
            "params": estimator._params,
            "buffer": training.outer.buffer,
            "watch": training.watch,
            "history": history.as_table(estimator),
            "attributes": {name: vars(estimator).get(name) for name in _ATTRIBUTES},
        }
        try:
            save_objects(self.path, state, _KIND)
        except OSError as error:
            warn(f"checkpoint={self.path!r} could not be written ({error}); the fit goes on without")
        self._written_at = time.monotonic()

    def _resume(self, training):
        if self._saved is None:
            return
        saved, estimator = self._saved, training.estimator
        with naming(self.path):
            found = fit_identity.differences(saved["identity"], self._identity)
        if found:
            raise ValueError(
                f"checkpoint={self.path!r} is of another fit: {'; '.join(found)}. Choose another file, or "
                "delete this one to start anew."
            )
        if saved["fastopt"] != __version__:
            warn(
                f"checkpoint={self.path!r} was written by fastopt {saved['fastopt']}, and this is "
                f"{__version__}: the last digits may become others than those of an uninterrupted fit"
            )
        with naming(self.path):
            estimator._params[:] = saved["params"]
            training.outer.buffer, training.watch = saved["buffer"], saved["watch"]
            vars(estimator).update({name: saved["attributes"][name] for name in _ATTRIBUTES})
            history.restore(estimator, saved["history"])
            training.n_rounds, training.ending = int(estimator.n_rounds_), str(saved["ending"])
