"""Execution of fits: results already on disk are read, others are computed, here or by several workers."""

from __future__ import annotations

import itertools
import time
from dataclasses import asdict, dataclass

import joblib
import numba

from . import side_by_side
from .contenders import Config, Contender
from .dask_fits import fit_on_cluster, group_size
from .interrupt import watched
from .training_run import Budget, quiet_divergence, scorer_name, train_and_record, warm_up

#: Seconds between two looks whether another study has ended a fit, or has been killed.
_WAIT = 0.2


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
    client : distributed.Client, optional
        Of the Dask cluster that makes the fits, in place of `n_jobs` workers here.
    """

    def __init__(self, splits, store, scoring, progress, n_jobs=None, backend="loky", client=None):
        self.splits, self.store, self.scoring, self.progress = splits, store, scoring, progress
        self.n_workers = joblib.effective_n_jobs(1 if n_jobs is None else n_jobs)
        self.backend, self.client = backend, client
        most = numba.config.NUMBA_NUM_THREADS
        self.n_threads = None if n_jobs is None else min(self.n_workers, most)  # of fits side by side
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
        keys = [task.key(self.scoring) for task in tasks]
        records = {}
        missing = self._read(keys, order, records)
        try:
            with watched() as interrupt:
                here = [tasks[i] for i in missing if self._is_here or self._can_share(tasks[i])]
                if here:
                    self._warm_up(here)
                    interrupt.check()  # a network may swallow Ctrl-C and return half-trained: ask the signal
                while missing:
                    n_before = len(missing)
                    for i, record in self._train(tasks, keys, missing):
                        interrupt.check()
                        records[i] = record
                        self.store.add(keys[i], record)
                        self.store.release(keys[i])
                        self.progress.fit_done()
                    missing = self._read(keys, missing, records)
                    if len(missing) == n_before:  # another study on the same store makes them
                        self.progress.fit_started("Waiting for another study's fit", None)
                        time.sleep(_WAIT)
                        self.store.refresh()
        finally:
            for key in keys:
                self.store.release(key)
            self.history.extend((phase, tasks[i], records[i]) for i in range(len(tasks)) if i in records)
        return [records[i] for i in range(len(tasks))]

    def _read(self, keys, wanted, records):
        """Take the records that the store has; return which fits are missing still."""
        missing = []
        for i in wanted:
            if i not in records:
                found = self.store.get(keys[i])
                if found is None:
                    missing.append(i)
                else:
                    records[i] = found
                    self.n_read += 1
                    self.progress.fit_done()
        return missing

    def _claimed(self, keys, missing):
        """Yield the fits that no other study is at, and none has ended meanwhile."""
        for i in missing:
            if self.store.claim(keys[i]):
                if self.store.get(keys[i]) is None:
                    yield i
                else:
                    self.store.release(keys[i])

    @property
    def _is_here(self):
        """Whether this thread makes the fits."""
        return self.client is None and self.n_workers == 1

    def _can_share(self, task):
        """Whether a fit may be made here, side by side with others."""
        return self.client is None and side_by_side.is_possible(task)

    def _train(self, tasks, keys, missing):
        """Yield the numbers and records of missing tasks as they end."""
        if self.client is not None:
            data, groups = (self.splits, self.scoring), self._groups(tasks, keys, missing)
            yield from fit_on_cluster(self.client, _fit_group, tasks, data, groups, self.progress)
            return
        sharing = [i for i in missing if self._can_share(tasks[i])]
        claimed = self._claimed(keys, sharing)
        while some := {i: tasks[i] for i in itertools.islice(claimed, side_by_side.MOST_FITS)}:
            n_epochs = [task.budget.max_epochs for task in some.values()]
            total = None if None in n_epochs else sum(n_epochs)
            self.progress.fit_started(f"{len(some)} fits side by side", total)
            yield from side_by_side.fit_side_by_side(
                some, self.splits, self.scoring, self.n_threads, self.progress.epoch_done
            )
        others = [i for i in missing if not self._can_share(tasks[i])]
        yield from self._train_each(tasks, self._claimed(keys, others))

    def _train_each(self, tasks, claimed):
        """Yield the numbers and records of claimed tasks, each of which is a fit by itself."""
        if self._is_here:
            for i in claimed:
                self.progress.fit_started(str(tasks[i].config), tasks[i].budget.max_epochs)
                yield i, _fit(tasks[i], self.splits, self.scoring, self.progress.epoch_done)
            return
        parallel = joblib.Parallel(
            n_jobs=self.n_workers, backend=self.backend, return_as="generator_unordered"
        )
        fit = _fit_in_process if self.backend == "loky" else _numbered_fit
        jobs = (joblib.delayed(fit)(i, tasks[i], self.splits, self.scoring) for i in claimed)
        yield from parallel(jobs)

    def _groups(self, tasks, keys, missing):
        """Yield the numbers of the fits that a task of the cluster makes: some side by side, or one."""
        sharing = [i for i in missing if side_by_side.is_possible(tasks[i])]
        claimed, n = self._claimed(keys, sharing), group_size(self.client, len(sharing))
        while group := list(itertools.islice(claimed, min(n, side_by_side.MOST_FITS))):
            yield group
        for i in self._claimed(keys, [i for i in missing if not side_by_side.is_possible(tasks[i])]):
            yield [i]

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
    """Fit in another process, which does not inherit the warning filters of the study's."""
    with quiet_divergence:
        return _numbered_fit(*arguments)


_warm = set()


def _numbered_fit(i, task, splits, scoring):
    """Fit in a worker, which compiles the kernels of each contender before its first fit."""
    _warm_up_once(task, splits)
    return i, _fit(task, splits, scoring)


def _warm_up_once(task, splits):
    kind = task.contender.specification()
    if kind not in _warm:
        warm_up(task.contender, task.config, splits)
        _warm.add(kind)


def _fit_group(tasks, splits, scoring):
    """Return the numbers and records of the fits of a group, a dict of tasks."""
    with quiet_divergence:
        if len(tasks) == 1:
            return [_numbered_fit(i, task, splits, scoring) for i, task in tasks.items()]
        for task in tasks.values():
            _warm_up_once(task, splits)
        return list(side_by_side.fit_side_by_side(tasks, splits, scoring, None, lambda n_epochs: None))
