"""The compiled loop over batches: one worker leads, the others join each phase that it opens.

`work` is the worker function, a C function of two integers: the address of a record of type `CONTEXT` and the
worker's number. The first two functions are templates of routines: ``compilation.py`` binds ``real``.
"""

import numpy as np
from numba import njit

from fastopt.engine.cpu.context import (
    BEGUN,
    END,
    EVALUATE,
    FIRST_LAYER,
    GRADIENT,
    MAX_CONSTANTS,
    PREDICT,
    SCORE,
    TRAIN,
    YIELD,
    layer_record,
    record,
    row_number,
)
from fastopt.engine.cpu.forward_backward import scale_weights, work_on_rows, work_on_tiles
from fastopt.engine.cpu.vector_math import INNER_JIT
from fastopt.engine.cpu.work_sharing import (
    LEADER,
    NOT_IDLE,
    OVER,
    STOP,
    close_blocks,
    close_tiles,
    line,
    open_blocks,
    open_tiles,
    relax,
)
from fastopt.kernels.intrinsics import call, fetch_add, load_shared, store_shared, vector


def sum_weights(context, out):
    """Write the sum of the sample weights of the current batch to a float64."""
    c = record(context)
    total = 0.0
    for i in range(c.n_rows):
        total += vector(c.sample_weight + row_number(c, i) * c.itemsize, real, 1)[0]
    vector(out, np.float64, 1)[0] = total


def set_constants(context, batch):
    """Complete a batch's constants: the scale of the mean gradient, and scikit-learn's penalty.

    A batch has a row for each group of parameters, which differ in their learning rates.
    """
    c = record(context)
    width = c.n_constants // c.n_groups
    weight, alpha = vector(c.batch_weight, np.float64, 1)[0], vector(c.alpha, np.float64, 1)[0]
    for group in range(c.n_groups):
        at = (batch - c.first_batch) * c.n_constants + group * width
        source, skip = vector(c.constants + at * c.itemsize, real, width), group * MAX_CONSTANTS * c.itemsize
        weights = vector(c.weight_constants + skip, real, width)
        biases = vector(c.bias_constants + skip, real, width)
        for i in range(width):
            weights[i] = biases[i] = source[i]
        weights[0] /= weight
        weights[1] += alpha / weight
        biases[0] /= weight
        biases[1] = 0  # decay spares biases
        biases[2] = 1


@njit(**INNER_JIT)
def _batch_loss(c, weight, alpha):
    """Return a batch's mean loss, penalty included; the sum of losses where these are added up."""
    total = 0.0
    losses = vector(c.block_losses, np.float64, c.n_blocks)
    for block in range(c.n_blocks):
        total += losses[block]
    if c.mode == GRADIENT or c.mode == SCORE:
        return total
    if c.penalized:
        squares = vector(c.tile_squares, np.float64, c.n_tiles)
        for tile in range(c.n_tiles):
            total += 0.5 * alpha * squares[tile]
    return total / weight


@njit(**INNER_JIT)
def _evaluate(context, c, worker):
    """Run a batch forward through the network and, in training, backward; return its loss."""
    alpha, weight = vector(c.alpha, np.float64, 1)[0], vector(c.batch_weight, np.float64, 1)[0]
    c.step += 1
    if c.program:
        scale_weights(c)
    open_blocks(c)
    work_on_rows(context, c, worker)
    close_blocks(c)
    if c.mode == PREDICT:
        return 0.0
    if c.mode == SCORE:
        return _batch_loss(c, weight, alpha)
    if c.mode == TRAIN:
        call(c.set_constants, (context, c.batch_at))
        if c.in_parts:
            call(c.begin_program, (context,))
    open_tiles(c)
    work_on_tiles(context, c, worker)
    close_tiles(c)
    return _batch_loss(c, weight, alpha)


@njit(**INNER_JIT)
def _begin(context, c, batch):
    """Describe a batch in the context record and count its weight; tell whether there is anything to do."""
    c.batch_at, c.stop_at = batch, line(c, STOP)
    c.start = batch * c.batch_size
    n_left = c.n_samples - c.start
    c.n_rows = c.batch_size if c.batch_size < n_left else n_left
    c.n_blocks = (c.n_rows + c.block_rows - 1) // c.block_rows
    # Rows that are not gathered, and predictions, are read and written where they are.
    first, last = layer_record(c, FIRST_LAYER), layer_record(c, c.n_layers - 1)
    first.source = c.gathered if c.has_order or first.drops_source else c.x + c.start * first.source_stride
    if c.mode == PREDICT or c.mode == SCORE:
        last.target = c.out + c.start * last.target_stride
    weight = vector(c.batch_weight, np.float64, 1)
    weight[0] = c.n_rows
    if c.has_weight:
        call(c.sum_weights, (context, c.batch_weight))
    vector(c.result, np.float64, 2)[1] += weight[0]
    # Where no row counts, there is nothing to learn from.
    return weight[0] != 0 or c.mode != TRAIN


@njit(**INNER_JIT)
def _lead(context, c, worker):
    """Run the batches ``first_batch:last_batch`` as the leader; add losses and weights to ``result``.

    Where a program calls Python the run ends within a batch; by ``stopped_at`` the next one goes on there.
    """
    outputs = layer_record(c, c.n_layers - 1).target
    if not c.program:
        scale_weights(c)
    c.leader, batch, result = worker, c.first_batch, vector(c.result, np.float64, 3)
    while batch < c.last_batch:
        if c.stopped_at == END:
            if load_shared(line(c, STOP)):
                break
            if not _begin(context, c, batch):
                batch += 1
                continue
        if c.stopped_at != YIELD:
            result[2] = _evaluate(context, c, worker)
        if c.stopped_at == END:
            result[0] += result[2] * c.n_rows if c.mode == TRAIN else result[2]
        if c.program:
            c.stop_at = line(c, OVER)
            if c.stopped_at == END and c.in_parts != BEGUN and load_shared(line(c, STOP)):
                break  # a part of the gradient may be missing
            call(c.follow, (context, worker))
            if c.stopped_at == YIELD:
                break
            if c.stopped_at == EVALUATE:
                continue
        batch += 1
    layer_record(c, c.n_layers - 1).target = outputs
    c.stop_at = line(c, OVER)
    store_shared(c.stop_at, 1)


def work(context, worker):
    """Run batches as one worker of several: the first to arrive is the leader."""
    c = record(context)
    if c.alone or fetch_add(line(c, LEADER)) == 0:
        _lead(context, c, worker)
        return
    idle = NOT_IDLE
    while not load_shared(line(c, OVER)):
        n_items = work_on_rows(context, c, worker) + work_on_tiles(context, c, worker)
        if c.program:
            call(c.share_tasks, (context, worker))
        idle = NOT_IDLE if n_items else relax(c, idle)
