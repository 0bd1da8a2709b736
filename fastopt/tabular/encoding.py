"""The inputs of a network from the columns of a table, as one array or one CSR matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from fastopt.persistence import Persistent
from fastopt.tabular.category_columns import CategoryColumn
from fastopt.tabular.column_kinds import ACCEPTED, BOOLEAN, EMPTY, NUMBER, Column
from fastopt.tabular.number_columns import NumberColumn, NumberEncoder, keep_zeros
from fastopt.tabular.tables import Table

#: Columns of numbers that are read and encoded at a time.
_GROUP = 64


@dataclass(frozen=True)
class DroppedColumn(Persistent):
    """A column without inputs.

    Attributes
    ----------
    kind : str
        'empty' if it has no value, else what its one value is.
    value : str
        The value, in words.
    n_missing : int
        In `fit`.
    """

    kind: str
    value: str = ""
    n_missing: int = 0

    def said(self) -> str:
        """Return in words why it has none."""
        return "left out: all is missing" if self.kind == EMPTY else f"left out: it is always {self.value}"


FittedColumn = NumberColumn | CategoryColumn | DroppedColumn


class Encoding:
    """What is done to each column of a table, and where its inputs stand.

    Columns of numbers come first, in groups; then each column of categories.

    Parameters
    ----------
    columns : sequence of NumberColumn, CategoryColumn or DroppedColumn
        One for each column of the table.
    scaler : str or None
    is_sparse : bool
        Whether the result is a CSR matrix.
    dtype : str
    """

    def __init__(
        self, columns: Sequence[FittedColumn], scaler: str | None, *, is_sparse: bool, dtype: str
    ) -> None:
        self._columns, self.is_sparse, self._dtype = columns, is_sparse, np.dtype(dtype)
        self.groups: list[tuple[Any, NumberEncoder, bool]] = []
        numeric = [j for j, column in enumerate(columns) if isinstance(column, NumberColumn)]
        are_sparse = [is_sparse and keep_zeros(columns[j], scaler) for j in numeric]
        for kept in (False, True):
            same = [j for j, flag in zip(numeric, are_sparse, strict=True) if flag == kept]
            for first in range(0, len(same), _GROUP):
                group = same[first : first + _GROUP]
                self.groups.append((group, NumberEncoder([columns[j] for j in group], scaler), kept))
        self.categories = [(j, c) for j, c in enumerate(columns) if isinstance(c, CategoryColumn)]
        self._are_numbers = all(columns[j].kind == NUMBER for j in numeric)
        #: For each input, the position of the column that it comes from. A table that has none gets a 0.
        self.sources = np.array([*self._sources()] or [0], np.intp)

    def _sources(self):
        for group, encoder, _ in self.groups:
            yield from np.array(group)[encoder.sources]
        for j, column in self.categories:
            yield from [j] * column.n_outputs

    def labels(self, names: Sequence[str]) -> list[str]:
        """Return the names of the inputs, from those of the columns."""
        found = []
        for group, encoder, _ in self.groups:
            found += encoder.labels([names[j] for j in group])
        for j, column in self.categories:
            found += column.labels(names[j], self.is_sparse)
        return found or [names[0]]

    def encode(self, table: Table) -> Any:
        """Return the inputs of a table: an array of shape (n_rows, n_inputs), or a CSR matrix."""
        return self._encode_sparse(table) if self.is_sparse else self._encode_dense(table)

    def _encode_dense(self, table):
        is_filled = not self.categories and self.groups
        out = (np.empty if is_filled else np.zeros)((table.n_rows, len(self.sources)), self._dtype)
        start = 0
        for group, encoder, _ in self.groups:
            stop = start + encoder.n_outputs
            encoder.encode(
                self._numbers(table, group), out[:, start:stop], lambda i, g=group: table.name(g[i])
            )
            start = stop
        for j, column in self.categories:
            stop = start + column.n_outputs
            column.encode_dense(self._codes(table, j), out[:, start:stop])
            start = stop
        return out

    def _encode_sparse(self, table):
        entries = scipy.sparse.csc_array(table.matrix) if scipy.sparse.issparse(table.matrix) else None
        blocks = []
        for group, encoder, keeps_zeros in self.groups:

            def name(i, group=group):
                return table.name(group[i])

            if keeps_zeros and entries is not None and self._are_numbers:
                blocks.append(encoder.encode_entries(entries[:, group], name))
                continue
            values = self._numbers(table, group) if entries is None else entries[:, group].toarray()
            dense = np.empty((table.n_rows, encoder.n_outputs), self._dtype)
            encoder.encode(values, dense, name)
            blocks.append(scipy.sparse.csc_array(dense))
        ones = [column.encode_sparse(self._codes(table, j)) for j, column in self.categories]
        if ones:
            rows = np.concatenate([r for r, _ in ones])
            until = np.concatenate([[0], *(counts for _, counts in ones)]).cumsum()
            blocks.append(
                scipy.sparse.csc_array((np.ones(len(rows)), rows, until), (table.n_rows, len(until) - 1))
            )
        return scipy.sparse.csr_matrix(scipy.sparse.hstack(blocks, format="csr", dtype=self._dtype))

    def _numbers(self, table, group):
        """Return columns of a table as an array of numbers, NaN where missing."""
        matrix = table.matrix
        if matrix is None or not self._are_numbers:
            values = [self.fitting(table, j).numbers() for j in group]
            return values[0][:, np.newaxis] if len(values) == 1 else np.stack(values, axis=1)
        whole = len(group) == table.n_columns
        found = matrix if whole else matrix[:, group]
        return found.toarray() if scipy.sparse.issparse(found) else found

    def _codes(self, table, j):
        return self._columns[j].codes(self.fitting(table, j))

    def fitting(self, table, j) -> Column:
        """Return a column of a table; refuse one that holds something else than it did in `fit`."""
        column, kind = table.column(j), self._columns[j].kind
        fits = column.kind == EMPTY or column.kind in ACCEPTED[kind]
        if kind == BOOLEAN and column.kind == NUMBER:
            fits = np.isin(column.numbers()[column.known], (0, 1)).all()
        if not fits:
            codes, levels = column.coded()
            now = f"{_PLURAL[column.kind]} now, such as {levels[codes[column.known][0]]!r}"
            raise ValueError(
                f"column {table.name(j)!r} held {_PLURAL[kind]} in fit, and holds {now}. Make it what it "
                "was, or fit again."
            )
        if kind in (NUMBER, BOOLEAN) and column.levels is None:
            column.kind = kind  # 1 and True are the same
        return column


_PLURAL = {
    "number": "numbers",
    "boolean": "booleans",
    "date": "dates",
    "duration": "durations",
    "text": "text",
    "mixed": "text beside other values",
}
