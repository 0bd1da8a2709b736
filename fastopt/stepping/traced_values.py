"""Values that are not known yet: operations of NumPy on them are noted down, to be carried out in each step.

A `Traced` value stands for a float64 number or array in the function that `fastopt.stepping.tracing` records.
What is computed from it is a `Node` of a graph, in which equal operations on equal operands are one node and
operations on constants alone are carried out at once.
"""

import dataclasses
import functools
import math
import numbers
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from fastopt.kernels.tape import Op

#: Nodes that no instruction computes: constants, what is set before a step, and parts of other nodes.
CONSTANT, LEAF, PART = "constant", "leaf", "part"

_UFUNCS: dict[Any, Op] = {
    np.negative: Op.NEGATIVE, np.absolute: Op.ABSOLUTE, np.sqrt: Op.SQRT, np.exp: Op.EXP, np.log: Op.LOG,
    np.isfinite: Op.ISFINITE, np.isnan: Op.ISNAN, np.logical_not: Op.NOT, np.invert: Op.NOT,
    np.floor: Op.FLOOR, np.sign: Op.SIGN, np.add: Op.ADD, np.subtract: Op.SUBTRACT,
    np.multiply: Op.MULTIPLY, np.divide: Op.DIVIDE, np.power: Op.POWER, np.float_power: Op.POWER,
    np.remainder: Op.REMAINDER, np.maximum: Op.MAXIMUM, np.minimum: Op.MINIMUM, np.fmax: Op.FMAX,
    np.fmin: Op.FMIN, np.less: Op.LESS, np.less_equal: Op.LESS_EQUAL, np.equal: Op.EQUAL,
    np.not_equal: Op.NOT_EQUAL, np.logical_and: Op.AND, np.logical_or: Op.OR, np.bitwise_and: Op.AND,
    np.bitwise_or: Op.OR,
}  # fmt: skip
_SWAPPED = {np.greater: np.less, np.greater_equal: np.less_equal}
_TRUTHS = {Op.ISFINITE, Op.ISNAN, Op.NOT, *(op for op in Op if op >= Op.LESS)}
#: What an operation leaves as it is when this is its second operand.
_NEUTRAL = {Op.MULTIPLY: 1.0, Op.DIVIDE: 1.0, Op.SUBTRACT: 0.0, Op.POWER: 1.0}
_FUNCTIONS: dict[Any, Callable[..., Any]] = {}


class TraceError(Exception):
    """A step cannot be recorded as a program; the message says why."""


@dataclasses.dataclass(eq=False, repr=False, slots=True)
class Node:
    """One operation of the graph: its result is ``n`` registers in a row, from ``register`` on."""

    op: Op | str
    n: int
    operands: "tuple[Node, ...]"
    extra: Any
    register: int
    value: npt.NDArray[np.float64] | None = None  # of a constant: its registers


