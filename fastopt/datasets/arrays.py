"""Data sets from NumPy's ``.npz`` files."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np

from . import Dataset, DatasetError
from .preparation import as_float32, check_classes, scaler, standardised, task_of

if TYPE_CHECKING:
    from pathlib import Path

MIN_ROWS = 10
MNIST_TEXT = "MNIST: handwritten digits of 28 x 28 pixels, 60,000 to train and 10,000 to validate, 10 classes"


def load(path: Path, name: str) -> Dataset:
    """Return the data set of an ``.npz`` file with ``X`` and ``y``, or with ``X_train`` and so on."""
    arrays = _read(path)
    if {"X_train", "y_train", "X_test", "y_test"} <= arrays.keys():
        X, y, X_test, y_test = (arrays[k] for k in ("X_train", "y_train", "X_test", "y_test"))
        X_test, y_test = _pixels(X_test), y_test.ravel()
    elif {"X", "y"} <= arrays.keys():
        X, y, X_test, y_test = arrays["X"], arrays["y"], None, None
    else:
        raise DatasetError(
            f"{path.name!r} holds {', '.join(sorted(arrays))}. "
            "Needed: X_train, y_train, X_test, y_test; or X, y."
        )
    y = y.ravel()
    _check_arrays(path, X, y)
    if X_test is not None:
        _check_arrays(path, X_test, y_test)
    task, notes = task_of(y), []
    if task == "classification":
        check_classes(y, "y")
    elif X_test is None:
        y, notes = standardised(y)
    text = MNIST_TEXT if name == "mnist" else f"{path.name}: {len(y):,} rows, {task}"
    preprocessor = None if X.dtype == np.uint8 else scaler()
    return Dataset(name, _pixels(X), y, task, text, X_test, y_test, preprocessor, notes)


def _read(path):
    if not zipfile.is_zipfile(path):
        raise DatasetError(f"{path.name!r} is not an .npz file of numpy.savez.")
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (ValueError, OSError, zipfile.BadZipFile) as problem:
        raise DatasetError(f"{path.name!r} cannot be read: {str(problem).splitlines()[0]}") from problem


def _check_arrays(path, X, y):
    if len(X) != len(y):
        raise DatasetError(f"{path.name!r} has {len(X)} rows of X and {len(y)} of y.")
    if len(y) < MIN_ROWS:
        raise DatasetError(f"{path.name!r} has {len(y)} rows: too few to train and validate on.")
    if X.dtype.kind not in "iufb" or (X.dtype.kind == "f" and not np.isfinite(X).all()):
        raise DatasetError(
            f"X of {path.name!r} ({X.dtype}) is not all finite numbers. Words and gaps are for a .csv file."
        )
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise DatasetError(f"y of {path.name!r} has values that are not finite: leave these rows out.")


def _pixels(X):
    X = X.reshape(len(X), -1)
    return as_float32(X) / np.float32(255) if X.dtype == np.uint8 else X
