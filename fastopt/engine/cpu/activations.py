"""Activations, output functions and losses on blocks of rows.

Each works in place on contiguous blocks that are still in cache. Formulas and clipping are scikit-learn's.
Templates: ``driver.py`` binds ``real``.
"""

import math

import numpy as np
from numba import njit

from fastopt.engine.cpu.context import layer_record, matrix, record, row_number, vector
from fastopt.engine.cpu.vector_math import INNER_JIT, exp, like, log, logistic, tanh

ACTIVATIONS = {"identity": 0, "relu": 1, "tanh": 2, "logistic": 3}
OUTPUTS = {"identity": 0, "softmax": 1, "logistic": 2, "exp": 3}
LOSSES = {"squared_error": 0, "log_loss": 1, "binary_log_loss": 2, "poisson": 3}


def activate(kind, z, n):
    """Replace the ``n`` pre-activations at ``z`` (any number of rows) by the layer's outputs."""
    z = vector(z, real, n)
    if kind == 1:
        zero = real(0)
        for i in range(n):
            z[i] = zero if z[i] < zero else z[i]  # NaN stays NaN
    elif kind == 2:
        for i in range(n):
            z[i] = tanh(z[i])
    elif kind == 3:
        for i in range(n):
            z[i] = logistic(z[i])


def backpropagate(kind, a, delta, n):
    """Multiply the ``n`` elements at ``delta`` by the derivative, in terms of the outputs at ``a``."""
    a, delta = vector(a, real, n), vector(delta, real, n)
    zero, one = real(0), real(1)
    if kind == 1:
        for i in range(n):
            delta[i] = zero if a[i] == zero else delta[i]
    elif kind == 2:
        for i in range(n):
            delta[i] *= one - a[i] * a[i]
    elif kind == 3:
        for i in range(n):
            delta[i] *= a[i] * (one - a[i])


@njit(**INNER_JIT)
def _softmax(z):
    """Replace each row of ``z`` by its softmax."""
    for i in range(z.shape[0]):
        top = z[i, 0]
        for j in range(1, z.shape[1]):
            top = max(top, z[i, j])
        for j in range(z.shape[1]):
            z[i, j] = exp(z[i, j] - top)
        total = like(top, 0.0)
        for j in range(z.shape[1]):
            total += z[i, j]
        scale = like(top, 1.0) / total
        for j in range(z.shape[1]):
            z[i, j] *= scale


def output(kind, z, rows, n_outputs):
    """Replace the last layer's pre-activations at ``z`` by the network's outputs."""
    if kind == 1:
        _softmax(matrix(z, real, rows, n_outputs))
        return
    flat = vector(z, real, rows * n_outputs)
    if kind == 2:
        for i in range(flat.shape[0]):
            flat[i] = logistic(flat[i])
    elif kind == 3:
        for i in range(flat.shape[0]):
            flat[i] = math.exp(flat[i])  # may overflow to infinity, which must be seen


@njit(**INNER_JIT)
def _clipped(p, smallest, largest):
    """Clip as scikit-learn does, to [eps, 1 - eps]; a NaN passes through both comparisons."""
    return smallest if p < smallest else (largest if p > largest else p)


@njit(**INNER_JIT | {"fastmath": {"contract", "reassoc"}})
def _total(kind, p, y, smallest, largest):
    """Return the sum of the losses of some outputs; reassociation makes it vector sums, always the same.

    One loop a kind, because a branch or a call inside would keep LLVM from vectorising. Squared errors are
    left whole, see `loss`.
    """
    total = 0.0
    one = like(smallest, 1.0)
    if kind == 1:
        for i in range(p.shape[0]):
            total -= np.float64(y[i] * log(_clipped(p[i], smallest, largest)))
    elif kind == 2:
        for i in range(p.shape[0]):
            q = _clipped(p[i], smallest, largest)
            total -= np.float64(y[i] * log(q) + (one - y[i]) * log(one - q))
    elif kind == 0:
        for i in range(p.shape[0]):
            total += np.float64((p[i] - y[i]) * (p[i] - y[i]))
    else:
        for i in range(p.shape[0]):
            total += np.float64(p[i]) - np.float64(y[i])
            if y[i] != 0:
                total += y[i] * math.log(y[i] / p[i])
    return total


def loss(context, block, lo, hi):
    """Write the summed loss of the batch's rows ``lo:hi``, and the gradient at the last pre-activations.

    For every pair of output function and loss that is offered the gradient is output - target. The targets'
    rows come first to where it will stand.
    """
    c = record(context)
    layer = layer_record(c, c.n_layers - 1)
    rows, n = hi - lo, layer.n_out
    p = matrix(layer.target + lo * layer.target_stride, real, rows, n)
    delta = matrix(layer.delta + lo * layer.target_stride, real, rows, n)
    for i in range(rows):
        y = vector(c.y + row_number(c, lo + i) * layer.target_stride, real, n)
        for j in range(n):
            delta[i, j] = y[j]
    smallest = like(p[0, 0], np.finfo(p.dtype).eps)
    largest = real(1) - smallest
    total = 0.0
    if c.has_weight:
        for i in range(rows):
            weight = vector(c.sample_weight + row_number(c, lo + i) * c.itemsize, real, 1)[0]
            total += _total(c.loss_kind, p[i], delta[i], smallest, largest) * weight
            for j in range(n):
                delta[i, j] = (p[i, j] - delta[i, j]) * weight
    else:
        flat_p, flat_delta = p.ravel(), delta.ravel()
        total = _total(c.loss_kind, flat_p, flat_delta, smallest, largest)
        for i in range(flat_p.shape[0]):
            flat_delta[i] = flat_p[i] - flat_delta[i]
    vector(c.block_losses, np.float64, block + 1)[block] = 0.5 * total / n if c.loss_kind == 0 else total
