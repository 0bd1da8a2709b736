"""Tuning fits of small networks side by side: in compiled code from epoch to epoch, one network a thread.

They are scored after their last epoch only, so that nothing needs Python before it. Fits of the comparison
are made one by one: they are scored after each epoch, and how long they take is a result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import check_scoring

from ..engine import Member, MemberTrainer
from ..neural_network import compiled_epochs
from ..neural_network._base import BaseMLP
from ..neural_network.solvers import is_lbfgs
from .training_run import network_of_fit, one_epoch, record_of, score_of, train_and_record

#: Fits at a time: no more are lost on Ctrl-C, and their data are in memory together.
MOST_FITS = 8
#: Parameters of a network that is still small.
_MOST_PARAMETERS = 1 << 20


def is_possible(task):
    """Whether a fit, a `Task`, asks for nothing between its epochs, as far as its parameters tell."""
    network = task.contender.network
    return (
        task.is_tuning
        and task.budget.max_seconds is None
        and isinstance(network, BaseMLP)
        and network.n_members == 1
        and not is_lbfgs(network.solver)
    )


@dataclass
class _Run:
    """A fit after its first epoch."""

    number: int
    task: Any
    split: Any
    network: Any
    loss: float
    seconds: float
    n_more: int
    member: Member | None = None
    arguments: Any = None

    def network_arguments(self):
        """Return the arguments of `MemberTrainer` that describe the network."""
        network = self.network._network(self.network._params.dtype, "cpu")
        return {name: value for name, value in network.items() if name not in ("device", "n_threads")}

    @property
    def kind(self):
        """What runs that are trained together have in common."""
        return *self.network_arguments().values(), self.n_more, *self.arguments.values()


def fit_side_by_side(tasks, splits, scoring, n_threads, tick):
    """Yield the numbers and records of some fits, which are those of `train_and_record`.

    Parameters
    ----------
    tasks : dict
        `Task` by number, of those that are possible.
    splits : Splits
    scoring : str or callable
    n_threads : int or None
        Networks that are trained at once; None is what a network by itself takes.
    tick : callable
        Called now and then with the number of epochs done, of all.
    """
    kinds, alone = {}, []
    for number, task in tasks.items():
        run = _begun(number, task, splits)
        if run.member is None:
            alone.append(number)
        else:
            kinds.setdefault(run.kind, []).append(run)
    for runs in kinds.values():
        first = runs[0]
        own = first.network._network(first.network._params.dtype, "cpu")["n_threads"]
        trainer = MemberTrainer(n_threads=n_threads or own, **first.network_arguments())
        members = [run for run in runs if trainer.takes(run.member)]
        alone += [run.number for run in runs if run not in members]
        trainer.train([run.member for run in members], n_epochs=first.n_more, tick=tick, **first.arguments)
        for run in members:
            if run.member.has_diverged or not np.isfinite(run.network._params).all():
                alone.append(run.number)  # which says in which epoch, and how
            else:
                yield run.number, _record(run, splits.classes, scoring)
    for number in alone:
        task = tasks[number]
        yield number, train_and_record(
            task.contender, task.config, task.seed, splits, task.budget, scoring, is_tuning=True,
            metrics=task.metrics,
        )  # fmt: skip


def _begun(number, task, splits):
    """Make the first epoch of a fit; the run has no member if the others need Python."""
    split = splits.get(task.seed, is_tuning=True)
    network = network_of_fit(task.contender, task.config, task.seed, split)
    error, seconds = one_epoch(network, split, splits.first_call)
    n_more = task.budget.n_epochs(len(split.y_train)) - 1
    run = _Run(number, task, split, network, float(getattr(network, "loss_", math.nan)), seconds, n_more)
    if error is None and network._params.size <= _MOST_PARAMETERS:
        found = compiled_epochs.going_on(network, split.X_train, split.y_train, split.weight_train)
        run.member, run.arguments = found or (None, None)
    return run


def _record(run, classes, scoring):
    member, network = run.member, run.network
    network.loss_ = ([run.loss] + member.losses)[-1]
    score = score_of(check_scoring(network, scoring=scoring), network, run.split)
    curves = {
        "loss": [run.loss, *member.losses],
        "score": [math.nan] * run.n_more + [score],
        "seconds": [run.seconds, *member.seconds],
    }
    return record_of(network, run.split, classes, curves, metrics=run.task.metrics)
