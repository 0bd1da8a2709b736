"""The study: which optimizer, which learning rate, which batch size, on the user's data."""

from __future__ import annotations

import time
import warnings
from functools import partial
from html import escape

from sklearn.base import BaseEstimator, clone, is_classifier

from .. import __version__
from . import search as searches
from . import tables, verdict
from .checks import check_parameters, check_scorer
from .plan import DEFAULT_OPTIMIZERS, Config, describe, make_contenders, network_of, unseeded
from .progress import Progress, shown
from .run import Budget, quiet_divergence, scorer_name
from .runner import Runner, Task
from .splits import Splits, preprocessor_of
from .store import ResultStore

# Tuning uses seeds of its own: a learning rate is never judged on the splits that chose it.
_TUNING_SEED_OFFSET = 100_000


class OptimizerStudy(BaseEstimator):
    """Compare optimizers on one network and one data set, paired over seeds.

    Every seed gives each optimizer the same split, the same initial weights and the same batch order. Each
    optimizer first chooses its learning rate (and batch size) from the same grid, on seeds that are used for
    nothing else; the chosen settings are then compared over `n_seeds` fresh seeds with paired confidence
    intervals. Scores are those of the last epoch: no optimizer picks its best epoch.

    Parameters
    ----------
    estimator : estimator
        An `MLPClassifier` or `MLPRegressor` (of fastopt or scikit-learn), or a `Pipeline` that ends in one.
        The steps before it are fitted on the training rows of each split alone.
    optimizers : iterable or mapping, default=the six of the command line
        Names, optimizer objects; or a mapping from label to a name, an object, a dict of parameters of the
        network, or another network (a yardstick).
    lr : None, float, list of float, or mapping from label to one of these, default=None
        Learning rates to choose from. ``None``: `DEFAULT_LEARNING_RATES`, for everyone. One value: no choice.
        A mapping may also give another label: that contender's choice is taken over.
    batch_size : None, int or list of int, default=None
        Batch sizes to choose from. ``None``: the network's own.
    n_seeds : int, default=10
        Seeds of the comparison. One seed is never presented as a result.
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
        Share of the rows held out by each seed's split, where `fit` is not given validation rows.
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
    backend : {'loky', 'threading'}, default='loky'
        Processes or threads.
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
        Chosen learning rate and batch size by label.
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

    def __init__(
        self,
        estimator,
        optimizers=DEFAULT_OPTIMIZERS,
        *,
        lr=None,
        batch_size=None,
        n_seeds=10,
        n_tuning_seeds=3,
        max_epochs=None,
        max_samples=None,
        max_seconds=None,
        scoring=None,
        metrics=None,
        target_score=None,
        validation_fraction=0.2,
        search="grid",
        halving_factor=3,
        n_trials=20,
        confidence=0.95,
        random_state=0,
        n_jobs=None,
        backend="loky",
        store=None,
        reuse=True,
        progress=False,
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
        self.search = search
        self.halving_factor = halving_factor
        self.n_trials = n_trials
        self.confidence = confidence
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.backend = backend
        self.store = store
        self.reuse = reuse
        self.progress = progress

    def fit(self, X, y, X_val=None, y_val=None):
        """Tune every optimizer, then compare them.

        Parameters
        ----------
        X, y : array-like or DataFrame
            Data; split anew by each seed unless validation rows are given.
        X_val, y_val : optional
            Fixed validation rows of the comparison. Tuning does not see them: it holds out part of `X`.

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
        return self._run(X, y, X_val, y_val, self._tune_and_compare)

    def sweep(self, X, y, X_val=None, y_val=None):
        """Train the whole grid on `n_seeds` seeds, without a comparison: for heat maps.

        Parameters and return value are those of `fit`.
        """
        return self._run(X, y, X_val, y_val, self._sweep_grid)

    def plan(self, X, y, X_val=None, y_val=None, *, sweep=False):
        """Check everything and return the number of fits that `fit` (or `sweep`) would make.

        Raises
        ------
        ValueError, TypeError
            What `fit` would raise for these parameters, before anything is trained.
        """
        self._check(X, y, X_val, y_val)
        if sweep:
            return sum(len(c.configs) for c in self._contenders) * self.n_seeds
        return self._count_tuning() + len(self._contenders) * self.n_seeds

    def objective(self, X, y, label, X_val=None, y_val=None):
        """Return an objective for the user's own Optuna study of the optimizer called `label`.

        Parameters
        ----------
        X, y, X_val, y_val
            As in `fit`.
        label : str
            Which optimizer.

        Returns
        -------
        objective : callable
            Takes a trial, suggests ``lr`` between the ends of the grid (log scale) and ``batch_size``, and
            returns the mean score over the tuning seeds. Diverged trials are pruned.
        """
        self._prepare(X, y, X_val, y_val, Progress())
        contender = self._contender(label)
        return partial(
            searches.trial_score,
            contender=contender,
            seeds=self._tuning_seeds(),
            budget=self._budget(),
            evaluate=partial(self._runner.evaluate, "tuning"),
        )

    def configured(self, label=None):
        """Return an unfitted network (in its pipeline) with the chosen settings of `label`.

        Parameters
        ----------
        label : str, optional
            Default: the best optimizer.
        """
        label = self.best_optimizer_ if label is None else label
        values = self.best_params_[label]
        contender = self._contender(label)
        network = unseeded(contender.network_for(Config(label, values["lr"], values["batch_size"]), 0))
        if contender.had_early_stopping:
            network.set_params(early_stopping=True)
        if network_of(self.estimator) is self.estimator:
            return network
        return clone(self.estimator).set_params(**{self.estimator.steps[-1][0]: network})

    # -- how a study runs ------------------------------------------------------------------------------

    def _run(self, X, y, X_val, y_val, work):
        start = time.perf_counter()
        self.interrupted_ = False
        with shown(self.progress) as progress, quiet_divergence():
            self._prepare(X, y, X_val, y_val, progress)
            try:
                work(progress)
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

    def _check(self, X, y, X_val, y_val):
        """Check the parameters; make the contenders and the splits."""
        check_parameters(self)
        network = network_of(self.estimator)
        self._is_classification = is_classifier(network)
        self.scoring_ = (
            ("accuracy" if self._is_classification else "r2") if self.scoring is None else self.scoring
        )
        self.metrics_ = self._default_metrics() if self.metrics is None else tuple(self.metrics)
        for scoring in (self.scoring_, *self.metrics_):
            check_scorer(network, scoring)
        self._contenders = make_contenders(self.estimator, self.optimizers, self.lr, self.batch_size)
        self._splits = Splits(
            preprocessor_of(self.estimator),
            X,
            y,
            X_val,
            y_val,
            validation_fraction=self.validation_fraction,
            is_classification=self._is_classification,
        )

    def _prepare(self, X, y, X_val, y_val, progress):
        """Set up what `_run` works with."""
        self._check(X, y, X_val, y_val)
        identity = {
            "fastopt": __version__,
            "data": self._splits.fingerprint(),
            "network": describe(unseeded(network_of(self.estimator))),
        }
        store = ResultStore(self.store, identity)
        self.store_path_ = store.path
        if not self.reuse:
            store.forget()
        self._runner = Runner(
            self._splits, store, self.scoring_, progress, n_jobs=self.n_jobs, backend=self.backend
        )

    def _default_metrics(self):
        return ("recall_macro",) if self._is_classification else ()

    def _tune_and_compare(self, progress):
        tuned = self._tuned()
        progress.expect(self._count_tuning() + len(self._contenders) * self.n_seeds)
        chosen = self._choose(tuned) if tuned else {}
        tasks = [
            Task(contender, self._configuration(contender, chosen), seed, self._budget(), self.metrics_)
            for contender in self._contenders
            for seed in self._seeds()
        ]
        self._runner.evaluate("comparison", tasks)

    def _tuned(self):
        return [c for c in self._contenders if searches.is_tuned(c)]

    def _count_tuning(self):
        options = {"factor": self.halving_factor, "n_trials": self.n_trials}
        tuned = self._tuned()
        return searches.count_fits(self.search, tuned, self.n_tuning_seeds, **options) if tuned else 0

    def _choose(self, tuned):
        options = {
            "grid": {},
            "halving": {"factor": self.halving_factor},
            "optuna": {"n_trials": self.n_trials, "random_state": self.random_state},
        }
        search = getattr(searches, self.search)
        evaluate = partial(self._runner.evaluate, "tuning")
        return search(tuned, self._tuning_seeds(), self._budget(), evaluate, **options[self.search])

    def _configuration(self, contender, chosen):
        if contender.follows is not None:
            leader = self._configuration(self._contender(contender.follows), chosen)
            return Config(contender.label, leader.lr, leader.batch_size)
        return chosen.get(contender.label, contender.configs[0])

    def _sweep_grid(self, progress):
        tasks = [
            Task(contender, config, seed, self._budget(), self.metrics_)
            for contender in self._contenders
            for config in contender.configs
            for seed in self._seeds()
        ]
        progress.expect(len(tasks))
        self._runner.evaluate("sweep", tasks)

    def _tabulate(self):
        """Set the fitted attributes from whatever has been measured."""
        history, metric = self._runner.history, scorer_name(self.scoring_)
        statistics = {"val_to_train": self._splits.val_to_train, "confidence": self.confidence}
        self.results_ = tables.results_frame(history, self.scoring_)
        self.curves_ = tables.curves_frame(history, self.scoring_)
        self.n_read_ = self._runner.n_read
        self.target_score_ = self.target_score
        if self.target_score is None:
            self.target_score_ = tables.automatic_target(self.results_, metric)
        self.summary_ = tables.summary_frame(
            self.results_, self.curves_, metric, self.target_score_, **statistics
        )
        compared = {task.config.label: task.config for phase, task, _ in history if phase == "comparison"}
        self.best_params_ = {
            label: {"lr": compared[label].lr, "batch_size": compared[label].batch_size}
            for label in self.summary_["optimizer"]
        }
        self.labels_ = [c.label for c in self._contenders]
        self.yardsticks_ = [c.label for c in self._contenders if c.is_yardstick]
        judged = self.summary_[~self.summary_["optimizer"].isin(self.yardsticks_)]
        several = not judged.empty and judged["n_seeds"].min() > 1 and judged[metric].notna().any()
        self.best_optimizer_ = judged["optimizer"].iloc[0] if several else None
        self.comparisons_ = tables.comparison_frame(
            self.results_, metric, self.best_optimizer_, judged["optimizer"], **statistics
        )
        self.classes_ = self._splits.classes
        self.confusion_ = tables.confusion_matrices(history)
        self.verdict_, self.notes_ = verdict.verdict(self), verdict.notes(self)

    def _contender(self, label):
        for contender in self._contenders:
            if contender.label == label:
                return contender
        labels = ", ".join(repr(c.label) for c in self._contenders)
        raise ValueError(f"label={label!r} is not in this study. Labels: {labels}.")

    def _seeds(self):
        return [self.random_state + i for i in range(self.n_seeds)]

    def _tuning_seeds(self):
        return [self.random_state + _TUNING_SEED_OFFSET + i for i in range(self.n_tuning_seeds)]

    def _budget(self):
        limits = (self.max_epochs, self.max_samples, self.max_seconds)
        return Budget(30) if limits == (None, None, None) else Budget(*limits)

    def _repr_mimebundle_(self, **kwargs):
        """Give IPython the verdict, where scikit-learn would draw a diagram of parameters."""
        return {"text/plain": repr(self), "text/html": self._repr_html_()}

    def _repr_html_(self):
        """Verdict and summary in a notebook, once there are any."""
        if not hasattr(self, "verdict_"):
            return f"<pre>{self!r}</pre>"
        words = "".join(f"<li>{escape(sentence)}</li>" for sentence in [*self.verdict_, *self.notes_])
        table = "" if self.summary_.empty else self.summary_.to_html(float_format="{:.4g}".format)
        return f"<ul>{words}</ul>{table}"

    @property
    def metric_name_(self):
        """Name of the scorer, as tables and axes show it."""
        return scorer_name(self.scoring_).replace("_", " ")
