"""Recorded steps as tables of instructions, and what the host does before and after they run."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastopt.kernels import tape, work_queue
from fastopt.kernels.tape import Op
from fastopt.stepping.traced_values import LEAF, Node, TraceError

_WIDTH, _END = tape.COLUMNS, int(Op.END)


class Program:
    """A recorded step, ready to run again and again; made by `fastopt.stepping.tracing.record`.

    Parameters
    ----------
    recorder : Recorder
    paths : list of list
        What each path through the branches does.
    cells : sequence of Cell
    uniform : list of bool
        Of which cells all elements share one register.
    clock : Cell or None
    n_arrays : int, optional
        Of how many arrays the inputs' first, the loss, comes with the gradient: steps may then be made by
        parts (`edge_of_parts`).

    Attributes
    ----------
    header : ndarray of int64
        What `fastopt.kernels.tape` reads; its first element is the instruction to begin with, 0.
    registers : ndarray of float64
        The inputs come first.
    calls : list of callable
        What a YIELD calls by its number; without arguments.
    edge : int
        As `edge_of_parts` returned it: where it is not 0, the first kernel of a path is one of
        `Op.RUN_BY_PARTS`.
    """

    def __init__(
        self,
        recorder: Any,
        paths: list[list[Any]],
        cells: Sequence[Any],
        uniform: list[bool],
        clock: Any,
        n_arrays: int | None = None,
    ):
        self._cells, self._uniform = list(cells), uniform
        self._kept, self._ahead = [recorder.kept], None
        self._firsts = [(clock, node.register) for clock, node in recorder.firsts]
        self._leaves = {node.extra: node for node in recorder.graph if node.op is LEAF}
        self.registers: npt.NDArray[np.float64] = np.zeros(recorder.graph.n_registers + _temporaries(paths))
        for node in recorder.graph:
            if node.value is not None:
                self.registers[node.register : node.register + node.n] = node.value
        self._feeds, self._forgetting = recorder.feeds, recorder.forgetting
        self.calls: list[Callable[[], None]] = [self._bound(function) for function in recorder.calls]
        self._preset, varying = _split_stores(paths, recorder.views)
        self._pointers: list[tuple[npt.NDArray[Any], Any, Any]] = []
        self.edge: int = 0 if n_arrays is None else edge_of_parts(paths, recorder.inputs[0].node, n_arrays)
        assembler = _Assembler(paths, varying, recorder.graph.n_registers, self.edge > 0)
        self.code: npt.NDArray[np.int64] = np.array(assembler.rows, np.int64).reshape(-1, _WIDTH)
        self._kept.append(assembler.kept)
        self._stored_addresses = assembler.addresses
        self.header: npt.NDArray[np.int64] = np.zeros(tape.HEADER, np.int64)
        self.header[tape.CODE] = self.code.ctypes.data
        self.header[tape.REGISTERS] = self.registers.ctypes.data
        self._header_at = self.header.ctypes.data

    def _bound(self, function):
        registers = self.registers
        return lambda: function(registers)

    def fits(self) -> bool:
        """Tell whether the cells are as they were recorded: equal elements are to be equal still."""
        return all(
            not uniform or is_uniform(cell.get())
            for cell, uniform in zip(self._cells, self._uniform, strict=True)
        )

    def load(self, n_steps: int) -> None:
        """Prepare to run: read the cells, and compute what schedules give in up to ``n_steps`` steps.

        Raises
        ------
        TraceError
            If the program does not fit the cells' present values (`fits`).
        """
        if not self.fits():
            raise TraceError("arrays that had equal numbers when the step was recorded have them no longer")
        self._outputs = []
        for i, cell in enumerate(self._cells):
            node, value = self._leaves["cell", i], cell.get()
            first, stop = node.register, node.register + node.n
            self.registers[first:stop] = np.ravel(value)[: node.n]
            self._outputs.append((cell, type(value), first, stop))
        for clock, register in self._firsts:
            self.registers[register] = clock.get()
        if self._feeds:
            columns = [np.reshape(feed.producer(n_steps), (n_steps, -1)) for feed in self._feeds]
            self._ahead = matrix = np.ascontiguousarray(np.concatenate(columns, axis=1), np.float64)
            self.header[tape.FEEDS], self.header[tape.FEED_COLUMNS] = matrix.ctypes.data, matrix.shape[1]
        for view, values in self._preset:
            view[...] = values
        self._redirect()
        for owner in self._forgetting:
            owner.forget()
        self.header[tape.PC] = 0

    def save(self) -> list[Any]:
        """Write the cells back, as they are after the last complete step.

        Returns
        -------
        list
            The numbers written to those that hold no array.
        """
        registers, written = self.registers, []
        for cell, kind, first, stop in self._outputs:
            if kind is np.ndarray:
                cell.get()[...] = registers[first:stop]
            else:
                written.append(kind(registers[first]))
                cell.set(written[-1])
        return written

    def load_again(self, n_steps: int) -> None:
        """As `load`, in the course of a step, which goes on with what it has computed already."""
        at = self.header[tape.PC]
        self.save()
        self.load(n_steps)
        self.header[tape.PC] = at

    def present(self, i: int) -> float:
        """Return the value that cell ``i``, a number, has in the program."""
        return self.registers[self._leaves["cell", i].register]

    def address(self, i: int) -> int:
        """Return the address of that value."""
        return self.registers.ctypes.data + self.registers.itemsize * self._leaves["cell", i].register

    def find(self, addresses: npt.NDArray[np.int64]) -> None:
        """Find where the program stores these addresses, all different; `redirect` may then replace them."""
        number, self._addresses = {a: k for k, a in enumerate(addresses.tolist())}, addresses
        places = [(view, values) for view, values in self._preset if view.dtype.kind == "i"]
        for place, values in [*places, *((place, place) for place in self._stored_addresses)]:
            found = [(i, number[int(a)]) for i, a in enumerate(values) if int(a) in number]
            if found:
                at, of = np.array(found).T
                self._pointers.append((place, at, of))

    def redirect(self, addresses: npt.NDArray[np.int64]) -> None:
        """Let the program read at these addresses what lay at those that `find` was given."""
        self._addresses = addresses
        self._redirect()

    def _redirect(self):
        for place, at, of in self._pointers:
            place[at] = self._addresses[of]

    def run(
        self,
        *inputs: float,
        evaluate: Callable[[], float] | None = None,
        call: Callable[[], None] | None = None,
    ) -> None:
        """Run one step from Python: the reference for loops that do the same compiled.

        Parameters
        ----------
        *inputs : float
        evaluate : callable, optional
            Writes the gradient at the present weights and returns their loss.
        call : callable, optional
            Makes the call of Python that the program has stopped for; by default that of `calls`.
        """
        header, registers, advance = self.header, self.registers, tape.advance_address()
        registers[: len(inputs)] = inputs
        header[tape.PC] = 0
        while True:
            tape.call_advance(advance, self._header_at)
            kind, *operands = header[tape.KIND : tape.A3 + 1].tolist()
            if kind == _END:
                return
            if kind in (Op.RUN, Op.RUN_BY_PARTS):
                work_queue.run_tasks(*operands)
            elif kind == Op.YIELD:
                (call or self.calls[operands[0]])()
            else:
                registers[operands[0]] = evaluate()


def is_uniform(value: Any) -> bool:
    """Tell whether the elements of an array are all equal, to the bit, and so may share a register."""
    if isinstance(value, (int, float)):  # quick, as nearly all cells hold one
        return True
    flat = np.ravel(np.asarray(value, np.float64)).view(np.int64)
    return flat.size > 0 and bool((flat == flat[0]).all())


def _temporaries(paths):
    """Return the number of registers needed while cells swap their values."""
    return max(sum(node.n for _, node in path[-1][1]) for path in paths)


def _split_stores(paths, views):
    """Split stores into those of values that never change, and the others' addresses."""
    values: dict[int, set[Node]] = {}
    for path in paths:
        for kind, *rest in path:
            if kind == "store":
                values.setdefault(rest[0].address, set()).add(rest[0].node)
    varying = {a for a, nodes in values.items() if len(nodes) > 1 or any(n.value is None for n in nodes)}
    preset = [(views[a], next(iter(nodes)).value) for a, nodes in values.items() if a not in varying]
    return preset, varying


