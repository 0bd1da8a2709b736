"""Several epochs at once, where nothing has to be asked between them: no report, no score, no new rate."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from fastopt.engine import Member, MemberTrainer, Trainer, make_trainer
from fastopt.engine.cpu import several_epochs
from fastopt.neural_network import progress, validation
from fastopt.neural_network.data import data_of_fit
from fastopt.neural_network.kept_trainers import kept_trainer
from fastopt.optimizers.wrappers import Wrapper
from fastopt.schedules import Schedule
from fastopt.stepping import scheduling

if TYPE_CHECKING:
    from fastopt.neural_network._base import BaseMLP
    from fastopt.neural_network.epochs import MiniBatchTraining

# scikit-learn's batch_size="auto".
_AUTO_BATCH = 200
#: Most bytes of parameters and of a batch in all layers up to which a trainer is kept: its buffers take a few
#: times as much.
_KEPT_BYTES = 1 << 19


def can_follow(training: "MiniBatchTraining") -> bool:
    """Whether a `MiniBatchTraining` may run several epochs before it returns to Python."""
    estimator, solver, update = training.estimator, training.solver, training.solver.update
    return (  # what takes longest to tell comes last
        training.may_run_ahead
        and not training.incremental
        and training.validation_set is None
        and not training.watch.keeps_best
        and training.report is progress.ignore
        and training.tasks is None
        and not estimator.verbose
        and estimator.device_ == "cpu"
        and solver.rule != "invscaling"
        and not update.optimizer.innermost.has_modes  # their switch between training and evaluation rounds
        and not _reacts(update)
        and not _observes(solver.dropout)
    )


def _reacts(update):
    """Whether a schedule looks at losses, as `fastopt.schedules.plateau` does, or at each epoch's steps."""
    hyper = update.hyper
    if not scheduling.scheduled(hyper):
        return False
    return isinstance(update.optimizer, Wrapper) or scheduling.observe(hyper, math.nan, False) != hyper


def _observes(dropout):
    """Whether a rate of dropout follows a schedule that looks at losses."""
    return dropout is not None and scheduling.observe(dropout.hyper, math.nan, False) != dropout.hyper


@contextmanager
def trainer(training: "MiniBatchTraining", network: dict[str, Any]) -> Iterator[Any]:
    """Give a trainer for the block: one that is kept between fits if that takes little memory.

    Parameters
    ----------
    training : MiniBatchTraining
    network : dict
        Arguments of `make_trainer`.
    """
    params, widths = training.estimator._params, network["layout"].layer_sizes
    if params.nbytes + params.itemsize * training.batch_rows() * sum(widths) > _KEPT_BYTES:
        yield make_trainer(**network)
        return
    kept = kept_trainer("fit", **network)
    try:
        yield kept
    finally:
        kept.forget()


def train(training: "MiniBatchTraining", trainer: Trainer) -> None:
    """Train for one or more epochs; record what `MiniBatchTraining` does after each, also before Ctrl-C."""
    estimator, data, watch = training.estimator, training.data, training.watch
    losses: list[float] = []
    ends: list[float] = []
    solver, first_step = training.solver, training.solver.update.t
    solver.update.train(estimator._params)
    try:
        several_epochs.train_epochs(
            trainer,
            estimator._params,
            data.X,
            data.targets,
            solver.update,
            batch_size=training.batch_rows(),
            alpha=float(estimator.alpha) * data.weight_scale,
            order=training.rows,
            sample_weight=data.sample_weight,
            random_state=estimator._random_state if estimator.shuffle else None,
            n_epochs=estimator.max_iter - estimator.n_iter_,
            patience=several_epochs.Patience(watch.best, watch.tol, watch.n_iter_no_change, watch.n_bad),
            losses=losses,
            ends=ends,
            until=training.until,
            dropout=training.solver.dropout,
        )
    finally:
        solver.update.eval(estimator._params)
        _record(training, first_step, losses, ends, trainer.n_visited)


