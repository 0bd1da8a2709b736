"""Methods that use the difference between this gradient (or step) and the previous one."""

import math

from fastopt.rules.registry import register


def _adan(h, t):
    b1, b2, b3 = h["betas"]
    c1, c2, c3 = 1.0 - b1**t, 1.0 - b2**t, (1.0 - b3**t) ** 0.5
    # The proximal form divides the weight after the step: (w - u) / (1 + lr wd) = keep w - keep u.
    lr = h["lr"] if h["no_prox"] else h["lr"] / (1.0 + h["lr"] * h["weight_decay"])
    return lr * c3 / c1, lr * b2 * c3 / c2, 1.0 - b1, 1.0 - b2, b3, 1.0 - b3, b2, h["eps"] * c3, t > 1


@register("adan", slots=("exp_avg", "exp_avg_diff", "exp_avg_sq", "neg_pre_grad"), constants=_adan)
def adan(w, g, m, v, n, before, step, ahead, d1, d2, b3, d3, b2, eps, later):
    """Xie et al. (2022), algorithm 1; ``before`` is the last gradient, negated, as in the authors' code."""
    change = g + before if later else 0.0
    look = g + b2 * change
    m = m + d1 * (g - m)
    v = v + d2 * (change - v)
    n = b3 * n + d3 * look * look
    return w - (step * m + ahead * v) / (math.sqrt(n) + eps), m, v, n, -g


def _optimistic(h, t):
    return h["lr"] * (h["alpha"] + h["beta"]), h["lr"] * h["beta"], t == 1


@register("optimisticgradientdescent", slots=("prev_grad",), constants=_optimistic)
def optimistic_gradient_descent(w, g, before, now, back, first):
    """Popov (1980); Mokhtari et al. (2020), with two weights; the first change of gradient is 0."""
    before = g if first else before
    return w - (now * g - back * before), g


def _optimistic_adam(h, t):
    b1, b2 = h["betas"]
    c1, c2 = 1.0 - b1**t, (1.0 - b2**t) ** 0.5
    back = h["lr"] if h["optimism"] is None else h["optimism"]
    return h["lr"] + back, back, c2 / c1, 1.0 - b1, b2, 1.0 - b2, h["eps"] * c2, t == 1


@register("optimisticadam", slots=("exp_avg", "exp_avg_sq", "prev_step"), constants=_optimistic_adam)
def optimistic_adam(w, g, m, v, before, now, back, scale, d1, b2, d2, eps, first):
    """Daskalakis et al. (2018), algorithm 1."""
    m = m + d1 * (g - m)
    v = b2 * v + d2 * g * g
    u = scale * m / (math.sqrt(v) + eps)
    before = u if first else before
    return w - (now * u - back * before), m, v, u