#: Operations that read memory, and those for which the program must be left.
_READING, _LEAVING = (Op.COLLECT, Op.LOAD4, Op.LOAD8), (Op.EVALUATE, Op.YIELD)


def edge_of_parts(paths: list[list[Any]], loss: Node, n_arrays: int) -> int:
    """Return what parts of the arrays must begin at multiples of, or 0 if steps cannot be made by parts.

    They can where the first kernel of each path treats elements apart, on all arrays, and everything before
    it is known before the gradient: then each part may be updated as soon as its own gradient is known, which
    need not be kept.

    Parameters
    ----------
    paths : list of list
        As `Program` takes them.
    loss : Node
        The input that is known only when the whole gradient is.
    n_arrays : int
        Number of arrays of the gradient.
    """
    edge = 1
    for path in paths:
        first, gradients, places, stored = None, set(), set(), set()
        for kind, *rest in path:
            if loss in _read((kind, *rest)) or kind in ("yield", "copy"):
                return 0
            if kind == "compute" and (rest[0].op in _LEAVING or (first is None and rest[0].op in _READING)):
                return 0
            if kind == "store" and rest[0].dtype[1:] == "i8":
                stored.add(rest[0].address)
                addresses = set(rest[0].node.value)
                if first is None:
                    gradients |= addresses
                elif gradients & addresses:
                    return 0  # to be read once more, as by two steps with one gradient
            if kind == "run" and first is None:
                first, places, stored = rest[0], stored, set()
                if first.n_arrays != n_arrays:
                    return 0
                edge = max(edge, first.edge)
            elif kind == "run" and not (places and places <= stored):
                return 0  # it may read the gradient
    return edge


