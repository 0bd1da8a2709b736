"""The two passes of a training step; each is one parallel region.

Rows of a batch are independent through forward, loss and backward; tiles of the weight matrices are
independent through gradient and update. So a step synchronises twice, whatever its depth. How the work is
cut depends on the shapes alone, never on the number of threads, and neither do the bits of the result.
"""

import numpy as np
from numba import carray, njit

from fastopt.engine.activations import activate, backpropagate, loss_and_delta, output
from fastopt.engine.context import CONTEXT_TYPE, DENSE, GRADIENT, PREDICT, matrix, vector
from fastopt.engine.functions import INNER_JIT
from fastopt.engine.inputs import (
    dense_address,
    prepare_inputs,
    row_number,
    sparse_forward,
    sparse_gradient,
)
from fastopt.engine.primitives import fetch_add, gemm
from fastopt.engine.registers import small_product
from fastopt.kernels.foreign import call_update, pointer

#: Bytes of the right-hand matrix up to which the product in registers beats a BLAS call, which packs its
#: operands: half an L2 cache (``bench/README.md``).
SMALL_PRODUCT = 1 << 17
#: Weights up to which it pays to transpose them for the product in registers on the way back.
SMALL_TRANSPOSE = 1 << 12


@njit(**INNER_JIT)
def _layer(c, layer):
    """Return fan-in, fan-out and the offsets of a layer's weights, biases and outputs."""
    sizes = vector(c.sizes, np.int64, c.n_layers + 1)
    weights = vector(c.weights_at, np.int64, c.n_layers)
    biases = vector(c.biases_at, np.int64, c.n_layers)
    units = vector(c.units_at, np.int64, c.n_layers + 1)
    return sizes[layer], sizes[layer + 1], weights[layer], biases[layer], units[layer + 1]


@njit(**INNER_JIT)
def _forward(c, real, block, lo, hi):
    source = dense_address(c, lo)
    for layer in range(c.n_layers):
        n_in, n_out, weights_at, biases_at, units_at = _layer(c, layer)
        weights, bias = c.params + weights_at * c.itemsize, c.params + biases_at * c.itemsize
        target = c.units + (units_at + lo * n_out) * c.itemsize
        last = layer == c.n_layers - 1
        if last and c.mode == PREDICT:
            target = c.out + (c.start + lo) * n_out * c.itemsize
        if layer == 0 and c.inputs != DENSE:
            sparse_forward(c, real, block, lo, hi, target, weights, bias, n_out)
        elif n_out > 1 and n_in * n_out * c.itemsize <= SMALL_PRODUCT:
            small_product(
                real(0), hi - lo, n_out, n_in, source, n_in, 1, weights, n_out, bias, 0, target, n_out
            )
        else:
            z, b = matrix(target, real, hi - lo, n_out), vector(bias, real, n_out)
            for i in range(hi - lo):
                for j in range(n_out):
                    z[i, j] = b[j]
            gemm(
                c.gemm,
                False,
                False,
                hi - lo,
                n_out,
                n_in,
                source,
                n_in,
                weights,
                n_out,
                real(1),
                target,
                n_out,
            )
        if last:
            output(c.out_activation, matrix(target, real, hi - lo, n_out))
        else:
            activate(c.activation, vector(target, real, (hi - lo) * n_out))
        source = target


@njit(**INNER_JIT)
def _loss(c, real, lo, hi):
    _, n_out, _, _, units_at = _layer(c, c.n_layers - 1)
    at = (units_at + lo * n_out) * c.itemsize
    n = hi - lo
    p = matrix(c.units + at, real, n, n_out)
    delta = matrix(c.deltas + at, real, n, n_out)
    # The targets' rows come to where the gradient will stand; loss_and_delta reads each before it writes.
    for i in range(n):
        y = vector(c.y + row_number(c, lo + i) * n_out * c.itemsize, real, n_out)
        for j in range(n_out):
            delta[i, j] = y[j]
    weight = vector(c.row_weight + lo * c.itemsize, real, n)
    if c.has_weight:
        for i in range(n):
            weight[i] = vector(c.sample_weight + row_number(c, lo + i) * c.itemsize, real, 1)[0]
    return loss_and_delta(c.loss, p, delta, weight, c.has_weight, delta)


@njit(**INNER_JIT)
def _transpose(source, target):
    for i in range(source.shape[0]):
        for j in range(source.shape[1]):
            target[j, i] = source[i, j]


@njit(**INNER_JIT)
def _backward(c, real, lo, hi, worker):
    scratch = c.buffers + worker * c.tile_size * c.itemsize
    for layer in range(c.n_layers - 1, 0, -1):
        n_in, n_out, weights_at, _, units_at = _layer(c, layer)
        _, _, _, _, below = _layer(c, layer - 1)
        delta = c.deltas + (units_at + lo * n_out) * c.itemsize
        at = (below + lo * n_in) * c.itemsize
        weights, target = c.params + weights_at * c.itemsize, c.deltas + at
        if n_in * n_out <= SMALL_TRANSPOSE:
            _transpose(matrix(weights, real, n_in, n_out), matrix(scratch, real, n_out, n_in))
            small_product(
                real(0), hi - lo, n_in, n_out, delta, n_out, 1, scratch, n_in, c.zeros, 0, target, n_in
            )
        else:
            gemm(
                c.gemm, False, True, hi - lo, n_in, n_out, delta, n_out, weights, n_out, real(0), target, n_in
            )
        n = (hi - lo) * n_in
        backpropagate(c.activation, vector(c.units + at, real, n), vector(target, real, n))


