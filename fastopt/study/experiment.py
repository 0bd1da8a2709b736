"""The course of a study: tuning, then the comparison on new seeds; or a sweep over the whole grid."""

from __future__ import annotations

from functools import partial

from .. import __version__
from .._dask_client import client_of
from . import landscape
from . import search as searches
from .contenders import Config, describe, make_contenders, network_of, unseeded
from .executor import Executor, Task
from .preprocessing import pipeline_of
from .splits import Splits
from .store import ResultStore
from .training_run import Budget

# Tuning uses seeds of its own: a learning rate is never judged on the splits that chose it.
_TUNING_SEED_OFFSET = 100_000
_DEFAULT_SEEDS = 10


class Experiment:
    """Contenders, splits, seeds and budget of a study, all checked.

    Parameters
    ----------
    study : OptimizerStudy
        Gives the parameters; not changed.
    rows : dict
        The arguments of `OptimizerStudy.fit`.
    scoring : str or callable
    metrics : tuple
    is_classification : bool

    Attributes
    ----------
    contenders : list of Contender
    splits : Splits
    executor : Executor
        After `open`.
    """

    def __init__(self, study, rows, scoring, metrics, is_classification):
        self.study, self.scoring, self.metrics = study, scoring, metrics
        self.contenders = make_contenders(study.estimator, study.optimizers, study.lr, study.batch_size)
        self.splits = Splits(
            pipeline_of(study.estimator),
            **rows,
            cv=study.cv,
            validation_fraction=study.validation_fraction,
            is_classification=is_classification,
            first_seed=study.random_state,
        )
        self.n_seeds = _n_seeds(study.n_seeds, self.splits.n_folds)
        if study.nested:
            self._check_nested()
            self.splits.n_nested = self.n_seeds

    def open(self, progress):
        """Load what the store already has; return the executor of the fits."""
        study = self.study
        landscape.warn_of_rates(c for c in self.contenders if not c.is_yardstick)
        identity = {
            "fastopt": __version__,
            "data": self.splits.fingerprint(),
            "network": describe(unseeded(network_of(study.estimator))),
        }
        store = ResultStore(study.store, identity)
        if not study.reuse:
            store.forget()
        workers = {"n_jobs": study.n_jobs, "backend": study.backend}
        if study.backend == "dask" or study.client is not None:
            workers = {"client": client_of(study.client, "a study on Dask")}
        self.executor = Executor(self.splits, store, self.scoring, progress, **workers)
        return self.executor

    def count(self, *, sweep=False):
        """Return the number of fits of `sweep` or `tune_and_compare`."""
        if sweep:
            return sum(len(c.configs) for c in self.contenders) * self.n_seeds
        return self._count_tuning() + len(self.contenders) * self.n_seeds

    def tune_and_compare(self, progress):
        """Choose each contender's configuration, then train all of them on new seeds."""
        progress.expect(self.count())
        if self.study.nested:
            chosen = {seed: self.tune(self._inner_seeds(i)) for i, seed in enumerate(self.seeds)}
        else:
            chosen = dict.fromkeys(self.seeds, self.tune(self.tuning_seeds))
        tasks = [
            Task(contender, self._configuration(contender, chosen[seed]), seed, self.budget, self.metrics)
            for contender in self.contenders
            for seed in self.seeds
        ]
        self.executor.evaluate("comparison", tasks)

    def tune(self, seeds):
        """Return ``{label: Config}`` with the best configuration on `seeds` of each contender with a grid."""
        tuned = self._tuned()
        if not tuned:
            return {}
        study = self.study
        options = {
            "grid": {},
            "halving": {"factor": study.halving_factor},
            "optuna": {"n_trials": study.n_trials, "random_state": study.random_state},
        }
        search = getattr(searches, study.search)
        evaluate = partial(self.executor.evaluate, "tuning")
        return search(tuned, seeds, self.budget, evaluate, **options[study.search])

    def sweep(self, progress):
        """Train every configuration on every seed."""
        progress.expect(self.count(sweep=True))
        tasks = [
            Task(contender, config, seed, self.budget, self.metrics)
            for contender in self.contenders
            for config in contender.configs
            for seed in self.seeds
        ]
        self.executor.evaluate("sweep", tasks)

    def objective(self, label):
        """Return the objective of `OptimizerStudy.objective`."""
        return partial(
            searches.trial_score,
            contender=self.contender(label),
            seeds=self.tuning_seeds,
            budget=self.budget,
            evaluate=partial(self.executor.evaluate, "tuning"),
        )

    def contender(self, label):
        """Return the contender called `label`."""
        for contender in self.contenders:
            if contender.label == label:
                return contender
        labels = ", ".join(repr(c.label) for c in self.contenders)
        raise ValueError(f"label={label!r} is not in this study. Labels: {labels}.")

    @property
    def seeds(self):
        """Seeds of the comparison."""
        return [self.study.random_state + i for i in range(self.n_seeds)]

    @property
    def tuning_seeds(self):
        """Seeds on which configurations are compared."""
        first = self.study.random_state + _TUNING_SEED_OFFSET
        return [first + i for i in range(self.study.n_tuning_seeds)]

    def _inner_seeds(self, number):
        """Return the tuning seeds within the training rows of one split of the comparison."""
        n_splits = self.splits.n_outer
        first = self.study.random_state + n_splits * -(-_TUNING_SEED_OFFSET // n_splits) + number
        return [first + n_splits * i for i in range(self.study.n_tuning_seeds)]

    def _check_nested(self):
        """Raise ValueError where there is nothing to choose for each split."""
        if self.splits.is_fixed:
            raise ValueError(
                "nested=True chooses settings for each split, and X_val makes one for all, which tuning does "
                "not see: leave out one of the two."
            )
        if not self._tuned():
            raise ValueError("nested=True has nothing to choose: give lr or batch_size several values.")

    @property
    def budget(self):
        """The limits at which each fit ends."""
        limits = (self.study.max_epochs, self.study.max_samples, self.study.max_seconds)
        return Budget(30) if limits == (None, None, None) else Budget(*limits)

    def _tuned(self):
        return [c for c in self.contenders if searches.is_tuned(c)]

    def _count_tuning(self):
        study, tuned = self.study, self._tuned()
        options = {"factor": study.halving_factor, "n_trials": study.n_trials}
        n_times = self.n_seeds if study.nested else 1
        n_fits = searches.count_fits(study.search, tuned, study.n_tuning_seeds, **options) if tuned else 0
        return n_times * n_fits

    def _configuration(self, contender, chosen):
        if contender.follows is not None:
            leader = self._configuration(self.contender(contender.follows), chosen)
            return Config(contender.label, leader.lr, leader.batch_size)
        return chosen.get(contender.label, contender.configs[0])


def _n_seeds(n_seeds, n_folds):
    """Return the number of comparison seeds; with `cv` at most one for each of its splits."""
    if n_seeds is None:
        return n_folds or _DEFAULT_SEEDS
    if n_folds is not None and n_seeds > n_folds:
        raise ValueError(
            f"n_seeds={n_seeds} and cv gives {n_folds} splits, one for each seed. Leave n_seeds out, or "
            "repeat the splits, as RepeatedKFold and ShuffleSplit do."
        )
    return n_seeds
