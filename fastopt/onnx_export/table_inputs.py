"""Tables as a graph takes them, and what `TableEncoder` does to their columns as operators.

Text is an input of strings. Everything else is an input of float64: a number beside whose size its spread is
small would lose in float32 what the network sees of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri

from fastopt.onnx_export.graph import ML, Graph
from fastopt.tabular.category_columns import CategoryColumn
from fastopt.tabular.column_kinds import DATE, MIXED, TEXT, days_of
from fastopt.tabular.columns import TableEncoder
from fastopt.tabular.number_columns import FAR, LARGE, MAGNIFIER, OUTERMOST, NumberEncoder

_DOUBLE = np.float64
#: The degree of the polynomial for the normal quantile, which leaves 1e-9.
_DEGREE = 22


class TableInput(NamedTuple):
    """An input of the graph: one column of the table, or all of them.

    Attributes
    ----------
    name : str
    is_text : bool
    n_columns : int
    """

    name: str
    is_text: bool
    n_columns: int = 1


def is_text(column: Any) -> bool:
    """Whether values of a fitted column are text in the graph."""
    return column.kind in (TEXT, MIXED)


def inputs_of(encoder: TableEncoder) -> list[TableInput]:
    """Return the inputs for a table: one, if it was an array of numbers, else one for each column."""
    columns, names = encoder.columns_, getattr(encoder, "feature_names_in_", None)
    if names is None and not any(map(is_text, columns)):
        return [TableInput("X", False, len(columns))]
    known = [""] * len(columns) if names is None else [str(name) for name in names]
    found = [name or _unlike(f"x{j}", known) for j, name in enumerate(known)]
    return [TableInput(name, is_text(column)) for name, column in zip(found, columns, strict=True)]


def _unlike(name, others):
    return name if name not in others else _unlike(f"{name}_", others)


def missing_text(column: Any) -> str:
    """Return the text that stands for a missing value: the empty one, or if that is a level, ``'<NA>'``."""
    levels = getattr(column, "levels", ())
    return _unlike("<NA>", levels) if "" in levels else ""


class TableValues:
    """The columns of a table in a graph.

    Parameters
    ----------
    graph : Graph
    values : sequence of tuples (str, int, bool)
        Names of values of the graph, each with its number of columns, and whether it is text.
    """

    def __init__(self, graph: Graph, values: Sequence[tuple[str, int, bool]]) -> None:
        self._graph, self._values = graph, values
        self._places = [(value, i) for value in values for i in range(value[1])]
        self.first = values[0][0]

    def _column(self, j, *, text):
        (name, width, is_text), i = self._places[j]
        if is_text != text:
            held, given = ("text", "numbers") if text else ("numbers", "text")
            raise ValueError(f"column {j} held {held} in fit, and the input {name!r} of the graph is {given}")
        return name if width == 1 else self._graph.columns(name, [i])

    def text(self, j: int) -> str:
        """Return a column of text, of shape (n_rows, 1)."""
        return self._column(j, text=True)

    def numbers(self, positions: Sequence[int]) -> str:
        """Return columns of numbers, float64 of shape (n_rows, len(positions))."""
        whole, graph = self._values[0], self._graph
        if len(self._values) == 1 and not whole[2]:
            cast = graph.cast(whole[0], _DOUBLE)
            is_all = list(positions) == list(range(whole[1]))
            return cast if is_all else graph.columns(cast, positions)
        return _side_by_side(graph, [graph.cast(self._column(j, text=False), _DOUBLE) for j in positions])


def _side_by_side(graph, parts):
    return parts[0] if len(parts) == 1 else graph.op("Concat", *parts, axis=1)


def encoded(graph: Graph, table: TableValues, encoder: TableEncoder) -> str:
    """Return the inputs of the networks, float32 of shape (n_rows, n_inputs).

    Raises
    ------
    ValueError
        If a column is text where numbers are needed, or numbers where text is.
    """
    encoding = encoder._encoder()
    parts = [
        graph.cast(_numbers(graph, table.numbers(positions), numbers), np.float32)
        for positions, numbers, _ in encoding.groups
    ]
    parts += [_levels(graph, table, j, column, encoding.is_sparse) for j, column in encoding.categories]
    if not parts:  # of a table without information, one input of 0
        n_rows = graph.op("Slice", graph.op("Shape", table.first), np.array([0]), np.array([1]))
        shape = graph.op("Concat", n_rows, np.array([1]), axis=0)
        return graph.op("Expand", np.zeros((1, 1), np.float32), shape)
    return _side_by_side(graph, parts)


def _numbers(graph: Graph, x: str, of: NumberEncoder) -> str:
    """Return what `NumberEncoder.encode` writes, float64."""
    missing = graph.op("IsNaN", x)
    x = graph.op("Where", missing, of.median, x)
    parts = []
    if len(of.scaled):
        parts.append(_scaled(graph, graph.columns(x, of.scaled), of))
    if len(of.marked):
        parts.append(graph.cast(graph.columns(missing, of.marked), _DOUBLE))
    if len(of.binned):
        within = graph.op("Mul", graph.columns(x, of.binned), of.unit)
        within = graph.op("Div", graph.op("Sub", within, of.low), of.width)
        parts.append(graph.op("Clip", within, _DOUBLE(0), _DOUBLE(1)))
    return _side_by_side(graph, parts)


def _scaled(graph, x, of):
    if of.scaler == "quantile":
        return _normal_score(graph, x, np.array([of.columns[j].landmarks for j in of.scaled]))
    if of.scaler is None:
        return x
    z = graph.op("Div", graph.op("Sub", x, of.center), of.scale)
    if of.scaler == "standard":
        return z
    z = graph.op("Clip", z, _DOUBLE(-FAR), _DOUBLE(FAR))
    third = graph.op("Div", z, _DOUBLE(3))
    root = graph.op("Sqrt", graph.op("Add", graph.op("Mul", third, third), _DOUBLE(1)))
    return graph.op("Div", z, root)


def _normal_score(graph, x, landmarks):
    """Return the normal quantiles of places among landmarks, of shape (n_columns, n_landmarks)."""
    small = np.maximum(-landmarks[:, 0], landmarks[:, -1]) < LARGE
    factor = np.where(small, MAGNIFIER, 1.0)
    x, landmarks = graph.op("Mul", x, factor), landmarks * factor[:, None]
    ends = [_place(graph, x, landmarks, kind) for kind in ("LessOrEqual", "Less")]
    place = graph.op("Mul", graph.op("Add", *ends), _DOUBLE(0.5))
    return _normal_quantile(graph, place)


def _place(graph, x, landmarks, comparison):
    """Return the place from 0 to 1 of numbers among landmarks; of equal ones the last, or before the first.

    The interval between landmarks is found by bisection, for all columns at once.
    """
    n_columns, n = landmarks.shape
    own = graph.constant(np.arange(n_columns) * n)
    at = graph.cast(graph.op("IsNaN", x), np.int64)  # a 0 for each number: none is missing any more
    step = 1 << ((n - 2).bit_length() - 1)
    flat = graph.constant(landmarks.ravel())
    while step:
        # Never the last landmark, after which there is no interval.
        further = graph.op("Min", graph.op("Add", at, np.int64(step)), np.int64(n - 2))
        there = graph.op("Gather", flat, graph.op("Add", further, own))
        at = graph.op("Where", graph.op(comparison, there, x), further, at)
        step >>= 1
    low = graph.op("Gather", flat, graph.op("Add", at, own))
    high = graph.op("Gather", flat, graph.op("Add", at, graph.op("Add", own, np.int64(1))))
    width = graph.op("Sub", high, low)
    share = graph.op("Div", graph.op("Sub", x, low), width)
    # Between equal landmarks the whole width counts, or nothing.
    is_beyond = graph.cast(graph.op(comparison, high, x), _DOUBLE)
    share = graph.op("Where", graph.op("Greater", width, _DOUBLE(0)), share, is_beyond)
    share = graph.op("Clip", share, _DOUBLE(0), _DOUBLE(1))
    return graph.op("Mul", graph.op("Add", graph.cast(at, _DOUBLE), share), _DOUBLE(1 / (n - 1)))


def _normal_quantile(graph, p):
    """Return the quantile of the normal distribution at ``p``, by a polynomial.

    In ``t = sqrt(-2 log p)`` the quantile of a p below a half is nearly a straight line; of the others it is
    that of 1 - p with the other sign.
    """
    p = graph.op("Clip", p, _DOUBLE(OUTERMOST), _DOUBLE(1 - OUTERMOST))
    rest = graph.op("Sub", _DOUBLE(1), p)
    t = graph.op("Sqrt", graph.op("Mul", graph.op("Log", graph.op("Min", p, rest)), _DOUBLE(-2)))
    low, high = np.sqrt(-2 * np.log([0.5, OUTERMOST]))
    series = np.polynomial.Chebyshev.interpolate(
        lambda t: ndtri(np.exp(-0.5 * t * t)), _DEGREE, domain=[low, high]
    )
    u = graph.op("Mul", graph.op("Sub", t, _DOUBLE((low + high) / 2)), _DOUBLE(2 / (high - low)))
    lead, *coefficients = np.polynomial.chebyshev.cheb2poly(series.coef)[::-1]
    total = graph.constant(_DOUBLE(lead))
    for c in coefficients:
        total = graph.op("Add", graph.op("Mul", total, u), _DOUBLE(c))
    return graph.op("Where", graph.op("Less", p, rest), total, graph.op("Neg", total))


def _levels(graph: Graph, table: TableValues, j: int, column: CategoryColumn, is_sparse: bool) -> str:
    """Return the inputs of a column of categories, float32."""
    is_level = _is_level_of_text if is_text(column) else _is_level_of_number
    found = graph.cast(is_level(graph, table, j, column), np.float32)
    if not column.is_sign:
        return found
    one = graph.columns(found, [column.rarer if is_sparse else 1])
    return one if is_sparse else graph.op("Sub", one, graph.columns(found, [0]))


def _is_level_of_text(graph, table, j, column):
    texts = [missing_text(column) if level is None else level for level in column.levels]
    n = len(texts)
    code = graph.op(
        "LabelEncoder", table.text(j), domain=ML,
        keys_strings=texts, values_int64s=list(range(n)), default_int64=-1,
    )  # fmt: skip
    return graph.op("Equal", code, np.arange(n))


def _is_level_of_number(graph, table, j, column):
    x = table.numbers([j])
    known = [level for level in column.levels if level is not None]
    parts = (
        [graph.op("Equal", x, np.array([_number(level, column.kind) for level in known]))] if known else []
    )
    if None in column.levels:
        parts.append(graph.op("IsNaN", x))
    return _side_by_side(graph, parts)


def _number(level, kind):
    """Return the number in the graph for a level that is none of text."""
    if kind == DATE:
        return float(days_of(np.array(level, "datetime64[us]")))
    return {"False": 0.0, "True": 1.0}[level] if level in ("False", "True") else float(level)
