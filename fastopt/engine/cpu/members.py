"""Several networks of one shape trained side by side, without Python between their batches or epochs."""

import contextlib
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastopt.engine.cpu.context import LINE
from fastopt.engine.cpu.epoch_loop import EPOCHS, MEMBERS
from fastopt.engine.cpu.member_run import MemberRun, Watch, kernel_or_program
from fastopt.engine.cpu.several_epochs import Patience
from fastopt.engine.cpu.trainer import Trainer
from fastopt.engine.cpu.work_sharing import give_way_address
from fastopt.engine.layout import Layout
from fastopt.engine.validation import Rows
from fastopt.kernels import threading_layer
from fastopt.kernels.blas_threads import single_threaded
from fastopt.kernels.interrupts import HeldInterrupt

if TYPE_CHECKING:
    from fastopt.stepping.dropout import DropoutState
    from fastopt.stepping.flat_state import FlatState
    from fastopt.stepping.layerwise_state import LayerwiseState

#: Operations of a worker's turn with one network: some 10 ms, beside which it costs little that the network's
#: parameters move to another core's cache, and short enough that all are done at about the same time.
_TURN_FLOPS = 5e8


@dataclass(eq=False)
class Member:
    """One of several networks that `MemberTrainer` trains side by side.

    Parameters
    ----------
    params : ndarray of shape (layout.size,)
        Trained in place.
    update : FlatState or LayerwiseState
        The optimizer; its state is written.
    X : ndarray or CSR matrix of shape (n_samples, n_features)
        Like all other data, members may share it.
    Y : ndarray of shape (n_samples, n_outputs)
        Targets, as `Trainer.train` takes them.
    rows : ndarray of int64
        Rows of ``X`` to train on. Shuffled in place before each epoch.
    random_state : RandomState or None
        Draws the shuffles, and is advanced as its ``shuffle`` does. None: rows keep their order.
    sample_weight : ndarray of shape (n_samples,), optional
    dropout : DropoutState, optional
    held_out : ndarray of int64, optional
        Rows of ``X_val`` on which the network is validated after each epoch; it is not by default.
    X_val, Y_val, weight_val : optional
        By default ``X``, ``Y`` and ``sample_weight``; of another ``X_val`` the targets are required, and its
        rows count alike without weights.
    patience : Patience, optional
        When training is to stop by the loss; counted on over calls. It is not by default.
    shuffles_anew : bool
        Whether each shuffle begins with the order that ``rows`` had before the call, as where each epoch is a
        call of `partial_fit`; by default it begins with that of the epoch before, as in one call of ``fit``.

    Attributes
    ----------
    losses, validation_losses : list of float
        Mean loss of each epoch, and without the penalty on the rows held out.
    ends : list of float
        The time at the end of each epoch, by `fastopt.engine.monotonic_clock.now`.
    seconds : list of float
        What each epoch has taken, without the time in which workers trained other members.
    best_loss : float
        Least validation loss so far, infinity before the first epoch.
    best_epoch : int or None
        Its epoch, counted from 0 over all calls of `train`; of equals the last. A member whose losses are not
        finite keeps the best epoch before.
    best_params : ndarray of shape (layout.size,) or None
        Parameters after that epoch.
    best_outputs : ndarray of shape (n_held_out, n_outputs) or None
        Outputs for the rows held out after that epoch.
    outputs : ndarray of shape (n_epochs, n_held_out, n_outputs) or None
        Outputs after each epoch, where `train` is to keep them.
    has_diverged : bool
        Whether the loss of an epoch was not finite, which ends the training of this member.
    """

    params: np.ndarray
    update: "FlatState | LayerwiseState"
    X: Rows
    Y: np.ndarray
    rows: npt.NDArray[np.int64]
    random_state: np.random.RandomState | None
    sample_weight: np.ndarray | None = None
    dropout: "DropoutState | None" = None
    held_out: npt.NDArray[np.int64] | None = None
    X_val: "Rows | None" = None
    Y_val: np.ndarray | None = None
    weight_val: np.ndarray | None = None
    patience: Patience | None = None
    shuffles_anew: bool = False
    losses: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    best_loss: float = math.inf
    best_epoch: int | None = None
    best_params: np.ndarray | None = None
    best_outputs: np.ndarray | None = None
    outputs: np.ndarray | None = None

    @property
    def has_diverged(self) -> bool:
        """Whether the loss of an epoch was not finite."""
        return bool(self.losses) and not math.isfinite(self.losses[-1])

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing more to train: it has diverged, or its patience has run out."""
        patience = self.patience
        return self.has_diverged or (patience is not None and patience.n_bad > patience.n_bad_allowed)

    def validation_data(self) -> tuple[Rows, np.ndarray, np.ndarray | None]:
        """Return inputs, targets and weights of which ``held_out`` are rows."""
        if self.X_val is None:
            targets = self.Y if self.Y_val is None else self.Y_val
            return self.X, targets, self.sample_weight if self.weight_val is None else self.weight_val
        if self.Y_val is None:
            raise ValueError("a member with X_val needs Y_val, the targets of its rows")
        return self.X_val, self.Y_val, self.weight_val


class MemberTrainer:
    """Training of several networks of one shape at a time: a network is one worker's at any moment.

    Parameters
    ----------
    layout, activation, out_activation, loss, dtype, loss_parameter
        As `Trainer` takes them.
    n_threads : int, optional
        Most networks that are trained at once; ``None`` is Numba's current number of threads. Results do not
        depend on it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import Adam
    >>> from fastopt.engine import Layout, Member, MemberTrainer
    >>> layout, rs = Layout([2, 8, 1]), np.random.RandomState(0)
    >>> X = rs.standard_normal((60, 2))
    >>> trainer = MemberTrainer(layout, activation="tanh", out_activation="identity", loss="squared_error",
    ...                         dtype=np.float64)
    >>> members = [
    ...     Member(rs.uniform(-1, 1, layout.size),
    ...            Adam(lr=0.02).flat(layout.size, layout.n_decay, np.float64),
    ...            X, X[:, :1] * X[:, 1:], np.arange(40), random_state, held_out=np.arange(40, 60))
    ...     for random_state in map(np.random.RandomState, range(3))
    ... ]
    >>> trainer.train(members, n_epochs=50, batch_size=8)
    >>> [len(member.losses) for member in members]
    [50, 50, 50]
    >>> all(member.best_loss == min(member.validation_losses) for member in members)
    True
    """

    def __init__(
        self,
        layout: Layout,
        *,
        activation: str | Sequence[str],
        out_activation: str,
        loss: str,
        dtype: npt.DTypeLike,
        n_threads: int | None = None,
        loss_parameter: float | Sequence[float] | None = None,
    ) -> None:
        self.n_threads: int | None = threading_layer.resolve(n_threads)
        self._network: dict[str, Any] = {
            "layout": layout, "activation": activation, "out_activation": out_activation, "loss": loss,
            "dtype": dtype, "loss_parameter": loss_parameter, "n_threads": 1,
        }  # fmt: skip
        self._trainers = [self._make_trainers()]  # which checks the arguments

    def _make_trainers(self):
        """Return two trainers, as training and validation have buffers for batches of different sizes."""
        return Trainer(**self._network), Trainer(**self._network)

    def takes(self, member: Member) -> bool:
        """Whether the optimizer of a member needs no Python between batches or before validation."""
        if member.held_out is not None and member.update.optimizer.innermost.has_modes:
            return False
        try:
            kernel_or_program(self._trainers[0][0], member)
        except ValueError:
            return False
        return True

    def train(
        self,
        members: Sequence[Member],
        *,
        n_epochs: int,
        batch_size: int,
        alpha: float = 0.0,
        until: float | None = None,
        keep_outputs: bool = False,
        tick: Callable[[int], Any] | None = None,
    ) -> None:
        """Train every member for some more epochs, the losses of which are appended to its own.

        Gives the same numbers as `Trainer.train` with the rows shuffled before each epoch, and
        `Trainer.evaluate` after it, for any number of threads.

        Parameters
        ----------
        members : sequence of Member
            Written: parameters, optimizers, orders of rows, random states and what `Member` records.
        n_epochs : int
            0 or more. A member whose loss is not finite, or exhausts its patience, ends before.
        batch_size : int
        alpha : float
            L2 penalty, as `Trainer.train` takes it.
        until : float, optional
            Time on the clock of `fastopt.engine.monotonic_clock` after which training ends, within 0.1 s or
            the time of a batch. Members then stand where they are, between two batches: an epoch that is not
            whole is neither recorded nor validated.
        keep_outputs : bool
            Whether to keep the outputs after each epoch, in ``Member.outputs``.
        tick : callable, optional
            Called with the sum of the members' epochs done in this call, four times a second at most, while
            workers train: it must not use the members' arrays or random states.

        Raises
        ------
        ValueError
            If arrays do not fit, members share what training writes, there are no rows to train on or to
            validate on, or an optimizer needs Python between batches.
        KeyboardInterrupt
            On Ctrl-C, answered as ``until`` is.
        """
        if n_epochs < 0:
            raise ValueError(f"n_epochs={n_epochs!r} must be 0 or more")
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size!r} must be 1 or more")
        _check_apart(members)
        while len(self._trainers) < len(members):
            self._trainers.append(self._make_trainers())
        try:
            runs = [
                MemberRun(member, trainers, n_epochs, batch_size, alpha, keep_outputs)
                for member, trainers in zip(members, self._trainers, strict=False)
            ]
            with HeldInterrupt() as interrupt:  # counts, losses and parameters belong together
                watch = Watch(runs, interrupt, until, tick)
                while any(run.n_left for run in runs) and not watch.has_ended():
                    self._run(runs, watch)
        finally:
            for trainers in self._trainers:
                for trainer in trainers:
                    trainer.forget()

    def _run(self, runs, watch):
        """Run as many epochs of all members as have their constants computed at once."""
        runs = [run for run in runs if run.n_left]
        n_workers = min(len(runs), self.n_threads or threading_layer.n_available())
        if threading_layer.is_stranded():
            n_workers = 1
        records, shared, stop = (
            np.zeros(len(runs), EPOCHS), np.zeros((len(runs), LINE // 8), np.int64), np.zeros(1, np.int64)
        )  # fmt: skip
        for number, run in enumerate(runs):
            run.begin(records[number : number + 1])
        turn = max(1, int(_TURN_FLOPS / max(run.flops for run in runs)))
        pointers = [array.ctypes.data for array in (records, shared, stop)]
        queue = np.array([(*pointers, give_way_address(), len(runs), n_workers, turn)], MEMBERS)

        def end():
            stop[0] = 1
            for run in runs:
                run.stop_validating()

        try:
            with contextlib.ExitStack() as stack:
                if any(run.calls_blas for run in runs):
                    stack.enter_context(single_threaded())
                for lock in sorted((run.loop.lock for run in runs), key=id):  # in one order, for all threads
                    stack.enter_context(lock)
                watch.run(sum(run.flops_planned for run in runs), end, queue.ctypes.data, n_workers)
        finally:
            for run in runs:
                run.end()


def _check_apart(members):
    """Raise ValueError if two members share what training writes, or it may not be written."""
    objects, arrays = set(), {"params": [], "rows": []}
    for member in members:
        own = {"update": member.update, "dropout": member.dropout}
        if member.random_state is not None:
            own["random_state"] = member.random_state._bit_generator
            arrays["rows"].append(member.rows)
        arrays["params"].append(member.params)
        for name, one in own.items():
            if one is not None and id(one) in objects:
                raise ValueError(_SHARE.format(name))
            objects.add(id(one))
    for name, written in arrays.items():
        if not all(array.flags.writeable for array in written):
            raise ValueError(f"{name} of a member may not be written: training does, so give it a copy")
        starts = [array.ctypes.data for array in written]
        bounds = sorted((start, start + a.nbytes) for start, a in zip(starts, written, strict=True))
        if any(end > start for (_, end), (start, _) in itertools.pairwise(bounds)):
            raise ValueError(_SHARE.format(name))


_SHARE = "two members share their {}, which training writes: give each its own"