class Graph:
    """All nodes of a program; each has registers of its own."""

    def __init__(self):
        self._nodes: dict[Any, Node] = {}
        self.n_registers: int = 0

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def node(self, op: Any, n: int, operands: tuple[Node, ...] = (), extra: Any = None) -> Node:
        """Return the node of an operation, the same for the same operands."""
        key = op, n, operands, extra
        if key not in self._nodes:
            if op is PART:
                register = operands[0].register + extra
            else:
                register, self.n_registers = self.n_registers, self.n_registers + n
            self._nodes[key] = Node(op, n, operands, extra, register)
        return self._nodes[key]

    def constant(self, values: npt.ArrayLike) -> Node:
        """Return the node of constant values; of one register if all are equal."""
        flat = np.asarray(values, np.float64).ravel()
        if flat.size > 1 and (flat.view(np.int64) == flat.view(np.int64)[0]).all():
            flat = flat[:1]
        node = self.node(CONSTANT, flat.size, (), flat.tobytes())
        node.value = flat
        return node

    def gather(self, node: Node, places: np.ndarray) -> Node:
        """Return the registers of a node at these places, without an instruction if they are in a row."""
        places = places.ravel()
        if node.n == 1:
            return node
        if node.value is not None:
            return self.constant(node.value[places])
        first = int(places[0]) if places.size else 0
        if (places == np.arange(first, first + places.size)).all():
            return node if places.size == node.n else self._part(node, first, places.size)
        return self.node(Op.GATHER, places.size, (node,), tuple(places.tolist()))

    def _part(self, node, first, n):
        if node.op is PART:
            node, first = node.operands[0], first + node.extra
        return self.node(PART, n, (node,), first)

    def joined(self, nodes: list[tuple[Node, int]]) -> Node:
        """Return nodes one after the other; each with its length, as one register may stand for many."""
        if len({node for node, _ in nodes}) == 1 and nodes[0][0].n == 1:
            return nodes[0][0]
        if all(node.value is not None for node, _ in nodes):
            return self.constant(np.concatenate([np.broadcast_to(node.value, n) for node, n in nodes]))
        lengths = tuple(n for _, n in nodes)
        return self.node("join", sum(lengths), tuple(node for node, _ in nodes), lengths)

    def elementwise(self, op: Op, n: int, nodes: tuple[Node, ...]) -> Node:
        """Return an operation on nodes of n registers, or 1 that stands for all."""
        if op is Op.POWER and nodes[1].value is not None and (nodes[1].value == 2.0).all():
            op, nodes = Op.MULTIPLY, (nodes[0], nodes[0])  # as NumPy does
        if op in _NEUTRAL and nodes[1].value is not None and (nodes[1].value == _NEUTRAL[op]).all():
            return nodes[0]
        if op is Op.MULTIPLY and nodes[0].value is not None and (nodes[0].value == 1.0).all():
            return nodes[1]
        if op is Op.SELECT and (nodes[1] is nodes[2] or (nodes[0].value is not None and nodes[0].n == 1)):
            return nodes[2] if nodes[0].value is not None and not nodes[0].value[0] else nodes[1]
        return self.node(op, 1 if all(node.n == 1 for node in nodes) else n, nodes)


class Traced(np.lib.mixins.NDArrayOperatorsMixin):
    """An array whose values are known only when a recorded step runs.

    Parameters
    ----------
    tracer : Recorder
        Whose graph holds the node; it decides on branches.
    node : Node
        Of one register if all elements are known to be equal.
    shape : tuple of int
    is_part : bool
        Whether it is, to NumPy, a view of another array. Neither may be written.
    """

    def __init__(self, tracer: Any, node: Node, shape: tuple[int, ...], is_part: bool = False):
        self.node: Node = node
        self.shape: tuple[int, ...] = shape
        self._tracer, self._is_part = tracer, is_part

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Boolean for the result of a comparison, else float64."""
        return np.dtype(bool if self.node.op in _TRUTHS else np.float64)

    @property
    def T(self) -> "Traced":
        """The axes reversed."""
        return self._at(self._places().T)

    def _places(self):
        return np.arange(self.size).reshape(self.shape)

    def _at(self, places, is_part=True):
        return made(self._tracer, self._tracer.graph.gather(self.node, places), places.shape, is_part)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a number has no length")
        return self.shape[0]

    def __iter__(self) -> "Iterator[Traced]":
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> "Traced":
        places = self._places()
        found = np.asarray(places[_fixed(index)])
        return self._at(found, np.shares_memory(found, places))

    def __setitem__(self, index: Any, value: Any) -> None:
        if self._is_part:
            raise TraceError("writes to a part of an array whose values are known only when the step runs")
        graph, size = self._tracer.graph, self.size
        places = np.asarray(self._places()[_fixed(index)])
        new = expanded(self._tracer, value, places.shape)
        taken = np.arange(size)
        taken[places.ravel()] = size + np.arange(places.size)
        self.node = graph.gather(graph.joined([(self.node, size), (new, places.size)]), taken)
        if (taken >= size).all():
            self.node = graph.gather(new, taken - size)

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError("the truth value of an array with more than one element is ambiguous")
        return self._tracer.decide(self.node)

    def _unknown(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TraceError(
            "needs a number where a value is known only when the step runs: float(), int(), math.* and "
            "writing it to an array do; NumPy's functions, such as np.sqrt and np.maximum, do not"
        )

    __float__ = __int__ = __index__ = __complex__ = __array__ = __round__ = tolist = item = _unknown

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Note down an elementwise function."""
        if ufunc is np.square and method == "__call__" and not kwargs:
            return inputs[0] * inputs[0]
        if ufunc in _SWAPPED:
            ufunc, inputs = _SWAPPED[ufunc], inputs[::-1]
        in_place = kwargs.pop("out", None)
        if method != "__call__" or kwargs or ufunc not in _UFUNCS:
            raise TraceError(f"np.{ufunc.__name__} {method.strip('_')} is not recorded; {_KNOWN}")
        result = elementwise(self._tracer, _UFUNCS[ufunc], *inputs)
        if in_place is None:
            return result
        if not isinstance(in_place[0], Traced):
            raise TraceError("writes a value that is known only when the step runs to a NumPy array")
        if not in_place[0].shape:
            return result
        in_place[0][...] = result
        return in_place[0]

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Note down one of NumPy's functions on arrays."""
        if function not in _FUNCTIONS:
            raise TraceError(f"np.{function.__name__} is not recorded; {_KNOWN}")
        return _FUNCTIONS[function](self._tracer, *args, **kwargs)

    def sum(self, axis: int | None = None, dtype: Any = None) -> Any:
        """Add up elements, one after the other."""
        return _reduced(self._tracer, Op.SUM, self, axis)

    def max(self, axis: int | None = None) -> Any:
        """Return the largest element."""
        return _reduced(self._tracer, Op.LARGEST, self, axis)

    def min(self, axis: int | None = None) -> Any:
        """Return the smallest element."""
        return _reduced(self._tracer, Op.SMALLEST, self, axis)

    def mean(self, axis: int | None = None) -> Any:
        """Return the mean, the sum divided by the number."""
        return self.sum(axis) / (self.size if axis is None else self.shape[axis])

    def all(self, axis: int | None = None) -> Any:
        """Tell whether no element is 0."""
        return (self != 0).min(axis)

    def any(self, axis: int | None = None) -> Any:
        """Tell whether some element is not 0."""
        return (self != 0).max(axis)

    def copy(self) -> "Traced":
        """Return the same values, to be written apart."""
        return made(self._tracer, self.node, self.shape)

    def astype(self, dtype: Any) -> "Traced":
        """Return a copy; of whole numbers and truth values as float64."""
        if np.dtype(dtype).kind != "f" and self.dtype != bool:
            raise TraceError(f"astype({np.dtype(dtype)}) would round a value known only when the step runs")
        return self.copy()

    def reshape(self, *shape: Any) -> "Traced":
        """Return the same values in another shape."""
        return self._at(self._places().reshape(*shape))

    def ravel(self) -> "Traced":
        """Return the values along one axis."""
        return self.reshape(-1)


