"""Training by mini-batches: the loop over epochs, with early stopping and a solver kept between calls."""

import contextlib
from collections.abc import Callable
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from fastopt.engine import make_trainer
from fastopt.engine.validation import Rows
from fastopt.neural_network import compiled_epochs, validation
from fastopt.neural_network.caller_warnings import warn, warn_diverged, warn_interrupted, warn_not_converged
from fastopt.neural_network.early_stopping import EarlyStopping
from fastopt.neural_network.fit_tasks import FitTasks
from fastopt.neural_network.kept_trainers import kept_trainer
from fastopt.neural_network.solvers import StochasticSolver
from fastopt.schedules import Run
from fastopt.stepping.layerwise_state import LayerwiseState

if TYPE_CHECKING:
    from fastopt.neural_network._base import BaseMLP
    from fastopt.neural_network.checkpoints import Checkpoint

# scikit-learn's batch_size="auto".
_AUTO_BATCH = 200


class Data(NamedTuple):
    """Rows in the form that the engine reads: ``X``, targets of shape (n_samples, n_outputs), weights.

    The weights may be `weight_scale` times those that were given; ``alpha`` has to be multiplied by it, too.
    """

    X: Rows
    targets: np.ndarray
    sample_weight: np.ndarray | None
    weight_scale: float = 1.0

    @classmethod
    def of(
        cls, X: Rows, targets: npt.ArrayLike, sample_weight: np.ndarray | None, dtype: npt.DTypeLike
    ) -> "Data":
        """Convert validated rows to the form that the engine reads."""
        weights = validation.as_engine_weights(sample_weight, dtype)
        targets = np.ascontiguousarray(targets, dtype=dtype)
        return cls(validation.as_engine_array(X, dtype), targets, *weights)

    def take(self, rows: np.ndarray) -> "Data":
        """Return some of the rows."""
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        X = validation.as_engine_array(self.X[rows], self.X.dtype)
        return Data(X, self.targets[rows], weight, self.weight_scale)


