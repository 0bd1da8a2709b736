"""The rounds of a fit, seen from the client: what it does after each of them."""

import contextlib
import math
from collections.abc import Callable
from typing import Any

from fastopt.dask import rounds
from fastopt.dask.checkpoint import RoundCheckpoint
from fastopt.dask.cluster import ClusterExecutor
from fastopt.dask.partitions import Facts
from fastopt.dask.requirements import check_schedules
from fastopt.dask.rows import TrainingRows, ValidationRows
from fastopt.neural_network import history
from fastopt.neural_network.caller_warnings import (
    warn_diverged,
    warn_interrupted,
    warn_not_converged,
    warn_out_of_time,
)
from fastopt.neural_network.early_stopping import EarlyStopping
from fastopt.neural_network.stopwatch import Stopwatch


class RoundTraining:
    """The rounds of one call of ``fit``.

    Parameters
    ----------
    estimator : DaskMLPClassifier or DaskMLPRegressor
        Its network is initialized. What a fit leaves behind is written to it as the rounds pass.
    executor : ClusterExecutor
    rows : TrainingRows
    validation_rows : ValidationRows or None
        Measured after each round.
    report : callable
        Called after each round with the number of epochs and the loss.
    stopwatch : Stopwatch
        Began with the call; says when ``max_time`` is over.
    """

    def __init__(
        self,
        estimator: Any,
        executor: ClusterExecutor,
        rows: TrainingRows,
        validation_rows: ValidationRows | None,
        report: Callable[[int, float], object],
        stopwatch: Stopwatch,
    ) -> None:
        self.estimator, self.executor, self.recipe = estimator, executor, rows.recipe
        self.rows, self.validation_rows, self.report = rows, validation_rows, report
        self.outer = rounds.OuterStep(estimator.outer_lr, estimator.outer_momentum)
        self.n_rounds, self.ending = 0, ""
        self._solver = rounds.solver_of_round(self.recipe, 0)  # for the rates that history_ shows
        check_schedules(type(estimator).__name__, self._solver)
        self.stopwatch = stopwatch
        self.stopwatch.go_on_from(history.elapsed(estimator))
        by_score = estimator.early_stopping
        self.watch = EarlyStopping(
            best=estimator.best_validation_score_ if by_score else estimator.best_loss_,
            tol=estimator.tol,
            n_iter_no_change=estimator.n_iter_no_change,
            greater_is_better=by_score,
        )
        keeps = estimator.restore_best_weights
        if keeps is True or (keeps == "auto" and by_score):
            self.watch.keep_best(estimator._params)

    def run(self, checkpoint: RoundCheckpoint | None, facts: Facts) -> None:
        """Train until the rounds are over, or patience, time or finite numbers are."""
        with contextlib.nullcontext() if checkpoint is None else checkpoint.opened(self, facts):
            try:
                while not self.ending:
                    self._round()
                    if checkpoint is not None:
                        checkpoint.round_ends(self)
            except KeyboardInterrupt:
                warn_interrupted()
                if checkpoint is not None and self.n_rounds:
                    checkpoint.write(self)
        estimator = self.estimator
        self.watch.restore(estimator._params)
        if self.ending == "diverged":
            warn_diverged(estimator.n_iter_, estimator.loss_)
        elif self.ending == "max_iter":
            warn_not_converged(estimator.max_iter)
        elif self.ending == "max_time":
            warn_out_of_time(estimator.max_time, estimator.n_iter_)

    def _round(self):
        estimator = self.estimator
        average, loss, n_rows = self._persistently(
            self.rows, lambda: self.rows.submit_round(estimator._params, self.n_rounds)
        )
        estimator._params[:] = self.outer(estimator._params, average)
        self.n_rounds += 1
        self._record(loss / n_rows, n_rows)
        score = self._measure()
        value = estimator.loss_ if score is None else score
        self.watch.observe(value, estimator._params)
        estimator._no_improvement_count = self.watch.n_bad
        if self.watch.greater_is_better:
            estimator.best_validation_score_ = self.watch.best
        else:
            estimator.best_loss_ = self.watch.best
        self.ending = self._ending()

    def _persistently(self, rows, submit):
        """Return a result; what is lost with workers more often than Dask repeats it is submitted anew."""
        for retries_left in reversed(range(self.estimator.max_round_retries + 1)):
            try:
                return self.executor.result(submit())
            except self.executor.lost:
                self.executor.check(rows.recipe_task)
                if not retries_left:
                    raise
                rows.renew()
                self.executor.forget_lost()
        raise AssertionError

    def _record(self, loss, n_rows):
        estimator, recipe = self.estimator, self.recipe
        steps = min(self.n_rounds * recipe.local_steps, recipe.n_steps)
        estimator.n_rounds_ = self.n_rounds
        estimator.n_iter_ = math.ceil(steps / recipe.steps_per_epoch)
        estimator.t_ += n_rows
        estimator.loss_ = loss
        estimator.loss_curve_.append(loss)
        rate = self._solver.rates((self.n_rounds - 1) * recipe.local_steps, 1, 1)[0]
        history.record(estimator, loss, rate, self.stopwatch.seconds())
        estimator._report(estimator.n_iter_, loss, self.report)

    def _measure(self):
        """Measure the validation rows, if there are any; return their score if training stops by it."""
        estimator = self.estimator
        if self.validation_rows is None:
            return None
        tally = self._persistently(
            self.validation_rows, lambda: self.validation_rows.submit_tally(estimator._params)
        )
        score = -tally.mean_loss if estimator.scoring == "loss" else estimator._score_of(tally)
        history.record_validation(estimator, tally.mean_loss, score, self.stopwatch.seconds())
        estimator.validation_scores_.append(score)
        return score if estimator.early_stopping else None

    def _ending(self):
        if not math.isfinite(self.estimator.loss_):
            return "diverged"
        if self.watch.has_run_out:
            return "plateau"
        if self.n_rounds == self.recipe.n_rounds:
            return "max_iter"
        return "max_time" if self.stopwatch.is_over() else ""
