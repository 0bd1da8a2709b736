"""The two phases of a training step, rows and tiles of weights, each shared by all workers.

In the first, blocks of rows go through the forward pass, the loss and the backward pass; in the second, tiles
of the weight matrices get their gradient and their update. Rows are independent in the one, tiles in the
other, so a step synchronises twice, whatever its depth. How the work is cut depends on the shapes alone,
never on the number of threads, and neither do the bits of the result.

What depends on the element type is a routine, called through the record; this module sees integers only and
is compiled once.
"""

import numpy as np
from numba import njit

from fastopt.engine.cpu import layer_products
from fastopt.engine.cpu.context import (
    BIAS,
    COMPRESS,
    CSR,
    DENSE,
    FIRST_LAYER,
    GRADIENT,
    LINE,
    PREDICT,
    SCORE,
    TILE_COLUMNS,
    first_row,
    layer_record,
)
from fastopt.engine.cpu.vector_math import INNER_JIT
from fastopt.engine.cpu.work_sharing import BLOCKS_DONE, TILES_DONE, finish, take_block, take_tile
from fastopt.kernels.intrinsics import call, prefetch_to_write, vector


@njit(**INNER_JIT)
def _drop(c, number, source, target, first, n):
    """Write ``n`` elements after dropout, those of layer ``number`` (0: the inputs) from the ``first`` on."""
    row = vector(c.dropout + c.batch_at * c.dropout_stride + number * 16, np.int64, 2)
    call(c.drop, (source, target, first, n, row[0], row[1]))


@njit(**INNER_JIT)
def _read_inputs(context, c, block, lo, hi):
    """Read the batch's rows ``lo:hi``: gather them, mark their non-zeros, or sort their CSR entries."""
    layer = layer_record(c, FIRST_LAYER)
    if c.inputs == CSR:
        if layer.drops_source:
            call(c.drop_entries, (context, block, lo, hi))
        if c.mode != PREDICT and c.mode != SCORE:
            call(c.sort_entries, (context, block, lo, hi))
        return
    if c.has_order or layer.drops_source:
        call(c.gather, (context, lo, hi))
    if layer.drops_source:
        rows = layer.source + lo * layer.source_stride
        _drop(c, FIRST_LAYER, rows, rows, lo * layer.n_in, (hi - lo) * layer.n_in)
    if c.inputs == COMPRESS:
        call(c.mark, (context, layer.source, block, lo, hi))


@njit(**INNER_JIT)
def _forward(context, c, block, lo, hi, worker):
    """Compute the outputs of all layers for a block of rows, ``lo:hi`` of the batch."""
    rows = hi - lo
    for number in range(c.n_layers):
        layer = layer_record(c, number)
        n_in, n_out, weights, bias = layer.n_in, layer.n_out, layer.weights, layer.bias
        is_last = number == c.n_layers - 1
        target = (layer.target if is_last else layer.pre_activations) + lo * layer.target_stride
        rectify, can_rectify = layer.rectifies, True
        if number or c.inputs == DENSE:
            source = layer.source + lo * layer.source_stride
            can_rectify = layer_products.forward(
                c, worker, rows, n_in, n_out, source, weights, bias, target, rectify
            )
        elif c.inputs == COMPRESS:
            arguments = context, worker, layer.source, lo, hi, target, weights, bias, n_out, rectify
            call(c.marked_forward, arguments)
        else:
            call(c.csr_forward, (context, block, lo, hi, target, weights, bias, n_out, rectify))
        if is_last:
            call(c.output, (target, rows, n_out))
        elif not (rectify and can_rectify):
            outputs = layer.undropped + lo * layer.target_stride
            call(layer.activate, (target, outputs, rows, n_out, layer.slopes))
        if layer.drops:
            undropped, skip = layer.undropped, lo * layer.target_stride
            _drop(c, number + 1, undropped + skip, layer.target + skip, lo * n_out, rows * n_out)


