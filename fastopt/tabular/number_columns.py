"""Columns of numbers as inputs of a network: centred, scaled, clipped, missing values replaced."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from scipy.special import ndtri

from fastopt.persistence import Persistent
from fastopt.tabular.column_kinds import ACCEPTED
from fastopt.tabular.quantiles import quantiles
from fastopt.tabular.tables import check_finite

SCALERS = ("robust_clip", "standard", "quantile", None)
#: How many numbers of a table are encoded at a time, which keeps them in a cache of the processor.
_CHUNK = 1 << 15
#: Parts of the same weight by whose borders the scaler 'quantile' knows a distribution, and the smallest
#: share of it that a number can have below or above itself (5.2 standard deviations, as in scikit-learn).
N_PARTS, OUTERMOST = 256, 1e-7
#: A power of two by which numbers are multiplied, if no larger than this: the reciprocal of the difference of
#: two subnormal numbers is no float64.
MAGNIFIER, LARGE = 2.0**64, 2.0**900
#: Where x / sqrt(1 + (x/3)^2) is 3 to the last digit, and its square is still a number.
FAR = 1e9


@dataclass(frozen=True)
class NumberColumn(Persistent):
    """How a column of numbers is encoded.

    Attributes
    ----------
    kind : str
        What it holds: 'number', 'boolean', 'date' (days since 1970) or 'duration' (seconds).
    median : float
        Stands for missing values.
    center, scale : float
        ``(x - center) / scale`` is the input; a scale of 0 marks a column that has one value beside missing
        ones, and of which no more is kept than which are missing.
    n_missing : int
        In `fit`. If any were, there is an input that is 1 where the number is missing, else 0.
    edges : tuple of float
        Of the bins of the piecewise-linear encoding; empty without one.
    landmarks : tuple of float
        Quantiles at equal distances, for the scaler 'quantile'.
    """

    kind: str
    median: float
    center: float
    scale: float
    n_missing: int = 0
    edges: tuple[float, ...] = ()
    landmarks: tuple[float, ...] = ()

    def _check_restored(self) -> None:
        known = (self.median, self.center, self.scale, *self.edges, *self.landmarks)
        are_numbers = all(isinstance(v, float) and math.isfinite(v) for v in known)
        is_known = self.kind in ACCEPTED and isinstance(self.n_missing, int) and self.n_missing >= 0
        if not (are_numbers and is_known) or self.scale < 0:
            raise ValueError(f"{self!r} does not describe a column of numbers")
        if any(a >= b for a, b in itertools.pairwise(self.edges)) or len(self.edges) == 1:
            raise ValueError(f"the edges of bins {self.edges} do not ascend")

    def labels(self, name: str) -> list[str]:
        """Return the names of its inputs."""
        return [
            *([name] if self.scale else []),
            *([f"{name}_missing"] if self.n_missing else []),
            *(f"{name}_bin{i}" for i in range(1, len(self.edges))),
        ]

    def said(self, scaler: str | None) -> str:
        """Return in words what is done to it."""
        parts = []
        if self.scale:
            sign = "-" if self.center >= 0 else "+"
            shifted = f"(x {sign} {abs(self.center):.6g})" if self.center else "x"
            scaled = f"{shifted} / {self.scale:.6g}"
            words = {
                "robust_clip": f"{scaled}, smoothly clipped at 3",
                "standard": scaled,
                "quantile": "mapped to a normal distribution",
                None: "as it is",
            }
            parts.append(words[scaler])
        if self.n_missing:
            parts.append(f"missing: {self.median:.4g}, and marked" if self.scale else "marked where missing")
        if self.edges:
            parts.append(f"{len(self.edges) - 1} quantile bins")
        return "; ".join(parts)


def fit(
    values: np.ndarray,
    weights: np.ndarray | None,
    n_missing: int,
    *,
    kind: str,
    scaler: str | None,
    n_bins: int,
) -> tuple[NumberColumn | None, float]:
    """Return how a column is encoded, and in which weight of rows an input of known values is not 0.

    There is no encoding of a column that has one value and lacks none.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Those that are not missing, at least one; they are sorted in place.
    weights : ndarray of shape (n,) or None
    n_missing : int
    kind : str
    scaler : {'robust_clip', 'standard', 'quantile', None}
    n_bins : int
        Of the piecewise-linear encoding, or 0 for none.
    """
    if weights is None:
        values.sort()
    else:
        order = np.argsort(values, kind="stable")
        values, weights = values[order], weights[order]
    smallest, q25, median, q75, largest = quantiles(values, weights, 4, range(5))
    if smallest == largest:
        only_missing = NumberColumn(kind, median, median, 0.0, n_missing)
        return (only_missing if n_missing else None), 0.0
    center, scale, landmarks = 0.0, 1.0, ()
    if scaler == "robust_clip":
        center, scale = median, q75 - q25 or largest / 2 - smallest / 2
    elif scaler == "standard":
        center, scale = _moments(values, weights)
    elif scaler == "quantile":
        landmarks = tuple(quantiles(values, weights, N_PARTS, range(N_PARTS + 1)))
    edges = _edges(values, weights, n_bins)
    scale = min(scale, float(np.finfo(float).max))
    fitted = NumberColumn(kind, median, center, scale, n_missing, edges, landmarks)
    above = _WeightAbove(values, weights)
    filled = above(-np.inf) - above(center, equal=True) + above(center) + sum(map(above, edges[:-1]))
    return fitted, filled


class _WeightAbove:
    """The weight of the values, which ascend, above a border."""

    def __init__(self, values, weights):
        self._values = values
        self._until = np.arange(len(values) + 1) if weights is None else np.append(0, np.cumsum(weights))

    def __call__(self, border, equal=False):
        place = np.searchsorted(self._values, border, side="left" if equal else "right")
        return float(self._until[-1] - self._until[place])


def _moments(values, weights):
    # In units of a power of two, which rounds nothing: squares of 1e200 and 1e-200 are no float64.
    power = math.frexp(max(-values[0], values[-1]))[1]
    values = np.ldexp(values, -power)
    mean = np.average(values, weights=weights)
    deviation = math.sqrt(np.average((values - mean) ** 2, weights=weights))
    return math.ldexp(mean, power), math.ldexp(deviation, power) or 1.0


def _edges(values, weights, n_bins):
    """Return the edges of quantile bins, or none if fewer than three bins differ."""
    if not n_bins:
        return ()
    edges = sorted({*quantiles(values, weights, n_bins, range(n_bins + 1))})
    return tuple(edges) if len(edges) > 3 else ()


class NumberEncoder:
    """Encodes columns of numbers side by side, as `NumberColumn` says of each.

    The inputs are: of each column that has a scale, the scaled number; then of each column in which numbers
    were missing, the input that marks them; then the piecewise-linear encodings.
    """

    def __init__(self, columns: Sequence[NumberColumn], scaler: str | None) -> None:
        self.scaler = scaler
        self.columns = columns
        self.median = np.array([c.median for c in columns])
        self.scaled = _places(columns, lambda c: c.scale)
        self.center = np.array([c.center for c in columns])[self.scaled]
        self.scale = np.array([c.scale for c in columns])[self.scaled]
        self.marked = _places(columns, lambda c: c.n_missing)
        edges = [(j, c.edges) for j, c in enumerate(columns)]
        self.binned = np.array([j for j, e in edges for _ in e[1:]], np.intp)
        bins = [bounds for _, e in edges for bounds in itertools.pairwise(e)]
        # Half of each number, where a width is beyond float64.
        self.unit = np.array([1.0 if math.isfinite(b - a) else 0.5 for a, b in bins])
        self.low = np.array([a for a, _ in bins]) * self.unit
        self.width = np.array([b for _, b in bins]) * self.unit - self.low
        self.n_outputs = len(self.scaled) + len(self.marked) + len(self.binned)
        #: The position, among the columns, to which each input belongs.
        self.sources = np.concatenate([self.scaled, self.marked, self.binned]).astype(np.intp)

    def labels(self, names: Sequence[str]) -> list[str]:
        """Return the names of the inputs, from those of the columns."""
        by_column = [iter(c.labels(name)) for c, name in zip(self.columns, names, strict=True)]
        return [next(by_column[j]) for j in self.sources.tolist()]

    def encode(self, values: np.ndarray, out: np.ndarray, name: Callable[[int], str]) -> None:
        """Write the inputs of a table.

        Parameters
        ----------
        values : ndarray of shape (n_rows, n_columns)
        out : ndarray of shape (n_rows, n_outputs)
        name : callable
            Gives the name of a column, for messages.
        """
        n_scaled, n_marked = len(self.scaled), len(self.marked)
        for rows in _chunks(len(values), max(values.shape[1], self.n_outputs)):
            x, to = values[rows].astype(np.float64), out[rows]
            missing = check_finite(x, name)
            if missing is not None:
                np.copyto(x, self.median, where=missing)
            with np.errstate(over="ignore"):
                to[:, :n_scaled] = self._scale_numbers(x if n_scaled == x.shape[1] else x[:, self.scaled])
            if n_marked:
                is_marked = slice(n_scaled, n_scaled + n_marked)
                to[:, is_marked] = 0 if missing is None else missing[:, self.marked]
            if len(self.binned):
                within = x[:, self.binned]
                within *= self.unit
                with np.errstate(over="ignore"):  # infinity is beyond a bin, too
                    within -= self.low
                    within /= self.width
                to[:, n_scaled + n_marked :] = np.clip(within, 0, 1, out=within)
            if self.scaler in ("standard", None) and not np.isfinite(to).all():
                self._refuse(to, name)

    def _refuse(self, encoded, name):
        place = np.argwhere(~np.isfinite(encoded))[0, 1]
        raise ValueError(
            f"Input X contains a value too large for {encoded.dtype}, in column "
            f"{name(self.sources[place])!r}. "
            "numeric_scaler='robust_clip' bounds what the network sees."
        )

    def _scale_numbers(self, x):
        if self.scaler == "quantile":
            return self._to_normal(x)
        if self.scaler is None:
            return x
        z = x - self.center
        z /= self.scale
        return z if self.scaler == "standard" else clipped(z)

    def _to_normal(self, x):
        z = np.empty_like(x)
        for place, j in enumerate(self.scaled.tolist()):
            z[:, place] = _normal_score(x[:, place], np.array(self.columns[j].landmarks))
        return z

    def encode_entries(self, entries: scipy.sparse.csc_array, name: Callable[[int], str]) -> Any:
        """Return the inputs of a sparse table, of whose columns all `keep_zeros`, as a sparse matrix."""
        x = entries.data.astype(np.float64)
        missing = check_finite(x[:, np.newaxis], lambda _: name(self._column_of(entries, x)))
        column = np.repeat(np.arange(entries.shape[1]), np.diff(entries.indptr))
        scale = np.array([c.scale or np.inf for c in self.columns])
        with np.errstate(over="ignore"):
            z = x / scale[column]
        if self.scaler == "robust_clip":
            z = clipped(z)
        marks = np.zeros(len(x)) if missing is None else missing.ravel().astype(float)
        z[marks > 0] = 0
        parts = [(z, self.scaled), (marks, self.marked)]
        found = [
            scipy.sparse.csc_array((v, entries.indices, entries.indptr), entries.shape) for v, _ in parts
        ]
        blocks = scipy.sparse.hstack(
            [a[:, js] for a, (_, js) in zip(found, parts, strict=True)], format="csc"
        )
        blocks.eliminate_zeros()
        return blocks

    def _column_of(self, entries, x):
        return int(np.searchsorted(entries.indptr, np.flatnonzero(np.isinf(x))[0], side="right")) - 1


def keep_zeros(column: NumberColumn, scaler: str | None) -> bool:
    """Whether all inputs of a column are 0 where it is 0, and its missing values stand for 0."""
    return scaler != "quantile" and column.center == column.median == 0 and not column.edges


def clipped(z: np.ndarray) -> np.ndarray:
    """Return z / sqrt(1 + (z/3)^2), which is z near 0 and 3 or -3 far away; overwrites ``z``."""
    np.clip(z, -FAR, FAR, out=z)
    root = np.square(z / 3)
    root += 1
    z /= np.sqrt(root, out=root)
    return z


def _normal_score(x, landmarks):
    """Return the normal quantile of each number's place among the landmarks, the mean place among equals."""
    if max(-landmarks[0], landmarks[-1]) < LARGE:
        x, landmarks = x * MAGNIFIER, landmarks * MAGNIFIER
    places = np.linspace(0, 1, len(landmarks))
    place = np.interp(x, landmarks, places) - np.interp(-x, -landmarks[::-1], -places[::-1])
    return ndtri(np.clip(place / 2, OUTERMOST, 1 - OUTERMOST))


def _places(columns, wanted):
    return np.array([j for j, column in enumerate(columns) if wanted(column)], np.intp)


def _chunks(n_rows: int, n_columns: int) -> Iterator[Any]:
    step = max(1, _CHUNK // max(1, n_columns))
    return (slice(start, start + step) for start in range(0, n_rows, step))
