"""Data for comparisons: bundled sets, MNIST, and the user's own CSV or NPZ file.

Networks need float32 or float64 numbers of like size. What is done to get there is in `Dataset.preprocessor`
(fitted on training rows only) or in `Dataset.notes`, never silent.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sklearn import datasets as bundled
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from ._extras import require
from ._parameters import suggestion

__all__ = ["Dataset", "DatasetError", "list_datasets", "load"]

_MAX_CLASSES = 20  # a numeric target with more distinct values is a quantity, not a class
_MAX_CATEGORIES = 50  # of one column; the rest are pooled
_MIN_ROWS = 10
_MNIST_TRAIN = 60_000


class DatasetError(ValueError):
    """Data that cannot be loaded or used; the message says what to do."""


@dataclass(frozen=True)
class Dataset:
    """Data ready for a study.

    Attributes
    ----------
    name : str
    X, y : array or DataFrame, and ndarray
        All rows, or the training rows where `X_test` is given.
    X_test, y_test : optional
        The set's own held-out rows.
    preprocessor : transformer or None
        To be fitted on training rows; ``None`` where `X` is ready.
    task : {'classification', 'regression'}
    description : str
        One line for reports.
    notes : list of str
        What was dropped or converted.
    """

    name: str
    X: object
    y: np.ndarray
    task: str
    description: str
    X_test: object = None
    y_test: object = None
    preprocessor: object = None
    notes: list = field(default_factory=list)


def load(name, target=None, data=None):
    """Load a data set by name, or from a file.

    Parameters
    ----------
    name : str
        One of `list_datasets`, or the path of a ``.csv``, ``.tsv`` (also compressed) or ``.npz`` file.
    target : str, optional
        Column to predict, for tables.
    data : path, optional
        Local ``.npz`` file with MNIST, used instead of a download.

    Returns
    -------
    Dataset

    Raises
    ------
    DatasetError
        If there is no such set, file or column, or it cannot be used.

    Examples
    --------
    >>> load("iris").X.shape
    (150, 4)
    """
    path = Path(name)
    is_file = path.suffix in (".npz", ".csv", ".tsv") or path.suffixes[-2:-1] in ([".csv"], [".tsv"])
    if name in _LOADERS:
        if target is not None:
            raise DatasetError(f"target={target!r} is for tables; the data set {name!r} knows its own.")
        if data is not None and name != "mnist":
            raise DatasetError(f"data={str(data)!r} is for 'mnist'; the data set {name!r} is bundled.")
        return _mnist(data) if name == "mnist" else _LOADERS[name]()
    if is_file and not path.exists():
        raise DatasetError(f"there is no file {name!r}.")
    if path.suffix == ".npz":
        if target is not None:
            raise DatasetError(f"target={target!r} is for tables; an .npz file holds its target as y.")
        return _npz(path, path.stem)
    if is_file:
        return _table(path, target)
    known = ", ".join(map(repr, _LOADERS))
    hint = suggestion(name, _LOADERS)
    raise DatasetError(f"dataset {name!r} is not one of {known}, nor a .csv, .tsv or .npz file.{hint}")


def list_datasets():
    """Return the names that `load` knows."""
    return list(_LOADERS)


def _digits():
    X, y = bundled.load_digits(return_X_y=True)
    return Dataset(
        "digits",
        (X / 16).astype(np.float32),
        y,
        "classification",
        "1,797 handwritten digits of 8 x 8 pixels, 10 classes (scikit-learn)",
    )


def _scaled(loader, name, task, description):
    def make():
        X, y = loader(return_X_y=True)
        notes = []
        if task == "regression":
            y, notes = _standardised(y)
        return Dataset(name, X, y, task, description, preprocessor=_scaler(), notes=notes)

    return make


def _scaler():
    return make_pipeline(StandardScaler(), FunctionTransformer(as_float32))


def as_float32(X):
    """Return `X` in float32, the type that the command line trains in."""
    return np.ascontiguousarray(X, dtype=np.float32)


def _standardised(y):
    y = np.asarray(y, dtype=np.float64)
    if y.std() == 0:
        raise DatasetError("the target has the same value in every row: there is nothing to learn.")
    note = "The target was standardised: R2 is the same, losses are in squared standard deviations."
    return ((y - y.mean()) / y.std()).astype(np.float32), [note]


def _classify_1000x10():
    X, y = bundled.make_classification(
        n_samples=1000, n_features=10, n_informative=6, n_redundant=2, class_sep=1.0, random_state=0
    )
    return Dataset(
        "classify-1000x10",
        X,
        y,
        "classification",
        "1,000 samples of 10 features, 2 classes (make_classification, 6 informative features)",
        preprocessor=_scaler(),
    )


def _mnist(data=None):
    if data is not None:
        if not Path(data).exists():
            raise DatasetError(f"there is no file {str(data)!r}.")
        return _npz(Path(data), "mnist")
    try:
        X, y = bundled.fetch_openml(
            "mnist_784", version=1, return_X_y=True, as_frame=False, parser="liac-arff"
        )
    except Exception as problem:  # network, TLS, proxies, a full disk: each raises its own kind
        raise DatasetError(
            f"MNIST could not be downloaded from OpenML ({type(problem).__name__}). Either connect "
            "once (it is then kept in the data home of scikit-learn), or give a local file: --data mnist.npz "
            "(arrays X_train, y_train, X_test, y_test). --dataset digits works with neither."
        ) from problem
    X = as_float32(X) / np.float32(255)
    y = y.astype(np.int64)
    n = _MNIST_TRAIN
    return Dataset("mnist", X[:n], y[:n], "classification", _MNIST_TEXT, X[n:], y[n:])


_MNIST_TEXT = (
    "MNIST: handwritten digits of 28 x 28 pixels, 60,000 to train and 10,000 to validate, 10 classes"
)


def _npz(path, name):
    arrays = _read_npz(path)
    if {"X_train", "y_train", "X_test", "y_test"} <= arrays.keys():
        X, y, X_test, y_test = (arrays[k] for k in ("X_train", "y_train", "X_test", "y_test"))
        X_test, y_test = _pixels(X_test), y_test.ravel()
    elif {"X", "y"} <= arrays.keys():
        X, y, X_test, y_test = arrays["X"], arrays["y"], None, None
    else:
        raise DatasetError(
            f"{str(path)!r} holds {', '.join(sorted(arrays))}. "
            "Needed: X_train, y_train, X_test, y_test; or X, y."
        )
    y = y.ravel()
    task = _task(y)
    _check_arrays(path, X, y)
    if X_test is not None:
        _check_arrays(path, X_test, y_test)
    if task == "classification":
        _check_classes(y, "y")
    if task == "regression" and X_test is None:
        y, notes = _standardised(y)
    else:
        notes = []
    text = _MNIST_TEXT if name == "mnist" else f"{path.name}: {len(y):,} rows, {task}"
    preprocessor = None if X.dtype == np.uint8 else _scaler()
    return Dataset(name, _pixels(X), y, task, text, X_test, y_test, preprocessor, notes)


def _read_npz(path):
    if not zipfile.is_zipfile(path):
        raise DatasetError(f"{str(path)!r} is not an .npz file of numpy.savez.")
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (ValueError, OSError, zipfile.BadZipFile) as problem:
        raise DatasetError(f"{str(path)!r} cannot be read: {str(problem).splitlines()[0]}") from problem


def _check_arrays(path, X, y):
    if len(X) != len(y):
        raise DatasetError(f"{str(path)!r} has {len(X)} rows of X and {len(y)} of y.")
    if len(y) < _MIN_ROWS:
        raise DatasetError(f"{str(path)!r} has {len(y)} rows: too few to train and validate on.")
    if X.dtype.kind not in "iufb" or (X.dtype.kind == "f" and not np.isfinite(X).all()):
        raise DatasetError(
            f"X of {str(path)!r} ({X.dtype}) is not all finite numbers. Words and gaps are for a .csv file."
        )
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise DatasetError(f"y of {str(path)!r} has values that are not finite: leave these rows out.")


def _check_classes(y, name):
    if len(np.unique(y)) < 2:
        raise DatasetError(f"{name!r} has one class, {y[0]!r}: there is nothing to tell apart.")


def _pixels(X):
    X = X.reshape(len(X), -1)
    return as_float32(X) / np.float32(255) if X.dtype == np.uint8 else X


def _table(path, target):
    pandas = require("pandas", "reading a table")
    try:
        header = str(pandas.read_csv(path, nrows=0, sep="\x1f", encoding_errors="replace").columns[0])
        table = pandas.read_csv(path, sep=max(",;\t", key=header.count), skipinitialspace=True)
    except (ValueError, UnicodeError) as problem:
        reason = str(problem).splitlines()[0]
        raise DatasetError(f"{str(path)!r} cannot be read as a table: {reason}") from problem
    columns = list(map(str, table.columns))
    table.columns = columns
    if target is None:
        raise DatasetError(f"which column is to be predicted? Give --target, one of {_some(columns)}.")
    if target not in columns:
        hint = suggestion(target, columns)
        raise DatasetError(f"target {target!r} is not a column of {path.name}: {_some(columns)}.{hint}")
    return _from_frame(path.name, table, target)


def _from_frame(name, table, target):
    known = table[target].notna()
    notes = []
    if not known.all():
        notes.append(f"{int((~known).sum())} rows without a {target!r} were left out.")
    table = table[known].reset_index(drop=True)
    if len(table) < _MIN_ROWS:
        raise DatasetError(
            f"{name} has {len(table)} rows with a {target!r}: too few to train and validate on."
        )
    y = table[target].to_numpy()
    task = _task(y)
    if task == "regression":
        y, more = _standardised(y)
        notes += more
    else:
        y = y.astype(str) if y.dtype == object or y.dtype.kind not in "iufb" else y
        _check_classes(y, target)
    X, numbers, words, dropped = _features(table.drop(columns=target))
    notes += dropped
    if not numbers and not words:
        raise DatasetError(f"{name} has no usable column beside {target!r}.")
    kinds = f"{len(numbers)} numeric and {len(words)} categorical columns"
    text = f"{name}: {len(y):,} rows, {kinds}, {task} of {target!r}"
    return Dataset(name, X, y, task, text, preprocessor=_table_preprocessor(numbers, words), notes=notes)


def _features(frame):
    """Split columns into numbers and categories; leave out, with a note, those that tell nothing."""
    numbers, words, notes = [], [], []
    frame = frame.copy()
    for column in frame.columns:
        values = frame[column].dropna()
        is_number = values.dtype.kind in "iufb"
        if values.nunique() <= 1 and not frame[column].isna().any():
            notes.append(f"Column {column!r} has one value and was left out.")
        elif values.empty:
            notes.append(f"Column {column!r} is empty and was left out.")
        elif is_number:
            frame[column] = frame[column].astype(np.float64)
            numbers.append(column)
        elif values.nunique() == len(frame) and len(frame) > _MAX_CATEGORIES:
            notes.append(f"Column {column!r} has a different text in every row and was left out.")
        else:
            frame[column] = values.astype(str).astype(object).reindex(frame.index)
            words.append(column)
    return frame[numbers + words], numbers, words, notes


def _table_preprocessor(numbers, words):
    numeric = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    categorical = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="(missing)"),
        OneHotEncoder(
            handle_unknown="infrequent_if_exist", max_categories=_MAX_CATEGORIES, sparse_output=False
        ),
    )
    columns = make_column_transformer((numeric, numbers), (categorical, words))
    return make_pipeline(columns, FunctionTransformer(as_float32))


def _task(y):
    if y.dtype.kind not in "iuf":
        return "classification"
    distinct = np.unique(y)
    whole = y.dtype.kind in "iu" or np.all(distinct == np.round(distinct))
    return "classification" if whole and len(distinct) <= _MAX_CLASSES else "regression"


def _some(names, n=12):
    shown = ", ".join(map(repr, names[:n]))
    return shown if len(names) <= n else f"{shown} and {len(names) - n} more"


_LOADERS = {
    "digits": _digits,
    "classify-1000x10": _classify_1000x10,
    "mnist": _mnist,
    "iris": _scaled(bundled.load_iris, "iris", "classification", "Iris: 150 flowers, 4 measures, 3 species"),
    "wine": _scaled(
        bundled.load_wine,
        "wine",
        "classification",
        "Wine: 178 wines, 13 measures, 3 cultivars (scikit-learn)",
    ),
    "breast-cancer": _scaled(
        bundled.load_breast_cancer,
        "breast-cancer",
        "classification",
        "Breast cancer Wisconsin: 569 tumours, 30 measures, 2 classes (scikit-learn)",
    ),
    "diabetes": _scaled(
        bundled.load_diabetes,
        "diabetes",
        "regression",
        "Diabetes: 442 patients, 10 measures, disease progression after one year (scikit-learn)",
    ),
}
