"""What wrappers do to gradients and weights, as sweeps (`fastopt.rules.tensorwise`).

``w`` and ``g`` are weights and gradient; ``b`` takes the changed gradient, which the update then reads.
"""

import numpy as np

from fastopt.rules.randomness import gaussian
from fastopt.rules.tensorwise import sweep


@sweep(sums=1)
def square(g):
    """Add up squares."""
    return g * g


@sweep(sums=1)
def zero_or_nan(g):
    """Add up to 0 if all elements are finite, else to NaN."""
    # Not 0.0 * g: reassociated with the scale of g, that is 0 where the scaled gradient overflows.
    return g - g


@sweep("b")
def scale(g, b):
    """Copy the gradient, which arrives scaled."""
    return g


@sweep("b")
def clamp(g, b, *, bound):
    """Bound each value; NaN stays."""
    return bound if g > bound else (-bound if g < -bound else g)


@sweep("b")
def add_noise(g, b, i, *, high, low, deviation):
    """Neelakantan et al. (2015): add Gaussian noise."""
    key = np.uint32(np.uint32(high) * np.uint32(65536) + np.uint32(low))
    return g + deviation * gaussian(key, i)


@sweep(column_sums=1)
def column_sum(g):
    """Add up the gradient of each unit."""
    return g


@sweep("b", columns="m")
def center(g, b, m):
    """Yong et al. (2020): take the mean of its unit from each gradient."""
    return g - m


@sweep(sums=2)
def both_squares(w, g):
    """Add up squares of weights and of gradients."""
    return w * w, g * g


@sweep(column_sums=2)
def unit_squares(w, g):
    """Add up squares of the weights and of the gradients of each unit."""
    return w * w, g * g


@sweep("b", columns="f")
def scale_units(g, b, f):
    """Multiply the gradients of each unit by its factor."""
    return f * g


@sweep("b")
def accumulate(g, b, *, share, keep):
    """Move a mean of gradients on."""
    return keep * b + share * g


@sweep("a")
def copy(w, a):
    """Begin an average with the weights."""
    return w


@sweep("a")
def average(w, a, *, share, keep):
    """Move an average of weights on."""
    return keep * a + share * w


@sweep("w a")
def meet(w, a, *, share, keep):
    """Zhang et al. (2019): move slow weights towards the fast ones, and these to them."""
    a = keep * a + share * w
    return a, a


@sweep("v")
def set_aside(w, v):
    """Copy the weights, for an update that is to be looked at first."""
    return w


@sweep("w")
def mask(w, g, v):
    """Liang et al. (2024): go from ``w`` to ``v`` only against the gradient."""
    step = v - w
    return v if step * g < 0.0 else w + 0.0 * step  # 0 * NaN: what diverged stays seen


@sweep("w d", sums=1)
def mask_apart(w, g, v, d):
    """As `mask`, with the steps that go on in ``d``, not yet made, and their number."""
    step = v - w
    agrees = step * g < 0.0
    return w, (step if agrees else 0.0 * step), (1.0 if agrees else 0.0)


@sweep("w")
def lengthen(w, d, *, factor):
    """Make the steps of `mask_apart`, all by the same factor longer."""
    return w + factor * d


@sweep(sums=1)
def ascent_square(w, g, *, share, offset):
    """Add up squares of what `ascend` goes along."""
    g = (share * abs(w) + offset) * g
    return g * g


@sweep("w")
def ascend(w, g, *, share, offset, factor):
    """Foret et al. (2021), and Kwon et al. (2021): climb along the gradient."""
    size = share * abs(w) + offset
    return w + factor * size * size * g