class MiniBatchTraining:
    """One call of an estimator's ``fit`` or ``partial_fit`` by mini-batches.

    Parameters
    ----------
    estimator : BaseMLP
        Its network is initialized. What a fit leaves behind is written to it as the epochs pass.
    data : Data
    incremental : bool
        Train for one epoch and keep the optimizer of the last call.
    report : callable
        Called after each epoch with the number of epochs and the loss.
    tasks : FitTasks, optional
        Told of each epoch's beginning and end, for the callbacks.
    """

    def __init__(
        self,
        estimator: "BaseMLP",
        data: Data,
        *,
        incremental: bool,
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
        self.ending: str = ""  # why training has ended; see `_ending`
        begin_history(estimator, only_if_missing=True)
        self.rows: np.ndarray | None = None
        self.held_out: Data | None = None
        self.held_out_rows: np.ndarray | None = None
        if estimator.early_stopping:
            self._split()
        elif estimator.shuffle:
            self.rows = np.arange(data.X.shape[0])
        self.n_rows: int = data.X.shape[0] if self.rows is None else len(self.rows)
        self.solver: StochasticSolver = _prepared_solver(
            estimator, incremental, -(-self.n_rows // self.batch_rows())
        )
        self.watch: EarlyStopping = _early_stopping(estimator, incremental)
        if isinstance(self.solver.update, LayerwiseState):  # it may bind its arrays before it trains
            self.solver.update.n_threads = validation.thread_count(estimator.n_jobs)

    def _split(self):
        estimator, data = self.estimator, self.data
        self.rows, held_out = validation.held_out_rows(
            data.X.shape[0],
            estimator._stratification(data.targets),
            estimator._random_state,
            estimator.validation_fraction,
        )
        self.hold_out(held_out)

    def hold_out(self, rows: np.ndarray) -> None:
        """Score these rows after each epoch."""
        self.held_out_rows, self.held_out = rows, self.data.take(rows)
        if self.held_out.sample_weight is not None and self.held_out.sample_weight.sum() == 0:
            raise ValueError(
                "The rows held out for early stopping have a total sample_weight of 0, so they cannot be "
                "scored. Increase 'validation_fraction', or leave out rows without weight."
            )

    def batch_rows(self) -> int:
        """Return the rows of a mini-batch."""
        size = self.estimator.batch_size
        return min(_AUTO_BATCH if size == "auto" else size, self.n_rows)

    def run(self, checkpoint: "Checkpoint | None" = None) -> None:
        """Train, and restore the weights of the best epoch if asked for.

        Parameters
        ----------
        checkpoint : Checkpoint, optional
            Where training goes on, and what each epoch is reported to.
        """
        size = self.estimator.batch_size
        if size != "auto" and size > self.n_rows:
            warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
        self.estimator.n_iter_ = 0
        with contextlib.nullcontext() if checkpoint is None else checkpoint.opened(self):
            try:
                self._run_epochs(checkpoint)
            except KeyboardInterrupt:
                warn_interrupted()
        self.watch.restore(self.estimator._params)

    def _run_epochs(self, checkpoint):
        estimator = self.estimator
        network = estimator._network(estimator._params.dtype, estimator.device_)
        if checkpoint is None and compiled_epochs.can_follow(self):
            with compiled_epochs.trainer(self, network) as trainer:
                while not self.ending:
                    compiled_epochs.train(self, trainer)
                    self.ending = self._ending()
        else:
            self._run_epoch_by_epoch(network, checkpoint)
        if self.ending == "diverged":
            warn_diverged(estimator.n_iter_, estimator.loss_)
        elif self.ending == "max_iter":
            warn_not_converged(estimator.max_iter)

    def _run_epoch_by_epoch(self, network, checkpoint):
        estimator = self.estimator
        # Two trainers: each keeps the buffers of its own batch size from epoch to epoch.
        scorer = None if self.held_out is None else make_trainer(**network)
        trainer = kept_trainer("partial_fit", **network) if self.incremental else make_trainer(**network)
        while not self.ending:
            if self.tasks is not None:
                self.tasks.begin()
            self._train_epoch(trainer)
            score = None if self.held_out is None else self._score(scorer)
            self.observe(estimator.loss_ if score is None else score)
            if self.solver.epoch_ends(estimator.t_, estimator.loss_, score):
                self._begin_patience_again()
            self.ending = self._ending()
            if self.tasks is not None and self.tasks.end() and self.ending != "diverged":
                self.ending = "callback"
            if checkpoint is not None:
                checkpoint.epoch_ends(self)

    def _ending(self):
        """Return why training ends with this epoch; an empty string if it goes on."""
        estimator = self.estimator
        if not isfinite(estimator.loss_):
            return "diverged"
        if self.watch.has_run_out and self._stops_at_plateau():
            return "plateau"
        if self.incremental:
            return "partial_fit"
        return "max_iter" if estimator.n_iter_ == estimator.max_iter else ""

    def _train_epoch(self, trainer):
        estimator, update, params = self.estimator, self.solver.update, self.estimator._params
        if estimator.shuffle:
            # The same draws and swaps as scikit-learn's, which permutes a copy.
            estimator._random_state.shuffle(self.rows)
        update.train(params)
        try:
            loss = trainer.train(
                params,
                self.data.X,
                self.data.targets,
                update,
                batch_size=self.batch_rows(),
                alpha=float(estimator.alpha) * self.data.weight_scale,
                order=self.rows,
                sample_weight=self.data.sample_weight,
            )
        finally:
            update.eval(params)
            if self.incremental:
                trainer.forget()  # it outlives this call
        self.record(loss / self.n_rows)
        estimator._report(estimator.n_iter_, estimator.loss_, self.report)

    def record(self, loss: float) -> None:
        """Record the loss of an epoch in the estimator's history."""
        estimator = self.estimator
        estimator.n_iter_ += 1
        estimator.t_ += self.n_rows
        estimator.loss_ = loss
        estimator.loss_curve_.append(loss)

    def _score(self, scorer):
        estimator, held_out = self.estimator, self.held_out
        outputs = scorer.predict(estimator._params, held_out.X, keep=True)
        score = estimator._score_outputs(held_out.targets, outputs, held_out.sample_weight)
        estimator.validation_scores_.append(score)
        if estimator.verbose:
            print(f"Validation score: {score:f}")
        return score

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


def begin_history(estimator: "BaseMLP", only_if_missing: bool = False) -> None:
    """Start new curves, best values and counts; with ``only_if_missing``, only if they are not there yet."""
    exists = hasattr(estimator, "loss_curve_") and (estimator.best_loss_ is None) == estimator.early_stopping
    if only_if_missing and exists:
        return
    estimator.loss_curve_ = []
    estimator._no_improvement_count = 0
    estimator.best_loss_ = None if estimator.early_stopping else np.inf
    estimator.validation_scores_ = [] if estimator.early_stopping else None
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
    if old is not None and estimator.warm_start and not estimator.reset_optimizer:
        estimator._optimizer.continue_from(old)
    return estimator._optimizer
