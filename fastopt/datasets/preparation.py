"""Preprocessing between data and a network: encoding, scaling, float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from ..tabular import TableEncoder
from . import DatasetError

if TYPE_CHECKING:
    from typing import Any

    import numpy.typing as npt
    from sklearn.pipeline import Pipeline

MAX_CATEGORIES = 50  # of one column that have an input
_MAX_CLASSES = 20  # a numeric target with more distinct values is a quantity, not a class


def as_float32(X: Any) -> np.ndarray:
    """Return `X` in float32, the dtype in which the command line trains."""
    return np.ascontiguousarray(X, dtype=np.float32)


def scaler() -> Pipeline:
    """Return a transformer that standardizes numbers, in float32."""
    return make_pipeline(StandardScaler(), FunctionTransformer(as_float32))


def of_table() -> TableEncoder:
    """Return the transformer of a table: that of `fastopt.TabularMLPClassifier`, with plain scaling."""
    return TableEncoder(numeric_scaler="standard", max_one_hot=MAX_CATEGORIES)


def standardised(y: npt.ArrayLike) -> tuple[np.ndarray, list[str]]:
    """Return a target standardized to float32, and a list with a note about it."""
    y = np.asarray(y, dtype=np.float64)
    if y.std() == 0:
        raise DatasetError("the target has the same value in every row: there is nothing to learn.")
    note = "The target was standardised: R2 is the same, losses are in squared standard deviations."
    return ((y - y.mean()) / y.std()).astype(np.float32), [note]


def task_of(y: np.ndarray) -> str:
    """Return 'classification' for text and for few distinct whole numbers, else 'regression'."""
    if y.dtype.kind not in "iuf":
        return "classification"
    distinct = np.unique(y)
    whole = y.dtype.kind in "iu" or np.all(distinct == np.round(distinct))
    few = len(distinct) <= min(_MAX_CLASSES, len(y) // 2)  # a class in every row is no class
    return "classification" if whole and few else "regression"


def check_classes(y: np.ndarray, name: str) -> None:
    """Raise DatasetError if there is only one class."""
    if len(np.unique(y)) < 2:
        raise DatasetError(f"{name!r} has one class, {y[:1].tolist()[0]!r}: there is nothing to tell apart.")
