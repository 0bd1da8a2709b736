"""Sweeps as compiled kernels: a function mapped over arrays, with sums of what it returns besides.

``void sweep(int64 operands, constants, outputs, per_chunk, width, lo, hi)`` takes addresses: of the arrays'
addresses, of the row of constants ``[grad_scale, l2, keep, *the sweep's own]`` and of the addresses of the
sums over chunks, rows and columns. It works on the elements ``lo`` to ``hi``, or on rows of ``width``
elements when the function tells rows from columns. Chunks are cut by shapes alone and their sums combined in
order, so the bits do not depend on the number of threads.
"""

import dataclasses
import functools

import numpy as np
from numba import types

from fastopt.kernels import elementwise_loops, recording, subnormals, templates, work_queue
from fastopt.kernels.binding import bind, compile_c, compile_scalar
from fastopt.kernels.intrinsics import pointer, tuple_at, vector

#: Elements whose terms are added up before they meet those of others.
CHUNK = 16_384

#: Rows of a chunk that has sums of its own along columns, if so many chunks are left.
_ROWS, _CHUNKS = 64, 16

_SIGNATURE = types.void(*[types.int64] * 7)


def _elementwise(sweep):
    """Return the source lines for element ``i``, except those that add up the terms."""
    own = {"w": "p", "g": "d", "i": "row * width + i" if sweep.is_matrix else "lo + i"}
    arguments = [own.get(name) or _at(sweep, name) for name in sweep.arguments]
    lines = []
    moves = "w" in sweep.writes
    if "w" in sweep.operands and "g" in sweep.operands:
        lines += ["p, d = prologue(a_w[i], a_g[i], head)"] + ["p = a_w[i]"] * (not moves)
    elif "g" in sweep.operands:
        lines += ["d = head[0] * a_g[i]"]
    elif "w" in sweep.operands:
        lines += ["p = head[2] * a_w[i]" if moves else "p = a_w[i]"]
    arguments += ["*k"] * bool(sweep.constants)
    results = [f"x_{name}" for name in sweep.writes] + _terms(sweep)
    lines += [f"{', '.join(results)} = rule({', '.join(arguments)})"]
    lines += [
        f"a_{name}[i] = x_{name}" if name == "w" else f"a_{name}[i] = flush(x_{name}, tiny)"
        for name in sweep.writes
    ]
    return lines


def _at(sweep, name):
    return f"b_{name}" if name in sweep.rows else f"a_{name}[i]"


def _terms(sweep):
    counts = {"s": sweep.sums, "r": sweep.row_sums, "c": sweep.column_sums}
    if sweep.transposed:  # the function still returns what belongs to its own rows first
        counts = {letter: counts[letter] for letter in "scr"}
    return [f"{letter}{k}" for letter, n in counts.items() for k in range(n)]


def _source(sweep):
    """Return the kernel's source: a loop over elements, or one over rows around it."""
    wide, names = sweep.is_matrix, sweep.operands
    head = [
        "def sweep(operands, constants, outputs, per_chunk, width, lo, hi):",
        f"at = vector(operands, int64, {len(names)})",
        "out = vector(outputs, int64, 3)",
        "head = tuple_at(pointer(constants, real), 0, 3)",
        *[f"k = tuple_at(pointer(constants, real), 3, {len(sweep.constants)})"] * bool(sweep.constants),
        "chunk = lo // per_chunk",
        *(f"t{k} = 0.0" for k in range(sweep.sums)),
    ]
    body = _elementwise(sweep) + [f"t{k} += s{k}" for k in range(sweep.sums)]
    tail = [f"total = vector(out[0], float64, (chunk + 1) * {sweep.sums})"] * bool(sweep.sums)
    tail += [f"total[chunk * {sweep.sums} + {k}] = t{k}" for k in range(sweep.sums)]
    if not wide:
        head += [f"a_{n} = vector(at[{q}], real, hi)[lo:]" for q, n in enumerate(names)]
        return _join(head, ["for i in range(hi - lo):", *_indent(body)], tail)
    for k in range(sweep.column_sums):
        where = f"out[2] + 8 * width * (chunk * {sweep.column_sums} + {k})"
        head += [f"c_{k} = vector({where}, float64, width)", f"c_{k}[:] = 0.0"]
        body += [f"c_{k}[i] += c{k}"]
    body += [f"r_{k} += r{k}" for k in range(sweep.row_sums)]
    row = []
    for q, n in enumerate(names):
        if n in sweep.rows:
            row += [f"b_{n} = vector(at[{q}], real, hi)[row]"]
        else:
            offset = "" if n in sweep.columns else " + row * width * itemsize"
            row += [f"a_{n} = vector(at[{q}]{offset}, real, width)"]
    row += [f"r_{k} = 0.0" for k in range(sweep.row_sums)]
    row += ["for i in range(width):", *_indent(body)]
    for k in range(sweep.row_sums):
        where = f"out[1] + 8 * (row * {sweep.row_sums} + {k})"
        row += [f"vector({where}, float64, 1)[0] = r_{k}"]
    return _join(head, ["for row in range(lo, hi):", *_indent(row)], tail)


