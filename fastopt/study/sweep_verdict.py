"""The findings of a sweep over learning rate and batch size, in sentences."""

from __future__ import annotations

import math

from .statistics import holm, paired_difference
from .training_run import scorer_name

#: Below this number of seeds a study warns that its intervals are rough.
FEW_SEEDS = 5
_CELL = ["optimizer", "lr", "batch_size"]


def sweep_verdict(study):
    """Return the findings of `OptimizerStudy.sweep` as a list of sentences."""
    metric = scorer_name(study.scoring_)
    scores = study.results_.pivot_table(
        index=_CELL, columns="seed", values=metric, dropna=False, sort=False, observed=True
    ).dropna()
    if scores.empty:
        return ["Every setting diverged: try smaller learning rates."] if len(study.results_) else []
    sentences = [_best(study, scores, metric)]
    sentences += _rates_by_size(study, scores)
    sentences += _speed(study)
    return sentences


def _name(cell):
    label, rate, size = cell
    parts = [label]
    parts += [f"learning rate {rate:g}"] if math.isfinite(rate) else []
    parts += [f"batch {size:g}"] if math.isfinite(size) else []
    return ", ".join(parts)


def _best(study, scores, metric):
    means = scores.mean(axis=1)
    best, n_seeds = means.idxmax(), scores.shape[1]
    sentence = f"Best mean {metric.replace('_', ' ')}: {_name(best)}, {means[best]:.4f}"
    if n_seeds < 2:
        return f"{sentence} (one seed, which says nothing about chance, so this names no winner)."
    others = scores.drop(best)
    if n_seeds < FEW_SEEDS:  # so few find hardly anything different, not even a setting that failed
        return f"{sentence} ({n_seeds} seeds: too few to say which of the other {len(others)} are worse)."
    gaps = [
        paired_difference(
            scores.loc[best], row, study._experiment.splits.val_to_train, study.confidence
        ).p_value
        for _, row in others.iterrows()
    ]
    tied = int((holm(gaps) >= 1 - study.confidence).sum())
    return f"{sentence} ({n_seeds} seeds); {tied} of the other {len(others)} settings are within noise of it."


def _rates_by_size(study, scores):
    """Say how the best learning rate changes with the batch size."""
    means = scores.mean(axis=1).rename("score").reset_index()
    sentences = []
    for label, mine in means.groupby("optimizer", sort=False):
        if mine["lr"].nunique() < 2 or mine["batch_size"].nunique() < 2:
            continue
        best = mine.loc[mine.groupby("batch_size")["score"].idxmax()]
        moves = ", ".join(f"{row.lr:g} at {row.batch_size:g}" for row in best.itertuples())
        sentences.append(f"{label}: the best learning rate by batch size is {moves}.")
    return sentences


def _speed(study):
    by_size = study.results_.groupby("batch_size")["seconds_per_epoch"].median()
    if len(by_size) < 2:
        return []
    small, large = by_size.index[0], by_size.index[-1]
    slow, quick = (f"{duration(by_size[size])} in batches of {size:g}" for size in (small, large))
    return [f"An epoch takes {slow} and {quick}."]


def duration(seconds):
    """Return a time as text: in ms below a second."""
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.1f} s"
