"""The fits of the landscape: an optimizer on one data set with one network, tuned and then compared."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import landscape_cases as cases
import numpy as np
from landscape_cases import Contender, Table

from fastopt.engine import Layout, Member, MemberTrainer, Trainer
from fastopt.neural_network.initialization import initialize
from fastopt.schedules import Run, cosine

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Epochs after which the loss of test rows is kept.
KEPT = (1, 2, 3, 4, 6, 8, 10, 13, 16, 20, 25, 30)
#: How often a grid is extended where its best rate is its first or last, and by how many rates.
EXTENSIONS, EXTENSION = 2, 2


@dataclass(frozen=True)
class Unit:
    """One optimizer on one data set: the smallest piece of work that is kept.

    Attributes
    ----------
    stage : str
        What the unit is for: ``main``, ``batch`` or ``decay``.
    table, size, contender, schedule : str
        Names.
    batch : int
        Rows of a mini-batch.
    weight_decay : float or None
        None is the optimizer's default.
    """

    stage: str
    table: str
    size: str
    contender: str
    schedule: str = "constant"
    batch: int = cases.BATCH
    weight_decay: float | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """What a result is found by."""
        return tuple(vars(self).values())


class Bench:
    """Fits networks of one shape on one data set.

    Parameters
    ----------
    table : Table
    size : str
        One of `landscape_cases.SIZES`.
    """

    def __init__(self, table: Table, size: str) -> None:
        self.table = table
        self.dtype = table.X.dtype
        self.layout = Layout([table.X.shape[1], *cases.SIZES[size], table.Y.shape[1]])
        network = {
            "layout": self.layout, "activation": "relu", "out_activation": table.out_activation,
            "loss": table.loss, "dtype": self.dtype, "n_threads": 1,
        }  # fmt: skip
        self.members = MemberTrainer(**network)
        self.training, self.measuring = Trainer(**network), Trainer(**network)

    def begin(self, optimizer: Any, seed: int, batch: int, validated_on: np.ndarray | None) -> Member:
        """Return a network before its first epoch, with scikit-learn's stream of draws.

        Parameters
        ----------
        optimizer : Optimizer
        seed : int
            Of rows, initial weights and order of batches.
        batch : int
        validated_on : ndarray or None
            Rows of the table to measure after each epoch; None are the test rows.
        """
        table, draws = self.table, np.random.RandomState(seed)
        rows, _ = table.rows(seed)
        X, Y = np.ascontiguousarray(table.X[rows]), np.ascontiguousarray(table.Y[rows])
        X_val, Y_val = (table.X_test, table.Y_test)
        if validated_on is not None:
            X_val, Y_val = (np.ascontiguousarray(a[validated_on]) for a in (table.X, table.Y))
        params = initialize(self.layout, "relu", draws, self.dtype)
        n_batches = -(-len(X) // batch)
        run = Run(n_batches * cases.EPOCHS, n_batches, epochs_end_steps=True)
        update = optimizer.flat(self.layout.size, self.layout.n_decay, self.dtype, run)
        held_out = np.arange(len(X_val))
        return Member(
            params, update, X, Y, np.arange(len(X)), draws, held_out=held_out, X_val=X_val, Y_val=Y_val
        )

    def train(self, members: Sequence[Member], batch: int, n_epochs: int | None = None) -> float:
        """Train networks to the end, or for some epochs; return the processor's seconds."""
        n_epochs = n_epochs or cases.EPOCHS
        begin = time.process_time()
        if all(self._is_compiled(member) for member in members):
            self.members.train(members, n_epochs=n_epochs, batch_size=batch)
            return time.process_time() - begin
        return sum(self._train_by_epochs(member, batch, n_epochs) for member in members)

    def _is_compiled(self, member):
        """Whether no Python is needed between epochs: the optimizer's average is not what is validated."""
        optimizer = member.update.optimizer
        averages = getattr(optimizer, "averages", False) and member.held_out is not None
        return not averages and not optimizer.innermost.has_modes and self.members.takes(member)

    def _train_by_epochs(self, member, batch, n_epochs):
        """Train epoch by epoch; return the seconds of training without those of measuring."""
        seconds = 0.0
        for _ in range(n_epochs):
            begin = time.process_time()
            member.update.train(member.params)
            member.random_state.shuffle(member.rows)
            loss = self._train_epoch(member, batch)
            member.update.eval(member.params)
            seconds += time.process_time() - begin
            member.losses.append(loss / len(member.rows))
            if not math.isfinite(loss):
                break
            if member.held_out is not None:
                measured = self.measuring.evaluate(member.params, member.X_val, member.Y_val, keep=True)[1]
                member.validation_losses.append(measured)
        self.training.forget()
        self.measuring.forget()
        return seconds

    def _train_epoch(self, member, batch):
        return self.training.train(
            member.params, member.X, member.Y, member.update, batch_size=batch, alpha=0.0, order=member.rows
        )

    def score(self, member: Member) -> float | None:
        """Return the share of wrong classes, or the root mean square error, of the rows that are measured."""
        if _diverged(member):
            return None
        outputs = self.measuring.predict(member.params, member.X_val)
        Y = member.Y_val
        if not self.table.is_classification:
            return float(np.sqrt(np.mean((outputs - Y) ** 2)) / Y.std())
        if Y.shape[1] == 1:
            return float(np.mean((outputs > 0.5) != (Y > 0.5)))
        return float(np.mean(outputs.argmax(axis=1) != Y.argmax(axis=1)))


