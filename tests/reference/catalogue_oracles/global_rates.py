"""One number for all tensors: estimated learning rates, and steps from the loss."""

import numpy as np
from reference.catalogue_oracles.common import LOSSES, total

import fastopt


def prodigy(
    params, steps, lr=1.0, b1=0.9, b2=0.999, eps=1e-8, wd=0.0, bias=False, d0=1e-6, growth=np.inf, coef=1.0
):
    """The authors' code, on all tensors."""
    b3 = np.sqrt(b2)
    start = [p.copy() for p in params]
    p = list(start)
    m, v, s = ([np.zeros_like(q) for q in p] for _ in range(3))
    d = d_max = d0
    numerator = 0.0
    for t, grads in enumerate(steps, 1):
        rate = d * lr * (np.sqrt(1 - b2**t) / (1 - b1**t) if bias else 1)
        numerator = b3 * numerator + d / d0 * rate * total(
            [g * (a - q) for g, a, q in zip(grads, start, p, strict=True)]
        )
        m = [b1 * x + d * (1 - b1) * g for x, g in zip(m, grads, strict=True)]
        v = [b2 * x + d**2 * (1 - b2) * g**2 for x, g in zip(v, grads, strict=True)]
        s = [b3 * x + d / d0 * rate * g for x, g in zip(s, grads, strict=True)]
        estimate = coef * numerator / total(map(np.abs, s))
        if d == d0:
            d = max(d, estimate)
        d_max = max(d_max, estimate)
        d = min(d_max, d * growth)
        p = [q * (1 - wd * rate) - rate * x / (np.sqrt(y) + d * eps) for q, x, y in zip(p, m, v, strict=True)]
    return p


def dadapt_adam(params, steps, b1=0.9, b2=0.999, eps=1e-8, wd=0.0, d0=1e-6):
    b3 = np.sqrt(b2)
    p = [q.copy() for q in params]
    m, v, s = ([np.zeros_like(q) for q in p] for _ in range(3))
    d, numerator = d0, 0.0
    for grads in steps:
        rate = d
        gained = rate * total([g * x / (np.sqrt(y) + eps) for g, x, y in zip(grads, s, v, strict=True)])
        m = [b1 * x + (1 - b1) * rate * g for x, g in zip(m, grads, strict=True)]
        v = [b2 * y + (1 - b2) * g**2 for y, g in zip(v, grads, strict=True)]
        s = [b3 * x + (1 - b3) * rate * g for x, g in zip(s, grads, strict=True)]
        numerator = b3 * numerator + (1 - b3) * gained
        d = max(d, numerator / ((1 - b3) * total(map(np.abs, s))))
        p = [q * (1 - wd * rate) - x / (np.sqrt(y) + eps) for q, x, y in zip(p, m, v, strict=True)]
    return p


def dog(params, steps, reps=1e-6, eps=1e-8, wd=0.0):
    p = [q.copy() for q in params]
    r, s = reps * (1 + np.sqrt(total(q**2 for q in params))), 0.0
    for grads in steps:
        grads = [g + wd * q for g, q in zip(grads, p, strict=True)]
        r = max(r, np.sqrt(total((q - a) ** 2 for q, a in zip(p, params, strict=True))))
        s += total(g**2 for g in grads)
        p = [q - r / np.sqrt(s + eps) * g for q, g in zip(p, grads, strict=True)]
    return p


def dowg(params, steps, square=1e-4, eps=1e-4):
    p, w = [q.copy() for q in params], 0.0
    for grads in steps:
        square = max(square, total((q - a) ** 2 for q, a in zip(p, params, strict=True)))
        w += square * total(g**2 for g in grads)
        p = [q - square / (np.sqrt(w) + eps) * g for q, g in zip(p, grads, strict=True)]
    return p


def mechanic(params, steps, base, wd=1e-2, eps=1e-8, s_init=1e-6):
    """Optax: ``mechanize``; ``base(p, grads)`` is where the other optimizer goes; it keeps its state."""
    betas = np.array([0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999])
    r, m, v = np.zeros(6), np.zeros(6), np.zeros(6)
    s = np.full(6, s_init)
    p = [q.copy() for q in params]
    for grads in steps:
        updates = [a - q for a, q in zip(base(p, grads), p, strict=True)]
        factor = wd * s.sum() * np.sqrt(total(g**2 for g in grads))
        factor /= np.sqrt(total(q**2 for q in p)) + eps
        back = [(a - q) / (s.sum() + eps) for a, q in zip(params, p, strict=True)]
        h = total((g + factor * q) * b for g, q, b in zip(grads, p, back, strict=True))
        clipped = np.clip(h, -m, m)
        m = np.maximum(betas * m, abs(h) + eps)
        v = betas**2 * v + h**2
        r = betas * r + clipped * s
        s = (s_init / 6 * m + np.maximum(r, 0)) / (np.sqrt(v) + eps)
        p = [a - s.sum() * (b - u) for a, b, u in zip(params, back, updates, strict=True)]
    return p


