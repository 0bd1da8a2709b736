"""Columns of categories as inputs of a network: one of each frequent level, or a sign where there are two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastopt.persistence import Persistent
from fastopt.tabular.column_kinds import ACCEPTED, Column

#: What a missing level is called in names of inputs.
MISSING = "missing"


@dataclass(frozen=True)
class CategoryColumn(Persistent):
    """How a column of categories is encoded.

    Attributes
    ----------
    kind : str
        Of its levels, such as 'text' or 'boolean'.
    levels : tuple of str or None
        Those that have an input, sorted; None, which comes last, is the level of missing values.
    n_levels : int
        That there were in `fit`.
    n_missing : int
        In `fit`.
    rarer : int
        The position of the less frequent of two levels.
    """

    kind: str
    levels: tuple[str | None, ...]
    n_levels: int
    n_missing: int = 0
    rarer: int = 1

    def _check_restored(self) -> None:
        counts = (self.n_levels, self.n_missing)
        is_known = self.kind in ACCEPTED and all(isinstance(n, int) and n >= 0 for n in counts)
        are_levels = is_known and all(level is None or isinstance(level, str) for level in self.levels)
        if not are_levels or not 0 < len({*self.levels}) == len(self.levels) <= self.n_levels:
            raise ValueError(f"{self!r} does not describe a column of categories")
        if self.rarer not in (0, 1):
            raise ValueError(f"of two levels, {self.rarer} is none")

    @property
    def is_sign(self) -> bool:
        """Whether its two levels are one input."""
        return self.n_levels == 2 == len(self.levels)

    @property
    def n_outputs(self) -> int:
        """The number of its inputs."""
        return 1 if self.is_sign else len(self.levels)

    def labels(self, name: str, is_sparse: bool) -> list[str]:
        """Return the names of its inputs, by the levels at which they are 1."""
        levels = [MISSING if level is None else level for level in self.levels]
        one = self.rarer if is_sparse else 1
        return [f"{name}_{level}" for level in ([levels[one]] if self.is_sign else levels)]

    def said(self, is_sparse: bool) -> str:
        """Return in words what is done to it."""
        shown = [MISSING if level is None else repr(level) for level in self.levels]
        if self.is_sign:
            low, high = shown if not is_sparse or self.rarer else shown[::-1]
            return f"{low} is {0 if is_sparse else -1}, {high} is 1"
        if len(shown) == self.n_levels:
            return f"one input for each of its {self.n_levels} levels"
        return f"one input for each of the {len(shown)} most frequent of its {self.n_levels} levels"

    def codes(self, column: Column) -> np.ndarray:
        """Return the index of each row's level among `levels`, -1 where it has no input."""
        codes, levels = column.coded()
        known = {level: i for i, level in enumerate(self.levels)}
        places = [known.get(level, -1) for level in levels]
        return np.array([*places, known.get(None, -1)])[codes]

    def encode_dense(self, codes: np.ndarray, out: np.ndarray) -> None:
        """Write its inputs into ``out``, an array of zeros of the shape (n_rows, n_outputs)."""
        if self.is_sign:
            out[:, 0] = np.array([-1, 1, 0], out.dtype)[codes]
            return
        rows = np.flatnonzero(codes >= 0)
        out[rows, codes[rows]] = 1

    def encode_sparse(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where its inputs are 1: the rows, input by input, and how many each input has.

        Of two levels the rarer is 1 and the other 0, so that most entries are zeros.
        """
        if self.is_sign:
            rows = np.flatnonzero(codes == self.rarer)
            return rows, np.array([len(rows)])
        order = np.argsort(codes, kind="stable")
        counts = np.bincount(codes + 1, minlength=len(self.levels) + 1)
        return order[counts[0] :], counts[1:]


def fit(column: Column, weights: np.ndarray | None, max_levels: int) -> tuple[CategoryColumn | None, float]:
    """Return how a column is encoded, and the weight of its inputs that are not 0 in a sparse table.

    There is no encoding of a column that has a single level.

    Parameters
    ----------
    column : Column
        Of which at least one value is not missing.
    weights : ndarray of shape (n_rows,) or None
        None is 1 for each row.
    max_levels : int
        The most levels that have an input. Of equally frequent ones, the first in the order of their texts.
    """
    codes, texts = column.coded()
    weighed = np.bincount(codes + 1, weights, minlength=len(texts) + 1).tolist()
    found = sorted((-weight, text) for weight, text in zip(weighed[1:], texts, strict=True) if weight)
    missing = [(-weighed[0], None)] if weighed[0] else []
    n_levels = len(found) + len(missing)
    if n_levels < 2:
        return None, 0.0
    frequent = sorted([*found, *missing], key=lambda pair: pair[0])[:max_levels]
    kept = sorted((pair for pair in frequent if pair[1] is not None), key=lambda pair: pair[1])
    kept += [pair for pair in frequent if pair[1] is None]
    rarer = 0 if len(kept) > 1 and kept[0][0] > kept[1][0] else 1
    fitted = CategoryColumn(
        column.kind, tuple(text for _, text in kept), n_levels, int((codes < 0).sum()), rarer
    )
    return fitted, -kept[rarer][0] if fitted.is_sign else -sum(weight for weight, _ in kept)
