"""The study: which optimizer, which learning rate, which batch size, on the user's data."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sklearn.base import BaseEstimator, clone, is_classifier

from .._dask_client import HasClient
from . import tables, verdict
from .checks import check_parameters, check_scorer, default_scoring
from .contenders import DEFAULT_OPTIMIZERS, Config, network_of, unseeded
from .experiment import Experiment
from .fitted import FittedLater
from .notebook_view import NotebookView
from .optuna_trials import OptunaTrials
from .progress import Progress, shown
from .training_run import quiet_divergence, scorer_name

if TYPE_CHECKING:
    import os
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Rows = npt.ArrayLike | pd.DataFrame | Any
_Self = TypeVar("_Self", bound="OptimizerStudy")


class OptimizerStudy(FittedLater, HasClient, NotebookView, OptunaTrials, BaseEstimator):
    """Compare optimizers on one network and one data set, paired over seeds.

    Every seed gives each optimizer the same split, the same initial weights and the same batch order. Each
    optimizer first chooses its learning rate (and batch size) from as many as every other, on seeds that are
    used for nothing else; the chosen settings are then compared over `n_seeds` fresh seeds with paired
    confidence intervals. Scores are those of the last epoch: no optimizer picks its best epoch.

    Parameters
    ----------
    estimator : estimator
        An `MLPClassifier` or `MLPRegressor` (of fastopt or scikit-learn), or a `Pipeline` that ends in one,
        also of imbalanced-learn. The steps before it are fitted on the training rows of each split alone,
        with the split's seed where their ``random_state`` is None. The network's early stopping is left out:
        a study trains for its own budget, and scores after each epoch.
    optimizers : iterable or mapping, default=the six of the command line
        Names, optimizer objects; or a mapping from label to a name, an object, a dict of parameters of the
        network, or another network (a yardstick).
    lr : None, float, list of float, or mapping from label to one of these, default=None
        Learning rates to choose from. ``None``: each optimizer's `recommended_grid`, six rates for everyone
        (`DEFAULT_LEARNING_RATES` where it has none). One value: no choice.
        A mapping may also give another label: that contender's choice is taken over.
    batch_size : None, int or list of int, default=None
        Batch sizes to choose from. ``None``: the network's own.
    n_seeds : int, default=None
        Seeds of the comparison; ``None``: 10, or as many as `cv` has splits. One seed is never presented as a
        result.
    n_tuning_seeds : int, default=3
        Seeds on which the grid is searched.
    max_epochs, max_samples, max_seconds : int, int, float, default=None
        Budget of one fit; the first limit reached ends it, at the end of an epoch. All ``None``: 30 epochs.
        `max_seconds` counts training only, not evaluation.
    scoring : str or callable, default=None
        Any scikit-learn scorer; ``None`` is accuracy or R2. Evaluated on the validation rows.
    metrics : sequence of str, default=None
        Further scorers, evaluated after the last epoch. ``None``: macro recall for classifiers.
    target_score : float, default=None
        Score whose first epoch is reported. ``None``: one hundredth below the best mean score, rounded down.
    validation_fraction : float, default=0.2
        Share of the rows (of the groups, where given) held out by each seed's random split.
    cv : int, splitter of scikit-learn or iterable of (train, test) rows, default=None
        Where the splits of the comparison come from: one for each seed. ``None``: random splits, by class
        or, where given, by group; none where `fit` is given validation rows. An int: so many folds, of whole
        groups where given. Tuning splits the training rows of each again, by the same splitter.
    nested : bool, default=False
        Nested cross-validation: the settings are chosen for each split of the comparison by itself, within
        its training rows, as scikit-learn does with a search inside `cross_validate`. So many times the
        tuning fits; otherwise one choice, on other splits of the same rows, holds for all.
    search : {'grid', 'halving', 'optuna'}, default='grid'
        How the grid is searched; always with the same number of trials for every optimizer.
    halving_factor : int, default=3
        Of ``search='halving'``: one in so many goes on, with so many times the budget.
    n_trials : int, default=20
        Of ``search='optuna'``: trials for each optimizer.
    confidence : float, default=0.95
        Coverage of the intervals.
    random_state : int, default=0
        First seed. Comparison seeds count up from it, tuning seeds from 100,000 above.
    n_jobs : int or None, default=None
        Workers. The scores are the same for any number; the seconds are those of a busy machine.
    backend : {'loky', 'threading', 'dask'}, default='loky'
        Processes, threads, or the workers of a Dask cluster (extra ``dask``).
    client : distributed.Client or None, default=None
        Of the Dask cluster that makes the fits. ``None`` with ``backend='dask'``: the current client.
    store : path or None, default=None
        Folder in which each fit is written when it ends. A study that was stopped continues from it.
    reuse : bool, default=True
        Whether results that `store` already holds are taken; otherwise they are forgotten.
    progress : bool, default=False
        Live bars on standard error; silent where that is not a terminal.

    Attributes
    ----------
    results_ : DataFrame
        One row per fit: optimizer, lr, batch_size, seed, phase, loss, score, metrics, times.
    curves_ : DataFrame
        One row per epoch of each fit. Tuning runs are scored after their last epoch only (NaN before).
    summary_ : DataFrame
        One row per optimizer, best first: chosen settings, means with intervals, epochs to the target,
        seconds per epoch.
    comparisons_ : DataFrame
        The best optimizer against each other one: paired difference, interval, Holm-adjusted p-value.
    confusion_ : dict
        Confusion matrix by label, summed over seeds; empty for regression.
    labels_ : list of str
        The optimizers in the order given; colours follow it.
    classes_ : ndarray or None
    yardsticks_ : list of str
        Labels of the other networks given for comparison; they are shown, but do not compete.
    best_params_ : dict
        Chosen learning rate and batch size by label; with `nested` the most frequent choice.
    best_optimizer_ : str or None
        Label with the best mean score; ``None`` where fewer than two seeds ran, or all diverged.
    verdict_, notes_ : list of str
        What the numbers say, in words; and what to be careful about.
    n_read_ : int
        Fits whose results came from `store`.
    interrupted_ : bool
        Whether Ctrl-C ended the study early. What had been measured is kept.

    Notes
    -----
    Statistics: `fastopt.study.statistics`. With resampled splits the intervals use the correction of Nadeau &
    Bengio (2003) for overlapping training sets; p-values are adjusted after Holm (1979).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from fastopt.study import OptimizerStudy
    >>> study = OptimizerStudy(
    ...     MLPClassifier((8,)),
    ...     {"momentum": {"solver": "sgd"}, "adam": {"solver": "adam"}},
    ...     lr=[0.001, 0.01], n_seeds=3, n_tuning_seeds=1, max_epochs=2,
    ... )
    >>> study.fit(*load_iris(return_X_y=True)).results_.groupby("phase").size().to_dict()
    {'comparison': 6, 'tuning': 4}
    """

    results_: pd.DataFrame
    curves_: pd.DataFrame
    summary_: pd.DataFrame
    comparisons_: pd.DataFrame
    confusion_: dict[str, np.ndarray]
    labels_: list[str]
    classes_: np.ndarray | None
    yardsticks_: list[str]
    best_params_: dict[str, dict[str, Any]]
    best_optimizer_: str | None
    target_score_: float
    verdict_: list[str]
    notes_: list[str]
    scoring_: str | Callable[..., float]
    metrics_: tuple[str | Callable[..., float], ...]
    store_path_: Path | None
    seconds_: float
    n_read_: int
    interrupted_: bool

    def __init__(
        self,
        estimator: BaseEstimator | Any,
        optimizers: str | Iterable[Any] | Mapping[str, Any] = DEFAULT_OPTIMIZERS,
        *,
        lr: float | Iterable[float] | Mapping[str, Any] | None = None,
        batch_size: int | Iterable[int] | None = None,
        n_seeds: int | None = None,
        n_tuning_seeds: int = 3,
        max_epochs: int | None = None,
        max_samples: int | None = None,
        max_seconds: float | None = None,
        scoring: str | Callable[..., float] | None = None,
        metrics: Sequence[str | Callable[..., float]] | None = None,
        target_score: float | None = None,
        validation_fraction: float = 0.2,
        cv: int | Iterable[Any] | Any | None = None,
        nested: bool = False,
        search: Literal["grid", "halving", "optuna"] = "grid",
        halving_factor: int = 3,
        n_trials: int = 20,
        confidence: float = 0.95,
        random_state: int = 0,
        n_jobs: int | None = None,
        backend: Literal["loky", "threading", "dask"] = "loky",
        client: Any | None = None,
        store: str | os.PathLike[str] | None = None,
        reuse: bool = True,
        progress: bool = False,
    ):
        self.estimator = estimator
        self.optimizers = optimizers
        self.lr = lr
        self.batch_size = batch_size
        self.n_seeds = n_seeds
        self.n_tuning_seeds = n_tuning_seeds
        self.max_epochs = max_epochs
        self.max_samples = max_samples
        self.max_seconds = max_seconds
        self.scoring = scoring
        self.metrics = metrics
        self.target_score = target_score
        self.validation_fraction = validation_fraction
        self.cv = cv
        self.nested = nested
        self.search = search
        self.halving_factor = halving_factor
        self.n_trials = n_trials
        self.confidence = confidence
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.backend = backend
        self.client = client
        self.store = store
        self.reuse = reuse
        self.progress = progress

    def fit(
        self: _Self,
        X: Rows,
        y: npt.ArrayLike,
        X_val: Rows | None = None,
        y_val: npt.ArrayLike | None = None,
        *,
        groups: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
        sample_weight_val: npt.ArrayLike | None = None,
    ) -> _Self:
        """Tune every optimizer, then compare them.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_features)
        y : array-like of shape (n_rows,)
            Data; split anew by each seed unless validation rows are given.
        X_val, y_val : optional
            Fixed validation rows of the comparison. Tuning does not see them: it holds out part of `X`.
        groups : array-like of shape (n_rows,), optional
            Which rows belong together, such as those of one patient: they stay on one side of every split.
        sample_weight : array-like of shape (n_rows,), optional
            Weights of the rows, in training and in the scores of the rows held out. Confusion matrices count
            rows.
        sample_weight_val : array-like, optional
            Weights of the rows of `X_val` in the scores.

        Returns
        -------
        self : OptimizerStudy
            Also after Ctrl-C, with `interrupted_` set and a warning that says how to continue.

        Raises
        ------
        ValueError
            If a parameter is out of range or a name is unknown; the message names what is allowed.
        StoreError
            If a result cannot be written. What was measured is kept.
        """
        rows = _rows(X, y, X_val, y_val, groups, sample_weight, sample_weight_val)
        return self._run(rows, Experiment.tune_and_compare)

    def sweep(
        self: _Self,
        X: Rows,
        y: npt.ArrayLike,
        X_val: Rows | None = None,
        y_val: npt.ArrayLike | None = None,
        *,
        groups: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
        sample_weight_val: npt.ArrayLike | None = None,
    ) -> _Self:
        """Train the whole grid on `n_seeds` seeds, without a comparison: for heat maps.

        Parameters and return value are those of `fit`.
        """
        rows = _rows(X, y, X_val, y_val, groups, sample_weight, sample_weight_val)
        return self._run(rows, Experiment.sweep)

    def plan(
        self,
        X: Rows,
        y: npt.ArrayLike,
        X_val: Rows | None = None,
        y_val: npt.ArrayLike | None = None,
        *,
        groups: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
        sample_weight_val: npt.ArrayLike | None = None,
        sweep: bool = False,
    ) -> int:
        """Check everything and return the number of fits that `fit` (or `sweep`) would make.

        Raises
        ------
        ValueError, TypeError
            What `fit` would raise for these parameters, before anything is trained.
        """
        rows = _rows(X, y, X_val, y_val, groups, sample_weight, sample_weight_val)
        return self._checked(rows).count(sweep=sweep)

    def objective(
        self,
        X: Rows,
        y: npt.ArrayLike,
        label: str,
        X_val: Rows | None = None,
        y_val: npt.ArrayLike | None = None,
        *,
        groups: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
        sample_weight_val: npt.ArrayLike | None = None,
    ) -> Callable[[Any], float]:
        """Return an objective for the user's own Optuna study of the optimizer called `label`.

        Parameters
        ----------
        X, y, X_val, y_val, groups, sample_weight, sample_weight_val
            As in `fit`.
        label : str
            Which optimizer.

        Returns
        -------
        objective : callable
            Takes a trial, suggests ``lr`` between the ends of the grid (log scale) and ``batch_size``, and
            returns the mean score over the tuning seeds. Diverged trials are pruned.
        """
        rows = _rows(X, y, X_val, y_val, groups, sample_weight, sample_weight_val)
        self._prepare(rows, Progress())
        return self._experiment.objective(label)

    def configured(self, label: str | None = None) -> Any:
        """Return an unfitted network (in its pipeline) with the chosen settings of `label`.

        Parameters
        ----------
        label : str, optional
            Default: the best optimizer.
        """
        label = self.best_optimizer_ if label is None else label
        values = self.best_params_[label]
        contender = self._experiment.contender(label)
        network = unseeded(contender.network_for(Config(label, values["lr"], values["batch_size"]), 0))
        if contender.had_early_stopping:
            network.set_params(early_stopping=True)
        if network_of(self.estimator) is self.estimator:
            return network
        return clone(self.estimator).set_params(**{self.estimator.steps[-1][0]: network})

    # -- how a study runs ------------------------------------------------------------------------------

    def _run(self, rows, work):
        start = time.perf_counter()
        self.interrupted_ = False
        with shown(self.progress) as progress, quiet_divergence:
            self._prepare(rows, progress)
            try:
                work(self._experiment, progress)
            except KeyboardInterrupt:
                self.interrupted_ = True
            finally:
                self.seconds_ = time.perf_counter() - start
                self._tabulate()
        if self.interrupted_:
            kept = f"saved in {self.store_path_}" if self.store_path_ else "in results_"
            again = " Run the same study again to continue." if self.store_path_ else ""
            warnings.warn(
                f"Study interrupted: {len(self.results_)} fits are done and {kept}.{again}", stacklevel=3
            )
        return self

    def _checked(self, rows):
        """Check the parameters; return the experiment that they describe."""
        check_parameters(self)
        network = network_of(self.estimator)
        is_classification = is_classifier(network)
        default, more = default_scoring(network)
        self.scoring_ = default if self.scoring is None else self.scoring
        self.metrics_ = more if self.metrics is None else tuple(self.metrics)
        experiment = Experiment(self, rows, self.scoring_, self.metrics_, is_classification)
        for scoring in (self.scoring_, *self.metrics_):
            check_scorer(network, scoring, rows["y"], is_weighted=experiment.splits.is_weighted)
        return experiment

    def _prepare(self, rows, progress):
        """Set up what `_run` works with."""
        self._experiment = self._checked(rows)
        self.store_path_ = self._experiment.open(progress).store.path

    def _tabulate(self):
        """Set the fitted attributes from whatever has been measured."""
        executor, splits = self._experiment.executor, self._experiment.splits
        history, metric = executor.history, scorer_name(self.scoring_)
        self._fits = history
        statistics = {"val_to_train": splits.val_to_train, "confidence": self.confidence}
        self.results_ = tables.results_frame(history, self.scoring_, self.metrics_)
        self.curves_ = tables.curves_frame(history, self.scoring_)
        self.n_read_ = executor.n_read
        self.target_score_ = self.target_score
        if self.target_score is None:
            self.target_score_ = tables.automatic_target(self.results_, metric)
        self.summary_ = tables.summary_frame(
            self.results_, self.curves_, metric, self.target_score_, **statistics
        )
        chosen = tables.chosen_settings(history)
        self.best_params_ = {label: chosen[label] for label in self.summary_["optimizer"]}
        self.labels_ = [c.label for c in self._experiment.contenders]
        self.yardsticks_ = [c.label for c in self._experiment.contenders if c.is_yardstick]
        judged = self.summary_[~self.summary_["optimizer"].isin(self.yardsticks_)]
        several = not judged.empty and judged["n_seeds"].min() > 1 and judged[metric].notna().any()
        self.best_optimizer_ = judged["optimizer"].iloc[0] if several else None
        self.comparisons_ = tables.comparison_frame(
            self.results_, metric, self.best_optimizer_, judged["optimizer"], **statistics
        )
        self.classes_ = splits.classes
        self.confusion_ = tables.confusion_matrices(history)
        self.verdict_, self.notes_ = verdict.verdict(self), verdict.notes(self)

    @property
    def metric_name_(self) -> str:
        """Name of the scorer, as tables and axes show it."""
        return scorer_name(self.scoring_).replace("_", " ")


def _rows(X, y, X_val, y_val, groups, sample_weight, sample_weight_val):
    """Return the arguments of `OptimizerStudy.fit` as those of `Splits`."""
    weights = {"sample_weight": sample_weight, "sample_weight_val": sample_weight_val}
    return {"X": X, "y": y, "X_val": X_val, "y_val": y_val, "groups": groups, **weights}
