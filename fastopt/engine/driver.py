"""The compiled loop over batches, and how its two passes are spread over threads."""

import functools
from collections import namedtuple

import numpy as np
from numba import cfunc, from_dtype, njit, prange, types

from fastopt.engine import passes
from fastopt.engine.compiling import announced
from fastopt.engine.context import CONTEXT_TYPE, COUNTER_BYTES, PREDICT, TRAIN, layer_record, vector
from fastopt.engine.functions import ENGINE_JIT, INNER_JIT
from fastopt.kernels import cpu, foreign
from fastopt.kernels.binding import bind, digest
from fastopt.kernels.foreign import call_task
from fastopt.rules.registry import RULES

_DIGEST = digest(__file__) + digest(foreign.__file__)
_TASK = types.void(types.int64, types.int64)


def _spread(task, context, n_workers):
    for worker in prange(n_workers):
        call_task(task, context, worker)


def _alone(task, context, n_workers):
    call_task(task, context, 0)


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
    first_layer = layer_record(c, 0)
    last_layer = layer_record(c, c.n_layers - 1)
    address = context.ctypes.data
    width = constants.shape[1]
    weight_row = vector(c.weight_constants, real, width)  # noqa: F821
    bias_row = vector(c.bias_constants, real, width)  # noqa: F821
    counters = vector(c.counters, np.int64, (1 + c.n_workers) * (COUNTER_BYTES // 8))
    tile_bounds = vector(c.tile_bounds, np.int64, c.n_workers + 1)
    block_losses = vector(c.block_losses, np.float64, (c.capacity + c.block_rows - 1) // c.block_rows)
    squares = vector(c.tile_squares, np.float64, c.n_tiles)
    outputs = last_layer.target
    loss = weight = 0.0
    for batch in range(first, last):
        c.start = batch * batch_size
        c.n_rows = min(batch_size, n_samples - c.start)
        c.n_blocks = (c.n_rows + c.block_rows - 1) // c.block_rows
        batch_weight = batch_weight_of(c, real)  # noqa: F821
        weight += batch_weight
        if batch_weight == 0 and c.mode == TRAIN:
            continue  # no row counts: nothing to learn from
        # Rows that are not gathered, and predictions, are read and written where they are.
        first_layer.source = c.gathered if c.has_order else c.x + c.start * first_layer.source_stride
        if c.mode == PREDICT:
            last_layer.target = c.out + c.start * last_layer.target_stride
        counters[0] = 0
        for owner in range(c.n_workers):
            counters[(1 + owner) * (COUNTER_BYTES // 8)] = tile_bounds[owner]
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
    last_layer.target = outputs
    return loss, weight


#: ``tasks`` keeps the machine code behind the two addresses alive.
Program = namedtuple("Program", "rows_task tiles_task batches tasks")


def _bind(template, suffix="", **names):
    return bind(template, template, suffix, digest=_DIGEST, **names)


@functools.cache
def _runner(parallel):
    """Compile what runs a task: in one parallel region, which every pass of every dtype shares, or here."""
    if parallel:
        spread = _bind(_spread, call_task=call_task, prange=prange)
        return njit(parallel=True, nogil=True, cache=True, **ENGINE_JIT)(spread)
    return njit(**INNER_JIT)(_bind(_alone, call_task=call_task))


@functools.cache
def _tasks(dtype, sparse):
    names = vars(passes) | {"real": np.dtype(dtype).type, "sparse": True if sparse else None}
    suffix = f"_{dtype}_{'sparse' if sparse else 'dense'}"
    return [
        cfunc(_TASK, cache=True, **ENGINE_JIT)(_bind(task, suffix, **names))
        for task in (passes.rows_task, passes.tiles_task)
    ]


@functools.cache
def _loop(dtype, parallel):
    batch_weight = njit(**INNER_JIT)(_bind(_batch_weight, vector=vector, np=np))
    names = {"run": _runner(parallel), "batch_weight_of": batch_weight, "real": np.dtype(dtype).type}
    names |= {"vector": vector, "layer_record": layer_record, "np": np, "TRAIN": TRAIN, "PREDICT": PREDICT}
    names["COUNTER_BYTES"] = COUNTER_BYTES
    suffix = f"_{dtype}_{'parallel' if parallel else 'serial'}"
    # One signature, compiled now: an integer for ``alpha`` is converted and not compiled for.
    table = types.Array(from_dtype(np.dtype(dtype)), 2, "C")
    signature = (types.Array(CONTEXT_TYPE, 1, "C"), table, types.float64, *[types.int64] * 7)
    return njit(signature, nogil=True, cache=True, **ENGINE_JIT)(_bind(_batches, suffix, **names))


@functools.cache
def program(dtype, sparse, parallel):
    """Return the engine compiled for a dtype: one for every network and every optimizer.

    Parameters
    ----------
    dtype : {'float32', 'float64'}
    sparse : bool
        Whether inputs are read by their non-zeros.
    parallel : bool
        Whether passes are spread over threads; only then is the parallel region compiled.

    Returns
    -------
    Program
    """
    with announced(f"the training engine for {dtype}"):
        tasks = _tasks(dtype, sparse)
        return Program(tasks[0].address, tasks[1].address, _loop(dtype, parallel), tasks)


def warmup(dtypes=("float32", "float64")):
    """Compile the engine and the update kernels of all registered optimizers, or load them from the cache.

    Parameters
    ----------
    dtypes : sequence of {'float32', 'float64'}

    Examples
    --------
    >>> from fastopt.engine import warmup
    >>> warmup(["float32"])
    """
    for dtype in dtypes:
        for sparse in (False, True):
            for parallel in (False, True):
                program(np.dtype(dtype).name, sparse, parallel)
        for rule in RULES.values():
            cpu.update_kernel(rule, np.dtype(dtype).name)
