"""The verdict: a study's results in sentences, with notes of caution."""

from __future__ import annotations

import math

import numpy as np

from . import landscape
from .statistics import holm, paired_difference
from .sweep_verdict import FEW_SEEDS, duration, sweep_verdict
from .tables import first_at_target, scores_by_seed
from .training_run import scorer_name

# Scorers read in hundredths: a difference of 0.012 is "1.2 points".
_IN_POINTS = ("accuracy", "balanced_accuracy", "f1", "precision", "recall", "roc_auc", "jaccard", "top_k")


def is_in_points(metric):
    """Whether differences of `metric` are given in points, hundredths of its scale."""
    return metric.startswith(_IN_POINTS)


def with_margin(value, half_width, metric):
    """Return a difference with its margin of error and unit, as text.

    Examples
    --------
    >>> with_margin(0.012, 0.014, "accuracy")
    '1.2 ± 1.4 points'
    >>> with_margin(0.012, 0.0, "accuracy")
    '1.20 points with every seed'
    """
    scale, unit, more = (100, " points", 0) if is_in_points(metric) else (1, "", 1)
    if half_width == 0:
        return f"{scale * value:.{2 + more}f}{unit} with every seed"
    digits = _digits(scale * half_width) + more
    rounded = round(scale * value, digits) + 0.0  # no minus before a zero
    return f"{rounded:.{digits}f} ± {scale * half_width:.{digits}f}{unit}"


def _digits(value):
    """Return the number of decimals: two significant digits of small values, one decimal of larger ones."""
    if not math.isfinite(value):
        return 1
    return int(np.clip(1 - math.floor(math.log10(abs(value))), 1, 4))


def verdict(study):
    """Return the findings of a fitted `OptimizerStudy` as sentences, the most important first."""
    metric = scorer_name(study.scoring_)
    summary = study.summary_[~study.summary_["optimizer"].isin(study.yardsticks_)]
    if summary.empty:
        return sweep_verdict(study)
    if study.best_optimizer_ is None:  # an interrupted study may have more seeds of some
        alone = list(summary["optimizer"][summary["n_seeds"] < 2])
        if not alone:
            return ["Every optimizer diverged with every seed: try smaller learning rates."]
        return [
            f"No winner is named: there is one seed of {listed(alone)}, which says nothing about chance. "
            "Run with 5 seeds or more (n_seeds, --seeds)."
        ]
    rows = study.comparisons_
    sentences = [_headline(study, rows, metric)]
    sentences += _margins(study, rows[rows["distinguishable"]].iloc[::-1], metric)
    sentences += _ties(study, rows[~rows["distinguishable"]], metric)
    sentences += _same_rate(study, metric)
    sentences += _speed(study, metric)
    sentences += _yardsticks(study, metric)
    competing = [c for c in study._experiment.contenders if not c.is_yardstick]
    return sentences + landscape.place(competing, study.best_optimizer_)


def _headline(study, rows, metric):
    best = study.summary_.set_index("optimizer").loc[study.best_optimizer_]
    name = metric.replace("_", " ")
    score = f"{study.best_optimizer_} has the best mean {name}, {best[metric]:.4f}"
    tied = list(rows[~rows["distinguishable"]]["optimizer"])
    if rows.empty:
        return f"{score}, and nothing to be compared with."
    if not tied:
        return f"{score}, ahead of every other by more than chance explains."
    if len(tied) == len(rows):
        return f"{score}, but within noise of every other: these seeds do not tell the optimizers apart."
    return f"{score}, but {listed(tied)} {'is' if len(tied) == 1 else 'are'} within noise of it."


def _margins(study, beaten, metric):
    return [
        f"{study.best_optimizer_} beats {row.optimizer} by "
        f"{with_margin(row.difference, (row.high - row.low) / 2, metric)} "
        f"({study.confidence:.0%} interval, {row.n_seeds} seeds)."
        for row in beaten.itertuples()
    ]