def _indent(lines):
    return [f"    {line}" for line in lines]


def _join(head, loop, tail):
    return "\n".join([head[0], *_indent([*head[1:], *loop, *tail])])


def _positional(function):
    """Return a copy of a function whose keyword-only parameters have become positional."""
    code = function.__code__
    n_arguments = code.co_argcount + code.co_kwonlyargcount
    code = code.replace(co_argcount=n_arguments, co_kwonlyargcount=0)
    return type(function)(code, function.__globals__, function.__name__)


@functools.cache
def sweep_kernel(sweep, dtype):
    """Return the compiled kernel of ``sweep`` for arrays of ``dtype`` ('float32' or 'float64')."""
    scalar = np.dtype(dtype).type
    kernel = bind(
        templates.function(_source(sweep), "sweep"),
        sweep.function,
        f"_{dtype}_{'_'.join([*sweep.rows, 'by', *sweep.columns])}",
        rule=compile_scalar(_positional(sweep.function), scalar),
        prologue=compile_scalar(elementwise_loops.prologue, scalar),
        flush=compile_scalar(subnormals.flush, scalar),
        tiny=scalar(subnormals.TINY[dtype]),
        vector=vector,
        tuple_at=tuple_at,
        pointer=pointer,
        real=scalar,
        itemsize=np.dtype(dtype).itemsize,
        int64=np.int64,
        float64=np.float64,
        range=range,
    )
    # ``reassoc`` concerns the sums alone, which it lets vectorise: the functions are compiled without it.
    return compile_c(_SIGNATURE, kernel, fastmath={"reassoc"})


