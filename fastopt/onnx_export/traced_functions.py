"""Scalar functions of the registries as ONNX operators: one formula for every target, this one, too.

An activation is a plain function of a number. Here it is called with a number that writes down what is done
to it; `math` is exchanged for functions that write down as well. Where the function asks whether a comparison
holds, it is called again for either answer, and both results go into a ``Where``. So functions of users'
are exported like the library's, branches and loops of a fixed length included.
"""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from fastopt.engine.cpu import vector_math
from fastopt.onnx_export.graph import Graph
from fastopt.rules import activation_functions, scalar_functions

#: The most comparisons on a way through a function.
_MOST_QUESTIONS = 12
#: Functions that are one operator, and its attributes. Others of ONNX's are not as accurate in onnxruntime as
#: the formula: a float32 Sigmoid is 0 below -18, a Selu 6e-5 off near 0, a HardSwish 3e-5 near -3.
_OPERATORS = {
    activation_functions.relu: ("Relu", {}),
    activation_functions.leaky_relu: ("LeakyRelu", {"alpha": -activation_functions.leaky_relu(-1.0)}),
}


def traced(graph: Graph, function: Callable[..., float], *arguments: str) -> str:
    """Return the name of the value of a scalar function, element by element.

    Parameters
    ----------
    graph : Graph
    function : function
        Of one number or several, as `fastopt.register_activation` takes it.
    *arguments : str
        Names of float32 values of the graph, whose shapes broadcast.

    Raises
    ------
    NotImplementedError
        If the function does what cannot be written as a graph.
    """
    if function in _OPERATORS:
        kind, attributes = _OPERATORS[function]
        return graph.op(kind, *arguments, **attributes)
    plain = _rebound(function, {})
    return _answered(graph, function, plain, arguments, {})


def _answered(graph, function, plain, arguments, answers):
    """Return the value where comparisons have the known answers, and of either answer to others."""
    try:
        result = plain(*(_Number(graph, name, answers) for name in arguments))
        return _name(graph, result)
    except _Question as question:
        asked = question.args[0]
        if len(answers) >= _MOST_QUESTIONS:
            raise _refusal(function, f"it compares numbers more than {_MOST_QUESTIONS} times") from None
        yes, no = (
            _answered(graph, function, plain, arguments, answers | {asked: answer})
            for answer in (True, False)
        )
        return yes if yes == no else graph.op("Where", asked, yes, no)
    except (TypeError, AttributeError) as error:
        raise _refusal(function, str(error)) from error


def _refusal(function, why):
    return NotImplementedError(
        f"the function {function.__qualname__} cannot be exported to ONNX: {why}. A function of one number "
        "that uses + - * / **, comparisons, abs, min, max and functions of math can."
    )


class _Question(BaseException):
    """Raised where a function asks for the truth of a comparison that has no answer yet.

    Not an Exception, so that no function handles it.
    """


def _name(graph, value):
    """Return the name of what a function has computed, a number of Python's included."""
    if isinstance(value, _Truth):
        return graph.cast(value.name, np.float32)
    if isinstance(value, _Number):
        return value.name
    if isinstance(value, (bool, int, float, np.generic)):
        return graph.constant(float(value))
    raise TypeError(f"it returns {value!r}, which is no number")


def _operator(kind, is_reflected=False, is_true=False):
    def method(self, other):
        if not isinstance(other, (_Number, bool, int, float, np.generic)):
            return NotImplemented
        names = [_name(self.graph, one) for one in ((other, self) if is_reflected else (self, other))]
        return (_Truth if is_true else _Number)(self.graph, self.graph.op(kind, *names), self.answers)

    return method


class _Number:
    """A number that writes what is done to it into a graph."""

    __array_ufunc__ = None  # NumPy's numbers leave arithmetic to this class
    __slots__ = ("answers", "graph", "name")

    def __init__(self, graph, name, answers):
        self.graph, self.name, self.answers = graph, name, answers

    __add__, __radd__ = _operator("Add"), _operator("Add", True)
    __sub__, __rsub__ = _operator("Sub"), _operator("Sub", True)
    __mul__, __rmul__ = _operator("Mul"), _operator("Mul", True)
    __truediv__, __rtruediv__ = _operator("Div"), _operator("Div", True)
    __pow__, __rpow__ = _operator("Pow"), _operator("Pow", True)
    __lt__, __gt__ = _operator("Less", is_true=True), _operator("Greater", is_true=True)
    __le__, __ge__ = _operator("LessOrEqual", is_true=True), _operator("GreaterOrEqual", is_true=True)
    __eq__ = _operator("Equal", is_true=True)
    __hash__ = None

    def __ne__(self, other):
        equal = self == other
        return _Truth(self.graph, self.graph.op("Not", equal.name), self.answers)

    def of(self, kind: str) -> _Number:
        """Return the result of an operator of one input."""
        return _Number(self.graph, self.graph.op(kind, _name(self.graph, self)), self.answers)

    def __neg__(self):
        return self.of("Neg")

    def __pos__(self):
        return self

    def __abs__(self):
        return self.of("Abs")

    def __bool__(self):
        return bool(self != 0.0)