def _diverged(member):
    losses = member.validation_losses
    return len(losses) < cases.EPOCHS or not math.isfinite(losses[-1]) or member.has_diverged


def _rounded(value):
    """Return four digits, or None for what JSON has no name for."""
    return float(f"{value:.4g}") if value is not None and math.isfinite(value) else None


def optimizer_of(contender: Contender, rate: float, unit: Unit) -> Any:
    """Return the optimizer of a unit at a rate."""
    optimizer = contender.make(cosine(rate) if unit.schedule == "cosine" else rate)
    if unit.weight_decay is not None:
        optimizer.set_params(weight_decay=unit.weight_decay)
    return optimizer


def batch_of(unit: Unit, bench: Bench) -> int:
    """Return the rows of a mini-batch: L-BFGS takes all."""
    return bench.table.n_training if unit.contender == "lbfgs" else unit.batch


def tune(bench: Bench, contender: Contender, unit: Unit, rates: Sequence[float]) -> list[list[Any]]:
    """Return (rate, validation loss and training loss of each tuning seed); None where training diverged."""
    batch = batch_of(unit, bench)
    members = [
        bench.begin(optimizer_of(contender, rate, unit), seed, batch, bench.table.rows(seed)[1])
        for rate in rates
        for seed in cases.TUNING_SEEDS
    ]
    bench.train(members, batch)
    ends = [[None, None] if _diverged(m) else [m.validation_losses[-1], m.losses[-1]] for m in members]
    n = len(cases.TUNING_SEEDS)
    return [
        [rate, *(_rounded(ends[n * i + j][k]) for k in (0, 1) for j in range(n))]
        for i, rate in enumerate(rates)
    ]


def tuned_loss(row: Sequence[Any]) -> float:
    """Return the mean validation loss of a row of `tune`; infinity if a seed diverged."""
    losses = row[1 : 1 + len(cases.TUNING_SEEDS)]
    return math.inf if None in losses else sum(losses) / len(losses)


def run(unit: Unit, bench: Bench, contender: Contender) -> dict[str, Any]:
    """Return the record of a unit: what tuning found, and the comparison at the rate that it chose."""
    begin = time.process_time()
    steps = list(cases.STEPS)
    rows = tune(bench, contender, unit, contender.rates(steps))
    for _ in range(EXTENSIONS):
        best = min(range(len(rows)), key=lambda i: tuned_loss(rows[i]))
        if best == 0:  # or all have diverged
            more = [steps[0] - 1 - i for i in range(EXTENSION)][::-1]
            rows, steps = tune(bench, contender, unit, contender.rates(more)) + rows, more + steps
        elif best == len(rows) - 1:
            more = [steps[-1] + 1 + i for i in range(EXTENSION)]
            rows, steps = rows + tune(bench, contender, unit, contender.rates(more)), steps + more
        else:
            break
    chosen = min(rows, key=tuned_loss)[0]
    batch = batch_of(unit, bench)
    members = [bench.begin(optimizer_of(contender, chosen, unit), seed, batch, None) for seed in cases.SEEDS]
    bench.train(members, batch)
    return {
        **vars(unit),
        "tuning": rows,
        "chosen": chosen,
        "comparison": [_compared(bench, m, seed) for m, seed in zip(members, cases.SEEDS, strict=True)],
        "training_seconds": _rounded(_training_seconds(bench, contender, chosen, unit, batch, members[0])),
        "seconds": _rounded(time.process_time() - begin),
    }


def _compared(bench, member, seed):
    curve = member.validation_losses
    return {
        "seed": seed,
        "train": _rounded(member.losses[-1]) if member.losses else None,
        "score": _rounded(bench.score(member)),
        "curve": [_rounded(curve[epoch - 1]) if epoch <= len(curve) else None for epoch in KEPT],
    }


def _training_seconds(bench, contender, rate, unit, batch, first):
    """Return the seconds of a fit that measures nothing, whose losses must be those of the first."""
    again = bench.begin(optimizer_of(contender, rate, unit), cases.SEEDS[0], batch, None)
    again.held_out = None
    seconds = bench.train([again], batch)
    if not np.array_equal(again.losses, first.losses, equal_nan=True):
        raise AssertionError(f"{unit} trains otherwise when it is measured")
    return seconds
