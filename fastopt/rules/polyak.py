"""Methods that choose the step from the value of the loss."""

import math

import numpy as np

from fastopt.rules.tensorwise import sweep, tensor_rule

_TINY = np.finfo(np.float64).eps


@sweep(sums=1)
def _square(w, g):
    return g * g


@sweep("w")
def _descend(w, g, *, lr):
    return w - lr * g


@tensor_rule("polyaksgd")
def polyaksgd(x, h):
    """Polyak (1964); Loizou et al. (2021), the bounded stochastic step; one step size for all tensors."""
    (square,) = x.sweep(_square)
    square = square.sum() + h["eps"]
    gap = np.maximum(x.loss - h["f_min"], 0.0)
    step = np.where(square > _TINY, gap / np.where(square > _TINY, square, 1.0), 0.0)
    x.sweep(_descend, lr=h["scaling"] * np.minimum(step, h["lr"]))


def _bounded_step(x, h, b, correct, square, ahead, inner):
    """Update MoMo's averages of the loss and of <g, w> and its lower bound; return the step size.

    ``correct`` is the bias correction of the averages; ``square``, ``ahead`` and ``inner`` are <m, m / D>,
    <g, w> and <m, w> over all tensors. The model of the loss uses the largest learning rate and the largest
    decay.
    """
    shared, lr = x.shared, h["lr"].max()
    grow = 1.0 + lr * h["weight_decay"].max()
    shared["barf"] = b * shared["barf"] + (1.0 - b) * x.loss
    shared["gamma"] = b * shared["gamma"] + (1.0 - b) * ahead
    room = shared["barf"] - shared["gamma"]
    least, bound = h["lower_bound"][0], shared["lb"]
    if h["adapt_lower_bound"]:
        lower = np.maximum((grow * room + inner) / (2.0 * correct * grow), least)
        bound = np.where(grow * room + inner < grow * correct * bound, lower, bound)
    is_usable = square > _TINY
    gap = np.maximum(grow * (room - correct * bound) + inner, 0.0)
    # A gap that is NaN, as the loss may be, makes the longest step.
    step = np.where(is_usable, np.fmin(lr / correct, gap / np.where(is_usable, square, 1.0)), 0.0)
    if h["adapt_lower_bound"]:
        shared["lb"] = np.maximum((room + inner - 0.5 * step * square) / correct, least)
    return step


def _decay(h):
    return 1.0 / (1.0 + h["lr"] * h["weight_decay"])


_SHARED = {"barf": 0.0, "gamma": 0.0, "lb": "lower_bound"}


@sweep("m", sums=3)
def _momo_moment(w, g, m, *, d):
    m = m + d * (g - m)
    return m, m * m, g * w, m * w


@sweep("w")
def _momo_step(w, m, *, keep, step):
    return keep * (w - step * m)


@tensor_rule("momo", slots={"m": "exp_avg"}, shared=_SHARED)
def momo(x, h):
    """Schaipp et al. (2023), algorithm 1; the averages begin with the first gradient."""
    b = np.where(x.t.max() == 1, 0.0, h["beta"][0])
    sums = x.sweep(_momo_moment, d=np.where(x.t == 1, 1.0, 1.0 - h["beta"])).sum(axis=1)
    x.sweep(_momo_step, keep=_decay(h), step=_bounded_step(x, h, b, 1.0, *sums))


@sweep("m v", sums=3)
def _momoadam_moments(w, g, m, v, *, d1, b2, d2, c2, eps):
    m = m + d1 * (g - m)
    v = b2 * v + d2 * g * g
    return m, v, m * m / (eps + math.sqrt(v) / c2), g * w, m * w


@sweep("w")
def _momoadam_step(w, m, v, *, keep, step, c2, eps):
    return keep * (w - step * m / (eps + math.sqrt(v) / c2))


@tensor_rule("momoadam", slots={"m": "exp_avg", "v": "exp_avg_sq"}, shared=_SHARED)
def momoadam(x, h):
    """Schaipp et al. (2023), algorithm 3: MoMo with Adam's preconditioner."""
    b1, b2 = h["betas"]
    root = {"c2": np.sqrt(1.0 - b2**x.t), "eps": h["eps"]}
    sums = x.sweep(_momoadam_moments, d1=1.0 - b1, b2=b2, d2=1.0 - b2, **root).sum(axis=1)
    step = _bounded_step(x, h, b1[0], 1.0 - b1[0] ** x.t.max(), *sums)
    x.sweep(_momoadam_step, keep=_decay(h), step=step, **root)
