"""`TableEncoder`: a table with columns of every kind as the numbers that a network takes."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_feature_names_in, _check_sample_weight, check_is_fitted

from fastopt.persistence import Persistent
from fastopt.tabular import category_columns, number_columns, tables
from fastopt.tabular.category_columns import CategoryColumn
from fastopt.tabular.column_kinds import BOOLEAN, EMPTY, MIXED, NUMBER, TEXT, Column
from fastopt.tabular.encoding import DroppedColumn, Encoding, FittedColumn
from fastopt.tabular.number_columns import NumberColumn
from fastopt.tabular.tables import Table

#: A table becomes a CSR matrix if it has so many inputs, and at most this share of them is not zero: a dense
#: one takes five times the memory. The engine is as fast with either.
MIN_SPARSE_INPUTS, MAX_SPARSE_SHARE = 100, 0.1


class TableEncoder(Persistent, TransformerMixin, BaseEstimator):
    """Turn a table with columns of every kind into the numbers that a network takes.

    What is done to a column depends on what it holds:

    - **Numbers** are centred and scaled as ``numeric_scaler`` says. Missing ones (NaN, None, pandas' NA,
      nulls) are the median, and an input of 1 says where; a column of which `fit` has seen no number missing
      has no such input.
    - **Dates** are numbers, days since 1970 (UTC where they have a time zone), and so are **durations**, in
      seconds, and times of day, in seconds since midnight.
    - **Text, categories and booleans** have an input for each of their ``max_one_hot`` most frequent levels:
      1 where the row is of that level, else 0. Missing is a level like others. A level that `fit` has not
      seen, or not often enough, is 0 in all of them. Two levels are one input of -1 and 1 (0 if it is
      neither).
    - **Constant and empty columns** have no input. If all columns are such, one input of 0 is left.

    Text is a category, even if it reads like a number. Infinite numbers are refused.

    Parameters
    ----------
    numeric_scaler : {'robust_clip', 'standard', 'quantile'} or None, default='robust_clip'
        How numbers are scaled. ``'robust_clip'``: minus the median, over the distance between the quartiles
        (half the range where they are equal), then ``z / sqrt(1 + (z / 3)**2)``, which never exceeds 3.
        ``'standard'``: minus the mean, over the standard deviation. ``'quantile'``: mapped to a normal
        distribution. None: as they are.
    categorical_features : 'from_dtype', array-like of str, int or bool, or None, default='from_dtype'
        Names, positions or a mask of columns of numbers or dates that are categories, beside those whose
        dtype says so. ``'from_dtype'`` and None: no others.
    max_one_hot : int, default=30
        The most levels of a column that have an input.
    encoding : {'ple'} or None, default=None
        ``'ple'`` adds, for each column of numbers, the piecewise-linear encoding of Gorishniy et al. (2022):
        for each quantile bin an input that grows from 0 to 1 between its edges. Columns with fewer than three
        different bins have none.
    n_bins : int, default=8
        Bins of that encoding.
    dtype : {'float32', 'float64'}, default='float32'
        Of the result.

    Attributes
    ----------
    columns_ : list
        How each column is encoded; `describe` says it in words.
    sparse_output_ : bool
        Whether `transform` returns a CSR matrix: if there are at least 100 inputs, and at most a tenth of
        them is not 0. Two levels are then 0 and, for the rarer one, 1.
    source_columns_ : ndarray of shape (n_inputs,)
        For each input, the position of the column that it comes from.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Only if the columns have names, all of them str.

    Notes
    -----
    A row of weight two counts as two rows, everywhere: in quantiles, means and frequencies. Quantiles are
    those of ``numpy.quantile(..., method="averaged_inverted_cdf")``.

    A frame's columns are found by their names, in whatever order; a table that lacks some or has others is
    refused, and so is a column that holds text where it held numbers. Names are checked as by scikit-learn.

    References
    ----------
    Y. Gorishniy, I. Rubachev, A. Babenko: On Embeddings for Numerical Features in Tabular Deep Learning,
    NeurIPS 2022. D. Holzmueller, L. Grinsztajn, I. Steinwart: Better by Default, NeurIPS 2024 (scaling and
    clipping).

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.tabular import TableEncoder
    >>> X = np.array([[1.0, "red"], [3.0, "blue"], [None, "red"], [2.0, "green"]], dtype=object)
    >>> encoder = TableEncoder().fit(X)
    >>> encoder.get_feature_names_out().tolist()
    ['x0', 'x0_missing', 'x1_blue', 'x1_green', 'x1_red']
    >>> encoder.transform([[2.0, "violet"]])
    array([[0., 0., 0., 0., 0.]], dtype=float32)
    """

    _state_names: ClassVar[tuple[str, ...]] = (
        *("numeric_scaler", "categorical_features", "max_one_hot", "encoding", "n_bins", "dtype"),
        *("columns_", "sparse_output_", "n_features_in_", "feature_names_in_", "_sklearn_output_config"),
    )
    _may_lack: ClassVar[tuple[str, ...]] = _state_names[6:]
    _parameter_constraints: ClassVar[dict] = {
        "numeric_scaler": [StrOptions({"robust_clip", "standard", "quantile"}), None],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "max_one_hot": [Interval(Integral, 1, None, closed="left")],
        "encoding": [StrOptions({"ple"}), None],
        "n_bins": [Interval(Integral, 3, None, closed="left")],
        "dtype": [StrOptions({"float32", "float64"})],
    }

    columns_: list[FittedColumn]
    sparse_output_: bool
    n_features_in_: int

    def __init__(
        self,
        *,
        numeric_scaler: str | None = "robust_clip",
        categorical_features: str | npt.ArrayLike | None = "from_dtype",
        max_one_hot: int = 30,
        encoding: str | None = None,
        n_bins: int = 8,
        dtype: str = "float32",
    ) -> None:
        self.numeric_scaler = numeric_scaler
        self.categorical_features = categorical_features
        self.max_one_hot = max_one_hot
        self.encoding = encoding
        self.n_bins = n_bins
        self.dtype = dtype

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: npt.ArrayLike | None = None) -> TableEncoder:
        """Learn what each column holds, its scale and its levels.

        Parameters
        ----------
        X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
            Frames of pandas, polars, pyarrow and others that narwhals reads; arrays of numbers, text, dates
            or objects; nested lists. Each column is told by its type, and one of objects by its values.
        y : object
            Ignored.
        sample_weight : array-like of shape (n_samples,), optional
            Rows of weight 0 are not looked at.

        Returns
        -------
        TableEncoder
            Itself.

        Raises
        ------
        ValueError
            If X holds infinity, two columns of one name, no rows or no columns, or
            ``categorical_features`` names none of its columns.
        TypeError
            If a column holds what is neither text, a number, a boolean nor a time.
        MissingExtraError
            If X is a frame and narwhals is not installed (extra ``tables``; scikit-learn 1.9 brings it).
        """
        table = tables.read(X, self, reset=True)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
            if not weights.any():
                raise ValueError("all sample weights are 0: there is no row to learn from.")
        return self.fit_table(table, weights)

    def fit_table(self, table: Table, weights: np.ndarray | None = None) -> TableEncoder:
        """Learn from a table that `fastopt.tabular.tables.read` has read; see `fit`."""
        forced = self._categories(table)
        fits = _Fits(table, weights, forced, self)
        self.columns_ = [fits.column(j) for j in range(table.n_columns)]
        self.sparse_output_ = False
        self.__dict__.pop("_encoding", None)
        n_inputs = len(self._encoder().sources)
        share = fits.filled / (fits.weight * n_inputs)
        if n_inputs >= MIN_SPARSE_INPUTS and share <= MAX_SPARSE_SHARE:
            self.sparse_output_ = True
            del self._encoding
        return self

    def _categories(self, table):
        """Return the positions of the columns that ``categorical_features`` names."""
        wanted = self.categorical_features
        if wanted is None or isinstance(wanted, str):
            return frozenset()
        wanted = np.asarray(wanted)
        if wanted.dtype == bool:
            if wanted.shape != (table.n_columns,):
                raise ValueError(
                    f"categorical_features is a mask of the shape {wanted.shape}, not {(table.n_columns,)}."
                )
            return frozenset(np.flatnonzero(wanted).tolist())
        place = {table.name(j): j for j in range(table.n_columns)}
        found = [place.get(w) if isinstance(w, str) else w for w in wanted.ravel().tolist()]
        for asked, j in zip(wanted.ravel().tolist(), found, strict=True):
            if not isinstance(j, Integral) or not 0 <= j < table.n_columns:
                raise ValueError(
                    f"categorical_features has {asked!r}, which is none of the {table.n_columns} columns: "
                    "give names, positions from 0, or a mask."
                )
        return frozenset(found)

    def transform(self, X: Any) -> Any:
        """Return the inputs of a table.

        Parameters
        ----------
        X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
            With the columns of `fit`.

        Returns
        -------
        ndarray or CSR matrix of shape (n_samples, n_inputs)
            See ``sparse_output_``. Of the type ``dtype``, and in C order.

        Raises
        ------
        ValueError
            If the columns are not those of `fit`, or one holds something else than in `fit`, or infinity.
        """
        check_is_fitted(self)
        return self.encode(tables.read(X, self, reset=False))

    def encode(self, table: Table) -> Any:
        """Return the inputs of a table that `fastopt.tabular.tables.read` has read; see `transform`."""
        return self._encoder().encode(table)

    def _encoder(self) -> Encoding:
        if not hasattr(self, "_encoding"):
            self._encoding = Encoding(
                self.columns_, self.numeric_scaler, is_sparse=self.sparse_output_, dtype=self.dtype
            )
        return self._encoding

    @property
    def source_columns_(self) -> np.ndarray:
        """For each input, the position of the column that it comes from."""
        check_is_fitted(self)
        return self._encoder().sources

    def get_feature_names_out(self, input_features: Sequence[str] | None = None) -> np.ndarray:
        """Return the names of the inputs.

        Parameters
        ----------
        input_features : sequence of str, optional
            Names of the columns, if `fit` has seen none.

        Returns
        -------
        ndarray of shape (n_inputs,) of str
            A number has the name of its column; other inputs add ``_missing``, the number of the bin
            (``_bin1``), or the level.
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        return np.array(self._encoder().labels([str(name) for name in names]), dtype=object)

    def describe(self) -> list[dict[str, Any]]:
        """Return what was done to each column, as JSON can hold it.

        Returns
        -------
        list of dict
            For each column of `fit`: ``column``, its name; ``kind``, what it holds ('number', 'boolean',
            'date', 'duration', 'text', 'mixed' or 'empty'); ``missing``, in how many rows it is missing;
            ``inputs``, how many it has; ``treatment``, in words.

        Examples
        --------
        >>> from fastopt.tabular import TableEncoder
        >>> TableEncoder().fit([[1.0, True], [2.0, False], [4.0, True]]).describe()[1]["treatment"]
        "'False' is -1, 'True' is 1"
        """
        check_is_fitted(self)
        n_inputs = np.bincount(self.source_columns_, minlength=self.n_features_in_).tolist()
        return [
            {
                "column": str(name),
                "kind": column.kind,
                "missing": column.n_missing,
                "inputs": n,
                "treatment": self._said(column),
            }
            for name, column, n in zip(_check_feature_names_in(self), self.columns_, n_inputs, strict=True)
        ]

    def _said(self, column):
        if isinstance(column, NumberColumn):
            return column.said(self.numeric_scaler)
        return column.said(self.sparse_output_) if isinstance(column, CategoryColumn) else column.said()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_encoding"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)

    def _check_restored(self) -> None:
        self._validate_params()
        columns = getattr(self, "columns_", [])
        if not all(isinstance(column, FittedColumn) for column in columns):
            raise ValueError("columns_ of a TableEncoder holds something else")
        scaled = [c for c in columns if isinstance(c, NumberColumn) and c.scale]
        if self.numeric_scaler == "quantile" and not all(c.landmarks for c in scaled):
            raise ValueError("columns that are scaled by their quantiles lack them")
        if columns and len(columns) != self.n_features_in_:
            raise ValueError(f"a TableEncoder of {self.n_features_in_} columns describes {len(columns)}")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.sparse = tags.input_tags.categorical = True
        if tags.transformer_tags is not None:
            tags.transformer_tags.preserves_dtype = []
        return tags


