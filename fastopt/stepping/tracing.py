"""Recording a step as a program: what its Python does once, the compiled training loop then repeats.

`record` calls a function that makes a step while the hooks in `fastopt.kernels` and `Tensors` note down what
it would do: kernels to run, constants to store for them, sums to collect, arithmetic on `Traced` numbers in
between. A branch on such a number makes the function run again, for the other way, until every path is
known. State that persists from step to step lives in *cells*, which the program reads and writes.
"""

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastopt.kernels.recording import recorded_by
from fastopt.kernels.tape import Op
from fastopt.stepping.programs import Program, is_uniform
from fastopt.stepping.traced_values import (
    CONSTANT,
    LEAF,
    PART,
    Graph,
    Node,
    Traced,
    TraceError,
    expanded,
    made,
    node_of,
    vector,
)

#: Paths of a step that are explored, before it is given up.
_PATHS = 256


class Cell(NamedTuple):
    """A number or an array of numbers that persists from step to step.

    It is an attribute of its owner or, where that is a dict, an item; with ``place`` one of a tuple there.
    """

    owner: Any
    name: Any
    place: int | None = None

    def get(self) -> Any:
        """Return the present value."""
        value = self.owner[self.name] if isinstance(self.owner, dict) else getattr(self.owner, self.name)
        return value if self.place is None else value[self.place]

    def set(self, value: Any) -> None:
        """Replace the value."""
        if self.place is not None:
            whole = getattr(self.owner, self.name)
            value = (*whole[: self.place], value, *whole[self.place + 1 :])
        if isinstance(self.owner, dict):
            self.owner[self.name] = value
        else:
            setattr(self.owner, self.name, value)


class Store(NamedTuple):
    """Values to be written to memory before a kernel reads them."""

    address: int
    stride: int
    n: int
    dtype: str
    node: Node


class Feed(NamedTuple):
    """Columns of the host's matrix: numbers that the count of steps determines, computed ahead."""

    key: Any
    producer: Callable[[int], Any]
    column: int