class _Assembler:
    """Turns paths, which share their beginnings, into one table."""

    def __init__(self, paths, varying, n_registers, is_in_parts):
        self._varying, self._temporary = varying, n_registers
        self._is_in_parts = is_in_parts
        self.rows: list[list[int]] = []
        self.kept: list[np.ndarray] = []
        self.addresses: list[np.ndarray] = []  # those of them that hold one
        self._used = {o for path in paths for item in path for o in _read(item)}
        self._tree(paths, 0)

    def _tree(self, paths, at, has_run=False):
        """Append the rows of paths that are the same before item ``at``, a kernel among it or not."""
        while True:
            first = paths[0][at]
            at += 1
            if any(path[at - 1][:2] != first[:2] for path in paths):
                raise TraceError("a step did something else when it was recorded again")
            if first[0] == "branch":
                break
            is_part = first[0] == "run" and self._is_in_parts and not has_run
            has_run = has_run or first[0] == "run"
            self._run_by_parts(first[1]) if is_part else self._item(*first)
            if first[0] == "end":
                return
        self._row(Op.JUMP_UNLESS, 0, 0, first[1].register)
        jump = self.rows[-1]
        self._tree([path for path in paths if path[at - 1][2]], at, has_run)
        jump[tape.OUT] = len(self.rows)
        self._tree([path for path in paths if not path[at - 1][2]], at, has_run)

    def _row(self, op, n, out=0, a=0, b=0, c=0, strides=0):
        self.rows.append([int(op), n, out, a, b, c, strides, 0])

    def _keep(self, values):
        array = np.array(values, np.int64)
        self.kept.append(array)
        return array.ctypes.data

    def _item(self, kind, *rest):
        getattr(self, f"_{kind}")(*rest)

    def _compute(self, node):
        getattr(self, f"_{node.op.name.lower()}" if isinstance(node.op, Op) else f"_{node.op}", self._plain)(
            node
        )

    def _plain(self, node):
        """Append an operation element by element."""
        strides = sum((one.n > 1) << k for k, one in enumerate(node.operands))
        self._row(node.op, node.n, node.register, *_padded(node.operands), strides)

    def _gather(self, node):
        self._row(node.op, node.n, node.register, node.operands[0].register, self._keep(node.extra))

    def _sum(self, node):
        length, inner = node.extra
        self._row(node.op, node.n, node.register, node.operands[0].register, length, inner)

    _largest = _smallest = _sum

    def _join(self, node):
        out = node.register
        for operand, n in zip(node.operands, node.extra, strict=True):
            self._row(Op.MOVE, n, out, operand.register, strides=int(operand.n > 1))
            out += n

    def _feed(self, node):
        step, first = node.operands
        self._row(Op.FEED, node.n, node.register, step.register, first.register, node.extra)

    def _collect(self, node):
        _, address, bounds, n_sums = node.extra
        if node in self._used:
            n = len(bounds) - 1
            self._row(Op.COLLECT, n, node.register, address, n_sums, self._keep(bounds))

    def _load4(self, node):
        if node in self._used:
            _, address, step = node.extra
            self._row(node.op, node.n, node.register, address, step)

    _load8 = _load4

    def _evaluate(self, node):
        self._row(Op.EVALUATE, 1, node.register)

    def _yield(self, node, number):
        self._row(Op.YIELD, 0, number)

    def _store(self, store):
        if store.address in self._varying:
            if store.dtype[1:] == "i8":  # an address, which registers do not hold
                for i, value in enumerate(np.broadcast_to(store.node.value, store.n)):
                    self._copy(store.address + i * store.stride, self._keep([int(value)]), 8)
                    self.addresses.append(self.kept[-1])
                return
            op = Op.STORE4 if store.dtype[1:] == "f4" else Op.STORE8
            is_vector = int(store.node.n > 1)
            self._row(op, store.n, store.address, store.node.register, store.stride, strides=is_vector)

    def _run(self, queue):
        op = Op.RUN_ALONE if queue.n_threads == 1 else Op.RUN
        self._row(op, 0, *queue.tasks, queue.n_threads)

    def _run_by_parts(self, queue):
        self._row(Op.RUN_BY_PARTS, queue.part, *queue.tasks, queue.n_threads)

    def _copy(self, target, source, n_bytes):
        self._row(Op.COPY, n_bytes, target, source)

    def _end(self, cells):
        moves = [(leaf, node) for leaf, node in cells if leaf is not node]
        read = {one for _, node in moves for one in (node, *node.operands)}
        at, late = self._temporary, []
        for leaf, node in moves:  # what another cell reads is moved last
            source = node.register
            if node in read and node.op in (LEAF, "part"):
                self._row(Op.MOVE, node.n, at, source, strides=int(node.n > 1))
                source, at = at, at + node.n
            late.append((leaf, node, source))
        for leaf, node, source in late:
            self._row(Op.MOVE, leaf.n, leaf.register, source, strides=int(node.n > 1))
        self._row(Op.END, 0)


def _read(item):
    """Yield the nodes that an item reads, and those of which they are parts."""
    kind, *rest = item
    nodes = []
    if kind in ("compute", "yield"):
        nodes = rest[0].operands
    elif kind == "store":
        nodes = (rest[0].node,)
    elif kind == "branch":
        nodes = (rest[0],)
    elif kind == "end":
        nodes = tuple(node for _, node in rest[0])
    for node in nodes:
        yield node
        yield from (node.operands if node.op == "part" else ())


def _padded(operands):
    return [*(node.register for node in operands), 0, 0, 0][:3]
