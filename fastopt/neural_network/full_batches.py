"""Training by L-BFGS, on all rows at once."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from fastopt.engine import make_trainer
from fastopt.neural_network import history, solvers
from fastopt.neural_network.data import Data
from fastopt.neural_network.fit_tasks import FitTasks
from fastopt.neural_network.scoring import score_name
from fastopt.neural_network.stopwatch import Stopwatch
from fastopt.neural_network.validation_sets import ValidationSet

if TYPE_CHECKING:
    from fastopt.neural_network._base import BaseMLP


def train_lbfgs(
    estimator: "BaseMLP",
    data: Data,
    *,
    validation_data: Data | None,
    stopwatch: Stopwatch,
    report: Callable[[int, float], object],
    tasks: FitTasks | None,
) -> None:
    """Minimize an estimator's loss by L-BFGS; write what a fit leaves behind.

    Parameters
    ----------
    estimator : BaseMLP
        Its network is initialized.
    data : Data
    validation_data : Data, optional
        Rows to measure after each iteration.
    stopwatch : Stopwatch
        When to stop.
    report : callable
        Called after each iteration with the number of iterations and the loss.
    tasks : FitTasks, optional
        Told of each iteration's beginning and end, for the callbacks.
    """
    network = estimator._network(estimator._params.dtype, estimator.device_)
    trainer = make_trainer(**network)
    history.begin(estimator, anew=False)
    stopwatch.go_on_from(history.elapsed(estimator))
    validation_set = measuring = None
    if validation_data is not None:
        estimator._score_name = score_name(estimator)
        validation_set, measuring = ValidationSet(estimator, validation_data), make_trainer(**network)
    alpha = float(estimator.alpha) * data.weight_scale

    def loss_and_gradient(flat):
        if tasks is not None:
            tasks.begin()  # SciPy evaluates at the start of each iteration, and not after the last
        return trainer.loss_and_gradient(
            flat, data.X, data.targets, alpha=alpha, sample_weight=data.sample_weight
        )

    def iteration_ends(n_iter, loss):
        estimator.n_iter_, estimator.loss_ = n_iter, loss
        history.record(estimator, loss, float("nan"), stopwatch.seconds())
        estimator._report(n_iter, loss, report)
        if validation_set is not None:
            validation_set.measure(estimator, measuring, stopwatch)
        return tasks is not None and tasks.end()

    estimator.n_iter_, estimator.loss_ = solvers.minimize_lbfgs(
        loss_and_gradient,
        estimator._params,
        max_iter=estimator.max_iter,
        max_fun=estimator.max_fun,
        tol=estimator.tol,
        report=iteration_ends,
        stopwatch=stopwatch,
    )
