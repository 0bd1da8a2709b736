"""The two passes of a training step; each is one parallel region.

Rows of a batch are independent through forward, loss and backward; tiles of the weight matrices are
independent through gradient and update. So a step synchronises twice, whatever its depth. How the work is
cut depends on the shapes alone, never on the number of threads, and neither do the bits of the result.

Functions take the element type as ``real`` and ``sparse``, which is None where the inputs are dense rows:
Numba leaves out the branches that the type None rules out, so either kind compiles only what it needs.
"""

import numpy as np
from numba import carray, njit

from fastopt.engine.activations import activate, backpropagate, loss_and_delta, output
from fastopt.engine.context import CONTEXT_TYPE, GRADIENT, PREDICT, layer_record, matrix, vector
from fastopt.engine.functions import INNER_JIT
from fastopt.engine.inputs import gather, list_inputs, row_number, sparse_forward, sparse_gradient
from fastopt.engine.primitives import gemm
from fastopt.engine.registers import small_product
from fastopt.kernels.foreign import call_update, fetch_add, pointer

#: Bytes of the right-hand matrix up to which the product in registers beats a BLAS call, which packs its
#: operands: half an L2 cache (``bench/README.md``).
SMALL_PRODUCT = 1 << 17
#: Weights up to which it pays to transpose them for the product in registers on the way back.
SMALL_TRANSPOSE = 1 << 12


@njit(**INNER_JIT)
def _forward(c, real, sparse, block, lo, hi):
    rows = hi - lo
    for number in range(c.n_layers):
        layer = layer_record(c, number)
        n_in, n_out = layer.n_in, layer.n_out
        weights, bias = layer.weights, layer.bias
        source = layer.source + lo * layer.source_stride
        target = layer.target + lo * layer.target_stride
        if sparse is not None and number == 0:
            sparse_forward(c, real, block, lo, hi, target, weights, bias, n_out)
        elif n_out > 1 and layer.nbytes <= SMALL_PRODUCT:
            small_product(
                real(0),
                rows,
                n_out,
                n_in,
                source,
                n_in,
                1,
                layer.weights,
                n_out,
                layer.bias,
                0,
                target,
                n_out,
            )
        else:
            z, b = matrix(target, real, rows, n_out), vector(bias, real, n_out)
            for i in range(rows):
                for j in range(n_out):
                    z[i, j] = b[j]
            gemm(
                c.gemm,
                False,
                False,
                rows,
                n_out,
                n_in,
                source,
                n_in,
                layer.weights,
                n_out,
                real(1),
                target,
                n_out,
            )
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
def _transpose(source, target):
    for i in range(source.shape[0]):
        for j in range(source.shape[1]):
            target[j, i] = source[i, j]


@njit(**INNER_JIT)
def _backward(c, real, lo, hi, worker):
    rows = hi - lo
    scratch = c.buffers + worker * c.buffer_stride
    for number in range(c.n_layers - 1, 0, -1):
        layer = layer_record(c, number)
        n_in, n_out, weights = layer.n_in, layer.n_out, layer.weights
        delta = layer.delta + lo * layer.target_stride
        target = layer.source_delta + lo * layer.source_stride
        if n_in * n_out <= SMALL_TRANSPOSE:
            _transpose(matrix(weights, real, n_in, n_out), matrix(scratch, real, n_out, n_in))
            small_product(
                real(0), rows, n_in, n_out, delta, n_out, 1, scratch, n_in, c.zeros, 0, target, n_in
            )
        else:
            gemm(
                c.gemm,
                False,
                True,
                rows,
                n_in,
                n_out,
                delta,
                n_out,
                layer.weights,
                n_out,
                real(0),
                target,
                n_in,
            )
        outputs = vector(layer.source + lo * layer.source_stride, real, rows * n_in)
        backpropagate(c.activation, outputs, vector(target, real, rows * n_in))


