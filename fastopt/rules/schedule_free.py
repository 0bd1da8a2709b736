"""Schedule-free methods: the weights hold y, where gradients are evaluated; slot z holds the base iterate."""

import math

from fastopt.rules.registry import register

_SCALARS = {"weight_sum": 0.0, "lr_max": 0.0}


def _average(h, t, weight_sum, lr_max):
    """Return the learning rate, the weight of z in the average x, and the scalars after the step."""
    lr = h["lr"] * min(1.0, t / h["warmup_steps"] if h["warmup_steps"] else 1.0)
    lr_max = max(lr, lr_max)
    weight = t ** h["r"] * lr_max ** h["weight_lr_power"]
    weight_sum = weight_sum + weight
    return lr, weight / weight_sum if weight_sum else 0.0, (weight_sum, lr_max)


def _sgd(h, t, weight_sum, lr_max):
    lr, c, scalars = _average(h, t, weight_sum, lr_max)
    return (c, lr * (1.0 - h["momentum"] * (1.0 - c)), lr, t == 1), scalars


@register("schedulefreesgd", slots=("z",), constants=_sgd, scalars=_SCALARS)
def schedule_free_sgd(w, g, z, c, move, lr, first):
    """Defazio et al. (2024), equations 3-5, with x eliminated as the authors' code does."""
    z = w if first else z
    return w + c * (z - w) - move * g, z - lr * g


def _adamw(h, t, weight_sum, lr_max):
    b1, b2 = h["betas"]
    lr, c, scalars = _average(h, t, weight_sum, lr_max)
    c2 = (1.0 - b2**t) ** 0.5
    move = lr * (1.0 - b1 * (1.0 - c))
    return (c, move, lr, b2, 1.0 - b2, c2, h["eps"] * c2, h["weight_decay"], t == 1), scalars


@register("schedulefreeadamw", slots=("z", "exp_avg_sq"), constants=_adamw, scalars=_SCALARS)
def schedule_free_adamw(w, g, z, v, c, move, lr, b2, d2, c2, eps, decay, first):
    """Defazio et al. (2024), algorithm 1, with x eliminated; the decay is taken at y."""
    z = w if first else z
    v = b2 * v + d2 * g * g
    u = c2 * g / (math.sqrt(v) + eps) + decay * w
    return w + c * (z - w) - move * u, z - lr * u, v


def _radam(h, t, weight_sum, lr_max):
    b2 = h["betas"][1]
    infinite = 2.0 / (1.0 - b2) - 1.0
    length = infinite - 2.0 * t * b2**t / (1.0 - b2**t)
    rectified = length > 4.0
    scale = 0.0 if h["silent_sgd_phase"] else 1.0
    if rectified:
        ratio = (length - 4.0) * (length - 2.0) * infinite
        scale = (ratio / ((infinite - 4.0) * (infinite - 2.0) * length)) ** 0.5
    h = {**h, "warmup_steps": 0, "lr": scale * h["lr"]}  # the rectification is the warm-up
    constants, scalars = _adamw(h, t, weight_sum, lr_max)
    return (*constants, rectified), scalars


@register("schedulefreeradam", slots=("z", "exp_avg_sq"), constants=_radam, scalars=_SCALARS)
def schedule_free_radam(w, g, z, v, c, move, lr, b2, d2, c2, eps, decay, first, rectified):
    """Defazio et al. (2024) with the rectified step of Liu et al. (2020)."""
    z = w if first else z
    v = b2 * v + d2 * g * g
    u = (c2 * g / (math.sqrt(v) + eps) if rectified else g) + decay * w
    return w + c * (z - w) - move * u, z - lr * u, v
