"""Execution of fits: results already on disk are read, others are computed, here or by several workers."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import joblib

from .contenders import Config, Contender
from .interrupt import watched
from .training_run import Budget, quiet_divergence, scorer_name, train_and_record, warm_up


@dataclass(frozen=True)
class Task:
    """One fit to compute."""

    contender: Contender
    config: Config
    seed: int
    budget: Budget
    metrics: tuple = ()
    is_tuning: bool = False

    def key(self, scoring):
        """Return the key of the result, as a dict for JSON."""
        return {
            "contender": self.contender.specification(),
            **asdict(self.config),
            "seed": self.seed,
            "is_tuning": self.is_tuning,
            **asdict(self.budget),
            "metrics": [scorer_name(scoring), *map(scorer_name, self.metrics)],
        }


class Executor:
    """Computes tasks and keeps every result, in the order in which they were requested.

    Parameters
    ----------
    splits : Splits
    store : ResultStore
    scoring : str
    progress : Progress
        See `fastopt.study.progress`.
    n_jobs : int or None
        Workers, as in scikit-learn.
    backend : {'loky', 'threading'}
    """

    def __init__(self, splits, store, scoring, progress, n_jobs=None, backend="loky"):
        self.splits, self.store, self.scoring, self.progress = splits, store, scoring, progress
        self.n_workers = joblib.effective_n_jobs(1 if n_jobs is None else n_jobs)
        self.backend = backend
        self.history = []  # (phase, task, record)
        self.n_read = 0

    def evaluate(self, phase, tasks):
        """Return the records of `tasks`, in order.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C; every finished fit is already in the store and in `history`.
        """
        # By seed first: the contenders of one seed then share the split that is in memory.
        order = sorted(range(len(tasks)), key=lambda i: tasks[i].seed)
        records = {}
        missing = []
        for i in order:
            found = self.store.get(tasks[i].key(self.scoring))
            if found is None:
                missing.append(i)
            else:
                records[i] = found
                self.n_read += 1
                self.progress.fit_done()
        try:
            for i, record in self._train(tasks, missing):
                records[i] = record
                self.store.add(tasks[i].key(self.scoring), record)
                self.progress.fit_done()
        finally:
            self.history.extend((phase, tasks[i], records[i]) for i in range(len(tasks)) if i in records)
        return [records[i] for i in range(len(tasks))]

    def _train(self, tasks, missing):
        if not missing:
            return
        with watched() as interrupt:
            if self.n_workers == 1:
                self._warm_up([tasks[i] for i in missing])
                interrupt.check()  # a network may swallow Ctrl-C and return half-trained: ask the signal
                for i in missing:
                    self.progress.fit_started(str(tasks[i].config), tasks[i].budget.max_epochs)
                    record = _fit(tasks[i], self.splits, self.scoring, self.progress.epoch_done)
                    interrupt.check()
                    yield i, record
                return
            parallel = joblib.Parallel(
                n_jobs=self.n_workers, backend=self.backend, return_as="generator_unordered"
            )
            fit = _fit_in_process if self.backend == "loky" else _numbered_fit
            jobs = (joblib.delayed(fit)(i, tasks[i], self.splits, self.scoring) for i in missing)
            for i, record in parallel(jobs):
                interrupt.check()
                yield i, record

    def _warm_up(self, tasks):
        for task in {task.contender.label: task for task in tasks}.values():
            self.progress.fit_started(f"Compiling: {task.contender.label}", None)
            warm_up(task.contender, task.config, self.splits)


def _fit(task, splits, scoring, on_epoch=None):
    return train_and_record(
        task.contender,
        task.config,
        task.seed,
        splits,
        task.budget,
        scoring,
        is_tuning=task.is_tuning,
        metrics=task.metrics,
        on_epoch=on_epoch,
    )


def _fit_in_process(*arguments):
    """Fit in a process of joblib's, which does not inherit the warning filters of the study's process."""
    with quiet_divergence():
        return _numbered_fit(*arguments)


_warm = set()


def _numbered_fit(i, task, splits, scoring):
    """Fit in a worker, which compiles the kernels of each contender before its first fit."""
    kind = task.contender.specification()
    if kind not in _warm:
        warm_up(task.contender, task.config, splits)
        _warm.add(kind)
    return i, _fit(task, splits, scoring)