class Recorder:
    """Takes what a step does while it is recorded.

    Parameters
    ----------
    n_inputs : int
    clock : Cell, optional
        The count of steps that `feed` goes by.

    Attributes
    ----------
    graph : Graph
    inputs : list of Traced
        Numbers that come before each step, in the first registers.
    items : list
        What the path at hand does, in order: ``(operation, ...)``.
    feeds : list of Feed
    calls : list of callable
        Python functions that the program calls; they take the vector of registers.
    views : dict
        A store's address to the array that it writes to.
    kept, forgetting : list
        Objects that must live as long as the program; those whose memory of what they stored is void after
        it.
    """

    def __init__(self, n_inputs: int = 0, clock: Cell | None = None):
        self.graph: Graph = Graph()
        self._clock = clock
        self.inputs: list[Traced] = [self.value(0.0, ("input", i), True) for i in range(n_inputs)]
        self.feeds: list[Feed] = []
        self._n_columns = 0
        self.calls: list[Callable[[np.ndarray], None]] = []
        self.views: dict[int, np.ndarray] = {}
        self.kept: list[Any] = []
        self.forgetting: list[Any] = []
        self.firsts: list[tuple[Cell, Node]] = []
        self.begin(())

    def begin(self, decisions: Sequence[bool]) -> None:
        """Begin a path whose first branches go these ways."""
        self.items: list[tuple[Any, ...]] = []
        self._emitted: set[Node] = set()
        self._decided: dict[Node, bool] = {}
        self._forced = decisions
        self.decisions: list[bool] = []
        self._n_calls = 0

    def value(self, array: Any, name: Any, is_uniform: bool) -> Traced:
        """Return the traced value of what a cell or an input holds before the step."""
        shape = np.shape(array)
        n = 1 if is_uniform else math.prod(shape)
        return made(self, self.graph.node(LEAF, n, (), name), shape)

    def decide(self, node: Node) -> bool:
        """Return which way a branch goes on this path."""
        if node.value is not None:
            return bool(node.value[0])
        if node.op is Op.NOT:
            return not self.decide(node.operands[0])
        if node not in self._decided:
            k = len(self.decisions)
            taken = self._forced[k] if k < len(self._forced) else True
            self.decisions.append(taken)
            self._decided[node] = taken
            self.need(node)
            self.items.append(("branch", node, taken))
        return self._decided[node]

    def need(self, node: Node) -> None:
        """Compute a node, and first what it is computed from, if this path has not done so."""
        if node in self._emitted:
            return
        self._emitted.add(node)
        for operand in node.operands:
            self.need(operand)
        if node.op not in (CONSTANT, LEAF, PART):
            self.items.append(("compute", node))

    def _effect(self, op, n, operands=(), *extra):
        """Compute a node at this place of the path: not earlier or later, and not the same as any other."""
        node = self.graph.node(op, n, operands, (len(self.items), *extra))
        for operand in operands:
            self.need(operand)
        self._emitted.add(node)
        self.items.append(("compute", node))
        return node

    # What the hooks call.

    def store(self, view: np.ndarray, value: Any) -> None:
        """Write values to a strided vector of memory."""
        node = expanded(self, value, view.shape)
        if view.dtype.kind == "i" and node.value is not None and (node.value >= 2.0**53).any():
            raise TraceError("an address does not fit a register")
        if node.value is None and view.dtype.kind != "f":
            raise TraceError("an address or a count depends on a value known only when the step runs")
        self.need(node)
        address = view.__array_interface__["data"][0]
        store = Store(address, view.strides[0], view.size, view.dtype.str, node)
        self.views[address] = view
        self.items.append(("store", store))

    def fill(self, columns: Any, values: Sequence[Any]) -> None:
        """Write one value, or one for each row, to each column of constants."""
        for column, value in zip(columns, values, strict=True):
            self.store(column, value)

    def forgets(self, owner: Any) -> None:
        """Note that ``owner.forget()`` is to be called when the program has stored other constants."""
        if all(known is not owner for known in self.forgetting):
            self.forgetting.append(owner)

    def run(self, queue: Any) -> None:
        """Run a work queue."""
        self.kept.append(queue)
        self.items.append(("run", queue))

    def collect(self, sums: np.ndarray, starts: Sequence[int]) -> Traced:
        """Return the sums over chunks, of shape (sums, n_tensors)."""
        bounds = (*starts, len(sums))
        self.kept.append(sums)
        n, n_sums = len(starts), sums.shape[1]
        if n * n_sums == 0:
            return made(self, self.graph.constant(np.zeros(0)), (n_sums, n))
        address = sums.__array_interface__["data"][0]
        node = self._effect(Op.COLLECT, n * n_sums, (), address, bounds, n_sums)
        return made(self, node, (n_sums, n))

    def load(self, array: np.ndarray) -> Traced:
        """Return the present values of a contiguous array."""
        if array.size == 0:
            return made(self, self.graph.constant(np.zeros(0)), array.shape)
        flat = array.ravel("K")
        self.kept.append(flat)
        op = Op.LOAD4 if array.itemsize == 4 else Op.LOAD8
        node = self._effect(op, array.size, (), flat.__array_interface__["data"][0], array.itemsize)
        return made(self, node, array.shape)

    def copy(self, target: np.ndarray, source: np.ndarray) -> None:
        """Copy the memory of an array to one of the same size and memory order."""
        if target.dtype != source.dtype or target.shape != source.shape or target.strides != source.strides:
            raise ValueError("only arrays of one dtype, shape and memory order are copied")
        self.kept.append((target, source))
        addresses = [a.__array_interface__["data"][0] for a in (target, source)]
        self.items.append(("copy", *addresses, target.nbytes))

    def evaluate(self) -> Traced:
        """Evaluate loss and gradient of the same mini-batch at the present weights; return the loss."""
        return made(self, self._effect(Op.EVALUATE, 1), ())

    def feed(
        self,
        key: Any,
        producer: Callable[[int], Any],
        shape: tuple[int, ...] = (),
        *,
        is_counted: bool = False,
        clock: Cell | None = None,
    ) -> Traced:
        """Return numbers that depend on nothing but the count of steps made, such as schedules.

        Parameters
        ----------
        key : hashable
            Tells the numbers from others.
        producer : callable
            ``producer(n)`` gives an array of shape ``(n, *shape)``: the numbers of the next n steps, as seen
            when the program is loaded.
        shape : tuple of int
        is_counted : bool
            Whether the clock counts the present step already.
        clock : Cell, optional
            Another count that they go by.
        """
        clock = clock or self._clock
        if clock is None:
            raise TraceError("a schedule needs a count of steps, and this step has none")
        size = math.prod(shape)
        known = next((feed for feed in self.feeds if feed.key == key), None)
        if known is None:
            known = Feed(key, producer, self._n_columns)
            self.feeds.append(known)
            self._n_columns += size
        step = node_of(self, clock.get() - 1.0 if is_counted else clock.get())
        return made(self, self.graph.node(Op.FEED, size, (step, self._first(clock)), known.column), shape)

    def _first(self, clock):
        """Return the node of what a clock shows when the program is loaded."""
        for known, node in self.firsts:
            if known.owner is clock.owner and known.name == clock.name:
                return node
        node = self.graph.node(LEAF, 1, (), ("first", len(self.firsts)))
        self.firsts.append((clock, node))
        return node

    def call(self, function: Callable[..., Any], args: Sequence[Any], shape: tuple[int, ...] | None) -> Any:
        """Leave the program to call a Python function with these values; return its result of this shape."""
        nodes = [vector(self, a, a.shape) if isinstance(a, Traced) else None for a in args]
        operands = tuple(node for node in nodes if node is not None)
        n = 1 if shape is None else math.prod(shape)
        node = self._effect(Op.YIELD, n, operands, self._n_calls)
        places = [
            (value, None) if one is None else (value.shape, slice(one.register, one.register + one.n))
            for value, one in zip(args, nodes, strict=True)
        ]

        def called(registers):
            given = [
                value if place is None else registers[place].reshape(value)[()] for value, place in places
            ]
            result = function(*given)
            if shape is not None:
                registers[node.register : node.register + n] = np.ravel(result)

        self.calls.append(called)
        self.items[-1] = ("yield", node, len(self.calls) - 1)
        return None if shape is None else made(self, node, shape)


