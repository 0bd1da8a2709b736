"""The arithmetic of the wrappers (clipping, averaging, ...), as sweeps (`fastopt.rules.tensorwise`).

``w`` and ``g`` are weights and gradient; ``b`` receives the changed gradient, which the update then reads.
"""

import numpy as np

from fastopt.rules.randomness import gaussian
from fastopt.rules.tensorwise import sweep


@sweep(sums=1)
def square(g):
    """Sum the squares of the gradient."""
    return g * g


@sweep(sums=1)
def zero_or_nan(g):
    """Sum to 0 if all elements of the gradient are finite, else to NaN."""
    # Not 0.0 * g: reassociated with the scale of g, that is 0 where the scaled gradient overflows.
    return g - g


@sweep("b")
def scale(g, b):
    """Copy the gradient, which arrives already scaled."""
    return g


@sweep("b")
def clamp(g, b, *, bound):
    """Clip each element to ``[-bound, bound]``; NaN stays NaN."""
    return bound if g > bound else (-bound if g < -bound else g)


@sweep("b")
def add_noise(g, b, i, *, high, low, deviation):
    """Add Gaussian noise (Neelakantan et al., 2015)."""
    key = np.uint32(np.uint32(high) * np.uint32(65536) + np.uint32(low))
    return g + deviation * gaussian(key, i)


@sweep(column_sums=1)
def column_sum(g):
    """Sum the gradient over each unit."""
    return g


@sweep("b", columns="m")
def center(g, b, m):
    """Subtract from each element of the gradient the mean of its unit (Yong et al., 2020)."""
    return g - m


@sweep(sums=2)
def both_squares(w, g):
    """Sum the squares of the weights, and those of the gradient."""
    return w * w, g * g


@sweep(column_sums=2)
def unit_squares(w, g):
    """Sum the squares of weights and of gradient over each unit."""
    return w * w, g * g


@sweep("b", columns="f")
def scale_units(g, b, f):
    """Multiply the gradient of each unit by the unit's factor."""
    return f * g


@sweep("b")
def accumulate(g, b, *, share, keep):
    """Update a running mean of gradients; with a share of 1 whatever it was before, infinity or NaN."""
    return keep * b + share * g if keep else g


@sweep("a")
def average(w, a, *, share, keep):
    """Update a running average of the weights; with a share of 1 whatever it was before."""
    return keep * a + share * w if keep else w


@sweep("w a")
def meet(w, a, *, share, keep):
    """Move the slow weights towards the fast ones, and reset the fast ones to them (Zhang et al., 2019)."""
    a = keep * a + share * w
    return a, a


@sweep("v")
def set_aside(w, v):
    """Copy the weights to ``v``, where the update is made before `mask` decides which elements to keep."""
    return w


@sweep("w")
def mask(w, g, v):
    """Take the updated weight ``v`` only where its step is a descent direction (Liang et al., 2024)."""
    step = v - w
    return v if step * g < 0.0 else w + 0.0 * step  # 0 * NaN: a NaN is not masked


@sweep("w d", sums=1)
def mask_apart(w, g, v, d):
    """As `mask`, but write the steps that are kept to ``d``, without making them, and count them."""
    step = v - w
    agrees = step * g < 0.0
    return w, (step if agrees else 0.0 * step), (1.0 if agrees else 0.0)


@sweep("w")
def lengthen(w, d, *, factor):
    """Make the steps that `mask_apart` kept, scaled by one factor."""
    return w + factor * d


@sweep(sums=1)
def ascent_square(w, g, *, share, offset):
    """Sum the squares of the ascent direction of `ascend`."""
    g = (share * abs(w) + offset) * g
    return g * g


@sweep("w")
def ascend(w, g, *, share, offset, factor):
    """Move the weights uphill along the gradient (SAM: Foret et al., 2021; ASAM: Kwon et al., 2021)."""
    size = share * abs(w) + offset
    return w + factor * size * size * g


@sweep(column_sums=1)
def weight_squares(w):
    """Sum the squares of the weights over each unit."""
    return w * w


@sweep("w", columns="f")
def scale_weights(w, f):
    """Multiply the weights of each unit by the unit's factor."""
    return f * w