def polyak(params, steps, losses, lr):
    p = [q.copy() for q in params]
    for grads, loss in zip(steps, losses, strict=True):
        square = total(g**2 for g in grads)
        step = min(loss / square, lr) if square else 0.0
        p = [q - step * g for q, g in zip(p, grads, strict=True)]
    return p


def momo(params, steps, losses, lr, beta, wd, adam=None, adapt=False, bound=0.0):
    """The authors' ``Momo``, or with ``adam=(b2, eps)`` their ``MomoAdam``."""
    p = [q.copy() for q in params]
    m, v = ([np.zeros_like(q) for q in p] for _ in range(2))
    least, f, gamma, grow = bound, 0.0, 0.0, 1 + lr * wd
    for t, (grads, loss) in enumerate(zip(steps, losses, strict=True), 1):
        b = 0.0 if adam is None and t == 1 else beta
        correct = 1.0 if adam is None else 1 - beta**t
        f = b * f + (1 - b) * loss
        gamma = b * gamma + (1 - b) * total(g * q for g, q in zip(grads, p, strict=True))
        m = [b * x + (1 - b) * g for x, g in zip(m, grads, strict=True)]
        metric = [1.0] * len(p)
        if adam is not None:
            b2, eps = adam
            v = [b2 * y + (1 - b2) * g**2 for y, g in zip(v, grads, strict=True)]
            metric = [eps + np.sqrt(y / (1 - b2**t)) for y in v]
        square = total(x**2 / d for x, d in zip(m, metric, strict=True))
        inner = total(x * q for x, q in zip(m, p, strict=True))
        if adapt:
            cap = grow * (f - gamma) + inner
            if cap < grow * correct * bound:
                bound = max(cap / (2 * correct * grow), least)
        step = (
            min(lr / correct, max(grow * (f - correct * bound - gamma) + inner, 0) / square)
            if square
            else 0.0
        )
        p = [(q - step * x / d) / grow for q, x, d in zip(p, m, metric, strict=True)]
        if adapt:
            bound = max((f + inner - gamma - step * square / 2) / correct, least)
    return p


#: A label to the optimizer, its oracle and the oracle's hyper-parameters.
CASES = {
    "prodigy": (fastopt.Prodigy(weight_decay=0.1, d0=1e-2), prodigy, {"wd": 0.1, "d0": 1e-2}),
    "prodigy with its options": (
        fastopt.Prodigy(d0=1e-2, use_bias_correction=True, growth_rate=1.02, d_coef=2.0),
        prodigy,
        {"d0": 1e-2, "bias": True, "growth": 1.02, "coef": 2.0},
    ),
    "d-adapted adam": (fastopt.DAdaptAdam(d0=1e-3), dadapt_adam, {"d0": 1e-3}),
    "dog": (fastopt.DoG(reps_rel=1e-2, weight_decay=0.1), dog, {"reps": 1e-2, "wd": 0.1}),
    "dowg": (fastopt.DoWG(), dowg, {}),
    "polyak": (fastopt.PolyakSGD(lr=0.1), polyak, {"losses": LOSSES, "lr": 0.1}),
    "momo": (
        fastopt.MoMo(lr=0.1, weight_decay=0.1),
        momo,
        {"losses": LOSSES, "lr": 0.1, "beta": 0.9, "wd": 0.1},
    ),
    "momo that adapts its bound": (
        fastopt.MoMo(lr=0.1, lower_bound=4.0, adapt_lower_bound=True),
        momo,
        {"losses": LOSSES, "lr": 0.1, "beta": 0.9, "wd": 0.0, "adapt": True, "bound": 4.0},
    ),
    "momo-adam": (
        fastopt.MoMoAdam(lr=0.1, weight_decay=0.1),
        momo,
        {"losses": LOSSES, "lr": 0.1, "beta": 0.9, "wd": 0.1, "adam": (0.999, 1e-8)},
    ),
}
