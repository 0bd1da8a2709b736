"""Class weights: what ``class_weight`` multiplies the sample weights by."""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_class_weight


def as_they_are(targets: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray | None:
    """Return the sample weights: the function where there are no class weights."""
    return sample_weight


def class_weighing(
    class_weight: Any, classes: np.ndarray, targets: np.ndarray, is_multilabel: bool
) -> Callable[[np.ndarray, np.ndarray | None], np.ndarray]:
    """Return the function that multiplies sample weights by class weights.

    Parameters
    ----------
    class_weight : {'balanced'}, dict or list of dict
        As `sklearn.utils.class_weight.compute_sample_weight` takes it. A list belongs to multilabel targets:
        a dict of the weights of 0 and 1 for each label. A row's weight is the product over its labels.
    classes : ndarray of shape (n_classes,)
    targets : ndarray of shape (n_samples, n_outputs)
        Of the rows by whose frequencies ``'balanced'`` goes.
    is_multilabel : bool
        Whether each column is a label of its own.

    Returns
    -------
    callable
        Takes targets and the sample weights of their rows, or None; returns the products.

    Raises
    ------
    ValueError
        If the weights do not belong to these classes, are no weights, or leave no row with weight.
    """
    _check_weights(class_weight)
    if is_multilabel:
        tables = _tables_of_labels(class_weight, targets)
    else:
        if isinstance(class_weight, list):
            raise ValueError(
                "class_weight must be a dict of each class's weight, or 'balanced'; a list of dicts is for "
                f"multilabel y. Got {class_weight!r}."
            )
        codes = _codes(targets, is_multilabel)[0]
        tables = [compute_class_weight(class_weight, classes=classes, y=classes[codes])]

    def weigh(targets, sample_weight):
        weight = np.ones(len(targets))
        for table, codes in zip(tables, _codes(targets, is_multilabel), strict=True):
            weight *= table[codes]
        if sample_weight is not None:
            weight *= sample_weight
        if not weight.any():
            raise ValueError(f"class_weight={class_weight!r} leaves no row with a weight other than 0.")
        return weight

    return weigh


def _check_weights(class_weight):
    """Raise ValueError unless the weights are finite numbers from 0 on; scikit-learn looks at none."""
    tables = class_weight if isinstance(class_weight, list) else [class_weight]
    for weight in (one for table in tables if isinstance(table, dict) for one in table.values()):
        if not (isinstance(weight, Real) and 0 <= weight < math.inf):
            raise ValueError(
                f"class_weight={class_weight!r}: the weight of a class must be a finite number >= 0, not "
                f"{weight!r}; 0 leaves its rows out."
            )


def _codes(targets, is_multilabel):
    """Return the number of each row's class, for each column of labels."""
    if is_multilabel or targets.shape[1] == 1:
        return list(targets.T.astype(np.intp))
    return [targets.argmax(axis=1)]


def _tables_of_labels(class_weight, targets):
    """Return the weights of 0 and 1 for each label; those that ``targets`` lack weigh 1."""
    n_labels = targets.shape[1]
    chosen = class_weight if isinstance(class_weight, list) else [class_weight] * n_labels
    if isinstance(class_weight, dict) or len(chosen) != n_labels:
        raise ValueError(
            f"For multilabel y class_weight must be 'balanced' or a list of {n_labels} dicts, each with the "
            f"weights of 0 and 1, such as [{{0: 1, 1: 5}}, ...]. Got {class_weight!r}."
        )
    tables = []
    for weights, column in zip(chosen, targets.astype(np.intp).T, strict=True):
        table, present = np.ones(2), np.unique(column)
        if isinstance(weights, dict):
            present = np.arange(2)
        table[present] = compute_class_weight(weights, classes=present, y=column)
        tables.append(table)
    return tables