def _record(training, first_step, losses, ends, n_visited):
    """Record what `MiniBatchTraining` does after each epoch, of ``n_visited`` rows."""
    solver, n_batches = training.solver, -(-training.n_rows // training.batch_rows())
    rates = solver.rates(first_step, len(losses), n_batches)
    for loss, rate, end in zip(losses, rates, ends, strict=False):
        training.record(loss, rate, training.stopwatch.seconds(end), n_visited)
        training.observe(loss)
    solver.n_epochs += len(losses)


def member_trainer(trainings: Sequence["MiniBatchTraining"], network: dict[str, Any]) -> MemberTrainer | None:
    """Return what trains several networks side by side, or None if one of them has to ask Python something.

    Parameters
    ----------
    trainings : sequence of MiniBatchTraining
    network : dict
        Arguments of `make_trainer` for each of them.
    """
    if not all(map(can_follow, trainings)):
        return None
    trainer = MemberTrainer(**{name: value for name, value in network.items() if name != "device"})
    return trainer if all(trainer.takes(_member(one)) for one in trainings) else None


def train_members(
    trainings: Sequence["MiniBatchTraining"], trainer: MemberTrainer, tick: Callable[[int], object]
) -> None:
    """Train several networks side by side to their ends; record what `MiniBatchTraining` does.

    Parameters
    ----------
    trainings : sequence of MiniBatchTraining
        Begun. They share their data, and ``alpha``, ``batch_size`` and the time when they are to end.
    trainer : MemberTrainer
    tick : callable
        Called now and then with the sum of their epochs.
    """
    n_before = 0
    while running := [one for one in trainings if not one.ending]:
        first, members = running[0], [_member(one) for one in running]
        estimator, data = first.estimator, first.data
        steps = [one.solver.update.t for one in running]
        is_first = not estimator.n_iter_  # an epoch that is cut short would not be recorded
        n_epochs = estimator.max_iter - max(one.estimator.n_iter_ for one in running)
        try:
            trainer.train(
                members,
                n_epochs=1 if is_first and first.until is not None else n_epochs,
                batch_size=first.batch_rows(),
                alpha=float(estimator.alpha) * data.weight_scale,
                until=None if is_first else first.until,
                tick=lambda n_done, n_before=n_before: tick(n_before + n_done),
            )
        finally:
            for one, member, step in zip(running, members, steps, strict=True):
                _record(one, step, member.losses, member.ends, one.n_rows)
        n_before += sum(len(member.losses) for member in members)
        for one in running:
            one.ending = one.ending_now()


def going_on(
    estimator: "BaseMLP", X: Any, y: Any, sample_weight: Any = None
) -> tuple[Member, dict[str, Any]] | None:
    """Return a network as `MemberTrainer` takes it, whose epochs are further calls of `partial_fit`.

    Parameters
    ----------
    estimator : BaseMLP
        After a call of `partial_fit` with these rows.
    X, y, sample_weight
        As `partial_fit` takes them.

    Returns
    -------
    member : Member
        Its parameters are the estimator's; what else calls record is not.
    arguments : dict
        Of `MemberTrainer.train`: ``batch_size`` and ``alpha``.

    None is returned if a call does more than train: with schedules, or a rate that reacts to the loss,
    weights that are restored, a limit of time, draws that begin anew, or a device.
    """
    solver = estimator._optimizer
    update, dropout = solver.update, solver.dropout
    if (
        estimator.device_ != "cpu"
        or estimator.verbose
        or estimator.max_time is not None
        or estimator.restore_best_weights is True
        or estimator._is_seeded
        or solver.rule != "constant"
        or update.optimizer.innermost.has_modes
        or scheduling.scheduled(update.hyper)
        or (dropout is not None and any(isinstance(rate, Schedule) for rate in dropout.hyper["rates"]))
    ):
        return None
    X, targets = estimator._validate_input(X, y, incremental=True, reset=False)
    weight = estimator._class_weighing(targets)(targets, validation.check_sample_weight(sample_weight, X))
    data, _ = data_of_fit(estimator, X, targets, weight, None)
    n_rows = data.X.shape[0]
    member = Member(
        estimator._params,
        update,
        data.X,
        data.targets,
        np.arange(n_rows),
        estimator._random_state if estimator.shuffle else None,
        sample_weight=data.sample_weight,
        dropout=dropout,
        shuffles_anew=True,
    )
    size = batch_rows(estimator, n_rows)
    return member, {"batch_size": size, "alpha": float(estimator.alpha) * data.weight_scale}


def batch_rows(estimator: "BaseMLP", n_rows: int) -> int:
    """Return the rows of a mini-batch: scikit-learn's, if the estimator leaves the choice to us."""
    return min(_AUTO_BATCH if estimator.batch_size == "auto" else estimator.batch_size, n_rows)


def _member(training):
    """Return a network, its data and its optimizer as `MemberTrainer` takes them."""
    estimator, data, watch = training.estimator, training.data, training.watch
    rows = np.arange(data.X.shape[0]) if training.rows is None else training.rows
    return Member(
        estimator._params,
        training.solver.update,
        data.X,
        data.targets,
        rows,
        estimator._random_state if estimator.shuffle else None,
        sample_weight=data.sample_weight,
        dropout=training.solver.dropout,
        patience=several_epochs.Patience(watch.best, watch.tol, watch.n_iter_no_change, watch.n_bad),
    )
