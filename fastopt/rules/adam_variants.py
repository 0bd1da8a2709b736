"""Variants of Adam with its two moments and another step: NAdam, RAdam, Adamax, AdEMAMix."""

import math

from fastopt.rules.registry import register


def _nadam(h, t, mu_product):
    b1, b2 = h["betas"]
    mu, mu_next = (_schedule(h, b1, step) for step in (t, t + 1))
    mu_product = mu_product * mu
    c2 = (1.0 - b2**t) ** 0.5
    now = h["lr"] * c2 * (1.0 - mu) / (1.0 - mu_product)
    ahead = h["lr"] * c2 * mu_next / (1.0 - mu_product * mu_next)
    return (now, ahead, 1.0 - b1, b2, 1.0 - b2, h["eps"] * c2), (mu_product,)


def _schedule(h, b1, t):
    decay = h["momentum_decay"]
    return b1 if decay is None else b1 * (1.0 - 0.5 * 0.96 ** (t * decay))


@register("nadam", slots=("exp_avg", "exp_avg_sq"), constants=_nadam, scalars={"mu_product": 1.0})
def nadam(w, g, m, v, now, ahead, d1, b2, d2, eps):
    """Dozat (2016), with torch's schedule of the momentum; d = 1 - beta."""
    m = m + d1 * (g - m)
    v = b2 * v + d2 * g * g
    return w - (now * g + ahead * m) / (math.sqrt(v) + eps), m, v


def _radam(h, t):
    b1, b2 = h["betas"]
    c1, c2 = 1.0 - b1**t, (1.0 - b2**t) ** 0.5
    infinite = 2.0 / (1.0 - b2) - 1.0
    length = infinite - 2.0 * t * b2**t / (1.0 - b2**t)
    rectified = length > 5.0
    # Where the step is not rectified both lengths are set to 5, so that nothing is divided by 0: with
    # betas[1] = 0.6 the limit is 4, and the denominator has the factor 4 - 4.
    infinite, length = (n * rectified + 5.0 * (1.0 - rectified) for n in (infinite, length))
    ratio = (length - 4.0) * (length - 2.0) * infinite / ((infinite - 4.0) * (infinite - 2.0) * length)
    rectify = ratio**0.5 * c2 * rectified + (1.0 - rectified)
    eps = h["eps"] * c2 if h["eps_mode"] == "corrected" else h["eps"]
    return h["lr"] / c1 * rectify, 1.0 - b1, b2, 1.0 - b2, eps, rectified


@register("radam", slots=("exp_avg", "exp_avg_sq"), constants=_radam)
def radam(w, g, m, v, step, d1, b2, d2, eps, rectified):
    """Liu et al. (2020), algorithm 2; in torch's form epsilon is added to the uncorrected root."""
    m = m + d1 * (g - m)
    v = b2 * v + d2 * g * g
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


def _ademamix(h, t):
    b1, b2, b3 = h["betas"]
    c1, c2 = 1.0 - b1**t, (1.0 - b2**t) ** 0.5
    alpha = h["alpha"]
    if h["alpha_warmup"]:
        alpha = alpha * _ramp(t / h["alpha_warmup"])
    if h["beta3_warmup"]:
        # The half-life grows linearly from that of beta1 to that of beta3.
        ramp = _ramp(t / h["beta3_warmup"])
        life = (1.0 - ramp) * _half_life(b1) + ramp * _half_life(b3)
        b3 = (ramp < 1.0) * 0.5 ** (1.0 / (life + 1.0)) + (ramp >= 1.0) * b3
    scale = h["lr"] * c2
    return scale / c1, scale * alpha, 1.0 - b1, b2, 1.0 - b2, 1.0 - b3, h["eps"] * c2


def _ramp(x):
    return x * (x < 1.0) + (x >= 1.0)


def _half_life(beta):
    return math.log(0.5) / math.log(beta + 1e-8) - 1.0


@register("ademamix", slots=("exp_avg_fast", "exp_avg_sq", "exp_avg_slow"), constants=_ademamix)
def ademamix(w, g, m, v, s, step, slow, d1, b2, d2, d3, eps):
    """Pagliardini et al. (2024), algorithm 1: a second, much slower average, not bias-corrected."""
    m = m + d1 * (g - m)
    v = b2 * v + d2 * g * g
    s = s + d3 * (g - s)
    return w - (step * m + slow * s) / (math.sqrt(v) + eps), m, v, s
