"""Tables of every kind read column by column: arrays, sparse matrices, and frames of several libraries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.utils.validation import validate_data

from fastopt._extras import require
from fastopt.data import BlockSource
from fastopt.neural_network.frames import refuse_lazy
from fastopt.tabular import column_kinds
from fastopt.tabular.column_kinds import BOOLEAN, DATE, DURATION, EMPTY, MIXED, NUMBER, TEXT, Column

#: Of so few rows it takes less time to look at each value than to ask each column of a frame for its type.
_FEW_ROWS = 64


class Table:
    """A table whose columns are read one by one.

    Parameters
    ----------
    n_rows, n_columns : int
    names : sequence of str, optional
        Default: ``x0``, ``x1``, ...
    read : callable
        Gives the `Column` at a position, and is told its name.
    order : sequence of int, optional
        The positions of the columns, if they are wanted in another order.
    """

    #: All columns as one array or CSR matrix of numbers, or None where they have to be read one by one.
    matrix: Any = None

    def __init__(
        self,
        n_rows: int,
        n_columns: int,
        names: Sequence[str] | None,
        read: Callable[[int, str], Column],
        order: Sequence[int] | None = None,
    ) -> None:
        self.n_rows, self.n_columns, self._read, self._order = n_rows, n_columns, read, order
        self._names = names

    def name(self, j: int) -> str:
        """Return the name of a column."""
        return f"x{j}" if self._names is None else str(self._names[j])

    def column(self, j: int) -> Column:
        """Return a column, whose numbers are finite or missing.

        Raises
        ------
        ValueError
            If it holds infinity or a complex number.
        TypeError
            If it holds what columns cannot hold.
        """
        column = self._read(j if self._order is None else self._order[j], self.name(j))
        if column.levels is None:
            check_finite(column.values, lambda _: self.name(j))
        return column


def check_finite(values: np.ndarray, name: Callable[[int], str]) -> np.ndarray | None:
    """Refuse infinite numbers; return where numbers are missing, or None if they are nowhere.

    Parameters
    ----------
    values : ndarray of shape (n_rows,) or (n_rows, n_columns)
    name : callable
        Gives the name of a column for the message.

    Raises
    ------
    ValueError
    """
    is_finite = np.isfinite(values)
    if is_finite.all():
        return None
    infinite = np.argwhere(np.isinf(values))
    if len(infinite):
        row, *column = infinite[0].tolist()
        raise ValueError(
            f"Input X contains infinity: column {name(*column or [0])!r} holds {values[tuple(infinite[0])]} "
            f"in row {row}. Write what is meant: NaN where the number is not known, or a large number."
        )
    return ~is_finite


def read(X: Any, estimator: Any, *, reset: bool) -> Table:
    """Return a table of what a user passes as ``X``.

    Parameters
    ----------
    X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
        Frames of pandas, polars, pyarrow and whatever else narwhals reads.
    estimator : estimator
        Whose number and names of features are set (``reset=True``), or checked: a frame's columns may come
        in another order, and are put in the order of `fit`.
    reset : bool

    Raises
    ------
    ValueError
        If X is no table, or its columns are not those of `fit`.
    TypeError
        As `Table.column`.
    MissingExtraError
        If X is a frame that only narwhals can read, and this is not installed.
    """
    if not reset and _is_plain(X, estimator):
        return _of_array(X, None)
    refuse_lazy(X)
    if isinstance(X, BlockSource):
        raise TypeError(
            "X is a BlockSource, and tables are read in memory: pass rows of it, X, y, weight = "
            "source.sample(100_000), or train an MLPClassifier or MLPRegressor, which take a source."
        )
    if hasattr(X, "columns") and (hasattr(X, "__dataframe__") or hasattr(X, "__arrow_c_stream__")):
        return _of_frame(X, estimator, reset)
    names = None if reset else getattr(estimator, "feature_names_in_", None)
    if not hasattr(X, "__array__") and not scipy.sparse.issparse(X):
        X = np.array(X, object)  # numbers beside text, and booleans beside numbers, stay what they are
    X = validate_data(estimator, X, reset=reset, dtype=None, ensure_all_finite=False, accept_sparse="csr")
    if scipy.sparse.issparse(X):
        table = Table(*X.shape, names, lambda j, _: column_kinds.of_numbers(X[:, [j]].toarray().ravel()))
        table.matrix = X
        return table
    return _of_array(X, names)


def _is_plain(X, estimator):
    """Whether X is an array of numbers that needs no more checks than these."""
    return (
        type(X) is np.ndarray
        and X.dtype.kind in "fiu"
        and X.ndim == 2
        and X.shape[1] == estimator.n_features_in_
        and len(X) > 0
        and not hasattr(estimator, "feature_names_in_")
    )


def _of_array(X, names):
    kind = X.dtype.kind
    if kind in "OUSTV":
        return Table(*X.shape, names, lambda j, name: column_kinds.of_objects(X[:, j].tolist(), name))
    if kind in "Mm":
        convert, of = (column_kinds.days_of, DATE) if kind == "M" else (column_kinds.seconds_of, DURATION)
        return Table(*X.shape, names, lambda j, _: column_kinds.of_numbers(convert(X[:, j]), of))
    of = BOOLEAN if kind == "b" else NUMBER
    table = Table(*X.shape, names, lambda j, _: column_kinds.of_numbers(X[:, j], of))
    table.matrix = X if of == NUMBER else None
    return table


def _of_frame(X, estimator, reset):
    names = list(X.columns) if not hasattr(X, "column_names") else list(X.column_names)
    labels, order = _checked_names(X, names, estimator, reset)
    if X.shape[0] == 0 or not names:
        what = f"Found array with {X.shape[0]} sample(s)" if names else "Found array with 0 feature(s)"
        raise ValueError(f"{what} (shape={tuple(X.shape)}) while a minimum of 1 is required.")
    kinds = [""] * len(names)
    if hasattr(X, "iloc"):
        kinds = [_kind_of_pandas(of) for of in X.dtypes]
        are_numbers = "" not in kinds and "b" not in kinds
        if are_numbers or (not reset and len(X) <= _FEW_ROWS and all(map(_has_plain_values, X.dtypes))):
            array = X.to_numpy() if are_numbers else X.to_numpy(object)
            return _of_array(array if order is None else array[:, order], labels)
    nw = require("narwhals", "a data frame as X", extra="tables")
    frame = nw.from_native(X, eager_only=True)

    def read(j, name):
        if kinds[j]:
            return column_kinds.of_numbers(X.iloc[:, j].to_numpy(), BOOLEAN if kinds[j] == "b" else NUMBER)
        return _of_series(nw, frame.get_column(names[j]), name)

    return Table(*X.shape, labels, read, order)


def _checked_names(X, names, estimator, reset):
    """Return the columns' names as text, and their positions if they are to be put in another order."""
    if len({*names}) < len(names):
        repeated = sorted({str(name) for name in names if names.count(name) > 1})
        raise ValueError(
            f"X has more than one column of the name {', '.join(map(repr, repeated))}: rename them."
        )
    known = None if reset else getattr(estimator, "feature_names_in_", None)
    if known is None:
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return [str(name) for name in names], None
    known = known.tolist()
    if names == known:
        return known, None
    place = {name: j for j, name in enumerate(names)}
    if place.keys() != {*known}:
        validate_data(estimator, X, reset=False, skip_check_array=True)
    return known, [place[name] for name in known]