@njit(**INNER_JIT)
def _transposed(c, layer, worker):
    """Return the address of this worker's transposed copy of a layer's weights, or 0 if it has none."""
    if layer.n_out == 1:
        return layer.weights  # a column is its own transpose
    if layer.transposed_at < 0:
        return 0
    return c.transposed + worker * c.transposed_stride + layer.transposed_at


@njit(**INNER_JIT)
def _transpose_weights(c, worker):
    """Transpose the weights, once a step, so that the backward pass reads them by rows."""
    done_for = vector(c.transposed_for + worker * LINE, np.int64, 1)
    if done_for[0] == c.step:
        return
    done_for[0] = c.step
    for number in range(1, c.n_layers):
        layer = layer_record(c, number)
        if layer.transposed_at >= 0:
            call(c.transpose, (layer.n_in, layer.n_out, layer.weights, _transposed(c, layer, worker)))


@njit(**INNER_JIT)
def _backward(c, lo, hi, worker):
    """Compute the gradients at the hidden layers' pre-activations for the batch's rows ``lo:hi``."""
    rows = hi - lo
    for number in range(c.n_layers - 1, 0, -1):
        layer = layer_record(c, number)
        n_in, n_out = layer.n_in, layer.n_out
        delta = layer.delta + lo * layer.target_stride
        target = layer.source_delta + lo * layer.source_stride
        transposed = _transposed(c, layer, worker)
        layer_products.backward(c, worker, rows, n_in, n_out, delta, layer.weights, transposed, target)
        if layer.drops_source:
            _drop(c, number, target, target, lo * n_in, rows * n_in)
        points = layer.source_points + lo * layer.source_stride
        call(layer.source_backpropagate, (points, target, rows, n_in, layer.source_slopes))


@njit(**INNER_JIT)
def work_on_rows(context, c, worker):
    """Process blocks of rows until none is left; return how many this worker has processed."""
    count = 0
    block = take_block(c)
    while block >= 0:
        count += 1
        lo, hi = first_row(c, block), first_row(c, block + 1)
        _read_inputs(context, c, block, lo, hi)
        _forward(context, c, block, lo, hi, worker)
        if c.mode != PREDICT:
            call(c.loss, (context, block, lo, hi))
        if c.mode != PREDICT and c.mode != SCORE:
            _transpose_weights(c, worker)
            _backward(c, lo, hi, worker)
        finish(c, BLOCKS_DONE)
        block = take_block(c)
    return count


@njit(**INNER_JIT)
def _weight_gradient(context, c, layer, number, first, last, out, worker, keep):
    """Write (or add, to ``keep``) rows ``first:last`` of the gradient of a layer's weights."""
    n_in, n_out, source, delta = layer.n_in, layer.n_out, layer.source, layer.delta
    if number or c.inputs == DENSE:
        layer_products.weight_gradient(c, worker, first, last, n_in, n_out, source, delta, out, keep)
    elif c.inputs == COMPRESS:
        call(c.marked_gradient, (context, worker, source, first, last, out, delta, n_out, keep))
    else:
        call(c.csr_gradient, (context, first, out, delta, n_out, False))


@njit(**INNER_JIT)
def scale_weights(c):
    """Write the first layer's weights times the input scale, if there is one, as the products take them."""
    if c.input_scale:
        layer = layer_record(c, FIRST_LAYER)
        weights = c.params + layer.weights_at * c.itemsize
        call(c.scale_rows, (layer.n_in, layer.n_out, weights, c.input_scale, c.scaled_weights))


@njit(**INNER_JIT)
def _update(c, gradient, constants, lo, n):
    """Update ``n`` parameters from the ``lo``-th on."""
    # The kernel indexes weights, gradient and state alike; this gradient begins at ``lo``.
    call(c.update, (c.params, gradient - lo * c.itemsize, c.state, c.stride, constants, lo, lo + n))


