"""Norms of each tensor, and factored sums."""

import functools

import numpy as np
from reference.catalogue_oracles.common import each, norm, ratio

import fastopt


@each
def lars(p, grads, lr, mu, wd, k, nesterov, timm=False, always_adapt=True):
    """optax; with ``timm`` that library's: the sum of norms, and the rate outside the buffer."""
    b = np.zeros_like(p)
    for g in grads:
        u = g + wd * p
        size = norm(g) + wd * norm(p) if timm else norm(u)
        adapts = norm(p) > 0 and norm(g if timm else u) > 0 and (wd > 0 or always_adapt)
        u = u * (k * norm(p) / size if adapts else 1.0)
        u = u if timm else lr * u
        b = u + mu * b
        p = p - (lr if timm else 1) * (u + mu * b if nesterov else b)
    return p


@each
def lamb(p, grads, lr, b1, b2, eps, wd, inside, always_adapt=True):
    m = v = np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        u = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
        if inside:
            u = u + wd * p
        else:
            p = p - lr * wd * p
        p = p - lr * (ratio(norm(p), norm(u)) if wd > 0 or always_adapt else 1.0) * u
    return p


@each
def mars(p, grads, lr, b1, b2, eps, wd, gamma):
    m = v = before = np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        c = g + gamma * b1 / (1 - b1) * (g - before)
        c = c / max(1, norm(c))
        m = b1 * m + (1 - b1) * c
        v = b2 * v + (1 - b2) * c**2
        p = p - lr * (m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps) + wd * p)
        before = g
    return p


@each
def novograd(p, grads, lr, b1, b2, eps, wd):
    m, v = np.zeros_like(p), None
    for t, g in enumerate(grads, 1):
        v = norm(g) ** 2 if v is None else b2 * v + (1 - b2) * norm(g) ** 2
        u = g / (np.sqrt(v) + eps) + wd * p
        m = u if t == 1 else b1 * m + u
        p = p - lr * m
    return p


@each
def fromage(p, grads, lr):
    c = 1 / np.sqrt(1 + lr**2)
    for g in grads:
        p = c * (p - lr * g * max(norm(p), 1e-6) / max(norm(g), 1e-6))
    return p


@each
def sm3(p, grads, lr, b, eps):
    """optax: one accumulator for each axis, each the size of that axis; a number is an axis of one."""
    shape, p = p.shape, np.atleast_1d(p)
    others = [tuple(j for j in range(p.ndim) if j != i) for i in range(p.ndim)]
    m, sums = np.zeros_like(p), [np.zeros_like(p).max(axis=axes, keepdims=True) for axes in others]
    for g in grads:
        a = g**2 + functools.reduce(np.minimum, sums)
        u = np.where(a > 0, g / np.sqrt(np.where(a > 0, a, 1) + eps), 0)
        m = b * m + (1 - b) * u
        sums = [a.max(axis=axes, keepdims=True) for axes in others]
        p = p - lr * m
    return p.reshape(shape)


#: A label to the optimizer, its oracle and the oracle's hyper-parameters.
CASES = {
    "lars": (
        fastopt.LARS(lr=0.1, weight_decay=0.1),
        lars,
        {"lr": 0.1, "mu": 0.9, "wd": 0.1, "k": 1e-3, "nesterov": False},
    ),
    "lars of timm, nesterov": (
        fastopt.LARS(
            lr=0.1, weight_decay=0.1, trust_coefficient=0.02, nesterov=True, norm="sum", lr_in_momentum=False
        ),
        lars,
        {"lr": 0.1, "mu": 0.9, "wd": 0.1, "k": 0.02, "nesterov": True, "timm": True},
    ),
    "lars of timm, without decay": (
        fastopt.LARS(lr=0.1, norm="sum", lr_in_momentum=False, always_adapt=False),
        lars,
        {"lr": 0.1, "mu": 0.9, "wd": 0.0, "k": 1e-3, "nesterov": False, "timm": True, "always_adapt": False},
    ),
    "lamb of optax": (
        fastopt.LAMB(lr=0.01, weight_decay=0.1),
        lamb,
        {"lr": 0.01, "b1": 0.9, "b2": 0.999, "eps": 1e-6, "wd": 0.1, "inside": True},
    ),
    "lamb of Keras": (
        fastopt.LAMB(lr=0.01, weight_decay=0.1, decay_in_ratio=False),
        lamb,
        {"lr": 0.01, "b1": 0.9, "b2": 0.999, "eps": 1e-6, "wd": 0.1, "inside": False},
    ),
    "lamb of timm, without decay": (
        fastopt.LAMB(lr=0.01, always_adapt=False),
        lamb,
        {"lr": 0.01, "b1": 0.9, "b2": 0.999, "eps": 1e-6, "wd": 0.0, "inside": True, "always_adapt": False},
    ),
    "mars": (
        fastopt.MARS(lr=0.01, weight_decay=0.1, optimize_1d=True),
        mars,
        {"lr": 0.01, "b1": 0.95, "b2": 0.99, "eps": 1e-8, "wd": 0.1, "gamma": 0.025},
    ),
    "novograd": (
        fastopt.NovoGrad(lr=0.01, weight_decay=0.1),
        novograd,
        {"lr": 0.01, "b1": 0.9, "b2": 0.25, "eps": 1e-6, "wd": 0.1},
    ),
    "fromage": (fastopt.Fromage(lr=0.05), fromage, {"lr": 0.05}),
    "sm3": (fastopt.SM3(lr=0.01), sm3, {"lr": 0.01, "b": 0.9, "eps": 1e-8}),
}