def _ties(study, tied, metric):
    """Name the optimizers whose difference from the best may be chance."""
    gaps = [
        f"{row.optimizer} by {with_margin(row.difference, (row.high - row.low) / 2, metric)}"
        for row in tied.itertuples()
        if row.n_seeds > 1
    ]
    if not gaps:
        return []
    sentence = f"Behind it, within noise ({study.confidence:.0%} intervals): {listed(gaps)}."
    if (tied["low"] > 0).any():
        n = len(study.comparisons_)
        sentence += f" (An interval above 0 can be chance, too: p-values are adjusted for {n} comparisons.)"
    return [sentence]


def _same_rate(study, metric):
    """Say at which shared learning rate a beaten optimizer catches up, from the tuning runs."""
    if study.search != "grid":
        return []  # halving and Optuna do not train everyone at every rate to the end
    tuning = study.results_[study.results_["phase"] == "tuning"]
    if tuning.empty or study.comparisons_.empty:
        return []
    best_of = tuning.groupby(["optimizer", "lr"])[metric].mean().unstack("optimizer")
    sentences = []
    for row in study.comparisons_[study.comparisons_["distinguishable"]].itertuples():
        if row.optimizer not in best_of or study.best_optimizer_ not in best_of:
            continue
        mine, winner = best_of[row.optimizer], best_of[study.best_optimizer_]
        near_its_best = mine >= mine.max() - 0.01
        overtaken = mine[(mine >= winner) & near_its_best]
        if len(overtaken):
            rates = listed([f"{rate:g}" for rate in overtaken.index])
            sentences.append(
                f"The learning rate matters: with the same one for both, {row.optimizer} is at least level "
                f"at {rates} (means over {tuning['seed'].nunique()} tuning seeds)."
            )
    return sentences


def _yardsticks(study, metric):
    """Compare each yardstick with the contender whose settings it took over, in score and in time."""
    sentences = []
    rows = study.summary_.set_index("optimizer")
    scores = scores_by_seed(study.results_, metric)
    for contender in study._experiment.contenders:
        leader = contender.follows
        if not contender.is_yardstick or leader not in rows.index or contender.label not in rows.index:
            continue
        gap = paired_difference(
            scores[leader], scores[contender.label], study._experiment.splits.val_to_train, study.confidence
        )
        seconds = rows["seconds_per_epoch"]
        sentences.append(
            f"{contender.label} on the same work: {metric.replace('_', ' ')} "
            f"{rows[metric][contender.label]:.4f} ({leader} differs by "
            f"{with_margin(gap.mean, gap.half_width, metric)}); an epoch takes it "
            f"{duration(seconds[contender.label])}, {leader} {duration(seconds[leader])}: "
            f"a factor of {seconds[contender.label] / seconds[leader]:.1f}."
        )
    return sentences


def _speed(study, metric):
    """Name the optimizers that need the fewest epochs, and the least time, to the target, with ties."""
    contenders = [label for label in study.summary_["optimizer"] if label not in study.yardsticks_]
    epochs, seconds = {}, {}
    for label in contenders:
        first = first_at_target(study.curves_, label, metric, study.target_score_)
        if np.isfinite(first["epoch"].median()):
            epochs[label], seconds[label] = first["epoch"], first["seconds"]
    if not epochs:
        return []
    goal = f"{metric.replace('_', ' ')} {study.target_score_:g}"
    quickest, level = _least(epochs, study.confidence)
    fewest = f"Fewest epochs to {goal}: {quickest}, {_least_median(epochs):g} (median){level}."
    quickest, level = _least(seconds, study.confidence)
    return [fewest, f"Least training time to it: {quickest}, {duration(_least_median(seconds))}{level}."]


def _least_median(values):
    return min(by_seed.median() for by_seed in values.values())