class _Truth(_Number):
    """A comparison: 1 or 0 where it is used as a number."""

    __slots__ = ()

    def __bool__(self):
        if self.name not in self.answers:
            raise _Question(self.name)
        return self.answers[self.name]


def _unary(name, kind):
    def function(x):
        return x.of(kind) if isinstance(x, _Number) else getattr(math, name)(x)

    return function


def _expm1(x):
    # ONNX has none, and e**x - 1 loses the digits of small x.
    return _written.tanh(0.5 * x) * (_written.exp(x) + 1.0)


def _bounded_exp(x):
    """Return e**x, of float32's normal numbers as in the engine: no probability becomes 0."""
    if not isinstance(x, _Number):
        return scalar_functions.bounded_exp(x)
    low, high = vector_math.BOUNDS_OF_EXP
    return _written.exp(_Number(x.graph, x.graph.op("Clip", x.name, low, high), x.answers))


def _logistic_parts(z):
    # One exponential of either sign is enough: where it overflows to infinity, the quotient is 0.
    return 1.0 / (1.0 + _written.exp(-z)), 1.0 / (1.0 + _written.exp(z))


def _erfc(x):
    # Its small values have the error of the large ones, 1e-7: an activation adds or multiplies by them.
    return 1.0 - _written.erf(x)


def _normal_tail(x):
    return 0.5 * _erfc(0.7071067811865476 * x)


def _extreme(kind, of_python):
    """Return `min` or `max` as an operator: of a comparison came a Where, which takes ten times as long."""

    def function(*values):
        known = next((value for value in values if isinstance(value, _Number)), None)
        if known is None:
            return of_python(*values)
        names = [_name(known.graph, value) for value in values]
        return _Number(known.graph, known.graph.op(kind, *names), known.answers)

    return function


class _Math(types.ModuleType):
    """What functions get in place of `math`."""

    def __getattr__(self, name: str) -> Any:
        known = getattr(math, name)

        def function(*arguments):
            if any(isinstance(one, _Number) for one in arguments):
                raise TypeError(f"ONNX has no operator for math.{name}")
            return known(*arguments)

        return function


_written = _Math("math")
_OF_ONNX = (
    *((name, name.capitalize()) for name in "exp log sqrt tanh sin cos tan sinh cosh floor ceil erf".split()),
    ("asin", "Asin"), ("acos", "Acos"), ("atan", "Atan"),
    ("asinh", "Asinh"), ("acosh", "Acosh"), ("atanh", "Atanh"), ("fabs", "Abs"),
)  # fmt: skip
vars(_written).update(
    {name: value for name, value in vars(math).items() if isinstance(value, float)}
    | {name: _unary(name, kind) for name, kind in _OF_ONNX}
    | {"pow": lambda x, y: x**y, "expm1": _expm1, "erfc": _erfc}
    | {
        "isnan": lambda x: x != x,
        "isinf": lambda x: abs(x) == math.inf,
        "isfinite": lambda x: abs(x) < math.inf,
    }
)


_BUILT_IN = {"min": _extreme("Min", min), "max": _extreme("Max", max)}


@functools.cache
def _replacements():
    """Return pairs of globals: what a plain function reads, and what writes into the graph in its place."""
    pairs = [
        (vector_math.like, lambda x, value: value),  # which keeps the type
        (vector_math.log, _written.log),
        (scalar_functions.bounded_exp, _bounded_exp),
        (scalar_functions.normal_tail, _normal_tail),
        (activation_functions.logistic_parts, _logistic_parts),
        (scalar_functions.epsilon, lambda x: float(np.finfo(np.float32).eps)),
    ]
    # The engine's, which is arithmetic around a logarithm.
    _written.log1p = _rebound(vector_math.log1p, {}, pairs)
    pairs.append((math, _written))
    pairs += [
        (getattr(math, name), value)
        for name, value in vars(_written).items()
        if isinstance(getattr(math, name, None), types.BuiltinFunctionType)
    ]
    return pairs


def _rebound(value, memo, pairs=None):
    """Return a plain function with replaced globals and closure, and so those that it calls."""
    value = getattr(value, "py_func", value)  # of Numba
    if not isinstance(value, types.FunctionType):
        return value
    pairs = _replacements() if pairs is None else pairs
    if id(value) not in memo:
        names = dict(value.__globals__)
        cells = None if value.__closure__ is None else tuple(types.CellType() for _ in value.__closure__)
        copied = types.FunctionType(value.__code__, names, value.__name__, value.__defaults__, cells)
        copied.__kwdefaults__ = value.__kwdefaults__
        memo[id(value)] = copied
        for name in _names_in(value.__code__):
            if name in names:
                names[name] = _replaced(names[name], memo, pairs)
            elif name in _BUILT_IN:
                names[name] = _BUILT_IN[name]
        for cell, known in zip(cells or (), value.__closure__ or (), strict=True):
            cell.cell_contents = _replaced(known.cell_contents, memo, pairs)
    return memo[id(value)]


def _replaced(value, memo, pairs):
    other = next((new for known, new in pairs if value is known), value)
    return other if other is not value else _rebound(value, memo, pairs)


def _names_in(code):
    """Return the names that code reads, that of functions inside included."""
    inner = [one for one in code.co_consts if isinstance(one, types.CodeType)]
    return {*code.co_names}.union(*map(_names_in, inner))
