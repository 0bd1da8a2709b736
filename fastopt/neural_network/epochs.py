"""Training by mini-batches: the loop over epochs, with early stopping and a solver kept between calls."""

import contextlib
from collections.abc import Callable
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from fastopt.engine import make_trainer
from fastopt.neural_network import compiled_epochs, history, validation
from fastopt.neural_network.caller_warnings import (
    warn,
    warn_diverged,
    warn_interrupted,
    warn_not_converged,
    warn_out_of_time,
    warn_without_score,
)
from fastopt.neural_network.data import Data
from fastopt.neural_network.early_stopping import EarlyStopping
from fastopt.neural_network.fit_tasks import FitTasks
from fastopt.neural_network.kept_trainers import kept_trainer
from fastopt.neural_network.regularisation import new_dropout
from fastopt.neural_network.scoring import score_name
from fastopt.neural_network.solvers import StochasticSolver
from fastopt.neural_network.stopwatch import Stopwatch
from fastopt.neural_network.validation_sets import ValidationSet
from fastopt.schedules import Run
from fastopt.stepping.layerwise_state import LayerwiseState

if TYPE_CHECKING:
    from fastopt.neural_network._base import BaseMLP
    from fastopt.neural_network.checkpoints import Checkpoint


class MiniBatchTraining:
    """One call of an estimator's ``fit`` or ``partial_fit`` by mini-batches.

    Parameters
    ----------
    estimator : BaseMLP
        Its network is initialized. What a fit leaves behind is written to it as the epochs pass.
    data : Data
    incremental : bool
        Train for one epoch and keep the optimizer of the last call.
    validation_data : Data, optional
        Rows to measure after each epoch. With early stopping some are held out of ``data`` if there are none.
    stopwatch : Stopwatch
        Began with the call; says when ``max_time`` is over.
    report : callable
        Called after each epoch with the number of epochs and the loss.
    tasks : FitTasks, optional
        Told of each epoch's beginning and end, for the callbacks.
    """

    #: Whether several epochs may run before Python sees one.
    may_run_ahead: bool = True

    def __init__(
        self,
        estimator: "BaseMLP",
        data: Data,
        *,
        incremental: bool,
        validation_data: Data | None,
        stopwatch: Stopwatch,
        report: Callable[[int, float], object],
        tasks: FitTasks | None = None,
    ) -> None:
        if estimator.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        if estimator.checkpoint is not None and incremental:
            raise ValueError(
                f"partial_fit writes no checkpoints, because its end is not known: set checkpoint=None, not "
                f"{estimator.checkpoint!r}, and save the model after the calls that are not to be lost"
            )
        self.estimator, self.data, self.incremental, self.report = estimator, data, incremental, report
        self.tasks = tasks
        self.stopwatch: Stopwatch = stopwatch
        self.is_cut_short: bool = False  # whether the last epoch has left out rows, because time was over
        self.ending: str = ""  # why training has ended; see `ending_now`
        begin_history(estimator, only_if_missing=True, has_validation_set=validation_data is not None)
        stopwatch.go_on_from(history.elapsed(estimator))
        self.rows: np.ndarray | None = None
        self.validation_set: ValidationSet | None = None
        if validation_data is not None:
            self.validation_set = ValidationSet(estimator, validation_data)
        elif estimator.early_stopping:
            self._split()
        self.n_rows: int = self._choose_rows()
        self.solver: StochasticSolver = _prepared_solver(
            estimator, incremental, -(-self.n_rows // self.batch_rows())
        )
        self.watch: EarlyStopping = _early_stopping(estimator, incremental)
        if isinstance(self.solver.update, LayerwiseState):  # it may bind its arrays before it trains
            self.solver.update.n_threads = validation.thread_count(estimator.n_jobs)

    def _choose_rows(self):
        """Return how many rows there are to train on; number them if they are to be shuffled."""
        n_samples = self.data.X.shape[0]
        if self.rows is None and self.estimator.shuffle:
            self.rows = np.arange(n_samples)
        return n_samples if self.rows is None else len(self.rows)

    def _split(self):
        estimator, data = self.estimator, self.data
        self.rows, held_out = validation.held_out_rows(
            data.X.shape[0],
            estimator._stratification(data.scored_targets),
            estimator._random_state,
            estimator.validation_fraction,
        )
        self.hold_out(held_out)

    def hold_out(self, rows: np.ndarray) -> None:
        """Measure these rows of the data after each epoch."""
        self.validation_set = ValidationSet(self.estimator, self.data.take(rows), rows)

    def batch_rows(self) -> int:
        """Return the rows of a mini-batch."""
        return compiled_epochs.batch_rows(self.estimator, self.n_rows)

    def run(self, checkpoint: "Checkpoint | None" = None) -> None:
        """Train, and restore the weights of the best epoch if asked for.

        Parameters
        ----------
        checkpoint : Checkpoint, optional
            Where training goes on, and what each epoch is reported to.
        """
        self.begin()
        with contextlib.nullcontext() if checkpoint is None else checkpoint.opened(self):
            try:
                self._run_epochs(checkpoint)
            except KeyboardInterrupt:
                warn_interrupted()
        if self.watch.best == -np.inf and self.ending not in ("", "diverged"):
            warn_without_score(score_name(self.estimator), self.watch.keeps_best)
        self.watch.restore(self.estimator._params)

    def begin(self) -> None:
        """Begin to count epochs, and warn of a batch that is larger than the data."""
        size = self.estimator.batch_size
        if size != "auto" and size > self.n_rows:
            warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
        self.estimator.n_iter_ = 0

    def _run_epochs(self, checkpoint):
        estimator = self.estimator
        network = estimator._network(estimator._params.dtype, estimator.device_)
        if checkpoint is None and compiled_epochs.can_follow(self):
            with compiled_epochs.trainer(self, network) as trainer:
                while not self.ending:
                    compiled_epochs.train(self, trainer)
                    self.ending = self.ending_now()
        else:
            self._run_epoch_by_epoch(network, checkpoint)
        self.warn_of_ending()

    def warn_of_ending(self) -> None:
        """Warn if training has ended before it converged."""
        estimator = self.estimator
        if self.ending == "diverged":
            warn_diverged(estimator.n_iter_, estimator.loss_)
        elif self.ending == "max_iter":
            warn_not_converged(estimator.max_iter)
        elif self.ending == "max_time":
            warn_out_of_time(estimator.max_time, estimator.n_iter_)

    def _run_epoch_by_epoch(self, network, checkpoint):
        estimator = self.estimator
        # Two trainers: each keeps the buffers of its own batch size from epoch to epoch.
        measuring = None if self.validation_set is None else make_trainer(**network)
        trainer = kept_trainer("partial_fit", **network) if self.incremental else make_trainer(**network)
        while not self.ending:
            if self.tasks is not None:
                self.tasks.begin()
            self._train_epoch(trainer)
            score = self._measure(measuring)
            self.observe(estimator.loss_ if score is None else score)
            if self.solver.epoch_ends(estimator.t_, estimator.loss_, score):
                self._begin_patience_again()
            self.ending = self.ending_now()
            if self.tasks is not None and self.tasks.end() and self.ending != "diverged":
                self.ending = "callback"
            if checkpoint is not None:
                checkpoint.epoch_ends(self)

    def ending_now(self) -> str:
        """Return why training ends with this epoch; an empty string if it goes on."""
        estimator = self.estimator
        if not isfinite(estimator.loss_):
            return "diverged"
        if self.watch.has_run_out and self._stops_at_plateau():
            return "plateau"
        if self.incremental:
            return "max_time" if self.is_cut_short else "partial_fit"
        if estimator.n_iter_ == estimator.max_iter and not self.is_cut_short:
            return "max_iter"
        return "max_time" if self.stopwatch.is_over() else ""

    def _train_epoch(self, trainer):
        estimator, update, params = self.estimator, self.solver.update, self.estimator._params
        rate = self.solver.rates(update.t, 1, 1)[0]
        update.train(params)
        try:
            loss, n_visited = self._train_rows(trainer)
        finally:
            update.eval(params)
            if self.incremental:
                trainer.forget()  # it outlives this call
        self.record(loss / n_visited, rate, self.stopwatch.seconds(), n_visited)
        estimator._report(estimator.n_iter_, estimator.loss_, self.report)

    def _train_rows(self, trainer):
        """Train on all rows once; return the sum of their losses, and how many there was time for."""
        if self.estimator.shuffle:
            # The same draws and swaps as scikit-learn's, which permutes a copy.
            self.estimator._random_state.shuffle(self.rows)
        return self._train_on(trainer, self.data, self.rows), trainer.n_visited

    def _train_on(self, trainer, data, order):
        """Train on rows of some data, in an order or their own; return the sum of their losses."""
        return trainer.train(
            self.estimator._params,
            data.X,
            data.targets,
            self.solver.update,
            batch_size=self.batch_rows(),
            alpha=float(self.estimator.alpha) * data.weight_scale,
            order=order,
            sample_weight=data.sample_weight,
            until=self.until,
            dropout=self.solver.dropout,
        )

    @property
    def until(self) -> float | None:
        """When an epoch is to be cut short; a checkpoint holds whole epochs only."""
        return self.stopwatch.until if self.estimator.checkpoint is None else None

    def record(self, loss: float, rate: float, seconds: float, n_visited: int) -> None:
        """Record an epoch in the estimator's history.

        Parameters
        ----------
        loss : float
        rate : float
            The learning rate of its first step.
        seconds : float
            Of training, until its end.
        n_visited : int
            Its rows: all, unless `until` cut it short.
        """
        estimator = self.estimator
        estimator.n_iter_ += 1
        estimator.t_ += n_visited
        estimator.loss_ = loss
        estimator.loss_curve_.append(loss)
        history.record(estimator, loss, rate, seconds)
        self.is_cut_short = n_visited < self.n_rows
        if self.validation_set is None and vars(estimator).get("validation_scores_") is not None:
            estimator.validation_scores_.append(np.nan)  # an earlier call has monitored a validation set

    def _measure(self, trainer):
        """Measure the validation set, if there is one; return its score if training stops by that."""
        estimator = self.estimator
        if self.validation_set is None:
            return None
        score = self.validation_set.measure(estimator, trainer, self.stopwatch)
        estimator.validation_scores_.append(score)
        return score if estimator.early_stopping else None

    def observe(self, value: float) -> None:
        """Count an epoch of this loss or score as an improvement or not."""
        estimator, watch = self.estimator, self.watch
        watch.observe(value, estimator._params)
        estimator._no_improvement_count = watch.n_bad
        if watch.greater_is_better:
            estimator.best_validation_score_ = watch.best
        else:
            estimator.best_loss_ = watch.best

    def _stops_at_plateau(self):
        """Lower the learning rate when patience has run out; return whether training ends instead."""
        estimator = self.estimator
        stops, answer = self.solver.answer_plateau()
        if estimator.verbose:
            what = "Validation score" if estimator.early_stopping else "Training loss"
            print(
                f"{what} did not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change:d} "
                f"consecutive epochs. {answer}"
            )
        if not stops:
            self._begin_patience_again()
        return stops

    def _begin_patience_again(self):
        self.watch.begin_again()
        self.estimator._no_improvement_count = 0


def begin_history(
    estimator: "BaseMLP", only_if_missing: bool = False, has_validation_set: bool = False
) -> None:
    """Begin new curves, best values and counts.

    Parameters
    ----------
    estimator : BaseMLP
    only_if_missing : bool
        Go on with those that there are, unless they go by another score.
    has_validation_set : bool
        Whether one was passed to ``fit``.
    """
    exists = hasattr(estimator, "loss_curve_") and (estimator.best_loss_ is None) == estimator.early_stopping
    if estimator.early_stopping or has_validation_set:
        name = score_name(estimator)
        exists = exists and vars(estimator).get("_score_name", name) == name
        estimator._score_name = name
    if only_if_missing and exists:
        history.begin(estimator, anew=False)
        if has_validation_set and estimator.validation_scores_ is None:
            estimator.validation_scores_ = [np.nan] * len(estimator.loss_curve_)
        return
    history.begin(estimator, anew=True)
    estimator.loss_curve_ = []
    estimator._no_improvement_count = 0
    estimator.best_loss_ = None if estimator.early_stopping else np.inf
    estimator.validation_scores_ = [] if estimator.early_stopping or has_validation_set else None
    estimator.best_validation_score_ = -np.inf if estimator.early_stopping else None


def _early_stopping(estimator, incremental):
    by_score = estimator.early_stopping
    if not incremental:
        # scikit-learn carries the count over a warm start, and then stops after a single epoch.
        estimator._no_improvement_count = 0
    watch = EarlyStopping(
        best=estimator.best_validation_score_ if by_score else estimator.best_loss_,
        tol=estimator.tol,
        n_iter_no_change=estimator.n_iter_no_change,
        greater_is_better=by_score,
        n_bad=estimator._no_improvement_count,
    )
    keeps = estimator.restore_best_weights
    if keeps is True or (keeps == "auto" and by_score):
        # A warm start whose score never exceeds the earlier best ends with its last weights in
        # scikit-learn (its "best" arrays are the ones being trained), so it does here unless asked.
        again = estimator.n_iter_ > 0 and keeps == "auto"
        watch.keep_best(None if again else estimator._params)
    return watch


def _prepared_solver(estimator, incremental, n_batches):
    """Return the solver to train with, kept from the last call or new, and store it on the estimator."""
    params = estimator._params
    run = Run(n_batches * estimator.max_iter, n_batches, epochs_end_steps=not incremental)
    old = getattr(estimator, "_optimizer", None)
    if old is not None and not old.fits(params):
        old = None
    if old is not None:
        old.make_writable()
        if incremental:
            old.go_on(run)
            return old
    estimator._optimizer = StochasticSolver(estimator, estimator._layout, params.dtype, run)
    estimator._optimizer.dropout = new_dropout(estimator, run)
    if old is not None and estimator.warm_start and not estimator.reset_optimizer:
        estimator._optimizer.continue_from(old)
    return estimator._optimizer