@njit(**INNER_JIT)
def _bias_gradient(c, real, layer, out, start):
    """Write ``start`` plus the column sums of a layer's deltas."""
    small_product(
        real(0), 1, layer.n_out, c.n_rows, c.one, 0, 0, layer.delta, layer.n_out, start, 0, out, layer.n_out
    )


@njit(**INNER_JIT)
def _weight_gradient(c, real, sparse, layer, number, first, last, out, keep):
    """Write (or add, to ``keep``) the rows ``first:last`` of ``inputs.T @ deltas`` of a layer."""
    n_in, n_out, delta = layer.n_in, layer.n_out, layer.delta
    source = layer.source + first * c.itemsize
    if sparse is not None and number == 0:
        sparse_gradient(c, real, first, last, out, delta, n_out, keep)
    elif n_out > 1 and c.n_rows * layer.target_stride <= SMALL_PRODUCT:
        start, step = (out, n_out) if keep else (c.zeros, 0)
        small_product(
            real(0), last - first, n_out, c.n_rows, source, 1, n_in, delta, n_out, start, step, out, n_out
        )
    else:
        beta = real(1) if keep else real(0)
        gemm(c.gemm, True, False, last - first, n_out, c.n_rows, source, n_in, delta, n_out, beta, out, n_out)


@njit(**INNER_JIT | {"fastmath": {"contract", "reassoc"}})
def _sum_of_squares(w):
    """Return the sum of squares; reassociation makes it vector sums, the same for the same tile."""
    total = w[0] * w[0]
    for i in range(1, w.shape[0]):
        total += w[i] * w[i]
    return total


def rows_task(context, worker):
    """Take blocks of rows until none is left. A template: ``driver.py`` binds ``real`` and ``sparse``."""
    c = carray(pointer(context, CONTEXT_TYPE), 1)[0]
    losses = vector(c.block_losses, np.float64, c.n_blocks)
    block = fetch_add(c.counters)
    while block < c.n_blocks:
        lo = block * c.block_rows
        hi = min(lo + c.block_rows, c.n_rows)
        if sparse is None:  # noqa: F821
            gather(c, real, lo, hi)  # noqa: F821
        else:
            list_inputs(c, real, block, lo, hi)  # noqa: F821
        _forward(c, real, sparse, block, lo, hi)  # noqa: F821
        if c.mode != PREDICT:
            losses[block] = _loss(c, real, lo, hi)  # noqa: F821
            _backward(c, real, lo, hi, worker)  # noqa: F821
        block = fetch_add(c.counters)


def tiles_task(context, worker):
    """Take tiles of the weights until none is left: form a gradient, apply it while it is in cache."""
    c = carray(pointer(context, CONTEXT_TYPE), 1)[0]
    whole = c.mode == GRADIENT
    number = fetch_add(c.counters + 8)
    while number < c.n_tiles:
        tile = vector(c.tiles + number * 24, np.int64, 3)
        first, last = tile[1], tile[2]
        layer = layer_record(c, tile[0])
        is_bias = first < 0
        lo = layer.bias_at if is_bias else layer.weights_at + first * layer.n_out
        n = layer.n_out if is_bias else (last - first) * layer.n_out
        out = c.gradient + lo * c.itemsize if whole else c.buffers + worker * c.buffer_stride
        squares = 0.0
        if is_bias:
            _bias_gradient(c, real, layer, out, out if whole else c.zeros)  # noqa: F821
        else:
            _weight_gradient(c, real, sparse, layer, tile[0], first, last, out, whole)  # noqa: F821
            if c.penalized:
                squares = np.float64(_sum_of_squares(vector(c.params + lo * c.itemsize, real, n)))  # noqa: F821
        vector(c.tile_squares, np.float64, c.n_tiles)[number] = squares
        if not whole:
            constants = c.bias_constants if is_bias else c.weight_constants
            # The kernel indexes weights, gradient and state alike; the tile's buffer begins at ``lo``.
            call_update(c.update, c.params, out - lo * c.itemsize, c.state, c.stride, constants, lo, lo + n)
        number = fetch_add(c.counters + 8)
