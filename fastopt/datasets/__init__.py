"""Data sets for comparisons: bundled sets, MNIST, and the user's own files.

Networks need float32 or float64 numbers of like size. What is done to get there is in `Dataset.preprocessor`
(fitted on training rows only) or in `Dataset.notes`, never silent.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

# The readers are imported where they are called: the command line's help names the sets without them.
if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from sklearn.base import TransformerMixin

__all__ = ["Dataset", "DatasetError", "list_datasets", "load"]

_BUNDLED = ("digits", "classify-1000x10", "mnist", "iris", "wine", "breast-cancer", "diabetes")


class DatasetError(ValueError):
    """Data that cannot be loaded or used; the message says what to do."""


@dataclass(frozen=True)
class Dataset:
    """A data set ready for a study.

    Attributes
    ----------
    name : str
    X : array or DataFrame of shape (n_rows, n_columns)
    y : ndarray of shape (n_rows,)
        All rows, or the training rows where `X_test` is given.
    task : {'classification', 'regression'}
    description : str
        One line for reports.
    X_test, y_test : optional
        The set's own held-out rows.
    preprocessor : transformer or None
        To be fitted on training rows; ``None`` where `X` is ready.
    notes : list of str
        What was converted or left out.
    groups : ndarray of shape (n_rows,) or None
        Rows of one group belong on the same side of a split.
    sample_weight : ndarray of shape (n_rows,) or None
    """

    name: str
    X: np.ndarray | pd.DataFrame
    y: np.ndarray
    task: str
    description: str
    X_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    preprocessor: TransformerMixin | Any | None = None
    notes: list[str] = field(default_factory=list)
    groups: np.ndarray | None = None
    sample_weight: np.ndarray | None = None


def load(
    name: str,
    target: str | None = None,
    data: str | os.PathLike[str] | None = None,
    *,
    task: str | None = None,
    groups: str | None = None,
    weights: str | None = None,
    encoding: str | None = None,
) -> Dataset:
    """Load a data set by name, or from a file.

    Parameters
    ----------
    name : str
        One of `list_datasets`, or the path or URL of a file: ``.csv``, ``.tsv``, ``.txt`` (also ``.gz``,
        ``.bz2``, ``.xz``, ``.zst``), ``.parquet``, ``.feather``, ``.arrow``, ``.ipc``, ``.xlsx`` (the first
        sheet), a ``.zip`` file with one of these, or ``.npz`` with arrays ``X`` and ``y``.
    target : str, optional
        Column to predict, for tables.
    data : path, optional
        Local ``.npz`` file with MNIST, used instead of a download.
    task : {'classification', 'regression'}, optional
        What the target of a table is. By default text, booleans and at most 20 different whole numbers are
        classes, other numbers a quantity.
    groups : str, optional
        Column of a table that says which rows belong together, such as a patient's number.
    weights : str, optional
        Column of a table with the weight of each row.
    encoding : str, optional
        Of a text file, such as ``'latin-1'``. Default: UTF-8, or UTF-16 where the file begins with its mark.

    Returns
    -------
    Dataset

    Raises
    ------
    DatasetError
        If there is no such set, file or column, or it cannot be used.
    MissingExtraError
        If the package that reads this kind of file is not installed.

    Examples
    --------
    >>> load("iris").X.shape
    (150, 4)
    """
    if task not in (None, "classification", "regression"):
        raise DatasetError(f"task={task!r} must be 'classification', 'regression' or None.")
    for_tables = {"target": target, "task": task, "groups": groups, "weights": weights, "encoding": encoding}
    given = next((f"{key}={value!r}" for key, value in for_tables.items() if value is not None), None)
    if name in _BUNDLED:
        if given:
            raise DatasetError(f"{given} is for tables; the data set {name!r} knows its own.")
        if data is not None and name != "mnist":
            raise DatasetError(f"data={str(data)!r} is for 'mnist'; the data set {name!r} is bundled.")
        from . import bundled

        return bundled.load(name, data)
    from . import locations

    if not locations.is_table_or_arrays(name):
        raise DatasetError(_unknown(name))
    with locations.located(name) as (path, kind):
        if kind == ".npz":
            if given:
                raise DatasetError(f"{given} is for tables; an .npz file holds its target as y.")
            from . import arrays

            return arrays.load(path, path.stem)
        from . import tables

        return tables.load(path, kind, target, task=task, groups=groups, weights=weights, encoding=encoding)


def list_datasets() -> list[str]:
    """Return the names that `load` knows.

    Examples
    --------
    >>> "iris" in list_datasets()
    True
    """
    return list(_BUNDLED)


def _unknown(name):
    from .._parameters import suggestion
    from .locations import BINARY, TEXT

    known, files = ", ".join(map(repr, _BUNDLED)), ", ".join((*TEXT, *BINARY))
    return f"dataset {name!r} is not one of {known}, nor a file: {files} or .npz.{suggestion(name, _BUNDLED)}"
