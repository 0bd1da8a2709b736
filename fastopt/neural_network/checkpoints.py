"""Checkpoints: a file from which a fit goes on after it was killed, with the same bits."""

import concurrent.futures
import contextlib
import datetime
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sklearn.utils._param_validation import InvalidParameterError

from fastopt._extras import require
from fastopt._file_lock import file_lock
from fastopt.model_files.container import remove_leftovers
from fastopt.model_files.objects import load_objects, naming, save_objects
from fastopt.neural_network import fit_identity, solvers, training_state
from fastopt.neural_network.caller_warnings import warn

if TYPE_CHECKING:
    from fastopt.neural_network._base import BaseMLP
    from fastopt.neural_network.epochs import MiniBatchTraining

#: What the files hold (`fastopt.model_files.container`).
_KIND = "checkpoint"


def check_checkpoint(estimator: "BaseMLP") -> None:
    """Raise if an estimator's ``checkpoint`` and ``checkpoint_every`` cannot be followed.

    Raises
    ------
    InvalidParameterError
        A ValueError and a TypeError: if the interval is no time and no number of epochs.
    ValueError
        If the solver is L-BFGS.
    """
    every, owner = estimator.checkpoint_every, type(estimator).__name__
    if estimator.checkpoint == "":
        raise InvalidParameterError(
            f"The 'checkpoint' parameter of {owner} must name a file. Got '' instead."
        )
    if isinstance(every, float):
        raise InvalidParameterError(
            f"The 'checkpoint_every' parameter of {owner} must be a number of epochs (an int) or a time. Got "
            f"{every!r} instead. For seconds pass datetime.timedelta(seconds={every!r})."
        )
    if isinstance(every, datetime.timedelta) and every <= datetime.timedelta(0):
        raise InvalidParameterError(
            f"The 'checkpoint_every' parameter of {owner} must be longer than no time. Got {every!r} instead."
        )
    if estimator.checkpoint is not None and solvers.is_lbfgs(estimator.solver):
        raise ValueError(
            f"checkpoint={estimator.checkpoint!r} does not go with solver={estimator.solver!r}: SciPy's "
            "L-BFGS keeps its state to itself and cannot go on. Set checkpoint=None, or take another solver."
        )


