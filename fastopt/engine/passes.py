"""The two passes of a training step; each is one parallel region.

Rows of a batch are independent through forward, loss and backward; tiles of the weight matrices are
independent through gradient and update. So a step synchronises twice, whatever its depth. How the work is
cut depends on the shapes alone, never on the number of threads, and neither do the bits of the result.

Functions take the element type as ``real`` and ``sparse``, which is None where the inputs are dense rows:
Numba leaves out the branches that the type None rules out, so either kind compiles only what it needs.
"""

import numpy as np
from numba import carray, njit

from fastopt.engine import products
from fastopt.engine.activations import activate, backpropagate, loss_and_delta, output
from fastopt.engine.context import (
    COMPRESS,
    CONTEXT_TYPE,
    COUNTER_BYTES,
    GRADIENT,
    PREDICT,
    TILE_COLUMNS,
    layer_record,
    matrix,
    vector,
)
from fastopt.engine.functions import INNER_JIT
from fastopt.engine.inputs import (
    csr_forward,
    csr_gradient,
    gather,
    mark,
    marked_forward,
    marked_gradient,
    row_number,
    sort_entries,
)
from fastopt.kernels.foreign import call_update, fetch_add, pointer


@njit(**INNER_JIT)
def _read_inputs(c, real, sparse, block, lo, hi):
    """Bring the batch's rows ``lo:hi`` into the form that the first layer's products take."""
    if sparse is None:
        gather(c, real, lo, hi)
    elif c.inputs == COMPRESS:
        gather(c, real, lo, hi)
        mark(c, real, layer_record(c, 0).source, block, lo, hi)
    elif c.mode != PREDICT:
        sort_entries(c, real, block, lo, hi)


@njit(**INNER_JIT)
def _forward(c, real, sparse, lo, hi, worker):
    rows = hi - lo
    for number in range(c.n_layers):
        layer = layer_record(c, number)
        n_in, n_out, weights, bias = layer.n_in, layer.n_out, layer.weights, layer.bias
        target = layer.target + lo * layer.target_stride
        if sparse is None or number:
            source = layer.source + lo * layer.source_stride
            products.forward(c, real, rows, n_in, n_out, source, weights, bias, target)
        elif c.inputs == COMPRESS:
            marked_forward(c, real, worker, layer.source, lo, hi, target, weights, bias, n_out)
        else:
            csr_forward(c, real, lo, hi, target, weights, bias, n_out)
        if number == c.n_layers - 1:
            output(c.out_activation, matrix(target, real, rows, n_out))
        else:
            activate(c.activation, vector(target, real, rows * n_out))


@njit(**INNER_JIT)
def _loss(c, real, lo, hi):
    layer = layer_record(c, c.n_layers - 1)
    n, n_out = hi - lo, layer.n_out
    p = matrix(layer.target + lo * layer.target_stride, real, n, n_out)
    delta = matrix(layer.delta + lo * layer.target_stride, real, n, n_out)
    weight = vector(c.row_weight + lo * c.itemsize, real, n)
    # The targets' rows come to where the gradient will stand; loss_and_delta reads each before it writes.
    for i in range(n):
        row = row_number(c, lo + i)
        y = vector(c.y + row * layer.target_stride, real, n_out)
        for j in range(n_out):
            delta[i, j] = y[j]
        if c.has_weight:
            weight[i] = vector(c.sample_weight, real, row + 1)[row]
    return loss_and_delta(c.loss, p, delta, weight, c.has_weight, delta)


@njit(**INNER_JIT)
def _transposed(c, layer, worker):
    """Return the address of this worker's transpose of a layer's weights, 0 if it keeps none."""
    if layer.n_out == 1:
        return layer.weights  # a column is its own transpose
    if layer.transposed_at < 0:
        return 0
    return c.transposed + worker * c.transposed_stride + layer.transposed_at


@njit(**INNER_JIT)
def _transpose_weights(c, real, worker):
    """Transpose, once a step, what the products on the way back read in rows."""
    for number in range(1, c.n_layers):
        layer = layer_record(c, number)
        if layer.transposed_at >= 0:
            products.transpose(c, real, layer.n_in, layer.n_out, layer.weights, _transposed(c, layer, worker))


