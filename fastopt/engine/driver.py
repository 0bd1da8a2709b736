"""The compiled loop over batches, and how its two passes are spread over threads."""

import functools
from collections import namedtuple

import numpy as np
from numba import cfunc, njit, prange, types

from fastopt.engine import passes
from fastopt.engine.context import PREDICT, TRAIN, vector
from fastopt.engine.functions import ENGINE_JIT
from fastopt.kernels import foreign, threads
from fastopt.kernels.binding import bind, digest
from fastopt.kernels.foreign import call_task

_DIGEST = digest(__file__) + digest(foreign.__file__)
_TASK = types.void(types.int64, types.int64)


def _spread(task, context, n_workers):
    for worker in prange(n_workers):
        call_task(task, context, worker)


def _run(task, context, n_workers):
    """Run a task with that many workers; one worker enters no parallel region."""
    if n_workers == 1:
        call_task(task, context, 0)
    else:
        spread(task, context, n_workers)  # noqa: F821


def _batch_weight(c, real):
    """Return the sum of the sample weights of the current batch: its row count where there are none."""
    if not c.has_weight:
        return float(c.n_rows)
    total = 0.0
    for i in range(c.start, c.start + c.n_rows):
        row = vector(c.order, np.int64, i + 1)[i] if c.has_order else i
        total += vector(c.sample_weight + row * c.itemsize, real, 1)[0]
    return total


def _batches(context, constants, alpha, first, last, batch_size, n_samples, n_workers, rows_task, tiles_task):
    """Run the batches ``first:last`` of one pass over the rows and return the sum of their losses.

    Parameters
    ----------
    context : record array of length 1
    constants : ndarray (last - first, 3 + k)
        The update's constants, a row a batch; grad_scale and l2 are completed here by the batch's weight.
    alpha : float
        Coupled L2 penalty of scikit-learn's kind: divided by the weight of the batch.

    Returns
    -------
    loss, weight : float
        Sum over batches of loss times rows, and the sum of the batches' weights.
    """
    c = context[0]
    address = context.ctypes.data
    width = constants.shape[1]
    weight_row = vector(c.weight_constants, real, width)  # noqa: F821
    bias_row = vector(c.bias_constants, real, width)  # noqa: F821
    counters = vector(c.counters, np.int64, 2)
    block_losses = vector(c.block_losses, np.float64, (c.capacity + c.block_rows - 1) // c.block_rows)
    squares = vector(c.tile_squares, np.float64, c.n_tiles)
    loss = weight = 0.0
    for batch in range(first, last):
        c.start = batch * batch_size
        c.n_rows = min(batch_size, n_samples - c.start)
        c.n_blocks = (c.n_rows + c.block_rows - 1) // c.block_rows
        batch_weight = batch_weight_of(c, real)  # noqa: F821
        weight += batch_weight
        if batch_weight == 0 and c.mode == TRAIN:
            continue  # no row counts: nothing to learn from
        counters[0] = counters[1] = 0
        run(rows_task, address, n_workers)  # noqa: F821
        if c.mode == PREDICT:
            continue
        if c.mode == TRAIN:
            for i in range(width):
                weight_row[i] = bias_row[i] = constants[batch - first, i]
            weight_row[0] /= batch_weight
            weight_row[1] += alpha / batch_weight
            bias_row[0] /= batch_weight
            bias_row[1] = 0  # decay spares biases
            bias_row[2] = 1
        run(tiles_task, address, n_workers)  # noqa: F821
        total = 0.0
        for block in range(c.n_blocks):
            total += block_losses[block]
        if c.mode == TRAIN:
            for tile in range(c.n_tiles):
                total += 0.5 * alpha * squares[tile]
            loss += total / batch_weight * c.n_rows
        else:
            loss += total
    return loss, weight


#: ``tasks`` keeps the machine code behind the two addresses alive.
Program = namedtuple("Program", "rows_task tiles_task batches tasks")


def _bind(template, suffix="", **names):
    return bind(template, template, suffix, digest=_DIGEST, **names)


@functools.cache
def _parallel():
    """Compile the one parallel region that every pass of every dtype shares."""
    # Not cached itself: a caller compiled while this came from the disk would be stored with an unresolved
    # symbol, and the next process that loads the caller would jump to address 0.
    spread = njit(parallel=True, nogil=True, **ENGINE_JIT)(_bind(_spread, call_task=call_task, prange=prange))
    return njit(nogil=True, **ENGINE_JIT)(_bind(_run, call_task=call_task, spread=spread))


@functools.cache
def program(dtype):
    """Return the engine compiled for ``'float32'`` or ``'float64'``: one for every network and optimizer."""
    threads.prepare()  # loading a cached parallel function would start whichever layer Numba finds
    real = np.dtype(dtype).type
    tasks = [
        cfunc(_TASK, cache=True, **ENGINE_JIT)(_bind(task, f"_{dtype}", **vars(passes) | {"real": real}))
        for task in (passes.rows_task, passes.tiles_task)
    ]
    batch_weight = njit(nogil=True, **ENGINE_JIT)(_bind(_batch_weight, vector=vector, np=np))
    names = {"run": _parallel(), "batch_weight_of": batch_weight, "real": real, "vector": vector, "np": np}
    names |= {"TRAIN": TRAIN, "PREDICT": PREDICT}
    batches = njit(nogil=True, cache=True, **ENGINE_JIT)(_bind(_batches, f"_{dtype}", **names))
    return Program(tasks[0].address, tasks[1].address, batches, tasks)