class Checkpoint:
    """The file of one fit: `opened` goes on from it, `epoch_ends` writes it while the next epoch trains.

    Parameters
    ----------
    estimator : BaseMLP
        As it is when the fit begins: seeded, and not yet initialized if it is to be.
    fresh : bool
        Whether the fit draws new weights.

    Notes
    -----
    A file is written from a copy of the state in a thread of its own, because the disk may take as long as
    an epoch. The next one waits for it, so that at most one completed interval is not on the disk.
    """

    def __init__(self, estimator: "BaseMLP", fresh: bool) -> None:
        require("safetensors", "checkpoint=...", "files")
        # Of a link, the file that it points to; another working directory changes nothing.
        self._path, self._every = os.path.realpath(estimator.checkpoint), estimator.checkpoint_every
        self._beginning = fit_identity.beginning(estimator, fresh)
        self._identity: dict[str, Any] = {}
        self._seconds = self._began = self._written_at = 0.0
        self._latest: dict[str, Any] = {}  # what is to be written, if anything
        self._writer: Any = None
        self._writing: Any = None
        self._has_warned = False

    @contextlib.contextmanager
    def opened(self, training: "MiniBatchTraining") -> Iterator[None]:
        """Restore a `MiniBatchTraining` from the file, if there is one, and keep the file for the block.

        Raises
        ------
        ValueError
            If the file is of another fit, cannot be read, or is being written by another fit.
        OSError
            If the folder does not exist or cannot be written to.
        """
        self._identity = fit_identity.identity(training)
        if self._resume(training, completed=True):
            yield
            return
        with self._locked(), concurrent.futures.ThreadPoolExecutor(1) as self._writer:
            self._resume(training)
            self._began = self._written_at = time.perf_counter()
            try:
                yield
            finally:
                self._finish()

    def epoch_ends(self, training: "MiniBatchTraining") -> None:
        """Note the state after an epoch, and begin to write it if that is due or training ends."""
        is_due = training.ending or self._is_due(training.estimator.n_iter_)
        if is_due:
            self._wait()
        self._latest = {
            # A fit that was out of time goes on when it gets more.
            "ending": "" if training.ending == "max_time" else training.ending,
            "seconds": self._seconds + time.perf_counter() - self._began,
            "state": training_state.capture(training),
        }
        if is_due:
            self._begin_writing()

    def _is_due(self, n_epochs):
        if isinstance(self._every, datetime.timedelta):
            return time.perf_counter() - self._written_at >= self._every.total_seconds()
        return n_epochs % self._every == 0

    def _begin_writing(self):
        from fastopt import __version__

        fit = {"fastopt": __version__, "identity": self._identity, "beginning": self._beginning}
        self._writing = self._writer.submit(save_objects, self._path, fit | self._latest, _KIND)
        self._latest, self._written_at = {}, time.perf_counter()

    def _wait(self):
        """Wait for the file that is being written; what the disk refuses costs a warning, not the fit."""
        writing, self._writing = self._writing, None
        if writing is None:
            return
        try:
            writing.result()
        except OSError as error:
            if not self._has_warned:
                self._has_warned = True
                warn(
                    f"checkpoint={self._path!r} could not be written ({error}); the fit goes on, and the "
                    "file stays as it was before"
                )

    def _finish(self):
        """Write the last completed epoch if it is not on the disk yet, as after Ctrl-C."""
        self._wait()
        if self._latest:
            self._begin_writing()
            self._wait()

    @contextlib.contextmanager
    def _locked(self):
        """Hold the file against other fits, so that two never write it in turns."""
        folder = os.path.dirname(self._path)
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                f"checkpoint={self._path!r}: there is no folder {folder!r}; make it first, or choose another"
            )
        with file_lock(self._path) as is_held:
            if not is_held:
                raise ValueError(
                    f"checkpoint={self._path!r} is being written by another fit that is still running; give "
                    "each fit a file of its own (a grid search has one for all of its fits: set None there)"
                )
            remove_leftovers(self._path)
            yield

    def _resume(self, training, completed=False):
        """Restore training from the file, if there is one; with ``completed``, only if its fit ended."""
        if not os.path.exists(self._path):
            return False
        from fastopt import __version__

        saved = load_objects(self._path, _KIND)
        with naming(self._path):
            is_complete = bool(saved["ending"])
        self._check_same_fit(saved, training.estimator)
        if completed and not is_complete:
            return False
        with naming(self._path):
            training_state.restore(training, saved["state"])
            training.ending, self._seconds = str(saved["ending"]), float(saved["seconds"])
        if saved["fastopt"] != __version__:
            warn(
                f"checkpoint={self._path!r} was written by fastopt {saved['fastopt']}, and this is "
                f"{__version__}: the last digits may become others than those of an uninterrupted fit"
            )
        if training.estimator.verbose:
            n = training.estimator.n_iter_
            print(f"Resumed from {self._path!r} after iteration {n} and {self._seconds:.1f} s of training")
        return True

    def _check_same_fit(self, saved, estimator):
        """Raise ValueError unless the file is of a fit with these arguments, data and beginning."""
        with naming(self._path):
            identity = fit_identity.with_newer_parameters(saved["identity"], estimator)
            found = fit_identity.differences(identity, self._identity)
            began = fit_identity.differences(saved["beginning"], self._beginning)
            if saved["ending"] or not training_state.is_left_in(estimator, saved["state"]):
                found += began
        if found:
            raise ValueError(
                f"checkpoint={self._path!r} is of another fit: {'; '.join(found)}. Choose another file, or "
                "delete this one to start anew."
            )