class SweepArguments:
    """The arguments of a sweep's kernel for a list of arrays: addresses, constants, and room for the sums.

    Parameters
    ----------
    sweep : Sweep
    dtypes : list of dtype
        Of each tensor.
    shapes : list of (int, int, bool)
        Rows and columns of each tensor as it lies in memory, and whether that is transposed (Fortran order).
    chunks : list of int
        Rows of a chunk of each tensor; elements for a sweep that does not tell rows from columns.

    Attributes
    ----------
    table : ndarray of shape (n_tensors, TABLE_COLUMNS)
        For each tensor the kernel and its first five arguments.
    operands : ndarray of shape (n_tensors, n_operands)
        Addresses of the arrays, to be filled in.
    """

    def __init__(self, sweep, dtypes, shapes, chunks):
        self.sweep, self._shapes = sweep, shapes
        n = len(dtypes)
        self._lying = {True: _transposed(sweep), False: sweep}
        self.operands = np.zeros((n, len(sweep.operands)), np.int64)
        width = 3 + len(sweep.constants)
        self._constants = {dtype: np.zeros((n, width), dtype) for dtype in {np.dtype(d) for d in dtypes}}
        self._kept, self._filled = [], None
        self._outputs, self.table = (
            np.zeros((n, 3), np.int64),
            np.zeros((n, work_queue.TABLE_COLUMNS), np.int64),
        )
        self._starts, n_chunks = [], 0
        for i, (dtype, (n_rows, n_columns, swapped), per_chunk) in enumerate(
            zip(dtypes, shapes, chunks, strict=True)
        ):
            length, columns = (n_rows, n_columns) if sweep.is_matrix else (n_rows * n_columns, 1)
            n_own = -(-length // per_chunk) if n_columns else 0
            kernel = sweep_kernel(self._lying[swapped and sweep.is_matrix], np.dtype(dtype).name)
            row = self._constants[np.dtype(dtype)][i : i + 1]
            self.table[i] = kernel.address, 0, row.ctypes.data, 0, per_chunk, columns
            self._starts.append(n_chunks)
            n_chunks += max(1, n_own)
            self._kept.append(self._side_outputs(n_own, length, columns, swapped))
        self._sums = np.zeros((n_chunks, sweep.sums))
        self._outputs[:, 0] = self._sums.ctypes.data + self._sums.itemsize * sweep.sums * np.array(
            self._starts
        )
        self.table[:, 1] = self.operands.ctypes.data + self.operands.strides[0] * np.arange(n)
        self.table[:, 3] = self._outputs.ctypes.data + self._outputs.strides[0] * np.arange(n)
        self._outputs[:, 1:] = [[a.ctypes.data for a in kept] for kept in self._kept]

    def _side_outputs(self, n_chunks, n_rows, n_columns, swapped):
        sweep = self._lying[swapped]
        return (
            np.zeros((n_rows if sweep.row_sums else 0, sweep.row_sums)),
            np.zeros((n_chunks if sweep.column_sums else 0, sweep.column_sums, n_columns)),
        )

    def fill(self, values):
        """Set the constants of the next run.

        Parameters
        ----------
        values : list of float, or of arrays of one element per tensor
            ``grad_scale``, ``l2``, ``keep`` and the sweep's own constants.
        """
        recorder = recording.current()
        if recorder is not None:
            for rows in self._constants.values():
                recorder.fill(rows.T, values)
            recorder.forgets(self)
            return
        if all(type(value) is float for value in values):
            if values == self._filled:
                return
            self._filled = values
        else:
            self._filled = None
        for rows in self._constants.values():
            for column, value in zip(rows.T, values, strict=True):
                column[:] = value

    def forget(self):
        """Store the constants of the next run even if they seem to be there already."""
        self._filled = None

    def collect(self):
        """Return the sums of the last run.

        Returns
        -------
        ndarray of shape (sums, n_tensors), or a tuple of it and two lists of ndarrays (row_sums, rows) and
        (column_sums, columns)
        """
        recorder = recording.current()
        if recorder is None:
            sums = np.add.reduceat(self._sums, self._starts, axis=0).T
        else:
            sums = recorder.collect(self._sums, self._starts)
        if not self.sweep.is_matrix:
            return sums
        kept = self._kept if recorder is None else [tuple(map(recorder.load, pair)) for pair in self._kept]
        rows = [row_sums.T for row_sums, _ in kept]
        columns = [column_sums.sum(axis=0) for _, column_sums in kept]
        pairs = [
            (c, r) if shape[2] else (r, c) for r, c, shape in zip(rows, columns, self._shapes, strict=True)
        ]
        return sums, [r for r, _ in pairs], [c for _, c in pairs]


class BoundSweep(SweepArguments):
    """One sweep over a list of arrays, ready to run again and again.

    Parameters
    ----------
    sweep, dtypes, shapes
        As in `SweepArguments`.
    n_threads : int
    """

    def __init__(self, sweep, dtypes, shapes, n_threads):
        lengths = [(r, c) if sweep.is_matrix else (r * c, 1) for r, c, _ in shapes]
        chunks = [rows_per_chunk(*length, sweep.column_sums) for length in lengths]
        super().__init__(sweep, dtypes, shapes, chunks)
        items = chunk_items(lengths, chunks)
        self._queue = work_queue.KernelQueue(self.table, items, n_threads)

    def run(self, head, constants):
        """Sweep once; return what `SweepArguments.collect` does.

        Parameters
        ----------
        head : sequence of three floats or arrays of one element per tensor
            ``grad_scale``, ``l2`` and ``keep``.
        constants : mapping
            The sweep's own, likewise.
        """
        self.fill([*head, *[constants[name] for name in self.sweep.constants]])
        self._queue.run()
        return self.collect()


def rows_per_chunk(n_rows, n_columns, has_column_sums):
    """Return the number of rows of a matrix in a chunk."""
    n = max(1, CHUNK // max(n_columns, 1))
    if has_column_sums:  # each chunk has a row of them to clear, to write and to add up
        n = max(n, min(_ROWS, n_rows // _CHUNKS))
    return n


def chunk_items(lengths, chunks):
    """Return the work items ``(i, lo, hi)`` of arrays of ``(rows, columns)``: one for each chunk."""
    items = [
        (i, lo, min(n_rows, lo + per_chunk))
        for i, ((n_rows, n_columns), per_chunk) in enumerate(zip(lengths, chunks, strict=True))
        for lo in range(0, n_rows if n_columns else 0, per_chunk)
    ]
    return np.array(items, np.int64).reshape(-1, 3)


@functools.cache
def _transposed(sweep):
    """Return the same sweep for arrays whose rows lie in memory as columns."""
    return dataclasses.replace(
        sweep,
        rows=sweep.columns,
        columns=sweep.rows,
        row_sums=sweep.column_sums,
        column_sums=sweep.row_sums,
        transposed=True,
    )
