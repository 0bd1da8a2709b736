"""An optimizer's program in the loop over batches: its kernels run as tasks that all workers share.

A program (`fastopt.kernels.tape`) computes a step's few numbers itself and stops wherever it needs the
engine: to run a kernel over arrays, to evaluate loss and gradient once more, or to call Python. To the tiles
of the weights `mean_gradient` stands in place of an update, or `update_part` where all that comes before the
first kernel is known before the gradient: that kernel then runs on each tile while it is in cache, and the
gradient never reaches memory. These routines are compiled with the first program: most optimizers need none.
"""

import functools

import numpy as np
from numba import njit, types

from fastopt.engine.cpu import work_sharing
from fastopt.engine.cpu.context import BEGUN, END, EVALUATE, IN_PARTS, RUN, RUN_BY_PARTS, record
from fastopt.engine.cpu.vector_math import ENGINE_JIT, INNER_JIT
from fastopt.engine.cpu.work_sharing import NEXT_TASK, OVER, STOP, TASKS_DONE, line, relax
from fastopt.kernels import tape
from fastopt.kernels.binding import bind, compile_c, digest
from fastopt.kernels.fused_chunks import PART_WORDS
from fastopt.kernels.intrinsics import call, fetch_add, load_shared, scratch, store_shared, vector
from fastopt.kernels.tape import A0, A1, A2, A3, HEADER, KIND, NUMBER, PC, REGISTERS
from fastopt.kernels.work_queue import PART

#: Registers by which the engine tells a program of the batch: its mean loss, penalty included, its weight,
#: and whether it ends an epoch. ``penalty`` is the address of the one that says whether it includes it.
LOSS, BATCH_WEIGHT, ENDS_EPOCH = range(3)
#: From the end of one list of tasks to the number of the next one's first: more than workers take in vain, so
#: that a number tells of which list it is.
_GAP = 1 << 20


@njit(**INNER_JIT)
def _start(c):
    """Execute a program from its start to where it first stops."""
    header = vector(c.program, np.int64, HEADER)
    header[PC] = 0
    registers, result = vector(header[REGISTERS], np.float64, 3), vector(c.result, np.float64, 3)
    registers[LOSS], registers[BATCH_WEIGHT] = result[2], vector(c.batch_weight, np.float64, 1)[0]
    registers[ENDS_EPOCH] = c.start + c.n_rows == c.n_samples
    call(c.advance, (c.program,))


def begin_program(context):
    """Execute a program to the kernel that is to run part by part; the batch is then run to its end."""
    c = record(context)
    if not load_shared(line(c, STOP)):  # else some rows may be missing
        c.stop_at, c.in_parts = line(c, OVER), BEGUN
        _start(c)


def follow(context, worker):
    """Execute a program from its start, or where it last stopped, until it ends or needs gradient or Python.

    ``stopped_at`` of the context says why it stopped, before and after.
    """
    c = record(context)
    header = vector(c.program, np.int64, HEADER)
    if c.in_parts:
        c.in_parts = IN_PARTS
        if header[KIND] == RUN_BY_PARTS:  # which the tiles have done
            call(c.advance, (c.program,))
    elif c.stopped_at == END:
        _start(c)
    else:
        if c.stopped_at == EVALUATE:
            result = vector(c.result, np.float64, 3)
            vector(header[REGISTERS] + 8 * header[A0], np.float64, 1)[0] = result[2]
        call(c.advance, (c.program,))
    while header[KIND] == RUN or header[KIND] == RUN_BY_PARTS:
        _run(context, c, worker, header[A0], header[A1], header[A2], header[A3])
        call(c.advance, (c.program,))
    c.stopped_at = header[KIND]


@njit(**INNER_JIT)
def _run(context, c, worker, routine, arguments, n_tasks, n_workers):
    """Run the tasks of a kernel, by one worker or by several."""
    if c.alone or n_workers == 1 or n_tasks == 1:
        call(routine, (arguments, 0, n_tasks, 0))
        return
    c.task_routine, c.task_arguments, c.task_workers = routine, arguments, n_workers
    c.first_task = c.last_task + _GAP
    c.last_task = c.first_task + n_tasks
    store_shared(line(c, TASKS_DONE), 0)
    store_shared(line(c, NEXT_TASK), c.first_task)
    call(c.share_tasks, (context, worker))
    idle = 0
    while load_shared(line(c, TASKS_DONE)) < n_tasks:
        idle = relax(c, idle)