def _least(values, confidence):
    """Return the labels with the smallest median over seeds, and text on those within noise of them."""
    order = sorted(values, key=lambda label: values[label].median())
    first = [label for label in order if values[label].median() == _least_median(values)]
    others = order[len(first) :]
    p_values = holm([paired_difference(values[other], values[first[0]]).p_value for other in others])
    level = [other for other, p in zip(others, p_values, strict=True) if not p < 1 - confidence]
    them = "it" if len(first) == 1 else "them"
    return listed(first), f"; within noise of {them}: {listed(level)}" if level else ""


def notes(study):
    """Return notes of caution about the results."""
    found = []
    results = study.results_
    metric = scorer_name(study.scoring_)
    judged = results[results["phase"] != "tuning"]
    n_seeds = judged["seed"].nunique()
    if study.interrupted_:
        found.append("The study was interrupted: these are partial results, and the seeds may be unequal.")
    if 1 < n_seeds < FEW_SEEDS:
        found.append(f"Only {n_seeds} seeds: the intervals are wide and rough. Ten are better.")
    if not study.comparisons_.empty and not study.comparisons_["distinguishable"].all():
        found.append(
            "Differences within noise are not differences: the order of such rows in the table means nothing."
        )
    if any(contender.had_early_stopping for contender in study._experiment.contenders):
        found.append(
            "Trained without the early_stopping of the network: every contender has the same budget and is "
            "scored after each epoch."
        )
    found += _edges(study)
    found += _short_batches(study)
    for label, n in results.groupby("optimizer", sort=False)["diverged"].sum().items():
        if n:
            found.append(f"{label} diverged in {n} of its {(results['optimizer'] == label).sum()} fits.")
    reused = _reused_validation(study, metric)
    return found + reused


def _edges(study):
    """Warn where the chosen rate is at the end of its grid, as the optimum may lie beyond."""
    found = []
    for contender in study._experiment.contenders:
        rates = sorted({config.lr for config in contender.configs if config.lr is not None})
        chosen = study.best_params_.get(contender.label, {}).get("lr")
        if len(rates) > 2 and chosen in (rates[0], rates[-1]):
            end = "smallest" if chosen == rates[0] else "largest"
            found.append(
                f"{contender.label} chose the {end} learning rate of its grid ({chosen:g}): its best may lie "
                "beyond. Widen lr."
            )
    return found


def _short_batches(study):
    """Warn where scores are taken right after the noisy step of a batch of few rows."""
    found = {}
    for phase, task, record in study._experiment.executor.history:
        size = task.config.batch_size
        left = record["n_train"] % size if size else 0
        if phase != "tuning" and 0 < left < size / 4 and record["n_train"] > size:
            found[size] = left
    return [
        f"The last batch of each epoch has {left} rows instead of {size}, and scores are taken right after "
        "its noisy step: high learning rates look worse than they are. Another batch size avoids it."
        for size, left in found.items()
    ]


def _reused_validation(study, metric):
    if study._experiment.splits.is_fixed:
        return [
            "All seeds share one validation set, which tuning did not see: the intervals speak of initial "
            "weights and batch order, not of other data."
        ]
    tuned = (study.results_["phase"] == "tuning").any()
    if study.nested:
        return _choices(study)
    name = metric.replace("_", " ")
    return (
        [
            f"Settings were chosen on other splits of the same rows: the {name} is fair between optimizers, "
            "and slightly optimistic for new data."
        ]
        if tuned
        else []
    )


def _choices(study):
    """Say, of a nested study, whose choice was not the same for each split."""
    runs = study.results_[study.results_["phase"] == "comparison"].fillna({"lr": -1, "batch_size": -1})
    n_choices = runs.groupby("optimizer", sort=False)[["lr", "batch_size"]].apply(
        lambda r: len(r.drop_duplicates())
    )
    differing = list(n_choices.index[n_choices > 1])
    if not differing:
        return []
    return [
        f"Each split chose its settings by itself. The choices differ for {listed(differing)}: the most "
        "frequent one is shown."
    ]


def listed(names):
    """Return names as a list in words.

    Examples
    --------
    >>> listed(["Adam", "Lion", "SGD"])
    'Adam, Lion and SGD'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
