"""Running kernels on all arrays of a step, serially or on threads that share a queue of tasks.

Everything here sees integers only (addresses and bounds), so it compiles once for all optimizers, dtypes and
numbers of parameters. A *routine* is a C function ``void routine(arguments, first, last, worker)`` that runs
the tasks ``first`` to ``last`` of what lies at the address ``arguments``; `worker` numbers the threads.

Of a step of update kernels the arguments are a table, whose row is ``[update kernel, w, g, s, stride, c]``
for each array, and a list of work items ``[row of the table, lo, hi]``; a task is a number of items in a row.
"""

import functools

import numpy as np
from numba import prange, types

from fastopt.kernels import code_cache, recording, threading_layer
from fastopt.kernels.binding import JIT_OPTIONS, bind, compile_c
from fastopt.kernels.intrinsics import call, fetch_add, vector
from fastopt.kernels.subnormals import call_flushing
from fastopt.rules.quantized_state import BLOCK

TABLE_COLUMNS = 6

#: Bytes read and written from which a step runs in parallel: for less, entering a region costs about what it
#: would save. Measured with ``bench/bench_step.py crossover``; 64,000 float32 parameters of Adam.
PARALLEL_BYTES = 1_800_000

#: Elements of a task, the fewest and the most: a thread that wakes late finds work left.
_TASK = 4096, 16_384

#: Tasks for each thread, between those bounds.
_TASKS = 4

#: Tasks end on multiples of this many elements: whole cache lines, and whole blocks of 8-bit state.
_EDGE = BLOCK

ROUTINE = types.void(*[types.int64] * 4)
PART_ROUTINE = types.void(*[types.int64] * 6)

#: Elements of a part of an array, the most: whole blocks of 8-bit state.
PART = 2 * BLOCK


def run_serially(routine, arguments, n_tasks):
    """Run all tasks in the calling thread."""
    call_flushing(routine, (arguments, 0, n_tasks, 0))


def run_in_parallel(routine, arguments, n_tasks, counter, n_threads):
    """Run all tasks on threads, each of which repeatedly takes the next one from the queue."""
    vector(counter, np.int64, 1)[0] = 0
    for worker in prange(n_threads):
        task = fetch_add(counter)
        while task < n_tasks:
            call_flushing(routine, (arguments, task, task + 1, worker))
            task = fetch_add(counter)


run_serially = bind(run_serially, run_serially, **globals())
run_serially = code_cache.jit(nogil=True, **JIT_OPTIONS)(run_serially)
run_in_parallel = bind(run_in_parallel, run_in_parallel, **globals())
run_in_parallel = code_cache.jit(nogil=True, parallel=True, **JIT_OPTIONS)(run_in_parallel)


class WorkQueue:
    """A queue of tasks for several threads, prepared once and run repeatedly.

    Parameters
    ----------
    routine : int
        Address of the routine that runs tasks.
    arguments : ndarray of int64
        What the routine reads.
    n_tasks : int
    n_threads : int
        The most threads that take tasks; 1 runs serially. Numba's own number, which may change between
        runs, holds too.
    kept : tuple
        What `arguments` points to, to be kept alive.

    Attributes
    ----------
    n_arrays, edge : int
        Where the work can also be done part by part, by the routine at `part`: how many arrays it is on, and
        what the places where parts begin are multiples of. `n_arrays` is 0 where it cannot.
    """

    n_arrays: int = 0
    edge: int = 1

    def __init__(self, routine: int, arguments: np.ndarray, n_tasks: int, n_threads: int, kept: tuple):
        self.n_threads = n_threads
        counter = np.zeros(1, np.int64)
        self._kept = arguments, counter, kept
        self._serial = routine, arguments.ctypes.data, n_tasks
        self._parallel = *self._serial, counter.ctypes.data, n_threads

    @property
    def tasks(self) -> tuple[int, int, int]:
        """The routine, the address of its arguments, and the number of tasks."""
        return self._serial

    @property
    def part(self) -> int:
        """Address of a C function of type `PART_ROUTINE` that does the work on a part of one array.

        ``void part(arguments, array, gradient, lo, hi, memory)``: on its elements ``lo`` to ``hi``, which
        have their gradient at the address ``gradient`` instead, counted from the array's first element.
        ``memory`` is room for `fused_chunks.PART_WORDS`, and a part has at most `PART` elements.
        """
        raise NotImplementedError

    def run(self) -> None:
        """Run all tasks, in one parallel region or none; note it down if the thread records its step."""
        if recording.recorders and (recorder := recording.current()) is not None:
            recorder.run(self)
        elif self.n_threads == 1 or threading_layer.is_stranded():
            run_serially(*self._serial)
        else:
            with threading_layer.region():
                run_in_parallel(*self._parallel)


