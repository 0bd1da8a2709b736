"""Activations and losses on blocks of rows, while these are in cache.

Templates of routines: ``compilation.py`` binds ``real`` and, compiled from the plain functions in
`fastopt.rules`,

- ``value``, ``derivative`` and ``backward`` of an activation, and ``parameter_backward`` if its units learn a
  parameter, or ``value`` of the last layer's,
- ``total``, ``gradient`` and ``is_mean`` of a loss with that last layer, or its ``row``.
"""

import numpy as np

from fastopt.engine.cpu.context import layer_record, record, row_number
from fastopt.kernels.intrinsics import matrix, scratch, vector

#: Elements that `activate` copies at once.
PART = 256


def activate(z, a, rows, units, slopes):
    """Write the outputs for the pre-activations at ``z``, of any number of rows, to ``a``, or in place.

    By way of the stack: LLVM vectorises no loop that reads what it may be writing, and leaves out stores that
    change nothing. Memory of their own for all outputs was slower, with two threads on MNIST.
    """
    n = rows * units
    copied = scratch(real, PART)
    for first in range(0, n, PART):
        size = min(PART, n - first)
        source, out = (
            vector(z + first * copied.itemsize, real, size),
            vector(a + first * copied.itemsize, real, size),
        )
        for i in range(size):
            copied[i] = source[i]
        for i in range(size):
            out[i] = value(copied[i])


def activate_and_derive(z, a, rows, units, slopes):
    """Write outputs as `activate` does, and over the pre-activations the derivatives at these.

    Value and derivative share most of the work, an exponential for example.
    """
    n = rows * units
    copied = scratch(real, PART)
    for first in range(0, n, PART):
        size = min(PART, n - first)
        skip = first * copied.itemsize
        derivatives, out = vector(z + skip, real, size), vector(a + skip, real, size)
        for i in range(size):
            copied[i] = derivatives[i]
        for i in range(size):
            out[i] = value(copied[i])
            derivatives[i] = derivative(copied[i])


def activate_learnt(z, a, rows, units, slopes):
    """As `activate`, of an activation whose units have learnt the parameters at ``slopes``."""
    z, a, slopes = matrix(z, real, (rows, units)), matrix(a, real, (rows, units)), vector(slopes, real, units)
    for i in range(rows):
        for j in range(units):
            a[i, j] = value(z[i, j], slopes[j])


def backpropagate(points, delta, rows, units, slopes):
    """Multiply the gradients at ``delta`` by the activation's derivative.

    At ``points`` are the outputs, of which the derivative is a function, or the derivatives.
    """
    points, delta = vector(points, real, rows * units), vector(delta, real, rows * units)
    for i in range(delta.shape[0]):
        delta[i] = backward(delta[i], points[i])


def backpropagate_learnt(points, delta, rows, units, slopes):
    """As `backpropagate`; replace the pre-activations at ``points``, no longer needed, by slopes' gradients.

    Each row's, which the second phase of a step sums.
    """
    points, delta = matrix(points, real, (rows, units)), matrix(delta, real, (rows, units))
    slopes = vector(slopes, real, units)
    for i in range(rows):
        for j in range(units):
            z, d = points[i, j], delta[i, j]
            points[i, j] = parameter_backward(d, z, slopes[j])
            delta[i, j] = backward(d, z, slopes[j])


def output(z, rows, n_outputs):
    """Replace the last layer's pre-activations at ``z`` by the network's outputs."""
    z = vector(z, real, rows * n_outputs)
    for i in range(z.shape[0]):
        z[i] = value(z[i])


def normalized_output(z, rows, n_outputs):
    """Replace each row of the last layer's pre-activations at ``z`` by its softmax."""
    z, smallest = matrix(z, real, (rows, n_outputs)), real(np.finfo(real).tiny)
    for i in range(rows):
        top = z[i, 0]
        for j in range(1, n_outputs):
            top = max(top, z[i, j])
        for j in range(n_outputs):
            z[i, j] = value(z[i, j] - top)
        total = real(0)
        for j in range(n_outputs):
            total += z[i, j]
        scale = real(1) / total
        for j in range(n_outputs):
            z[i, j] = max(z[i, j] * scale, smallest)  # a subnormal product would be 0; NaN stays NaN


def total(p, y):
    """Return the sum of the losses of some outputs."""
    sum_of_losses = 0.0
    for i in range(p.shape[0]):
        sum_of_losses += np.float64(value(p[i], y[i]))
    return sum_of_losses


def loss(context, block, lo, hi):
    """Write the summed loss of the batch's rows ``lo:hi``, and the gradient at the last pre-activations.

    The targets' rows are first copied to where the gradient will stand.
    """
    c = record(context)
    layer = layer_record(c, c.n_layers - 1)
    rows, n = hi - lo, layer.n_out
    at_p, at_delta = layer.target + lo * layer.target_stride, layer.delta + lo * layer.target_stride
    p, delta = matrix(at_p, real, (rows, n)), matrix(at_delta, real, (rows, n))
    for i in range(rows):
        y = vector(c.y + row_number(c, lo + i) * layer.target_stride, real, n)
        for j in range(n):
            delta[i, j] = y[j]
    sum_of_losses = 0.0
    if c.has_weight:
        for i in range(rows):
            weight = vector(c.sample_weight + row_number(c, lo + i) * c.itemsize, real, 1)[0]
            sum_of_losses += total(p[i], delta[i]) * weight
            for j in range(n):
                delta[i, j] = gradient(p[i, j], delta[i, j]) * weight
    else:
        flat_p, flat_delta = vector(at_p, real, rows * n), vector(at_delta, real, rows * n)
        sum_of_losses = total(flat_p, flat_delta)
        for i in range(flat_p.shape[0]):
            flat_delta[i] = gradient(flat_p[i], flat_delta[i])
    losses = vector(c.block_losses, np.float64, block + 1)
    losses[block] = sum_of_losses / n if is_mean else sum_of_losses


def loss_of_rows(context, block, lo, hi):
    """Do what `loss` does by one call a row: outputs may depend on each other, and have a parameter each."""
    c = record(context)
    layer = layer_record(c, c.n_layers - 1)
    rows, n = hi - lo, layer.n_out
    p = matrix(layer.target + lo * layer.target_stride, real, (rows, n))
    delta = matrix(layer.delta + lo * layer.target_stride, real, (rows, n))
    k = vector(c.loss_parameters, real, n)
    sum_of_losses = 0.0
    for i in range(rows):
        at, weight = row_number(c, lo + i), real(1)
        if c.has_weight:
            weight = vector(c.sample_weight + at * c.itemsize, real, 1)[0]
        y = vector(c.y + at * layer.target_stride, real, n)
        sum_of_losses += np.float64(row(p[i], y, delta[i], k)) * weight
        for j in range(n):
            delta[i, j] *= weight
    losses = vector(c.block_losses, np.float64, block + 1)
    losses[block] = sum_of_losses / n if is_mean else sum_of_losses