class TracedNumber(Traced):
    """A `Traced` value without axes."""


numbers.Real.register(TracedNumber)


def made(tracer: Any, node: Node, shape: tuple[int, ...], is_part: bool = False) -> Traced:
    """Return the value of a node, in a shape."""
    return Traced(tracer, node, shape, is_part) if shape else TracedNumber(tracer, node, shape)


def _fixed(index):
    parts = index if isinstance(index, tuple) else (index,)
    if any(isinstance(part, Traced) for part in parts):
        raise TraceError("an index is known only when the step runs; np.where chooses without one")
    return index


def shape_of(value: Any) -> tuple[int, ...]:
    """Return the shape of a value, traced or not."""
    return value.shape if isinstance(value, (Traced, np.ndarray, np.generic)) else np.shape(value)


def node_of(tracer: Any, value: Any) -> Node:
    """Return the node of a value, in its own shape."""
    if isinstance(value, Traced):
        return value.node
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TraceError(f"{value!r} is no number, or an array of them")
    return tracer.graph.constant(array)


def number(x: Any) -> Any:
    """Return a number as a float, or as it is if it is known only when a recorded step runs."""
    return x if isinstance(x, TracedNumber) else float(x)


def expanded(tracer: Any, value: Any, shape: tuple[int, ...]) -> Node:
    """Return the node of a value broadcast to a shape; of one register if all elements are equal."""
    node, own = node_of(tracer, value), shape_of(value)
    if node.n == 1 or own == shape:
        return node
    return tracer.graph.gather(node, np.broadcast_to(np.arange(node.n).reshape(own), shape))


def vector(tracer: Any, value: Any, shape: tuple[int, ...]) -> Node:
    """Return the node of a value broadcast to a shape, with a register for each element."""
    node, n = expanded(tracer, value, shape), math.prod(shape)
    if node.n == n:
        return node
    return tracer.graph.node(Op.GATHER, n, (node,), (0,) * n)


