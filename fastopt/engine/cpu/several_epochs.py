"""Training for several epochs without Python between them."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastopt.engine import monotonic_clock
from fastopt.engine.cpu import compilation
from fastopt.engine.cpu.context import TRAIN
from fastopt.engine.cpu.epoch_loop import EPOCHS, TIMES
from fastopt.engine.cpu.shuffling import NO_DRAWS, draws
from fastopt.engine.cpu.trainer import PROGRAM, Trainer
from fastopt.engine.validation import Rows

if TYPE_CHECKING:
    from fastopt.stepping.dropout import DropoutState
    from fastopt.stepping.flat_state import FlatState
    from fastopt.stepping.layerwise_state import LayerwiseState

#: Most steps of a run, whose constants stand in one table.
MAX_STEPS = 4096


class Patience(NamedTuple):
    """When training is to stop by its loss; see `fastopt.rules.patience`."""

    best: float
    tol: float
    n_bad_allowed: float
    n_bad: int


def train_epochs(
    trainer: Trainer,
    params: np.ndarray,
    X: Rows,
    Y: np.ndarray,
    update: "FlatState | LayerwiseState",
    *,
    batch_size: int,
    alpha: float,
    order: np.ndarray | None,
    sample_weight: np.ndarray | None,
    random_state: np.random.RandomState | None,
    n_epochs: int,
    patience: Patience,
    losses: list[float],
    ends: list[float],
    until: float | None = None,
    dropout: "DropoutState | None" = None,
) -> None:
    """Train for one or more epochs, as many as Ctrl-C can wait for.

    Gives the same numbers as calls of `Trainer.train` with the rows shuffled before each.

    Parameters
    ----------
    trainer : Trainer
    params, X, Y, batch_size, alpha, sample_weight
        As `Trainer.train` takes them.
    update : FlatState or LayerwiseState
    order : ndarray of int64 or None
        Which rows. Shuffled in place before each epoch if there is a ``random_state``.
    random_state : RandomState or None
        Advanced as its ``shuffle`` does.
    n_epochs : int
        The most.
    patience : Patience
        Training stops after an epoch whose loss exhausts it or is not finite.
    losses : list of float
        The mean loss of each epoch done is appended, also before a KeyboardInterrupt.
    ends : list of float
        The time at its end is appended, by `fastopt.engine.monotonic_clock.now`.
    until : float, optional
        As `Trainer.train` takes it; ``trainer.n_visited`` then says how many rows the last epoch had.
    dropout : DropoutState, optional
        As `Trainer.train` takes it.
    """
    n_samples = X.shape[0] if order is None else order.shape[0]
    batch_size = min(batch_size, n_samples)
    n_batches = -(-n_samples // batch_size)
    kernel = getattr(update, "address", None)
    program = None if kernel is not None else trainer._program(params, update)
    mode = TRAIN if program is None else PROGRAM
    drops = () if dropout is None else dropout.drops
    runner = trainer._prepare(mode, params, X, batch_size, Y, order, sample_weight, drops)
    n_workers, count = runner.plan(n_batches * min(n_epochs, max(1, MAX_STEPS // n_batches)))
    in_python = kernel is None and (program is None or program.calls_python)
    # Not where an epoch takes long beside what Python does between two.
    if in_python or n_workers > 1 or count < 2 * n_batches:
        if random_state is not None:
            random_state.shuffle(order)
        loss = trainer.train(
            params, X, Y, update,
            batch_size=batch_size, alpha=alpha, order=order, sample_weight=sample_weight, dropout=dropout,
            until=until,
        )  # fmt: skip
        ends.append(monotonic_clock.now())
        losses.append(loss / trainer.n_visited)
        return
    n_epochs = count // n_batches
    workspace = runner.workspace
    if program is None:
        workspace.point_to_update(update, kernel, alpha)
        workspace.point_to_constants(update.constants(n_epochs * n_batches))
    else:
        workspace.point_to_program(program, alpha)
        program.feed(n_epochs * n_batches)
    if dropout is not None:
        workspace.point_to_dropout(dropout.rows(n_epochs * n_batches))
    workspace.begin(0, n_batches, batch_size, n_samples, 1)
    trainer.n_visited = n_samples
    loop = EpochLoop(np.zeros(1, EPOCHS), workspace.address, n_epochs, n_batches, random_state, patience)
    try:
        runner.run_epochs(loop)
    finally:
        done = loop.losses()
        if program is None:
            update.advance(len(done) * n_batches)
        if dropout is not None:
            dropout.advance(len(done) * n_batches)
        ends.extend(loop.ends())  # before the losses, in case Ctrl-C comes between them
        losses.extend(done)


class EpochLoop:
    """The arguments of the loop over epochs for a context record, and what it writes.

    Parameters
    ----------
    record : ndarray of shape (1,)
        Of type `epoch_loop.EPOCHS`; written.
    context : int
        Address of the context record.
    n_epochs, n_batches : int
        Epochs, and batches of each.
    random_state : RandomState or None
        What shuffles.
    patience : Patience
    """

    def __init__(self, record, context, n_epochs, n_batches, random_state, patience):
        self._random_state = random_state  # keeps the generator alive
        source = NO_DRAWS if random_state is None else draws(random_state)
        self.lock = source.lock
        self._losses, self.record = np.empty(n_epochs), record
        # One row more: where the clock is looked at within an epoch, after the last, too.
        self._times, self._began = np.zeros((n_epochs + 1, TIMES), np.int64), monotonic_clock.now()
        self.address = record.ctypes.data
        self.set(
            context=context, worker=compilation.worker_address(), next_uint32=source.next_uint32,
            generator=source.state, losses=self._losses.ctypes.data, clock=monotonic_clock.ADDRESS,
            clock_number=monotonic_clock.CLOCK, times=self._times.ctypes.data,
            n_epochs=n_epochs, n_batches=n_batches, n_bad=patience.n_bad,
            left_at=round(1e9 * self._began),
            best=patience.best, tol=patience.tol, n_bad_allowed=patience.n_bad_allowed,
        )  # fmt: skip

    def set(self, **values):
        """Set fields of the record."""
        for name, value in values.items():
            self.record[name] = value

    @property
    def n_done(self):
        """Epochs done."""
        return int(self.record["n_done"][0])

    def share_done(self):
        """Return the epochs done, as a share of all that may be."""
        return self.n_done / len(self._losses)

    def ends(self):
        """Return the times at the ends of the epochs done."""
        if monotonic_clock.ADDRESS:
            return (self._times[: self.n_done, :2] @ (1.0, 1e-9)).tolist()
        return np.linspace(self._began, monotonic_clock.now(), self.n_done + 1)[1:].tolist()

    def seconds(self):
        """Return the seconds that the epochs done have taken, without those when no worker was at them."""
        idle = 1e-9 * self._times[: self.n_done, 2]
        return np.diff(np.array(self.ends()) - idle, prepend=self._began).tolist()

    def losses(self):
        """Return the mean losses of the epochs done."""
        return self._losses[: self.n_done].tolist()