def run_tasks(routine: int, arguments: int, n_tasks: int, n_threads: int) -> None:
    """Run all tasks of a queue that is known by its addresses only, on up to this many threads."""
    counter = np.zeros(1, np.int64)
    if n_threads == 1 or threading_layer.is_stranded():
        run_serially(routine, arguments, n_tasks)
    else:
        with threading_layer.region():
            run_in_parallel(routine, arguments, n_tasks, counter.ctypes.data, n_threads)


def kernel_calls(arguments, first, last, worker):
    """Call the kernels of the tasks ``first`` to ``last``; see the module."""
    given = vector(arguments, np.int64, 3)
    table = vector(given[0], np.int64, 1 << 40)
    items = vector(given[1], np.int64, 1 << 40)
    bounds = vector(given[2], np.int64, 1 << 40)
    for k in range(bounds[first], bounds[last]):
        at = items[3 * k] * TABLE_COLUMNS
        kernel_arguments = (table[at + 1], table[at + 2], table[at + 3], table[at + 4], table[at + 5])
        call(table[at], (*kernel_arguments, items[3 * k + 1], items[3 * k + 2]))


@functools.cache
def _kernel_calls():
    return compile_c(ROUTINE, bind(kernel_calls, kernel_calls, **globals()))


def kernel_on_part(arguments, array, gradient, lo, hi, memory):
    """Call the kernel of one array on a part of it; see `WorkQueue.part`."""
    table = vector(vector(arguments, np.int64, 1)[0], np.int64, 1 << 40)
    at = array * TABLE_COLUMNS
    call(table[at], (table[at + 1], gradient, table[at + 3], table[at + 4], table[at + 5], lo, hi))


@functools.cache
def _kernel_on_part():
    return compile_c(PART_ROUTINE, bind(kernel_on_part, kernel_on_part, **globals()))


class KernelQueue(WorkQueue):
    """A work queue of kernel calls on parts of arrays, valid until the arrays change.

    Parameters
    ----------
    table : ndarray of int64, shape (n_arrays, TABLE_COLUMNS)
        For each array the kernel and its first five arguments; read at every run, so it may change between
        runs.
    items : ndarray of int64, shape (n_items, 3)
        ``[row of the table, lo, hi]``: the calls.
    n_threads : int
        As in `WorkQueue`.
    bounds : ndarray of int64, optional
        Task ``j`` is the items ``bounds[j]`` to ``bounds[j + 1]``; by default each item is one.
    """

    def __init__(
        self, table: np.ndarray, items: np.ndarray, n_threads: int, bounds: np.ndarray | None = None
    ):
        bounds = np.arange(len(items) + 1) if bounds is None else bounds
        kept = table, items, bounds
        arguments = np.array([a.ctypes.data for a in kept], np.int64)
        super().__init__(_kernel_calls().address, arguments, len(bounds) - 1, n_threads, kept)

    @property
    def part(self) -> int:
        """Address of what calls one array's kernel on a part of it."""
        return _kernel_on_part().address

    @classmethod
    def over(cls, table: np.ndarray, sizes: list[int], n_threads: int, edge: int = 1) -> "KernelQueue":
        """Return the calls over all elements of arrays of these sizes; 0 leaves an array out.

        ``edge`` is what its calls may begin at multiples of.
        """
        total = sum(sizes)
        task = min(max(total // (_TASKS * n_threads), _TASK[0]), _TASK[1])
        items, bounds = split(sizes, 1 if n_threads == 1 else max(1, total // task))
        queue = cls(table, items, n_threads, bounds)
        queue.n_arrays, queue.edge = len(sizes) if all(sizes) else 0, edge
        return queue


def split(sizes, n_tasks):
    """Split concatenated arrays into equal tasks; return the work items, and which of them each task has."""
    total = sum(sizes)
    targets = [round(total * (j + 1) / n_tasks) for j in range(n_tasks)]
    items, bounds, start, task = [], [0], 0, 0
    for row, size in enumerate(sizes):
        lo = 0
        while lo < size:
            wanted = targets[task] - start
            hi = size if task == n_tasks - 1 else min(size, -(-wanted // _EDGE) * _EDGE)
            if hi > lo:
                items.append((row, lo, hi))
                lo = hi
            if lo >= wanted and task < n_tasks - 1:
                bounds.append(len(items))
                task += 1
        start += size
    bounds += [len(items)] * (n_tasks + 1 - len(bounds))
    return np.array(items, np.int64).reshape(-1, 3), np.array(bounds, np.int64)
