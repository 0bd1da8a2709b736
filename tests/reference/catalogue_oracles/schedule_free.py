"""Schedule-free methods."""

import numpy as np
from reference.catalogue_oracles.common import each

import fastopt


def _schedule_free(p, grads, rate, beta, precondition, wd, r=0.0, warmup=0):
    """Defazio et al. (2024) with all three sequences: z steps, x averages, y is where gradients are."""
    z = x = y = p
    total = largest = 0.0
    for t, g in enumerate(grads, 1):
        lr = rate * min(1, t / warmup) if warmup else rate
        largest = max(largest, lr)
        weight = t**r * largest**2
        total += weight
        c = weight / total
        z = z - lr * (precondition(g, t) + wd * y)
        x = (1 - c) * x + c * z
        y = (1 - beta) * z + beta * x
    return x, y


@each
def schedule_free_sgd(p, grads, lr, beta, wd, r=0.0, warmup=0, evaluate=False):
    x, y = _schedule_free(p, grads, lr, beta, lambda g, t: g, wd, r, warmup)
    return x if evaluate else y


@each
def schedule_free_adamw(p, grads, lr, b1, b2, eps, wd, evaluate=False):
    v = np.zeros_like(p)

    def precondition(g, t):
        nonlocal v
        v = b2 * v + (1 - b2) * g**2
        return g / (np.sqrt(v / (1 - b2**t)) + eps)

    x, y = _schedule_free(p, grads, lr, b1, precondition, wd)
    return x if evaluate else y


@each
def schedule_free_radam(p, grads, lr, b1, b2, eps, wd, silent=True):
    """The authors' code, in its form without x, which a rate of 0 at first does not disturb."""
    z = y = p
    v, total, largest = np.zeros_like(p), 0.0, 0.0
    ri = 2 / (1 - b2) - 1
    for t, g in enumerate(grads, 1):
        v = b2 * v + (1 - b2) * g**2
        rt = ri - 2 * t * b2**t / (1 - b2**t)
        rect, u = 0.0 if silent else 1.0, g
        if rt > 4:
            rect = np.sqrt((rt - 4) * (rt - 2) * ri / ((ri - 4) * (ri - 2) * rt))
            u = g / (np.sqrt(v / (1 - b2**t)) + eps)
        u = u + wd * y
        rate = lr * rect
        largest = max(largest, rate)
        total += largest**2
        c = largest**2 / total if total else 0.0
        y = (1 - c) * y + c * z + rate * (b1 * (1 - c) - 1) * u
        z = z - rate * u
    return y


#: A label to the optimizer, its oracle and the oracle's hyper-parameters.
CASES = {
    "schedule-free sgd": (
        fastopt.ScheduleFreeSGD(lr=0.1, weight_decay=0.1, warmup_steps=5, r=1.0),
        schedule_free_sgd,
        {"lr": 0.1, "beta": 0.9, "wd": 0.1, "r": 1.0, "warmup": 5},
    ),
    "schedule-free adamw": (
        fastopt.ScheduleFreeAdamW(lr=0.01, weight_decay=0.1),
        schedule_free_adamw,
        {"lr": 0.01, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "wd": 0.1},
    ),
    "schedule-free radam": (
        fastopt.ScheduleFreeRAdam(lr=0.01, weight_decay=0.1),
        schedule_free_radam,
        {"lr": 0.01, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "wd": 0.1},
    ),
    "schedule-free radam, not silent": (
        fastopt.ScheduleFreeRAdam(lr=0.01, betas=(0.9, 0.99), silent_sgd_phase=False),
        schedule_free_radam,
        {"lr": 0.01, "b1": 0.9, "b2": 0.99, "eps": 1e-8, "wd": 0.0, "silent": False},
    ),
}
