"""Variants of Adam, and methods that look at the change of the gradient."""

import numpy as np
from reference.catalogue_oracles.common import each

import fastopt


@each
def adabelief(p, grads, lr, b1, b2, eps, eps_root, wd):
    m = s = np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        m = b1 * m + (1 - b1) * g
        s = b2 * s + (1 - b2) * (g - m) ** 2 + eps_root
        p = p - lr * (m / (1 - b1**t) / (np.sqrt(s / (1 - b2**t)) + eps) + wd * p)
    return p


@each
def acprop(p, grads, lr, b1, b2, eps, eps_root):
    m = s = np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        hat = np.ones_like(p) if t == 1 else s / (1 - b2 ** (t - 1))
        p = p - lr * g / (np.sqrt(hat) + eps)
        s = b2 * s + (1 - b2) * (g - m) ** 2 + eps_root
        m = b1 * m + (1 - b1) * g
    return p


@each
def yogi(p, grads, lr, b1, b2, eps, start):
    m = v = np.full_like(p, start)
    for t, g in enumerate(grads, 1):
        m = b1 * m + (1 - b1) * g
        v = v - (1 - b2) * np.sign(v - g**2) * g**2
        p = p - lr * m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
    return p


def sophia(params, steps, hessians, lr, b1, b2, rho, wd):
    """The authors' code, with their ``bs * h`` as one estimate; ``hessians`` maps steps to estimates."""
    p = [q.copy() for q in params]
    m, s = ([np.zeros_like(q) for q in p] for _ in range(2))
    for t, grads in enumerate(steps):
        if t in hessians:
            s = [b2 * a + (1 - b2) * e for a, e in zip(s, hessians[t], strict=True)]
        m = [b1 * a + (1 - b1) * g for a, g in zip(m, grads, strict=True)]
        p = [
            q * (1 - lr * wd) - lr * np.sign(a) * np.minimum(np.abs(a) / (rho * e + 1e-15), 1)
            for q, a, e in zip(p, m, s, strict=True)
        ]
    return p


@each
def adopt(p, grads, lr, b1, b2, eps, wd):
    m, v = np.zeros_like(p), None
    for t, g in enumerate(grads, 1):
        p = p * (1 - lr * wd)
        if t == 1:
            v = g**2
            continue
        u = np.clip(g / np.maximum(np.sqrt(v), eps), -((t - 1) ** 0.25), (t - 1) ** 0.25)
        m = b1 * m + (1 - b1) * u
        p = p - lr * m
        v = b2 * v + (1 - b2) * g**2
    return p


@each
def adan(p, grads, lr, b1, b2, b3, eps, wd, no_prox, optax=False):
    """sail-sg; with ``optax`` that library's mistake, (1 - b2) where b2 belongs."""
    m = v = n = np.zeros_like(p)
    before = grads[0]
    k = 1 - b2 if optax else b2
    for t, g in enumerate(grads, 1):
        d, before = g - before, g
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * d
        n = b3 * n + (1 - b3) * (g + k * d) ** 2
        u = (m / (1 - b1**t) + k * v / (1 - b2**t)) / (np.sqrt(n / (1 - b3**t)) + eps)
        p = p * (1 - lr * wd) - lr * u if no_prox else (p - lr * u) / (1 + lr * wd)
    return p


@each
def ademamix(p, grads, lr, b1, b2, b3, eps, wd, alpha, warmup=None):
    m = v = s = np.zeros_like(p)

    def half_life(b):
        return np.log(0.5) / np.log(b + 1e-8) - 1

    for t, g in enumerate(grads, 1):
        a, b = alpha, b3
        if warmup is not None:
            a = alpha * min(t / warmup, 1)
            if t < warmup:
                f = (1 - t / warmup) * half_life(b1) + t / warmup * half_life(b3)
                b = 0.5 ** (1 / (f + 1))
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        s = b * s + (1 - b) * g
        u = (m / (1 - b1**t) + a * s) / (np.sqrt(v / (1 - b2**t)) + eps)
        p = p - lr * (u + wd * p)
    return p


@each
def optimistic(p, grads, lr, a, b):
    before = grads[0]
    for g in grads:
        p = p - lr * ((a + b) * g - b * before)
        before = g
    return p


@each
def optimistic_adam(p, grads, lr, optimism, b1, b2, eps):
    m = v = np.zeros_like(p)
    before = None
    for t, g in enumerate(grads, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        u = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
        before = u if before is None else before
        p = p - ((lr + optimism) * u - optimism * before)
        before = u
    return p


#: A label to the optimizer, its oracle and the oracle's hyper-parameters.
CASES = {
    "adabelief": (
        fastopt.AdaBelief(lr=0.01, eps=1e-3, eps_root=1e-3, weight_decay=0.1),
        adabelief,
        {"lr": 0.01, "b1": 0.9, "b2": 0.999, "eps": 1e-3, "eps_root": 1e-3, "wd": 0.1},
    ),
    "acprop": (
        fastopt.AcProp(lr=0.01, eps=1e-3, eps_root=1e-3),
        acprop,
        {"lr": 0.01, "b1": 0.9, "b2": 0.999, "eps": 1e-3, "eps_root": 1e-3},
    ),
    "yogi": (
        fastopt.Yogi(lr=0.01),
        yogi,
        {"lr": 0.01, "b1": 0.9, "b2": 0.999, "eps": 1e-3, "start": 1e-6},
    ),
    "adopt": (
        fastopt.ADOPT(lr=0.01, betas=(0.9, 0.99), weight_decay=0.1, decoupled_weight_decay=True),
        adopt,
        {"lr": 0.01, "b1": 0.9, "b2": 0.99, "eps": 1e-6, "wd": 0.1},
    ),
    "adan": (
        fastopt.Adan(lr=0.01, weight_decay=0.1),
        adan,
        {"lr": 0.01, "b1": 0.98, "b2": 0.92, "b3": 0.99, "eps": 1e-8, "wd": 0.1, "no_prox": False},
    ),
    "adan without prox": (
        fastopt.Adan(lr=0.01, weight_decay=0.1, no_prox=True),
        adan,
        {"lr": 0.01, "b1": 0.98, "b2": 0.92, "b3": 0.99, "eps": 1e-8, "wd": 0.1, "no_prox": True},
    ),
    "ademamix": (
        fastopt.AdEMAMix(lr=0.01, weight_decay=0.1),
        ademamix,
        {"lr": 0.01, "b1": 0.9, "b2": 0.999, "b3": 0.9999, "eps": 1e-8, "wd": 0.1, "alpha": 2.0},
    ),
    "ademamix with warm-ups": (
        fastopt.AdEMAMix(lr=0.01, alpha=5.0, alpha_warmup=20, beta3_warmup=20),
        ademamix,
        {"lr": 0.01, "b1": 0.9, "b2": 0.999, "b3": 0.9999, "eps": 1e-8, "wd": 0, "alpha": 5.0, "warmup": 20},
    ),
    "optimistic gradient descent": (
        fastopt.OptimisticGradientDescent(lr=0.01, alpha=1.5, beta=0.5),
        optimistic,
        {"lr": 0.01, "a": 1.5, "b": 0.5},
    ),
    "optimistic adam": (
        fastopt.OptimisticAdam(lr=0.01, optimism=0.02),
        optimistic_adam,
        {"lr": 0.01, "optimism": 0.02, "b1": 0.9, "b2": 0.999, "eps": 1e-8},
    ),
}
