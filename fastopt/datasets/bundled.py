"""Data sets that come with scikit-learn, and MNIST."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.datasets import (
    fetch_openml,
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
    make_classification,
)

from . import Dataset, DatasetError, arrays
from .preparation import as_float32, scaler, standardised

if TYPE_CHECKING:
    import os

_MNIST_TRAIN = 60_000


def load(name: str, mnist_file: str | os.PathLike[str] | None = None) -> Dataset:
    """Return the bundled data set called `name`; MNIST from `mnist_file` where that is given."""
    return _mnist(mnist_file) if name == "mnist" else _LOADERS[name]()


def _digits():
    X, y = load_digits(return_X_y=True)
    return Dataset(
        "digits",
        (X / 16).astype(np.float32),
        y,
        "classification",
        "1,797 handwritten digits of 8 x 8 pixels, 10 classes (scikit-learn)",
    )


def _classify_1000x10():
    X, y = make_classification(
        n_samples=1000, n_features=10, n_informative=6, n_redundant=2, class_sep=1.0, random_state=0
    )
    return Dataset(
        "classify-1000x10",
        X,
        y,
        "classification",
        "1,000 samples of 10 features, 2 classes (make_classification, 6 informative features)",
        preprocessor=scaler(),
    )


def _scaled(loader, name, task, description):
    def make():
        X, y = loader(return_X_y=True)
        notes = []
        if task == "regression":
            y, notes = standardised(y)
        return Dataset(name, X, y, task, description, preprocessor=scaler(), notes=notes)

    return make


def _mnist(file=None):
    if file is not None:
        if not Path(file).exists():
            raise DatasetError(f"there is no file {str(file)!r}.")
        return arrays.load(Path(file), "mnist")
    try:
        X, y = fetch_openml("mnist_784", version=1, return_X_y=True, as_frame=False, parser="liac-arff")
    except Exception as problem:  # network, TLS, proxies, a full disk: each raises its own kind
        raise DatasetError(
            f"MNIST could not be downloaded from OpenML ({type(problem).__name__}). Either connect "
            "once (it is then kept in the data home of scikit-learn), or give a local file: --data mnist.npz "
            "(arrays X_train, y_train, X_test, y_test). --dataset digits works with neither."
        ) from problem
    X = as_float32(X) / np.float32(255)
    y = y.astype(np.int64)
    n = _MNIST_TRAIN
    return Dataset("mnist", X[:n], y[:n], "classification", arrays.MNIST_TEXT, X[n:], y[n:])


_LOADERS = {
    "digits": _digits,
    "classify-1000x10": _classify_1000x10,
    "iris": _scaled(load_iris, "iris", "classification", "Iris: 150 flowers, 4 measures, 3 species"),
    "wine": _scaled(
        load_wine, "wine", "classification", "Wine: 178 wines, 13 measures, 3 cultivars (scikit-learn)"
    ),
    "breast-cancer": _scaled(
        load_breast_cancer,
        "breast-cancer",
        "classification",
        "Breast cancer Wisconsin: 569 tumours, 30 measures, 2 classes (scikit-learn)",
    ),
    "diabetes": _scaled(
        load_diabetes,
        "diabetes",
        "regression",
        "Diabetes: 442 patients, 10 measures, disease progression after one year (scikit-learn)",
    ),
}