def _kind_of_pandas(dtype):
    """Return the kind of a dtype of NumPy's numbers or booleans, or nothing."""
    return dtype.kind if isinstance(dtype, np.dtype) and dtype.kind in "iufb" else ""


def _has_plain_values(dtype):
    """Whether pandas' values of a type are of those that `column_kinds.of_objects` tells apart."""
    if isinstance(dtype, np.dtype):
        return True
    name = str(dtype)
    if name == "category":
        return dtype.categories.inferred_type in ("string", "integer", "floating", "boolean")
    return name.startswith(("str", "datetime64", "Int", "UInt", "Float", "boolean"))


def _of_series(nw, series, name):
    """Return a column of a frame, by its type."""
    of = series.dtype
    is_category = of in (nw.Categorical, nw.Enum)
    if is_category and hasattr(series.to_native(), "cat") and hasattr(series.to_native().cat, "codes"):
        return _of_categorical(series.to_native().cat, name)
    if of.is_numeric() or of == nw.Boolean:
        kind = BOOLEAN if of == nw.Boolean else NUMBER
        return column_kinds.of_numbers(series.cast(nw.Float64).to_numpy(), kind)
    if of == nw.Date:
        series, of = series.cast(nw.Datetime("us")), nw.Datetime
    if of == nw.Datetime:
        days = series.dt.timestamp("us").cast(nw.Float64).to_numpy() / column_kinds.MICROSECONDS_PER_DAY
        return column_kinds.of_numbers(days, DATE)
    if of == nw.Duration:
        spans = series.to_numpy()  # narwhals 2.29 loses microseconds of pandas' durations
        if spans.dtype.kind == "m":
            return column_kinds.of_numbers(column_kinds.seconds_of(spans), DURATION)
    return column_kinds.of_objects(series.to_list(), name, is_category)


def _of_categorical(categorical, name):
    """Return a column of pandas' categories, whose levels may be of any type."""
    levels = categorical.categories.tolist()
    codes = categorical.codes.to_numpy().astype(np.int64)
    used = [levels[code] for code in np.unique(codes[codes >= 0])]
    if not used:
        return Column(EMPTY, np.full(len(codes), np.nan), None, True)
    texts = [
        value if isinstance(value, (str, bytes, int, float, np.generic)) else str(value) for value in used
    ]
    kind = column_kinds.of_objects(texts, name).kind
    return column_kinds.of_levels(codes, levels, kind if kind in (BOOLEAN, NUMBER, TEXT) else MIXED, True)
