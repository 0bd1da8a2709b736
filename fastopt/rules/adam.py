"""Adam and the methods that share its two moments."""

import math

from fastopt.rules.registry import register


def _adam(h, t):
    # lr/c1 * m / (sqrt(v)/c2 + eps) == (lr*c2/c1) * m / (sqrt(v) + eps*c2), exactly; Kingma & Ba's
    # "epsilon hat" (section 2, last paragraph) leaves eps as it is.
    b1, b2 = h["betas"]
    c1, c2 = 1.0 - b1**t, (1.0 - b2**t) ** 0.5
    eps = h["eps"] * c2 if h["eps_mode"] != "hat" else h["eps"]
    return h["lr"] * c2 / c1, 1.0 - b1, b2, 1.0 - b2, eps


@register("adam", slots=("exp_avg", "exp_avg_sq"), constants=_adam)
def adam(w, g, m, v, step, d1, b2, d2, eps):
    """Kingma & Ba (2015), algorithm 1; d = 1 - beta."""
    m = m + d1 * (g - m)
    # Not v + d2 * (g * g - v), which is inf - inf once v has overflowed; torch, too, multiplies by d2 first.
    v = b2 * v + d2 * g * g
    return w - step * m / (math.sqrt(v) + eps), m, v


def _sparse(h, t):
    return _adam({**h, "eps_mode": "hat"}, t)


register("sparseadam", slots=adam.slots, constants=_sparse)(adam.function)


def _rooted(h, t):
    return *_adam(h, t), h["eps_root"] * (1.0 - h["betas"][1] ** t)


@register("adam_rooted", slots=("exp_avg", "exp_avg_sq"), constants=_rooted)
def adam_rooted(w, g, m, v, step, d1, b2, d2, eps, inside):
    """Adam with optax's ``eps_root``, which is added under the root."""
    m = m + d1 * (g - m)
    v = b2 * v + d2 * g * g
    return w - step * m / (math.sqrt(v + inside) + eps), m, v


def _amsgrad(h, t):
    step, d1, b2, d2, eps, inside = _rooted(h, t)
    if not h["amsgrad_corrected"]:
        return step, d1, b2, d2, 1.0, inside, eps
    # optax takes the maximum over corrected moments, so the correction leaves the step.
    c2 = (1.0 - b2**t) ** 0.5
    return step / c2, d1, b2, d2, 1.0 / (c2 * c2), h["eps_root"], h["eps"]


@register("amsgrad", slots=("exp_avg", "exp_avg_sq", "max_exp_avg_sq"), constants=_amsgrad)
def amsgrad(w, g, m, v, x, step, d1, b2, d2, correct, inside, eps):
    """Reddi, Kale & Kumar (2018), algorithm 2, with Adam's bias corrections, as in all libraries."""
    m = m + d1 * (g - m)
    v = b2 * v + d2 * g * g
    u = correct * v
    x = x if x > u else u  # in this order a NaN of v reaches x
    return w - step * m / (math.sqrt(x + inside) + eps), m, v, x