def record(
    function: Callable[..., Any],
    cells: Sequence[Cell],
    n_inputs: int = 0,
    clock: Cell | None = None,
    *,
    twice: bool = True,
    n_arrays: int | None = None,
) -> Program:
    """Record a function that makes a step as a program.

    Parameters
    ----------
    function : callable
        Takes ``n_inputs`` numbers, which come before each step to the first registers; what it returns is
        ignored. Free of side effects but for the cells and what the hooks note down.
    cells : sequence of Cell
        All state of numbers that a step changes, or reads without being constant.
    n_inputs : int
    clock : Cell, optional
        One of the cells: the count of steps.
    twice : bool
        Whether to record the first path twice, to notice what changes from call to call.
    n_arrays : int, optional
        As `Program` takes it.

    Returns
    -------
    Program

    Raises
    ------
    TraceError
        If the function needs a number that is known only when the step runs. The cells are as before.
    """
    before = [cell.get() for cell in cells]
    uniform = [is_uniform(value) for value in before]
    try:
        while True:
            recorder, paths = _explore(function, cells, before, uniform, n_inputs, clock, twice)
            split = {i for _, after in paths for i, node in enumerate(after) if uniform[i] and node.n > 1}
            if not split:
                return Program(recorder, [path for path, _ in paths], cells, uniform, clock, n_arrays)
            uniform = [one and i not in split for i, one in enumerate(uniform)]
    finally:
        for cell, value in zip(cells, before, strict=True):
            cell.set(value)


def _explore(function, cells, before, uniform, n_inputs, clock, twice):
    """Record all paths; return the recorder, and for each path its items and the cells' nodes after it."""
    recorder = Recorder(n_inputs, clock)
    waiting, paths = [()], []
    while waiting:
        forced = waiting.pop()
        if len(paths) == _PATHS:
            raise TraceError(f"a step has more than {_PATHS} paths through its branches")
        leaves = []
        for i, (cell, value) in enumerate(zip(cells, before, strict=True)):
            leaves.append(recorder.value(value, ("cell", i), uniform[i]).node)
            cell.set(made(recorder, leaves[-1], np.shape(value)))
        recorder.begin(forced)
        _call(function, recorder)
        after = [_node_after(recorder, cell, value) for cell, value in zip(cells, before, strict=True)]
        for node in after:
            recorder.need(node)
        recorder.items.append(("end", tuple(zip(leaves, after, strict=True))))
        paths.append((recorder.items, after))
        taken = recorder.decisions
        if twice and len(paths) == 1:
            waiting.append(())
        else:
            waiting += [(*taken[:k], not taken[k]) for k in range(len(forced), len(taken))]
    return recorder, paths


def _node_after(recorder, cell, value):
    after, shape = cell.get(), np.shape(value)
    return expanded(recorder, after, shape)


def _call(function, recorder):
    """Call the function that makes a step; whatever it raises becomes a TraceError with the place."""
    try:
        with recorded_by(recorder), np.errstate(all="ignore"):
            function(*recorder.inputs)
    except Exception as error:
        reason = error
        while reason is not None and not isinstance(
            reason, TraceError
        ):  # NumPy may have put its own around it
            reason = reason.__cause__ or reason.__context__
        raise TraceError(f"{_place(error)}: {reason if reason is not None else repr(error)}") from error


def _place(error):
    """Return the line of code that failed: the innermost one that is neither NumPy's nor of the tracer."""
    own = (__file__, sys.modules[Traced.__module__].__file__)
    trace, place = error.__traceback__, "a step"
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename not in own and "/numpy/" not in code.co_filename.replace("\\", "/"):
            place = f"{code.co_name} (line {trace.tb_lineno})"
        trace = trace.tb_next
    return place


__all__ = ["Cell", "Program", "Recorder", "TraceError", "Traced", "record"]
