"""Searches for each contender's configuration, with the same budget for every contender."""

from __future__ import annotations

import math

import numpy as np

from .._extras import require
from .contenders import Config
from .executor import Task

SEARCHES = ("grid", "halving", "optuna")


def is_tuned(contender):
    """Whether a contender has more than one configuration to choose from."""
    return len(contender.configs) > 1


def grid(contenders, seeds, budget, evaluate):
    """Train every configuration on every tuning seed; return ``{label: Config}`` with the best means."""
    tasks = [
        Task(c, config, seed, budget, is_tuning=True)
        for c in contenders
        for config in c.configs
        for seed in seeds
    ]
    means = _mean_scores(tasks, evaluate(tasks))
    return {c.label: _best(c.configs, means) for c in contenders}


def halving(contenders, seeds, budget, evaluate, *, factor=3):
    """Successive halving (Jamieson & Talwalkar 2016) within each contender.

    The whole grid runs on a small budget; the best ``1/factor`` of *each contender* go on with `factor` times
    more, until the last rung has the full budget. Cutting within contenders, not across, leaves each the same
    number of trials: a slow starter is not thrown out by a fast one.
    """
    alive = {c.label: c.configs for c in contenders}
    n_rungs = n_halving_rungs(contenders, factor)
    for rung in range(n_rungs):
        rung_budget = budget.scaled(float(factor) ** (rung + 1 - n_rungs))
        tasks = [
            Task(c, config, seed, rung_budget, is_tuning=True)
            for c in contenders
            for config in alive[c.label]
            for seed in seeds
        ]
        means = _mean_scores(tasks, evaluate(tasks))
        alive = {label: _top(configs, means, factor) for label, configs in alive.items()}
    return {label: configs[0] for label, configs in alive.items()}


def n_halving_rungs(contenders, factor):
    """Return the number of rungs: enough to get from the longest grid down to less than `factor`."""
    longest = max(len(c.configs) for c in contenders)
    return 1 + math.floor(math.log(longest, factor) + 1e-9)


def count_fits(search, contenders, n_seeds, *, factor=3, n_trials=20):
    """Return how many fits a search makes."""
    if search == "optuna":
        return n_trials * n_seeds * len(contenders)
    if search == "grid":
        return sum(len(c.configs) for c in contenders) * n_seeds
    n_rungs, total = n_halving_rungs(contenders, factor), 0
    for contender in contenders:
        n = len(contender.configs)
        for _ in range(n_rungs):
            total, n = total + n, max(1, math.ceil(n / factor))
    return total * n_seeds


def optuna(contenders, seeds, budget, evaluate, *, n_trials=20, random_state=0):
    """Tree-structured Parzen search by Optuna, `n_trials` for each contender.

    The learning rate is drawn between the ends of the contender's grid, on a log scale; the batch size from
    the sizes in it.
    """
    package = require("optuna", "search='optuna'", extra="optuna")
    package.logging.set_verbosity(package.logging.WARNING)
    chosen = {}
    for contender in contenders:
        sampler = package.samplers.TPESampler(seed=random_state)
        study = package.create_study(direction="maximize", sampler=sampler)
        study.optimize(
            lambda trial, contender=contender: trial_score(trial, contender, seeds, budget, evaluate),
            n_trials=n_trials,
        )
        chosen[contender.label] = _suggested(study.best_trial, contender)
    return chosen


def trial_score(trial, contender, seeds, budget, evaluate):
    """Return the mean score of an Optuna `trial`'s configuration: an objective for a study of one's own."""
    config = _suggested(trial, contender)
    tasks = [Task(contender, config, seed, budget, is_tuning=True) for seed in seeds]
    score = _mean_scores(tasks, evaluate(tasks))[config]
    if not math.isfinite(score):
        raise require("optuna", "a trial", extra="optuna").TrialPruned(f"{config} diverged")
    return score


def _suggested(trial, contender):
    rates = [config.lr for config in contender.configs if config.lr is not None]
    sizes = sorted({config.batch_size for config in contender.configs if config.batch_size is not None})
    lr = (
        trial.suggest_float("lr", min(rates), max(rates), log=True)
        if len(set(rates)) > 1
        else (rates or [None])[0]
    )
    size = trial.suggest_categorical("batch_size", sizes) if len(sizes) > 1 else (sizes or [None])[0]
    return Config(contender.label, lr, size)


def _mean_scores(tasks, records):
    """Return ``{Config: mean score}``; a configuration that diverged on any seed is worse than all others."""
    scores = {}
    for task, record in zip(tasks, records, strict=True):
        ended_well = not record["diverged"] and record["score"]
        scores.setdefault(task.config, []).append(record["score"][-1] if ended_well else -math.inf)
    return {config: float(np.mean(values)) for config, values in scores.items()}


def _top(configs, means, factor):
    ranked = sorted(configs, key=lambda config: -means[config])  # stable: on a tie the smaller rate stays
    return tuple(ranked[: max(1, math.ceil(len(ranked) / factor))])


def _best(configs, means):
    return _top(configs, means, len(configs))[0]
