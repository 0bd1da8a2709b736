"""Methods that keep Adam's two moments and use them otherwise."""

import math

from fastopt.rules.registry import register


def _nadam(h, t, mu_product):
    b1, b2 = h["betas"]
    mu, mu_next = (_schedule(h, b1, step) for step in (t, t + 1))
    mu_product = mu_product * mu
    c2 = (1.0 - b2**t) ** 0.5
    now = h["lr"] * c2 * (1.0 - mu) / (1.0 - mu_product)
    ahead = h["lr"] * c2 * mu_next / (1.0 - mu_product * mu_next)
    return (now, ahead, 1.0 - b1, 1.0 - b2, h["eps"] * c2), (mu_product,)


def _schedule(h, b1, t):
    decay = h["momentum_decay"]
    return b1 if decay is None else b1 * (1.0 - 0.5 * 0.96 ** (t * decay))


@register("nadam", slots=("exp_avg", "exp_avg_sq"), constants=_nadam, scalars={"mu_product": 1.0})
def nadam(w, g, m, v, now, ahead, d1, d2, eps):
    """Dozat (2016), with torch's schedule of the momentum; d = 1 - beta."""
    m = m + d1 * (g - m)
    v = v + d2 * (g * g - v)
    return w - (now * g + ahead * m) / (math.sqrt(v) + eps), m, v


def _radam(h, t):
    b1, b2 = h["betas"]
    c1, c2 = 1.0 - b1**t, (1.0 - b2**t) ** 0.5
    infinite = 2.0 / (1.0 - b2) - 1.0
    length = infinite - 2.0 * t * b2**t / (1.0 - b2**t)
    rectified = length > 5.0
    ratio = (length - 4.0) * (length - 2.0) * infinite / ((infinite - 4.0) * (infinite - 2.0) * length)
    rectify = (ratio * rectified) ** 0.5 * c2 + (1.0 - rectified)
    eps = h["eps"] * c2 if h["eps_mode"] == "corrected" else h["eps"]
    return h["lr"] / c1 * rectify, 1.0 - b1, 1.0 - b2, eps, rectified


@register("radam", slots=("exp_avg", "exp_avg_sq"), constants=_radam)
def radam(w, g, m, v, step, d1, d2, eps, rectified):
    """Liu et al. (2020), algorithm 2; torch's epsilon stands beside the uncorrected root."""
    m = m + d1 * (g - m)
    v = v + d2 * (g * g - v)
    return w - (step * m / (math.sqrt(v) + eps) if rectified else step * m), m, v


def _adamax(h, t):
    b1, b2 = h["betas"]
    inside, outside = (h["eps"], 0.0) if h["eps_in_max"] else (0.0, h["eps"])
    return h["lr"] / (1.0 - b1**t), 1.0 - b1, b2, inside, outside


@register("adamax", slots=("exp_avg", "exp_inf"), constants=_adamax)
def adamax(w, g, m, u, step, d1, b2, inside, outside):
    """Kingma & Ba (2015), algorithm 2, with an epsilon in the maximum (torch) or beside it (Keras)."""
    m = m + d1 * (g - m)
    old, new = b2 * u, abs(g) + inside
    largest = old if old > new else new
    u = largest if old == old else old  # a NaN on either side stays
    return w - step * m / (u + outside), m, u