def elementwise(tracer: Any, op: Op, *values: Any) -> Any:
    """Return the result of an operation, element by element; a plain array if all operands are constant."""
    shape = np.broadcast_shapes(*map(shape_of, values))
    if op is Op.ADD and all(getattr(value, "dtype", None) == np.bool_ for value in values):
        op = Op.OR  # the sum of two truth values is one
    nodes = [expanded(tracer, value, shape) for value in values]
    if all(node.value is not None for node in nodes):
        return _folded(op, shape, nodes)
    return made(tracer, tracer.graph.elementwise(op, math.prod(shape), tuple(nodes)), shape)


def _folded(op, shape, nodes):
    values = (node.value if node.n == 1 else node.value.reshape(shape) for node in nodes)
    arrays = [np.broadcast_to(value, shape) for value in values]
    if op is Op.SELECT:
        return np.where(arrays[0] != 0, *arrays[1:])[()]
    if op in (Op.NOT, Op.AND, Op.OR):
        arrays = [a != 0 for a in arrays]
    ufunc = next(ufunc for ufunc, known in _UFUNCS.items() if known is op)
    return ufunc(*arrays)[()]


def _reduced(tracer, op, x, axis=None):
    if axis is None:
        before, length, after, shape = 1, x.size, 1, ()
    else:
        axis %= x.ndim
        shape = x.shape[:axis] + x.shape[axis + 1 :]
        before, length = math.prod(x.shape[:axis]), x.shape[axis]
        after = math.prod(x.shape[axis + 1 :])
    if length == 1 or (length and op is not Op.SUM and x.node.n == 1):
        return made(tracer, x.node, shape)
    if length == 0:
        if op is not Op.SUM:
            raise TraceError("an empty array has no largest element")
        return made(tracer, tracer.graph.constant(0.0), shape)
    node = vector(tracer, x, x.shape)
    return made(tracer, tracer.graph.node(op, before * after, (node,), (length, after)), shape)


def recorded_as(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function the one that notes down these functions of NumPy."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        _FUNCTIONS.update(dict.fromkeys(functions, function))
        return function

    return decorate


@recorded_as(np.where)
def _where(tracer, condition, x, y):
    return elementwise(tracer, Op.SELECT, condition, x, y)


@recorded_as(np.clip)
def _clip(tracer, x, least, most):
    return np.minimum(np.maximum(x, least), most)


@recorded_as(np.linalg.norm)
def _norm(tracer, x):
    return np.sqrt((x * x).sum())


@recorded_as(np.concatenate)
def _concatenate(tracer, arrays, axis=0):
    places, first = [], 0
    for array in arrays:
        n = math.prod(shape_of(array))
        places.append(np.arange(first, first + n).reshape(shape_of(array)))
        first += n
    places = np.concatenate(places, axis)
    parts = [(node_of(tracer, array), math.prod(shape_of(array))) for array in arrays]
    return made(tracer, tracer.graph.gather(tracer.graph.joined(parts), places), places.shape)


@recorded_as(np.stack)
def _stack(tracer, arrays, axis=0):
    return _concatenate(tracer, [expand_dims(tracer, array, axis) for array in arrays], axis)


@recorded_as(np.expand_dims)
def expand_dims(tracer: Any, array: Any, axis: int) -> Any:
    """Return an array with one more axis, of length 1."""
    shape = list(shape_of(array))
    shape.insert(axis, 1)
    return made(tracer, node_of(tracer, array), tuple(shape))


@recorded_as(np.broadcast_to)
def _broadcast_to(tracer, array, shape):
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return made(tracer, expanded(tracer, array, shape), shape, True)


@recorded_as(np.full_like)
def _full_like(tracer, array, value):
    return made(tracer, expanded(tracer, value, shape_of(array)), shape_of(array))


recorded_as(np.zeros_like)(functools.partial(_full_like, value=0.0))
recorded_as(np.ones_like)(functools.partial(_full_like, value=1.0))


@recorded_as(np.tile)
def _tile(tracer, array, n):
    return _concatenate(tracer, [array] * n)


for _name in ("sum", "max", "min", "mean", "all", "any", "reshape", "ravel", "copy"):

    def _method(tracer, array, *args, _name=_name, **kwargs):
        return getattr(array, _name)(*args, **kwargs)

    recorded_as(getattr(np, _name))(_method)

_KNOWN = "what is: arithmetic, comparisons, " + ", ".join(
    sorted({f"np.{known.__name__}" for known in [*_UFUNCS, *_FUNCTIONS] if known.__name__.isalpha()})
)
