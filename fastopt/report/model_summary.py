"""What a model of a table is worth, in numbers and sentences: for the terminal and for the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..tabular.out_of_fold import (
    Score,
    Scored,
    classification_scores,
    constant,
    difference,
    regression_scores,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Scores that are shown in percent.
_PERCENT = ("accuracy",)
#: Scores that have no unit.
_WITHOUT_UNIT = ("R2", "log loss")


@dataclass
class ModelSummary:
    """A fitted bag of networks beside other models on the same folds.

    Attributes
    ----------
    y : ndarray of shape (n_rows,)
        Targets of the rows that were held out of a network.
    predictions : ndarray of shape (n_rows, n_outputs)
        Out of fold: probabilities, or numbers.
    weights : ndarray of shape (n_rows,) or None
    models : list of Scored
        The bag first, then the baseline that looks at no column, then the others.
    columns : list of dict
        As of `TableEncoder.describe`, each with its ``importance``.
    sentences : list of str
    """

    y: np.ndarray
    predictions: np.ndarray
    weights: np.ndarray | None
    models: list[Scored]
    columns: list[dict[str, Any]]
    sentences: list[str]


def summarize(
    model: Any,
    y: np.ndarray,
    *,
    others: Mapping[str, np.ndarray] | None = None,
    sample_weight: np.ndarray | None = None,
) -> ModelSummary:
    """Score the out-of-fold predictions of a model beside those of others.

    Parameters
    ----------
    model : TabularMLPClassifier or TabularMLPRegressor
        Fitted without ``X_val``, to one target.
    y : ndarray of shape (n_rows,)
        That it was fitted to.
    others : dict of str to ndarray of shape (n_rows, n_outputs), optional
        Out-of-fold predictions of other models, by their names.
    sample_weight : ndarray of shape (n_rows,), optional

    Raises
    ------
    ValueError
        If there are no out-of-fold predictions or several targets, or y is another than in `fit`.
    """
    y = np.asarray(y)
    if not hasattr(model, "oof_predictions_"):
        raise ValueError(
            f"this {type(model).__name__} has no out-of-fold predictions to report: it was fitted with "
            "X_val, or not at all."
        )
    if len(y) != len(model.oof_predictions_):
        raise ValueError(
            f"y has {len(y)} rows, and the model was fitted to {len(model.oof_predictions_)}: pass that y."
        )
    ours = model.oof_predictions_.reshape(len(y), -1)
    classes = getattr(model, "classes_", None)
    if y.ndim != 1 or ours.shape[1] != (1 if classes is None else len(classes)):
        raise ValueError("a report is of one target; this model predicts several, or quantiles")
    known = ~np.isnan(ours[:, 0])
    if sample_weight is not None:
        known &= np.asarray(sample_weight) > 0
    weights = None if sample_weight is None else np.asarray(sample_weight, np.float64)[known]
    predictions = {
        type(model).__name__: ours,
        _without_columns(classes): constant(y, classes, sample_weight),
        **(others or {}),
    }
    models = [
        Scored(name, _scores(y[known], found[known], classes, weights)) for name, found in predictions.items()
    ]
    return ModelSummary(
        y[known], ours[known], weights, models, _columns(model), _sentences(model, models, weights)
    )


def _without_columns(classes):
    return "No column: the mean" if classes is None else "No column: shares of the classes"


def _scores(y, found, classes, weights):
    if classes is None:
        return regression_scores(y, found[:, 0], weights)
    return classification_scores(y, found, classes, weights)


def _columns(model):
    described = model.encoder_.describe()
    for column, importance in zip(described, model.feature_importances_.tolist(), strict=True):
        column["importance"] = importance
    return described


def shown(score: Score) -> str:
    """Return a score with its interval, such as '94.2 % (93.0 to 95.2)'."""
    value, low, high = (_number(score.name, v) for v in (score.value, score.low, score.high))
    return f"{value}{' %' if score.name in _PERCENT else ''} ({low} to {high})"


def _number(name, value):
    """Return a score, or a difference of two, in the unit in which it is shown."""
    if name in _PERCENT:
        return f"{round(100 * value, 1) + 0.0:.1f}"
    if name in _WITHOUT_UNIT:
        return f"{round(value, 3) + 0.0:.3f}"
    return (
        f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:#.4g}".rstrip(".")
    )  # as prices are written


def _sentences(model, models, weights):
    ours, simplest, *others = models
    first, of_simplest = ours.scores[0], simplest.scores[0]
    n_rows = len(first.terms)
    if first.name == "accuracy":
        found = [
            f"Out of fold, {shown(first)} of {n_rows:,} rows are classified right; without looking at a "
            f"column it would be {100 * of_simplest.value:.1f} %.",
            f"The log loss of the probabilities is {shown(ours.scores[1])}; without looking at a column it "
            f"would be {simplest.scores[1].value:.3f}.",
        ]
    else:
        found = [
            f"Out of fold, R2 is {shown(first)} on {n_rows:,} rows: a typical error (RMSE) of "
            f"{shown(ours.scores[1])}, where the mean of the target has {simplest.scores[1].value:.4g}."
        ]
    found += [
        _against(ours, other, i, weights) for other in others for i in range(2 if len(found) > 1 else 1)
    ]
    return found


def _against(ours, other, i, weights):
    """Return a sentence that compares a score with that of another model on the same folds."""
    mine, its = ours.scores[i], other.scores[i]
    unit = " points" if mine.name in _PERCENT else ""
    gain, low, high = difference(mine, its, weights)
    told = f"{other.name} on the same folds has {mine.name} {shown(its)}"
    size = f"{_number(mine.name, abs(gain))}{unit}"
    if low < 0 < high:
        bounds = f"{_number(mine.name, low)} to {_number(mine.name, high)}"
        return f"{told}: a difference of {size}, within noise (interval {bounds})."
    bounds = " to ".join(_number(mine.name, bound) for bound in sorted((abs(low), abs(high))))
    return f"{told}: the networks are {'better' if gain > 0 else 'worse'} by {size} (interval {bounds})."
