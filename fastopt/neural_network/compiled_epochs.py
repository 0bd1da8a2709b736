"""Several epochs at once, where nothing has to be asked between them: no report, no score, no new rate."""

import math

from fastopt.engine.cpu import several_epochs
from fastopt.neural_network import progress
from fastopt.stepping import scheduling
from fastopt.stepping.flat_state import FlatState


def can_follow(training) -> bool:
    """Whether a `MiniBatchTraining` may run several epochs before it returns to Python."""
    estimator, solver, update = training.estimator, training.solver, training.solver.update
    return (
        isinstance(update, FlatState)
        and not update.optimizer.has_modes
        and not _reacts(update.hyper)
        and solver.rule != "invscaling"
        and training.held_out is None
        and not training.watch.keeps_best
        and not training.incremental
        and training.report is progress.ignore
        and not estimator.verbose
        and estimator.device_ == "cpu"
    )


def _reacts(hyper):
    """Whether a schedule looks at the losses, as `fastopt.schedules.plateau` does."""
    return bool(scheduling.scheduled(hyper)) and scheduling.observe(hyper, math.nan, False) != hyper


def train(training, trainer) -> None:
    """Train for one or more epochs; record what `MiniBatchTraining` does after each, also before Ctrl-C."""
    estimator, data, watch = training.estimator, training.data, training.watch
    losses: list[float] = []
    try:
        several_epochs.train_epochs(
            trainer,
            estimator._params,
            data.X,
            data.targets,
            training.solver.update,
            batch_size=training.batch_rows(),
            alpha=float(estimator.alpha) * data.weight_scale,
            order=training.rows,
            sample_weight=data.sample_weight,
            random_state=estimator._random_state if estimator.shuffle else None,
            n_epochs=estimator.max_iter - estimator.n_iter_,
            patience=several_epochs.Patience(watch.best, watch.tol, watch.n_iter_no_change, watch.n_bad),
            losses=losses,
        )
    finally:
        for loss in losses:
            training.record(loss)
            training.observe(loss)
        training.solver.n_epochs += len(losses)
