"""Trials of Optuna that end early."""

from collections.abc import Callable
from typing import Any

from fastopt._extras import require
from fastopt.callbacks.base import NetworkCallback, is_one_of_many
from fastopt.callbacks.monitor import Monitor


class OptunaPruning(NetworkCallback):
    """Report each epoch to a trial of Optuna, and end the trial when its pruner says so.

    ``fit`` raises `optuna.TrialPruned`, which the objective lets through.

    Parameters
    ----------
    trial : optuna.trial.Trial
        That of the objective that calls ``fit``.
    monitor : {'val_score', 'val_loss', 'loss'} or callable, default='val_score'
        What is reported: a column of ``history_``, or a function of the network that returns a number, of the
        same kind as the objective's value.

    Raises
    ------
    MissingExtraError
        If scikit-learn is older than 1.9, or Optuna is not installed (extra ``optuna``).
    ValueError
        If the study's direction is not that in which the monitor is better, or it has several; in ``fit`` if
        the trial has had a fit already, since Optuna takes each step once, or is inside a search, where the
        exception would count as a failed fit.

    Notes
    -----
    A callback is shared by the clones of a network. One fit in each trial, then: of a cross-validation, watch
    the first split.

    Examples
    --------
    >>> import optuna
    >>> from sklearn.datasets import load_iris
    >>> from fastopt import MLPClassifier
    >>> from fastopt.callbacks import OptunaPruning
    >>> X, y = load_iris(return_X_y=True)
    >>> def objective(trial):
    ...     rate = trial.suggest_float("learning_rate_init", 1e-4, 1e-1, log=True)
    ...     clf = MLPClassifier((8,), learning_rate_init=rate, max_iter=20, early_stopping=True)
    ...     clf.set_callbacks(OptunaPruning(trial, "val_score")).fit(X, y)
    ...     return clf.best_validation_score_
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner())
    >>> study.optimize(objective, n_trials=3)
    """

    def __init__(self, trial: Any, monitor: str | Callable[[Any], float] = "val_score") -> None:
        super().__init__()
        require("optuna", "fastopt.callbacks.OptunaPruning", "optuna")
        self.trial: Any = trial
        self.monitor: Monitor = Monitor(monitor, None, type(self).__name__)
        self._has_fitted = False
        study = getattr(trial, "study", None)  # a FixedTrial has none, and is never pruned
        if study is not None:
            self._check_direction(study.directions)

    def _check_direction(self, directions):
        if len(directions) > 1:
            raise ValueError(
                f"OptunaPruning: the study has {len(directions)} objectives; Optuna prunes where there is one"
            )
        wanted, what = directions[0].name.lower(), self.monitor.what
        mode = {"minimize": "min", "maximize": "max"}.get(wanted)
        if self.monitor.mode is not None and self.monitor.mode != mode:
            best, other = ("least", "val_score") if mode == "max" else ("greatest", "val_loss")
            raise ValueError(
                f"OptunaPruning watches {what!r}, of which the {best} is the best, but the study is to "
                f"{wanted} its objective: Optuna would prune the better trials. Watch {other!r}, or a "
                "function of the network."
            )

    def _begin(self, estimator, context):
        if is_one_of_many(context):
            raise ValueError(
                "OptunaPruning is for a fit of its own: a search takes optuna.TrialPruned for a failed fit. "
                "Let Optuna search, and fit the network in its objective."
            )
        if self._has_fitted:
            raise ValueError(
                "OptunaPruning: this trial has had a fit, and Optuna ignores a step that it knows. Make one "
                "for each trial, and take it off a clone by set_callbacks() for further fits."
            )
        self._has_fitted = True

    def _epoch_ends(self, estimator, state):
        self.trial.report(self.monitor.last(estimator), estimator.n_iter_)
        if self.trial.should_prune():
            optuna = require("optuna", "fastopt.callbacks.OptunaPruning", "optuna")
            raise optuna.TrialPruned(f"pruned after {estimator.n_iter_} epochs")
        return False
