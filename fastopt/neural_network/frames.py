"""Data frames, and labels of pandas' own types, as NumPy's arrays of the type that their numbers have.

scikit-learn's validation makes float64 of every frame but those of NumPy's own types in pandas, and floats of
whole and boolean labels that can be missing.
"""

import sys
from typing import Any

import numpy as np

from fastopt.data.array_rows import float_dtype

_WHAT = {"M": "dates", "m": "durations"}


def float32_rows(X: Any) -> np.ndarray | None:
    """Return the rows of a data frame whose numbers float32 holds exactly, or None for anything else.

    Parameters
    ----------
    X : object
        Known are frames of pandas, polars and pyarrow.

    Returns
    -------
    ndarray of float32 of shape (n_samples, n_features), or None
        If there is a column of floats, and float32 holds the numbers of all columns' types; NaN where
        missing. None where scikit-learn's validation is right: for what is no frame, is of other types, or
        has only types of NumPy's in pandas.

    Raises
    ------
    TypeError
        If it holds dates or durations, of which scikit-learn's validation makes numbers in whatever unit, or
        is a LazyFrame.
    """
    if _is_pandas(X, "DataFrame"):
        names, types = list(X.columns), list(X.dtypes)
        dtypes = [getattr(one, "numpy_dtype", one) for one in types]
        known = None if all(isinstance(one, np.dtype) for one in types) else dtypes
    elif hasattr(X, "column_names") or hasattr(X, "get_columns"):
        names, types = list(X.schema.names if hasattr(X, "column_names") else X.columns), _types(X)
        columns = _columns(X)
        example = {one: np.asarray(columns[j][:0]).dtype for j, one in reversed([*enumerate(types)])}
        known = dtypes = [example[one] for one in types]
    else:
        refuse_lazy(X)
        _refuse_times("X", getattr(X, "dtype", None))
        return None
    for name, dtype in zip(names, dtypes, strict=True):
        _refuse_times(f"column {name!r} of X", dtype)
    if not known or not all(isinstance(one, np.dtype) and one.kind in "biuf" for one in known):
        return None
    return _filled(X) if float_dtype(*known) == np.float32 else None


def refuse_lazy(X: Any) -> None:
    """Raise TypeError if X is a LazyFrame of polars."""
    if type(X).__name__ == "LazyFrame":
        raise TypeError("X is a LazyFrame, which holds no rows yet: pass X.collect().")


def _is_pandas(value, name):
    cls = getattr(sys.modules.get("pandas"), name, None)
    return cls is not None and isinstance(value, cls)


def _types(X):
    return list(X.schema.types if hasattr(X, "column_names") else X.dtypes)


def _columns(X):
    """Return the columns of a frame of pyarrow, polars or pandas."""
    if hasattr(X, "iloc"):
        return [X.iloc[:, j] for j in range(X.shape[1])]
    return X.columns if hasattr(X, "column_names") else X.get_columns()


def _refuse_times(what, dtype):
    kind = getattr(dtype, "kind", None)
    if kind in _WHAT:
        raise TypeError(
            f"{what} holds {_WHAT[kind]} ({dtype}), and a network takes numbers. Make numbers of them, such "
            "as days since a date, or take TabularMLPClassifier or TabularMLPRegressor, which read them."
        )


def _filled(X):
    rows = np.empty(X.shape, np.float32)
    for j, column in enumerate(_columns(X)):
        rows[:, j] = column.to_numpy(np.float32, na_value=np.nan) if hasattr(X, "iloc") else column
    return rows


def plain_labels(y: Any) -> Any:
    """Return labels or targets of pandas' own types as an array of NumPy's type of the same numbers.

    Parameters
    ----------
    y : object
        Series, arrays and frames of pandas of types such as Int64, boolean and int64[pyarrow] are converted
        unless a value is missing, which scikit-learn's validation refuses.

    Returns
    -------
    ndarray, or y itself

    Raises
    ------
    ValueError
        If a value among objects or texts is None or NA, of which scikit-learn's validation knows nothing.
    """
    if type(y) is np.ndarray and y.dtype != object:  # at once: a row of `partial_fit` costs little more
        return y
    _refuse_missing(y)
    types = list(y.dtypes) if _is_pandas(y, "DataFrame") else [getattr(y, "dtype", None)]
    if not any(hasattr(one, "numpy_dtype") for one in types):
        return y
    known = [getattr(one, "numpy_dtype", one) for one in types]
    if np.any(y.isna()) or not all(isinstance(one, np.dtype) and one.kind in "biuf" for one in known):
        return y
    return y.to_numpy(np.result_type(*known))


def _refuse_missing(y):
    if isinstance(y, list | tuple):
        values = y
    else:
        values = np.asarray(y).ravel() if hasattr(y, "__array__") else np.zeros(0)
        if values.dtype != object:
            return
    for value in values:
        if value is None or type(value).__name__ == "NAType":
            raise ValueError(f"Input y contains NaN ({value!r}): leave out such rows.")
