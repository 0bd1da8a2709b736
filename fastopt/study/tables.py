"""Tables of a study, made from the records of its fits."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from .._extras import require
from .statistics import holm, mean_interval, paired_difference
from .training_run import scorer_name

_CONFIG = ["optimizer", "lr", "batch_size"]


def results_frame(history, scoring, metrics=()):
    """Return one row per fit.

    Parameters
    ----------
    history : list of (phase, Task, record)
    scoring : str or callable
        Names the column of the score at the last epoch; NaN where the run diverged.
    metrics : sequence of str or callable
        Names the columns of the further scores, NaN likewise.
    """
    name = scorer_name(scoring)
    rows = []
    for phase, task, record in history:
        ended_well = not record["diverged"] and record["score"]
        rows.append(
            {
                "optimizer": task.config.label,
                "lr": task.config.lr,
                "batch_size": task.config.batch_size,
                "seed": task.seed,
                "phase": phase,
                "n_epochs": len(record["score"]),
                "loss": record["loss"][-1] if ended_well else math.nan,
                name: record["score"][-1] if ended_well else math.nan,
                **{
                    other: record["metrics"].get(other, math.nan)
                    for other in map(scorer_name, metrics if phase != "tuning" else ())
                    if other != name
                },
                "seconds_per_epoch": _seconds_per_epoch(record["seconds"]),
                "fit_seconds": sum(record["seconds"]),
                "diverged": record["diverged"],
                "error": record["error"],
            }
        )
    columns = [
        "optimizer",
        "lr",
        "batch_size",
        "seed",
        "phase",
        "n_epochs",
        "loss",
        name,
        "seconds_per_epoch",
    ]
    pandas = require("pandas", "a study")
    return pandas.DataFrame(rows, columns=None if rows else [*columns, "fit_seconds", "diverged", "error"])


def _seconds_per_epoch(seconds):
    return float(np.median(seconds)) if seconds else math.nan


def curves_frame(history, scoring):
    """Return one row per epoch of each fit: epoch (from 1), seconds of training so far, loss, score."""
    name = scorer_name(scoring)
    columns = [*_CONFIG, "seed", "phase", "epoch", "seconds", "samples", "loss", name]
    rows = [
        (*_key(task), task.seed, phase, epoch + 1, elapsed, (epoch + 1) * record["n_train"], loss, score)
        for phase, task, record in history
        for epoch, (elapsed, loss, score) in enumerate(
            zip(np.cumsum(record["seconds"]).tolist(), record["loss"], record["score"], strict=False)
        )
    ]
    return require("pandas", "a study").DataFrame(rows, columns=columns)


def _key(task):
    return task.config.label, task.config.lr, task.config.batch_size


def scores_by_seed(results, metric, phase="comparison"):
    """Return the scores as a table of seeds (rows) by optimizers (columns, in the order of `results`)."""
    chosen = results[results["phase"] == phase]
    order = list(dict.fromkeys(chosen["optimizer"]))
    return chosen.pivot(index="seed", columns="optimizer", values=metric)[order]


def summary_frame(results, curves, metric, target, *, val_to_train, confidence):
    """Return one row per optimizer, best first.

    Intervals are of the optimizer's own mean; whether two differ is for `comparison_frame` to say, as their
    seeds are paired.
    """
    rows = []
    runs = results[results["phase"] == "comparison"]
    others = [c for c in _metric_columns(results) if c != metric]
    for label, of_label in runs.groupby("optimizer", sort=False):
        interval = mean_interval(of_label[metric], val_to_train, confidence)
        reached = first_at_target(curves, label, metric, target)["epoch"]
        rows.append(
            {
                "optimizer": label,
                **_most_frequent(of_label[["lr", "batch_size"]]),
                metric: interval.mean,
                f"{metric}_low": interval.low,
                f"{metric}_high": interval.high,
                **{other: of_label[other].mean() for other in others},
                "loss": of_label["loss"].mean(),
                "epochs_to_target": float(np.median(reached)) if len(reached) else math.nan,
                "seeds_at_target": int(np.isfinite(reached).sum()),
                "seconds_per_epoch": of_label["seconds_per_epoch"].median(),
                "n_seeds": len(of_label),
                "n_diverged": int(of_label["diverged"].sum()),
            }
        )
    frame = require("pandas", "a study").DataFrame(rows, columns=None if rows else ["optimizer", metric])
    return frame.sort_values(metric, ascending=False, kind="stable", ignore_index=True)


def _most_frequent(settings):
    """Return the row that occurs most often, the first such."""
    return settings.loc[
        settings.groupby(list(settings), dropna=False)[settings.columns[0]].transform("size").idxmax()
    ]


def chosen_settings(history):
    """Return ``{label: {"lr": ..., "batch_size": ...}}`` of the comparison, the most frequent of each."""
    configs = {}
    for phase, task, _ in history:
        if phase == "comparison":
            configs.setdefault(task.config.label, Counter())[task.config] += 1
    first = {label: count.most_common(1)[0][0] for label, count in configs.items()}
    return {label: {"lr": config.lr, "batch_size": config.batch_size} for label, config in first.items()}


def _metric_columns(results):
    fixed = {
        *_CONFIG,
        "seed",
        "phase",
        "n_epochs",
        "loss",
        "seconds_per_epoch",
        "fit_seconds",
        "diverged",
        "error",
    }
    return [column for column in results.columns if column not in fixed]


def first_at_target(curves, label, metric, target):
    """Return, for each seed, the first epoch whose score is at least `target`, and the seconds to its end.

    Seeds that never get there have infinities.
    """
    mine = curves[(curves["phase"] == "comparison") & (curves["optimizer"] == label)]
    first = mine[mine[metric] >= target].groupby("seed")[["epoch", "seconds"]].min()
    return first.reindex(sorted(mine["seed"].unique())).astype(float).fillna(math.inf)


def automatic_target(results, metric):
    """Return one hundredth below the best mean score, rounded down to whole hundredths."""
    means = results[results["phase"] == "comparison"].groupby("optimizer")[metric].mean()
    best = means.max()
    return math.nan if not math.isfinite(best) else math.floor(round((best - 0.01) * 100, 6)) / 100


def comparison_frame(results, metric, best, labels, *, val_to_train, confidence):
    """Return `best` against every other of `labels`, as paired differences over seeds.

    Columns: optimizer, difference (best minus it), low, high, p_value (Holm-adjusted over the rows), n_seeds,
    distinguishable (whether that p-value is below ``1 - confidence``).
    """
    rows = []
    scores = scores_by_seed(results, metric) if best is not None else None
    for other in () if best is None else (label for label in labels if label != best):
        interval = paired_difference(scores[best], scores[other], val_to_train, confidence)
        rows.append((other, interval.mean, interval.low, interval.high, interval.p_value, interval.n))
    columns = ["optimizer", "difference", "low", "high", "p_value", "n_seeds"]
    frame = require("pandas", "a study").DataFrame(rows, columns=columns)
    frame["p_value"] = holm(frame["p_value"])
    frame["distinguishable"] = frame["p_value"] < 1 - confidence
    return frame.sort_values("difference", ignore_index=True)


def confusion_matrices(history):
    """Return ``{optimizer: counts}`` summed over the comparison's seeds; rows are true classes."""
    summed = {}
    for phase, task, record in history:
        if phase == "comparison" and record["confusion"] is not None:
            counts = np.array(record["confusion"])
            summed[task.config.label] = summed.get(task.config.label, 0) + counts
    return summed
