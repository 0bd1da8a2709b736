"""Optimizers as their papers and other libraries write them: NumPy float64, one array, nothing of fastopt.

Each takes the parameter, its gradients in order and hyper-parameters, and returns the last parameter.
"""

import numpy as np


def lion(p, grads, lr, b1, b2, wd):
    """Chen et al. (2023), algorithm 2."""
    m = np.zeros_like(p)
    for g in grads:
        u = np.sign(b1 * m + (1 - b1) * g)
        p = p - lr * (u + wd * p)
        m = b2 * m + (1 - b2) * g
    return p


def signum(p, grads, lr, b, wd):
    """Bernstein et al. (2018), algorithm 2, decay decoupled; b = 0 is signSGD, algorithm 1."""
    m = np.zeros_like(p)
    for g in grads:
        m = b * m + (1 - b) * g
        p = p - lr * (np.sign(m) + wd * p)
    return p


def adam_hat(p, grads, lr, b1, b2, eps):
    """Keras and scikit-learn: the paper's section 2, last paragraph, with epsilon hat."""
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        p = p - lr * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps)
    return p


def adam_optax(p, grads, lr, b1, b2, eps, eps_root, amsgrad):
    """Optax: a second epsilon under the root; amsgrad's maximum over corrected moments."""
    m, v, x = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        vh = v / (1 - b2**t)
        x = np.maximum(x, vh) if amsgrad else vh
        p = p - lr * m / (1 - b1**t) / (np.sqrt(x + eps_root) + eps)
    return p


def nadam_optax(p, grads, lr, b1, b2, eps):
    """Optax: Nesterov's average without torch's schedule of the momentum."""
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        mh = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        p = p - lr * mh / (np.sqrt(v / (1 - b2**t)) + eps)
    return p


def radam_optax(p, grads, lr, b1, b2, eps):
    """Optax: epsilon after the bias correction."""
    m, v = np.zeros_like(p), np.zeros_like(p)
    ri = 2 / (1 - b2) - 1
    for t, g in enumerate(grads, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        mh, vh = m / (1 - b1**t), v / (1 - b2**t)
        rt = ri - 2 * t * b2**t / (1 - b2**t)
        if rt > 5:
            r = np.sqrt((rt - 4) * (rt - 2) * ri / ((ri - 4) * (ri - 2) * rt))
            p = p - lr * r * mh / (np.sqrt(vh) + eps)
        else:
            p = p - lr * mh
    return p


def adamax_keras(p, grads, lr, b1, b2, eps):
    """Keras: epsilon beside the norm."""
    m, u = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        m = b1 * m + (1 - b1) * g
        u = np.maximum(b2 * u, np.abs(g))
        p = p - lr / (1 - b1**t) * m / (u + eps)
    return p


def sgd_velocity(p, grads, lrs, mu, nesterov):
    """Keras and scikit-learn: the learning rate is inside the velocity."""
    v = np.zeros_like(p)
    for g, lr in zip(grads, lrs, strict=True):
        v = mu * v - lr * g
        p = p + (mu * v - lr * g if nesterov else v)
    return p


def rmsprop_optax(p, grads, lrs, a, eps, mu, centered):
    """Optax and Keras: epsilon under the root, the learning rate inside the trace."""
    v, mean, b = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    for g, lr in zip(grads, lrs, strict=True):
        v = a * v + (1 - a) * g**2
        mean = a * mean + (1 - a) * g
        b = mu * b + lr * g / np.sqrt(v - (mean**2 if centered else 0) + eps)
        p = p - b
    return p


def adagrad_optax(p, grads, lr, s0, eps):
    """Optax and Keras: epsilon under the root, a positive start."""
    s = np.full_like(p, s0)
    for g in grads:
        s = s + g**2
        p = p - lr * g / np.sqrt(s + eps)
    return p