@njit(**INNER_JIT)
def _backward(c, real, lo, hi, worker):
    rows = hi - lo
    for number in range(c.n_layers - 1, 0, -1):
        layer = layer_record(c, number)
        n_in, n_out = layer.n_in, layer.n_out
        delta = layer.delta + lo * layer.target_stride
        target = layer.source_delta + lo * layer.source_stride
        transposed = _transposed(c, layer, worker)
        products.backward(c, real, rows, n_in, n_out, delta, layer.weights, transposed, target)
        outputs = vector(layer.source + lo * layer.source_stride, real, rows * n_in)
        backpropagate(c.activation, outputs, vector(target, real, rows * n_in))


def rows_task(context, worker):
    """Take blocks of rows until none is left. A template: ``driver.py`` binds ``real`` and ``sparse``."""
    c = carray(pointer(context, CONTEXT_TYPE), 1)[0]
    losses = vector(c.block_losses, np.float64, c.n_blocks)
    block, is_first = fetch_add(c.counters), True
    while block < c.n_blocks:
        lo = block * c.block_rows
        hi = min(lo + c.block_rows, c.n_rows)
        _read_inputs(c, real, sparse, block, lo, hi)  # noqa: F821
        _forward(c, real, sparse, lo, hi, worker)  # noqa: F821
        if c.mode != PREDICT:
            losses[block] = _loss(c, real, lo, hi)  # noqa: F821
            if is_first:
                _transpose_weights(c, real, worker)  # noqa: F821
                is_first = False
            _backward(c, real, lo, hi, worker)  # noqa: F821
        block = fetch_add(c.counters)


@njit(**INNER_JIT)
def _take_tile(c, worker):
    """Return the place of a tile that nobody has taken, -1 if there is none: its own first, so that the
    state of a tile stays in one core's cache from step to step."""
    bounds = vector(c.tile_bounds, np.int64, c.n_workers + 1)
    for turn in range(c.n_workers):
        owner = (worker + turn) % c.n_workers
        at = fetch_add(c.counters + (1 + owner) * COUNTER_BYTES)
        if at < bounds[owner + 1]:
            return at
    return -1


@njit(**INNER_JIT)
def _weight_gradient(c, real, sparse, layer, number, first, last, out, worker):
    """Write rows ``first:last`` of a layer's weight gradient, or add them to the whole gradient."""
    n_in, n_out, source, delta, keep = layer.n_in, layer.n_out, layer.source, layer.delta, c.mode == GRADIENT
    if sparse is None or number:
        products.weight_gradient(c, real, first, last, n_in, n_out, source, delta, out, keep)
    elif c.inputs == COMPRESS:
        marked_gradient(c, real, worker, source, first, last, out, delta, n_out, keep)
    else:
        csr_gradient(c, real, first, out, delta, n_out, False)


def tiles_task(context, worker):
    """Take tiles of the weights until none is left: form a gradient, apply it while it is in cache."""
    c = carray(pointer(context, CONTEXT_TYPE), 1)[0]
    whole = c.mode == GRADIENT
    at = _take_tile(c, worker)
    while at >= 0:
        tile = vector(c.tiles + at * TILE_COLUMNS * 8, np.int64, TILE_COLUMNS)
        first, last = tile[1], tile[2]
        layer = layer_record(c, tile[0])
        is_bias = first < 0
        is_csr = sparse is not None and tile[0] == 0 and not is_bias and c.inputs != COMPRESS  # noqa: F821
        lo = layer.bias_at if is_bias else layer.weights_at + first * layer.n_out
        n = layer.n_out if is_bias else (last - first) * layer.n_out
        # CSR gradients are mostly zeros: they are added to a buffer that is zero, and taken out again.
        out = (c.cleared if is_csr else c.buffers) + worker * c.buffer_stride
        if whole:
            out = c.gradient + lo * c.itemsize
        squares = 0.0
        if is_bias:
            products.bias_gradient(c, real, layer.n_out, layer.delta, out, whole)  # noqa: F821
        else:
            _weight_gradient(c, real, sparse, layer, tile[0], first, last, out, worker)  # noqa: F821
            if c.penalized:
                squares = products.sum_of_squares(vector(c.params + lo * c.itemsize, real, n))  # noqa: F821
        vector(c.tile_squares, np.float64, c.n_tiles)[tile[3]] = squares
        if not whole:
            constants = c.bias_constants if is_bias else c.weight_constants
            # The kernel indexes weights, gradient and state alike; the tile's buffer begins at ``lo``.
            call_update(c.update, c.params, out - lo * c.itemsize, c.state, c.stride, constants, lo, lo + n)
            if is_csr:
                csr_gradient(c, real, first, out, layer.delta, layer.n_out, True)  # noqa: F821
        at = _take_tile(c, worker)
