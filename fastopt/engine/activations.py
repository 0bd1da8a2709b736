"""Activations, output functions and losses on blocks of rows.

Each works in place on contiguous blocks, so that bias, activation and derivative are one pass over data
that is still in cache. Formulas and clipping are scikit-learn's.
"""

import math

import numpy as np
from numba import njit

from fastopt.engine.functions import INNER_JIT, exp, like, log, logistic, tanh

ACTIVATIONS = {"identity": 0, "relu": 1, "tanh": 2, "logistic": 3}
OUTPUTS = {"identity": 0, "softmax": 1, "logistic": 2, "exp": 3}
LOSSES = {"squared_error": 0, "log_loss": 1, "binary_log_loss": 2, "poisson": 3}


@njit(**INNER_JIT)
def activate(kind, z):
    """Replace the pre-activations ``z`` (1-D, any number of rows) by the layer's outputs."""
    if kind == 1:
        zero = like(z[0], 0.0)
        for i in range(z.shape[0]):
            z[i] = zero if z[i] < zero else z[i]  # NaN stays NaN
    elif kind == 2:
        for i in range(z.shape[0]):
            z[i] = tanh(z[i])
    elif kind == 3:
        for i in range(z.shape[0]):
            z[i] = logistic(z[i])


@njit(**INNER_JIT)
def backpropagate(kind, a, delta):
    """Multiply ``delta`` by the activation's derivative, written in terms of its output ``a``."""
    if kind == 1:
        zero = like(a[0], 0.0)
        for i in range(a.shape[0]):
            delta[i] = zero if a[i] == zero else delta[i]
    elif kind == 2:
        one = like(a[0], 1.0)
        for i in range(a.shape[0]):
            delta[i] *= one - a[i] * a[i]
    elif kind == 3:
        one = like(a[0], 1.0)
        for i in range(a.shape[0]):
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


@njit(**INNER_JIT)
def output(kind, z):
    """Replace the last layer's pre-activations ``z`` (rows, n_outputs) by the network's outputs."""
    if kind == 1:
        _softmax(z)
        return
    flat = z.ravel()
    if kind == 2:
        for i in range(flat.shape[0]):
            flat[i] = logistic(flat[i])
    elif kind == 3:
        for i in range(flat.shape[0]):
            flat[i] = math.exp(flat[i])  # may overflow to infinity, which must be seen


@njit(**INNER_JIT)
def _term(kind, p, target, smallest, largest):
    """Return the loss of one output; squared errors are left whole, see `loss_and_delta`."""
    if kind == 0:
        return np.float64((p - target) * (p - target))
    if kind == 3:
        excess = np.float64(p) - np.float64(target)
        return excess + target * math.log(target / p) if target != 0 else excess
    # scikit-learn clips to [eps, 1 - eps]; a NaN passes through both comparisons.
    q = smallest if p < smallest else (largest if p > largest else p)
    term = target * log(q)
    if kind == 2:
        one = like(p, 1.0)
        term += (one - target) * log(one - q)
    return -np.float64(term)


@njit(**INNER_JIT | {"fastmath": {"contract", "reassoc"}})
def _total(kind, p, y, smallest, largest):
    """Return the sum of the losses of some outputs; reassociation makes it vector sums, always the same."""
    total = 0.0
    if kind == 1:  # one loop a kind: a branch inside would keep LLVM from vectorising
        for i in range(p.shape[0]):
            total += _term(1, p[i], y[i], smallest, largest)
    elif kind == 2:
        for i in range(p.shape[0]):
            total += _term(2, p[i], y[i], smallest, largest)
    else:
        for i in range(p.shape[0]):
            total += _term(kind, p[i], y[i], smallest, largest)
    return total


@njit(**INNER_JIT)
def loss_and_delta(kind, p, y, weight, weighted, delta):
    """Fill ``delta`` with the gradient at the last pre-activations and return the summed loss.

    For every pair of output function and loss that is offered the gradient is ``p - y``.

    Parameters
    ----------
    kind : int
        One of ``LOSSES``.
    p, y, delta : 2-D arrays (rows, n_outputs)
        Outputs, targets, and the gradient that is written; ``delta`` may be ``y``.
    weight : 1-D array
        Weight of each row; read only when ``weighted``.
    """
    smallest = like(p[0, 0], np.finfo(p.dtype).eps)
    largest = like(smallest, 1.0) - smallest
    total = 0.0
    if weighted:
        for i in range(p.shape[0]):
            total += _total(kind, p[i], y[i], smallest, largest) * weight[i]
            for j in range(p.shape[1]):
                delta[i, j] = (p[i, j] - y[i, j]) * weight[i]
    else:
        flat_p, flat_y, flat_delta = p.ravel(), y.ravel(), delta.ravel()
        total = _total(kind, flat_p, flat_y, smallest, largest)
        for i in range(flat_p.shape[0]):
            flat_delta[i] = flat_p[i] - flat_y[i]
    return 0.5 * total / p.shape[1] if kind == 0 else total