class _Fits:
    """Fits the columns of a table one by one, and adds up the weight of the inputs that are not 0."""

    def __init__(self, table, weights, categories, encoder):
        self._table, self._categories, self._encoder = table, categories, encoder
        rows = slice(None) if weights is None else np.flatnonzero(weights)
        self._rows = rows
        self._weights = None if weights is None else weights[rows]
        self._n_rows = table.n_rows if weights is None else len(rows)
        self.weight = float(self._n_rows if weights is None else weights.sum())
        self.filled = 0.0
        self._entries = None
        if scipy.sparse.issparse(table.matrix):
            self._entries = scipy.sparse.csc_array(table.matrix[rows])
            self._entries.sum_duplicates()

    def column(self, j: int) -> FittedColumn:
        """Return how the column at a position is encoded."""
        if self._entries is not None and j not in self._categories:
            return self._of_entries(j)
        column = self._table.column(j).of_rows(self._rows)
        if not column.known.any():
            return DroppedColumn(EMPTY, n_missing=self._n_rows)
        if not (column.is_category or j in self._categories or column.kind in (BOOLEAN, TEXT, MIXED)):
            return self._number(column.values, self._weights, column.kind)
        fitted, filled = category_columns.fit(column, self._weights, self._encoder.max_one_hot)
        self.filled += filled
        return fitted or _dropped(column)

    def _of_entries(self, j):
        """Return how a column of a sparse matrix is encoded, whose zeros have the weight left."""
        part = slice(*self._entries.indptr[j : j + 2])
        values, rows = self._entries.data[part].astype(np.float64), self._entries.indices[part]
        tables.check_finite(values, lambda _: self._table.name(j))
        weights = np.ones(len(rows)) if self._weights is None else self._weights[rows]
        if len(rows) < self._n_rows:
            others = self.weight - weights.sum() if self._weights is not None else self._n_rows - len(rows)
            values, weights = np.append(values, 0.0), np.append(weights, others)
        if np.isnan(values).all():
            return DroppedColumn(EMPTY, n_missing=self._n_rows)
        return self._number(values, weights, NUMBER)

    def _number(self, values, weights, kind):
        known = ~np.isnan(values)
        n_missing = len(known) - int(known.sum())
        encoder = self._encoder
        fitted, filled = number_columns.fit(
            values[known],
            None if weights is None else weights[known],
            n_missing,
            kind=kind,
            scaler=encoder.numeric_scaler,
            n_bins=encoder.n_bins if encoder.encoding == "ple" else 0,
        )
        self.filled += filled + (n_missing if weights is None else float(weights[~known].sum()))
        return fitted or _dropped(Column(kind, values))


def _dropped(column):
    codes, levels = column.coded()
    return DroppedColumn(column.kind, levels[codes.max()], n_missing=int((codes < 0).sum()))
