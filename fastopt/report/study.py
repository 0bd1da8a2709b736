"""The report of a study, on the page of all reports."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

import numpy as np

from ..study.training_run import scorer_name
from ..study.verdict import is_in_points
from . import page

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastopt.display import ConfusionDisplay
    from fastopt.study import OptimizerStudy


def contents(study: OptimizerStudy) -> dict[str, Any]:
    """Return what the report's template needs of a fitted study, without its frame."""
    pictures, problems = page.pictures(_drawings(study))
    return {
        "verdict": study.verdict_,
        "notes": [*study.notes_, *problems],
        "tables": _tables(study),
        "late_tables": _late_tables(study),
        "pictures": pictures,
        "settings": settings_of(study),
        "method": _METHOD,
        "work": f"{len(study.results_)} fits in {study.seconds_:.1f} s",
    }


def _tables(study):
    """Return the report's tables as ``(heading, explanation, columns, rows)``; a cell is (text, sort key)."""
    metric = scorer_name(study.scoring_)
    tables = []
    if not study.summary_.empty:
        tables.append(("Optimizers", SUMMARY_TEXT, *summary_cells(study, metric)))
    if not study.comparisons_.empty:
        text = (
            f"Paired over seeds. Intervals hold {study.confidence:.0%}; p-values are adjusted for the number "
            "of rows (Holm)."
        )
        heading = f"{study.best_optimizer_} against each other one"
        tables.append((heading, text, *_comparison_cells(study, metric)))
    return tables


def _late_tables(study):
    """Return the long table of a sweep, placed after the pictures."""
    if not study.summary_.empty or study.results_.empty:
        return []
    return [("Every setting", "Means over seeds.", *grid_cells(study))]


_METHOD = (
    "With each seed every optimizer saw the same split, the same initial weights and the same batch order. "
    "Learning rates were chosen on seeds that the comparison does not use, from the same number of trials "
    "for each. Scores are those of the last epoch."
)
SUMMARY_TEXT = (
    "Score of the last epoch on rows not trained on, with the interval of its mean over seeds. Whether two "
    "rows differ is not to be read from these intervals, as the seeds are paired: see the next table. A "
    "fraction after the median of the epochs says how many seeds reached the target."
)


def summary_columns(study: OptimizerStudy) -> list[tuple[str, Callable[[Any], tuple[str, float]]]]:
    """Return ``(heading, function of a summary row -> (text, number))`` for each column that is shown.

    The terminal's table and the report's show the same columns.
    """
    metric = scorer_name(study.scoring_)
    others = [scorer_name(name) for name in study.metrics_ if scorer_name(name) != metric]
    columns = [("Optimizer", lambda row: (row["optimizer"], row["optimizer"]))]
    columns.append(("Learning rate", lambda row: _number(row["lr"], ".3g")))
    if study.summary_["batch_size"].nunique(dropna=False) > 1:
        columns.append(("Batch", lambda row: _number(row["batch_size"], ".0f")))
    columns.append((f"Validation {_words(metric)}", lambda row: _with_interval(row, metric)))
    columns += [
        (_words(name).capitalize(), lambda row, name=name: _number(row[name], ".4f")) for name in others
    ]
    columns.append(("Final loss", lambda row: _number(row["loss"], ".4g")))
    target = f"{study.target_score_:g}" if np.isfinite(study.target_score_) else "target"
    columns.append((f"Epochs to {target}", _epochs_cell))
    columns.append(("Epoch (ms)", lambda row: _milliseconds(row["seconds_per_epoch"])))
    if study.summary_["n_diverged"].any():
        columns.append(("Diverged", lambda row: _number(row["n_diverged"], ".0f")))
    return columns


def _words(metric):
    return {"recall_macro": "macro recall", "precision_macro": "macro precision", "f1_macro": "macro F1"}.get(
        metric, metric.replace("_", " ")
    )


def _number(value, form):
    missing = value is None or not np.isfinite(value)
    return ("–", float("inf")) if missing else (format(value, form), float(value))


def _milliseconds(seconds):
    return _number(1000 * seconds, ".3g" if seconds < 1 else ",.0f")


def _with_interval(row, metric):
    if not np.isfinite(row[metric]):
        return "diverged", float("-inf")
    half = (row[f"{metric}_high"] - row[f"{metric}_low"]) / 2
    margin = f" ± {half:.4f}" if np.isfinite(half) else " (one seed)"
    return f"{row[metric]:.4f}{margin}", float(row[metric])


def _epochs_cell(row):
    n, reached = row["n_seeds"], row["seeds_at_target"]
    if reached == 0:
        return "never", float("inf")
    some = "" if reached == n else f" ({reached}/{n})"
    epochs = row["epochs_to_target"]
    return (f"{epochs:g}{some}" if np.isfinite(epochs) else f"–{some}"), float(epochs)


def summary_cells(study, metric):
    """Return ``(columns, rows)`` of the summary of a fitted study."""
    columns = summary_columns(study)
    rows = [[cell(row) for _, cell in columns] for _, row in study.summary_.iterrows()]
    return [heading for heading, _ in columns], rows


