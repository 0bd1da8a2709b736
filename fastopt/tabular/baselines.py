"""What HistGradientBoosting predicts on the folds of a bag of networks, to compare with."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from fastopt.tabular import tables
from fastopt.tabular.category_columns import CategoryColumn
from fastopt.tabular.number_columns import NumberColumn
from fastopt.tabular.out_of_fold import on_folds

#: Below so many rows one thread is as fast as several, which wait for each other in a loop: on a busy machine
#: they take ten times as long.
_FEW_ROWS = 5000
#: The most levels that HistGradientBoosting takes in a column.
_MAX_LEVELS = 254


def gradient_boosting(
    X: Any, y: np.ndarray, model: Any, weights: np.ndarray | None = None, random_state: int = 0
) -> np.ndarray:
    """Return what scikit-learn's HistGradientBoosting predicts with its defaults on the folds of a model.

    Parameters
    ----------
    X : table
        That the model was fitted to. Dates are numbers and levels are categories, as for the model.
    y : ndarray of shape (n_rows,)
    model : TabularMLPClassifier or TabularMLPRegressor
        Fitted.
    weights : ndarray of shape (n_rows,), optional
    random_state : int

    Returns
    -------
    ndarray of shape (n_rows, n_classes) or (n_rows, 1)

    Raises
    ------
    ValueError
        If there is no column to learn from, or scikit-learn refuses the rows outside a fold.
    """
    columns, are_categories = _for_trees(X, model)
    classes = getattr(model, "classes_", None)

    def predict(rest, held_out):
        kind = HistGradientBoostingRegressor if classes is None else HistGradientBoostingClassifier
        trees = kind(categorical_features=are_categories, random_state=random_state)
        trees.fit(columns[rest], y[rest], sample_weight=None if weights is None else weights[rest])
        if classes is None:
            return trees.predict(columns[held_out])
        found = np.zeros((len(held_out), len(classes)))  # a class may have no row outside the fold
        found[:, np.searchsorted(classes, trees.classes_)] = trees.predict_proba(columns[held_out])
        return found

    n_threads = 1 if len(columns) < _FEW_ROWS else None
    with threadpool_limits(n_threads, user_api="openmp"):
        return on_folds(model.folds_[0], predict, 1 if classes is None else len(classes))


def _for_trees(X, model):
    """Return the columns of a table as numbers, NaN where missing, and which of them are levels."""
    table = tables.read(X, model, reset=False)
    found, are_categories = [], []
    if scipy.sparse.issparse(table.matrix):
        return table.matrix.toarray().astype(np.float64), np.zeros(table.n_columns, bool)
    for j, fitted in enumerate(model.encoder_.columns_):
        if isinstance(fitted, NumberColumn):
            found.append(table.column(j).numbers())
        elif isinstance(fitted, CategoryColumn):
            found.append(_most_frequent(*table.column(j).coded()))
        else:
            continue
        are_categories.append(isinstance(fitted, CategoryColumn))
    if not found:
        raise ValueError("no column of the table differs from row to row")
    return np.column_stack(found), np.array(are_categories)


def _most_frequent(codes, levels):
    """Return codes from 0, NaN where missing and beyond the levels that trees can tell apart."""
    counts = np.bincount(codes[codes >= 0], minlength=len(levels))
    ranked = np.full(len(levels) + 1, np.nan)
    kept = np.argsort(-counts, kind="stable")[:_MAX_LEVELS]
    ranked[kept] = np.arange(len(kept))
    return ranked[codes]