def share_tasks(context, worker):
    """Run tasks of the program's present kernel until none is left, as one worker of several."""
    c = record(context)
    # Kernels have buffers for so many workers, of which the leader must be one.
    number = 0 if worker == c.leader else (c.leader if worker == 0 else worker)
    while load_shared(line(c, NEXT_TASK)) < c.last_task and number < c.task_workers:
        at = fetch_add(line(c, NEXT_TASK))
        if at < c.first_task or at >= c.last_task:
            break
        task = at - c.first_task
        call(c.task_routine, (c.task_arguments, task, task + 1, number))
        fetch_add(line(c, TASKS_DONE))


def set_mean_constants(context, batch):
    """Set the constants of `mean_gradient` for a batch."""
    c = record(context)
    weights, biases = vector(c.weight_constants, real, 2), vector(c.bias_constants, real, 2)
    c.penalized = vector(c.penalty, np.float64, 1)[0] != 0 and vector(c.alpha, np.float64, 1)[0] > 0
    weights[0] = biases[0] = vector(c.batch_weight, np.float64, 1)[0]
    weights[1], biases[1] = vector(c.alpha, np.float64, 1)[0] if c.penalized else 0.0, 0.0


# Flags that a function does not set itself are its caller's: without them product and sum round twice, as in
# `objective.penalize`, which is NumPy.
@njit(**INNER_JIT | {"fastmath": False})
def _penalized(gradient, weight, alpha):
    """Add the penalty's gradient."""
    return gradient + alpha * weight


def mean_gradient(params, gradient, out, stride, constants, lo, hi):
    """Write a tile's mean gradient, penalty included, to the whole gradient ``out``; called as an update."""
    weight, alpha = vector(constants, real, 2)
    w, g, out = vector(params, real, hi)[lo:], vector(gradient, real, hi)[lo:], vector(out, real, hi)[lo:]
    for i in range(hi - lo):
        out[i] = _penalized(g[i], w[i], alpha) / weight


def update_part(params, gradient, parts, n_arrays, constants, lo, hi):
    """Run a program's present kernel, if it is at one, on a tile's mean gradient; called as an update.

    At ``parts`` stand the address of the program's header and where each array begins.
    """
    header = vector(vector(parts, np.int64, 1)[0], np.int64, HEADER)
    firsts = vector(parts + 8, np.int64, n_arrays)
    if header[KIND] != RUN_BY_PARTS:
        return
    array = n_arrays - 1
    while firsts[array] > lo:
        array -= 1
    weight, alpha = vector(constants, real, 2)
    mean, memory = scratch(real, PART), scratch(np.int64, PART_WORDS)
    for first in range(lo, hi, PART):
        n, at, skip = min(PART, hi - first), first - firsts[array], first * mean.itemsize
        w, g = vector(params + skip, real, n), vector(gradient + skip, real, n)
        for i in range(n):
            mean[i] = _penalized(g[i], w[i], alpha) / weight
        mean_at = mean.ctypes.data - at * mean.itemsize
        call(header[NUMBER], (header[A1], array, mean_at, at, at + n, memory.ctypes.data))


@functools.cache
def _compile(template, dtype):
    """Compile a routine, for an element type where it knows one."""
    names = {name: value for name, value in globals().items() if name != "digest"}
    folders = "".join(digest(module.__file__) for module in (tape, work_sharing))
    bound = bind(template, template, f"_{dtype}", folders, **names, real=np.dtype(dtype).type)
    n_arguments = template.__code__.co_argcount
    return compile_c(types.void(*[types.int64] * n_arguments), bound, **ENGINE_JIT)


def routine_addresses(dtype: str, in_parts: bool) -> dict[str, int]:
    """Return the addresses of the routines of a run with a program, by their names in the context.

    Parameters
    ----------
    dtype : {'float32', 'float64'}
    in_parts : bool
        Whether its first kernel runs tile by tile.
    """
    addresses = {
        "follow": _compile(follow, None).address,
        "share_tasks": _compile(share_tasks, None).address,
        "set_constants": _compile(set_mean_constants, dtype).address,
        "update": _compile(update_part if in_parts else mean_gradient, dtype).address,
        "advance": tape.advance_address(),
    }
    if in_parts:
        addresses["begin_program"] = _compile(begin_program, None).address
    return addresses