@njit(**INNER_JIT)
def _work_on_vector(c, layer, which, worker):
    """Compute the gradient of a bias or of slopes, and update these or add it to the whole."""
    is_bias, keep = which == BIAS, c.mode == GRADIENT
    lo = layer.bias_at if is_bias else layer.slopes_at
    rows = layer.delta if is_bias else layer.pre_activations  # where `backpropagate` put them
    out = c.gradient + lo * c.itemsize if keep else c.buffers + worker * c.buffer_stride
    layer_products.vector_gradient(c, layer.n_out, rows, out, keep)
    if not keep:
        _update(c, out, layer.bias_constants if is_bias else layer.slope_constants, lo, layer.n_out)


@njit(**INNER_JIT)
def _work_on_scaled(c, layer, first, last, gradient, worker):
    """Follow the input scale: split the gradient of scaled rows, and update both factors and the product."""
    m, n_out, size = last - first, layer.n_out, c.itemsize
    lo, scale_lo = layer.weights_at + first * n_out, (c.input_scale - c.params) // size + first
    out = c.buffers + worker * c.buffer_stride
    scale_out, weights, scale = out + m * n_out * size, c.params + lo * size, c.input_scale + first * size
    keep = c.mode == GRADIENT
    if keep:
        out, scale_out = c.gradient + lo * size, c.gradient + scale_lo * size
    call(c.scale_gradient, (m, n_out, weights, scale, gradient, out, scale_out, keep))
    if not keep:
        _update(c, out, layer.weight_constants, lo, m * n_out)
        _update(c, scale_out, c.scale_constants, scale_lo, m)
        scaled = c.scaled_weights + first * n_out * size
        call(c.scale_rows, (m, n_out, weights, scale, scaled))


@njit(**INNER_JIT)
def _claim(c, lo, n):
    """Take the ``n`` parameters from the ``lo``-th on from the other cores, which have read them.

    Asked for one by one as the update stores them, each line takes as long as the arithmetic on it.
    """
    first = c.params + lo * c.itemsize
    for at in range(first, first + n * c.itemsize, LINE):
        prefetch_to_write(at)


@njit(**INNER_JIT)
def _work_on_tile(context, c, layer, tile, worker):
    """Compute a tile's gradient, and update the parameters while it is in cache or add it to the whole."""
    number, first, last = tile[0], tile[1], tile[2]
    if first < 0:
        _work_on_vector(c, layer, first, worker)
        return
    is_csr, is_scaled = number == 0 and c.inputs == CSR, number == 0 and c.input_scale != 0
    n, lo, keep = (last - first) * layer.n_out, layer.weights_at + first * layer.n_out, c.mode == GRADIENT
    # CSR gradients are mostly zeros: they are added to a buffer that is zero, and taken out again.
    out = (c.cleared if is_csr else c.buffers) + worker * c.buffer_stride
    if keep and not is_scaled:
        out = c.gradient + lo * c.itemsize
    if not (c.alone or keep or (c.program and not c.in_parts)):
        _claim(c, lo, n)
    _weight_gradient(context, c, layer, number, first, last, out, worker, keep and not is_scaled)
    if c.penalized:
        call(c.sum_of_squares, (n, c.params + lo * c.itemsize, c.tile_squares + tile[3] * 8))
    if is_scaled:
        _work_on_scaled(c, layer, first, last, out, worker)
    elif not keep:
        _update(c, out, layer.weight_constants, lo, n)
    if is_csr and (is_scaled or not keep):
        call(c.csr_gradient, (context, first, out, layer.delta, layer.n_out, True))


@njit(**INNER_JIT)
def work_on_tiles(context, c, worker):
    """Process tiles of the weights until none is left; return how many this worker has processed."""
    count = 0
    at = take_tile(c, worker)
    while at >= 0:
        count += 1
        tile = vector(c.tiles + at * TILE_COLUMNS * 8, np.int64, TILE_COLUMNS)
        _work_on_tile(context, c, layer_record(c, tile[0]), tile, worker)
        finish(c, TILES_DONE)
        at = take_tile(c, worker)
    return count
