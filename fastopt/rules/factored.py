"""Methods with a factored second moment: one number for each row and column, not for each weight."""

import functools
import math

import numpy as np

from fastopt.rules.registry import register
from fastopt.rules.tensorwise import sweep, tensor_rule


@sweep(sums=1, row_sums=1, column_sums=1)
def _squares(w, g):
    return w * w, g * g, g * g


def _factored(g, a, b, most):
    # a and b are already square roots, taken once for each row and column, not for each weight.
    gain = a * b
    return g * (most if gain > most else gain)


@sweep(sums=1, rows="a", columns="b")
def _factored_size(g, a, b, *, most):
    u = _factored(g, a, b, most)
    return u * u


@sweep("w", rows="a", columns="b")
def _factored_step(w, g, a, b, *, most, lr):
    return w - lr * _factored(g, a, b, most)


def _adafactor_constants(x, h):
    eps1, eps2 = h["eps"]
    eps1 = np.where(np.isnan(eps1), [np.finfo(dtype).eps for dtype in x.dtypes], eps1)
    return eps1, eps2, x.t ** h["beta2_decay"], np.minimum(h["lr"], 1.0 / np.sqrt(x.t))


@tensor_rule(
    "adafactor",
    slots={"r": "row_var", "c": "col_var"},
    kinds={"row_var": "row", "col_var": "column", "a": "row", "b": "column"},
    work="a b",
)
def adafactor(x, h):
    """Adafactor for matrices: Shazeer & Stern (2018), algorithms 4 and 5, as implemented in torch."""
    eps1, eps2, weight, rho = _adafactor_constants(x, h)
    keep = 1.0 - weight
    (square,), rows, columns = x.sweep(_squares)
    factors = x.values("r"), x.values("c")
    lengths = [[max(len(values), 1) for values in each] for each in factors]
    for letter, old, sums, across in zip("rc", factors, (rows, columns), lengths[::-1], strict=True):
        x.assign(letter, [keep[i] * old[i] + weight[i] * sums[i][0] / n for i, n in enumerate(across)])
    rows, columns = x.values("r"), x.values("c")
    means = [np.maximum(r.sum() / n, least) for r, n, least in zip(rows, lengths[0], eps1, strict=True)]
    # A row of zeros has an infinite gain, which the sweeps cap.
    x.assign("a", [np.sqrt(mean / r) for mean, r in zip(means, rows, strict=True)])
    x.assign("b", [1.0 / np.sqrt(c) for c in columns])
    most = 1.0 / eps1
    (size,), _, _ = x.sweep(_factored_size, most=most)
    x.sweep(_factored_step, lr=_adafactor_rate(x, h, eps2, rho, square, size), most=most)


def _adafactor_rate(x, h, eps2, rho, square, size):
    """Return each tensor's learning rate: relative to its weights' RMS, with the update's RMS clipped."""
    rms, update = (np.sqrt(squares / np.maximum(x.sizes, 1)) for squares in (square, size))
    return np.maximum(eps2, rms) * rho / np.maximum(1.0, update / h["d"])


@sweep("u", sums=1)
def _gradient_and_size(w, g, u):
    return g, w * w


@sweep("w")
def _step_along(w, u, *, lr):
    return w - lr * u


@tensor_rule(
    "adafactor_stack",
    slots={"r": "row_var", "c": "col_var"},
    kinds={"row_var": "row", "col_var": "stacked_column"},
    work="u",
)
def adafactor_stack(x, h):
    """Adafactor for more than two axes, as a stack of matrices: Shazeer & Stern (2018), algorithm 4.

    As in torch, each matrix (the last two axes) has factors of its own, and the RMS of weights and update is
    that of the whole array.
    """
    eps1, eps2, weight, rho = _adafactor_constants(x, h)
    (square,) = x.sweep(_gradient_and_size)
    size = x.call(functools.partial(_divide_stacks, x), weight, eps1, shape=x.sizes.shape)
    x.sweep(_step_along, lr=_adafactor_rate(x, h, eps2, rho, square, size))


def _divide_stacks(x, weight, least):
    """Divide all gradients by their factors; return each one's sum of squares."""
    stacks = zip(*map(x.matrices, "urc"), weight, least, strict=True)
    return np.array([_divide_by_factors(*stack) if stack[0].size else 0.0 for stack in stacks])


def _divide_by_factors(u, r, c, weight, least):
    """Update a stack's factors and divide the gradient ``u`` by their root; return ``u``'s sum of squares."""
    squares = u * u
    r[...] = (1.0 - weight) * r + weight * squares.mean(axis=-1, keepdims=True, dtype=np.float64)
    c[...] = (1.0 - weight) * c + weight * squares.mean(axis=-2, keepdims=True, dtype=np.float64)
    scale = np.maximum(r.mean(axis=-2, keepdims=True, dtype=np.float64), least)
    u /= np.sqrt(np.maximum(r * (c / scale), least * least))
    return np.square(u, dtype=np.float64).sum()


@sweep("v", sums=2)
def _whole_moment(w, g, v, *, keep, d, least):
    v = keep * v + d * g * g
    u = g / math.sqrt(least if v < least else v)
    return v, w * w, u * u


@sweep("w")
def _whole_step(w, g, v, *, least, lr):
    return w - lr * (g / math.sqrt(least if v < least else v))


@tensor_rule("adafactor_vector", slots={"v": "variance"})
def adafactor_vector(x, h):
    """Adafactor for fewer than two axes: Shazeer & Stern (2018), algorithm 4, with an unfactored moment."""
    eps1, eps2, weight, rho = _adafactor_constants(x, h)
    square, size = x.sweep(_whole_moment, keep=1.0 - weight, d=weight, least=eps1 * eps1)
    x.sweep(_whole_step, least=eps1 * eps1, lr=_adafactor_rate(x, h, eps2, rho, square, size))


@sweep("w m a", rows="r", columns="c")
def _sm3_step(w, g, m, a, r, c, *, d, eps, lr):
    a = g * g + (c if c < r else r)
    u = g / math.sqrt(a + eps) if a > 0.0 else a
    m = m + d * (u - m)
    return w - lr * m, m, a


@tensor_rule(
    "sm3",
    slots={"m": "momentum_buffer", "r": "row_accumulator", "c": "col_accumulator"},
    kinds={"row_accumulator": "row", "col_accumulator": "column"},
    work="a",
)
def sm3(x, h):
    """SM3 for matrices: Anil et al. (2019), algorithm SM3-II, with accumulators of rows and columns."""
    x.sweep(_sm3_step, d=1.0 - h["momentum"], eps=h["eps"], lr=h["lr"])
    x.write_largest("a", rows="r", columns="c")


def _sm3_constants(h, t):
    return 1.0 - h["momentum"], h["eps"], h["lr"]


@register("sm3_vector", slots=("momentum_buffer", "accumulator"), constants=_sm3_constants)
def sm3_vector(w, g, m, a, d, eps, lr):
    """SM3 for vectors: Anil et al. (2019), with one accumulator for each weight."""
    a = a + g * g
    u = g / math.sqrt(a + eps) if a > 0.0 else a
    m = m + d * (u - m)
    return w - lr * m, m, a
