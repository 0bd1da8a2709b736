"""Sums over all gradients, and noise."""

import numpy as np
import scipy.special
from reference.catalogue_oracles.common import each

import fastopt


@each
def ftrl(p, grads, lr, n0, l1, l2, shrinkage, beta):
    n, z = np.full_like(p, n0), np.zeros_like(p)
    for g in grads:
        n1 = n + g**2
        z = z + g + 2 * shrinkage * p - (np.sqrt(n1) - np.sqrt(n)) / lr * p
        p = (np.clip(z, -l1, l1) - z) / (np.sqrt(n1) / lr + 2 * (l2 + beta / (2 * lr)))
        n = n1
    return p


@each
def cocob(p, grads, alpha, eps):
    start, largest = p, np.full_like(p, eps)
    total = reward = bet = np.zeros_like(p)
    for g in grads:
        largest = np.maximum(largest, np.abs(g))
        total = total + np.abs(g)
        reward = np.maximum(reward - g * (p - start), 0)
        bet = bet - g
        p = start + bet / (largest * np.maximum(total + largest, alpha * largest)) * (largest + reward)
    return p


@each
def madgrad(p, grads, lr, mu, eps):
    start = p
    q = s = np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        weight = (lr + eps) * np.sqrt(t)
        q = q + weight * g**2
        s = s + weight * g
        p = (1 - mu) * (start - s / (np.cbrt(q) + eps)) + mu * p
    return p


def noisy_sgd(params, steps, lr, eta, gamma, seed):
    """Python's own integers for the counter-based noise; the Gaussian is the quantile of half of them."""

    def mix(x):
        x ^= x >> 16
        x = x * 0x85EBCA6B % 2**32
        x ^= x >> 13
        x = x * 0xC2B2AE35 % 2**32
        return x ^ x >> 16

    def gauss(i, key):
        bits = mix((mix(i ^ key) + key) % 2**32)
        size = -scipy.special.ndtri((bits % 2**31 + 0.5) / 2**32)
        return size if bits >= 2**31 else -size

    p = [q.copy() for q in params]
    for t, grads in enumerate(steps, 1):
        for place, (q, g) in enumerate(zip(p, grads, strict=True)):
            key = 0
            for part in (seed, t, place):
                key = mix((key + part + 1) % 2**32)
            noise = np.reshape([gauss(i, key) for i in range(q.size)], q.shape)
            p[place] = q - lr * (g + np.sqrt(eta / t**gamma) * noise)
    return p


#: A label to the optimizer, its oracle and the oracle's hyper-parameters.
CASES = {
    "ftrl": (
        fastopt.FTRL(lr=0.1, l1=0.05, l2=0.1, l2_shrinkage=0.2, beta=0.3),
        ftrl,
        {"lr": 0.1, "n0": 0.1, "l1": 0.05, "l2": 0.1, "shrinkage": 0.2, "beta": 0.3},
    ),
    "cocob": (fastopt.COCOB(), cocob, {"alpha": 100.0, "eps": 1e-8}),
    "madgrad": (fastopt.MADGRAD(lr=0.1), madgrad, {"lr": 0.1, "mu": 0.9, "eps": 1e-6}),
    "noisy sgd": (
        fastopt.NoisySGD(lr=0.1, eta=0.5, seed=2**32 - 1),
        noisy_sgd,
        {"lr": 0.1, "eta": 0.5, "gamma": 0.55, "seed": 2**32 - 1},
    ),
}
