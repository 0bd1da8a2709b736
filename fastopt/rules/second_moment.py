"""Variants of Adam with another second moment: AdaBelief, AcProp, Yogi, ADOPT, Sophia."""

import math

from fastopt.rules.registry import register


def _belief(h, t):
    b1, b2 = h["betas"]
    c1, c2 = 1.0 - b1**t, (1.0 - b2**t) ** 0.5
    return h["lr"] * c2 / c1, 1.0 - b1, b2, 1.0 - b2, h["eps"] * c2, h["eps_root"]


@register("adabelief", slots=("exp_avg", "exp_avg_var"), constants=_belief)
def adabelief(w, g, m, s, step, d1, b2, d2, eps, inside):
    """Zhuang et al. (2020), algorithm 2; eps_root is added to the state, as in the authors' code."""
    m = m + d1 * (g - m)
    surprise = g - m
    s = b2 * s + d2 * surprise * surprise + inside
    return w - step * m / (math.sqrt(s) + eps), m, s


def _acprop(h, t):
    b1, b2 = h["betas"]
    # The step divides by the average before this gradient, and by 1 at the first step, where there is none.
    before = t - (t > 1)
    return h["lr"], 1.0 - b1, b2, 1.0 - b2, (1.0 - b2**before) ** 0.5, h["eps"], h["eps_root"], t == 1


@register("acprop", slots=("exp_avg", "exp_avg_var"), constants=_acprop)
def acprop(w, g, m, s, lr, d1, b2, d2, c2, eps, inside, first):
    """Zhuang et al. (2021), centred as in optax: the second moment is that of the step before."""
    root = 1.0 if first else math.sqrt(s) / c2
    surprise = g - m
    return w - lr * g / (root + eps), m + d1 * surprise, b2 * s + d2 * surprise * surprise + inside


def _yogi(h, t):
    b1, b2 = h["betas"]
    c1, c2 = 1.0 - b1**t, (1.0 - b2**t) ** 0.5
    return h["lr"] * c2 / c1, 1.0 - b1, 1.0 - b2, h["eps"] * c2


_START = {"exp_avg": "initial_accumulator_value", "exp_avg_sq": "initial_accumulator_value"}


@register("yogi", slots=("exp_avg", "exp_avg_sq"), constants=_yogi, initial=_START)
def yogi(w, g, m, v, step, d1, d2, eps):
    """Zaheer et al. (2018), algorithm 2, with the bias correction of all libraries."""
    m = m + d1 * (g - m)
    q = g * g
    excess = v - q
    v = v - d2 * (math.copysign(q, excess) if abs(excess) > 0.0 else excess)  # 0, or NaN that goes through
    return w - step * m / (math.sqrt(v) + eps), m, v


def _adopt(h, t):
    b1, b2 = h["betas"]
    # At t = 1 the bound is 0, so nothing moves, and the second moment becomes the square itself.
    return h["lr"], 1.0 - b1, b2 * (t > 1), (1.0 - b2) ** (t > 1), h["eps"], (t - 1.0) ** 0.25


@register("adopt", slots=("exp_avg", "exp_avg_sq"), constants=_adopt)
def adopt(w, g, m, v, lr, d1, b2, d2, eps, bound):
    """Taniguchi et al. (2024), algorithm 2 with clipping: divide by the last second moment, then average."""
    root = math.sqrt(v)
    u = g / (eps if root < eps else root)
    u = bound if u > bound else u
    u = -bound if u < -bound else u
    m = m + d1 * (u - m)
    return w - lr * m, m, b2 * v + d2 * g * g


def _sophia(h, t):
    b1, b2 = h["betas"]
    fisher = h["empirical_fisher"]
    d2 = (1.0 - b2) * (fisher > 0) * ((t - 1) % h["update_freq"] == 0)
    return h["lr"], 1.0 - b1, h["rho"], 1.0 - d2, d2 * fisher


@register("sophiag", slots=("exp_avg", "hessian"), constants=_sophia)
def sophiag(w, g, m, s, lr, d1, rho, keep, d2):
    """Liu et al. (2023), algorithm 3, as in the authors' code: no bias correction."""
    m = m + d1 * (g - m)
    s = keep * s + d2 * g * g
    ratio = abs(m) / (rho * s + 1e-15)
    ratio = 1.0 if ratio > 1.0 else ratio
    return w - lr * math.copysign(ratio, m), m, s