@njit(**INNER_JIT)
def _rows(c, real, worker):
    """Take blocks of rows until none is left."""
    while True:
        block = fetch_add(c.counters)
        if block >= c.n_blocks:
            return
        lo = block * c.block_rows
        hi = min(lo + c.block_rows, c.n_rows)
        prepare_inputs(c, real, block, lo, hi)
        _forward(c, real, block, lo, hi)
        if c.mode != PREDICT:
            losses = vector(c.block_losses, np.float64, c.n_blocks)
            losses[block] = _loss(c, real, lo, hi)
            _backward(c, real, lo, hi, worker)


@njit(**INNER_JIT)
def _bias_gradient(c, real, layer, out, keep):
    """Write (or add) the column sums of a layer's deltas."""
    _, n_out, _, _, units_at = _layer(c, layer)
    delta = c.deltas + units_at * c.itemsize
    start = out if keep else c.zeros
    small_product(real(0), 1, n_out, c.n_rows, c.one, 0, 0, delta, n_out, start, 0, out, n_out)


@njit(**INNER_JIT)
def _weight_gradient(c, real, layer, first, last, out, keep):
    """Write (or add) the rows ``first:last`` of ``inputs.T @ deltas`` of a layer."""
    n_in, n_out, _, _, units_at = _layer(c, layer)
    delta = c.deltas + units_at * c.itemsize
    if layer == 0 and c.inputs != DENSE:
        sparse_gradient(c, real, first, last, out, delta, n_out, keep)
        return
    if layer == 0:
        source = dense_address(c, 0)
    else:
        source = c.units + vector(c.units_at, np.int64, c.n_layers)[layer] * c.itemsize
    source += first * c.itemsize
    if n_out > 1 and c.n_rows * n_out * c.itemsize <= SMALL_PRODUCT:
        start, step = (out, n_out) if keep else (c.zeros, 0)
        small_product(
            real(0), last - first, n_out, c.n_rows, source, 1, n_in, delta, n_out, start, step, out, n_out
        )
        return
    beta = real(1) if keep else real(0)
    gemm(c.gemm, True, False, last - first, n_out, c.n_rows, source, n_in, delta, n_out, beta, out, n_out)


@njit(**INNER_JIT | {"fastmath": {"contract", "reassoc"}})
def _sum_of_squares(w):
    """Return the sum of squares; reassociation makes it vector sums, the same for the same tile."""
    total = w[0] * w[0]
    for i in range(1, w.shape[0]):
        total += w[i] * w[i]
    return total


@njit(**INNER_JIT)
def _tile(c, real, number, worker):
    """Form one tile's gradient and, in training, apply the update while it is in cache."""
    tile = vector(c.tiles + number * 24, np.int64, 3)
    layer, first, last = tile[0], tile[1], tile[2]
    _, n_out, weights_at, biases_at, _ = _layer(c, layer)
    is_bias = first < 0
    lo = biases_at if is_bias else weights_at + first * n_out
    n = n_out if is_bias else (last - first) * n_out
    whole = c.mode == GRADIENT
    out = c.gradient + lo * c.itemsize if whole else c.buffers + worker * c.tile_size * c.itemsize
    if is_bias:
        _bias_gradient(c, real, layer, out, whole)
    else:
        _weight_gradient(c, real, layer, first, last, out, whole)
    squares = 0.0
    if c.penalized and not is_bias:
        squares = np.float64(_sum_of_squares(vector(c.params + lo * c.itemsize, real, n)))
    vector(c.tile_squares, np.float64, c.n_tiles)[number] = squares
    if not whole:
        constants = c.bias_constants if is_bias else c.weight_constants
        # The kernel indexes weights, gradient and state alike; the tile's buffer begins at ``lo``.
        call_update(c.update, c.params, out - lo * c.itemsize, c.state, c.stride, constants, lo, lo + n)


@njit(**INNER_JIT)
def _tiles(c, real, worker):
    """Take tiles of the weights until none is left."""
    while True:
        number = fetch_add(c.counters + 8)
        if number >= c.n_tiles:
            return
        _tile(c, real, number, worker)


def rows_task(context, worker):
    """First pass. A template: ``driver.py`` binds ``real``, the element type."""
    _rows(carray(pointer(context, CONTEXT_TYPE), 1)[0], real, worker)  # noqa: F821


def tiles_task(context, worker):
    """Second pass. A template like ``rows_task``."""
    _tiles(carray(pointer(context, CONTEXT_TYPE), 1)[0], real, worker)  # noqa: F821