def _comparison_cells(study, metric):
    scale, unit = (100, "points") if is_in_points(metric) else (1, _words(metric))

    def shown(value):
        value *= scale
        return f"{value:.3g}" if scale == 1 else f"{round(value, 2) + 0.0:.2f}"  # + 0.0: not "-0.00"

    columns = ["Optimizer", f"Behind by ({unit})", "Interval", "p-value", "Seeds", "Verdict"]
    rows = [
        [
            (row.optimizer, row.optimizer),
            (shown(row.difference), row.difference),
            (f"{shown(row.low)} to {shown(row.high)}", row.low),
            (f"{row.p_value:.2g}", row.p_value),
            (str(row.n_seeds), row.n_seeds),
            ("really behind" if row.distinguishable else "within noise", row.p_value),
        ]
        for row in study.comparisons_.itertuples()
    ]
    return columns, rows


def grid_cells(study: OptimizerStudy) -> tuple[list[str], list[list[tuple[str, Any]]]]:
    """Return ``(columns, rows)`` of a sweep, best first; the terminal shows the first rows."""
    metric = scorer_name(study.scoring_)
    keys = ["optimizer", "lr", "batch_size"]
    means = study.results_.groupby(keys, dropna=False, sort=False)[[metric, "loss", "seconds_per_epoch"]]
    columns = [
        "Optimizer",
        "Learning rate",
        "Batch",
        f"Validation {_words(metric)}",
        "Final loss",
        "Epoch (ms)",
    ]
    means = means.agg(lambda values: values.mean(skipna=False))
    rows = [
        [
            (label, label),
            _number(rate, ".3g"),
            _number(size, ".0f"),
            _number(mean[metric], ".4f"),
            _number(mean["loss"], ".4g"),
            _milliseconds(mean["seconds_per_epoch"]),
        ]
        for (label, rate, size), mean in means.sort_values(metric, ascending=False, kind="stable").iterrows()
    ]
    return columns, rows


def _drawings(study):
    from .. import display

    metric = scorer_name(study.scoring_)
    name = _words(metric)
    phases = set(study.results_["phase"])
    found = []
    if "comparison" in phases:
        band = "Line: mean over seeds; band: one standard error on each side."
        time = "The same against seconds of training on this machine, evaluation not counted."
        found += [
            ("Loss while training", band, _curves(study, metric="loss")),
            (f"Validation {name} by epoch", band, _curves(study)),
            (f"Validation {name} by time", time, _curves(study, x="seconds")),
        ]
    if not study.comparisons_.empty:
        text = "Filled: behind by more than chance explains; hollow: within noise."
        found.append(("Paired differences", text, _narrow(display.OptimizerDifferenceDisplay, study)))
    if phases & {"tuning", "sweep"} and study.results_["lr"].nunique() > 1:
        text = "A narrow peak needs tuning; a broad one forgives. Rates at which a run diverged are left out."
        draw = _narrow(display.LearningRateDisplay, study)
        found.append(("Sensitivity to the learning rate", text, draw))
    if "sweep" in phases or (study.search == "grid" and study.results_["batch_size"].nunique() > 1):
        found += _maps(study, metric, name)
    if study.confusion_:
        text = "Validation rows of all seeds; rows are true classes, in percent."
        found.append(("Confusion matrix", text, lambda: confusion(study).figure_))
    return found


def _curves(study, **options):
    from ..display import OptimizerComparisonDisplay

    return _narrow(OptimizerComparisonDisplay, study, **options)


def _narrow(display, study, **options):
    """Return a function that draws a display of `study` at the size of the report's pictures."""

    def draw():
        legend_rows = (len(study.labels_) + 1) // 2
        return display.from_study(study, ax=page.narrow_axes(0.2 * legend_rows), **options).figure_

    return draw


def confusion(study: OptimizerStudy) -> ConfusionDisplay:
    """Return the display of all optimizers' confusion matrices, or of the best one's if they are large."""
    from ..display import ConfusionDisplay

    one = study.best_optimizer_ or next(iter(study.confusion_))
    return ConfusionDisplay.from_study(study, labels=None if len(study.classes_) <= 4 else [one])


def _maps(study, metric, name):
    from ..display import HeatMapDisplay

    text = "Means over seeds; × marks a setting that diverged with any seed."
    return [
        (
            f"Learning rate and batch size: {what}",
            text,
            lambda column=column: HeatMapDisplay.from_study(study, metric=column).figure_,
        )
        for what, column in (
            (name, metric),
            ("final loss", "loss"),
            ("time per epoch", "seconds_per_epoch"),
        )
    ]


def settings_of(study, **more):
    """Return ``{name: value}`` of what was run; defaults included, as they too are part of the result."""
    parameters = study.get_params(deep=False) | more
    for hidden in ("estimator", "progress", "store"):
        parameters.pop(hidden)
    without_addresses = re.sub(r" at 0x\w+", "", repr(study.estimator))
    if hasattr(study, "_experiment"):
        parameters["n_seeds"] = study._experiment.n_seeds
    shown = {
        name: textwrap.shorten(str(value), 400, placeholder=" ...") for name, value in parameters.items()
    }
    return {"estimator": " ".join(without_addresses.split()), **shown}
