"""Gradient descent with and without momentum, and the sign methods."""

import math

from fastopt.rules.registry import register


def _sgd(h, t):
    return (h["lr"],)


@register("sgd", constants=_sgd)
def sgd(w, g, lr):
    """Robbins & Monro (1951)."""
    return w - lr * g


def _momentum(h, t):
    # torch ignores dampening at the first step, where the buffer becomes the gradient itself.
    gain = 1.0 - h["dampening"] * (t > 1)
    lr = h["lr"]
    if h["lr_in_momentum"]:
        return h["momentum"], gain * lr, 1.0
    return h["momentum"], gain, lr


@register("momentum", slots=("momentum_buffer",), constants=_momentum)
def momentum(w, g, b, mu, gain, step):
    """Polyak (1964), as implemented in torch; or with lr in the buffer, as in Keras and scikit-learn."""
    b = mu * b + gain * g
    return w - step * b, b


def _nesterov(h, t):
    lr = h["lr"]
    return (h["momentum"], lr, 1.0) if h["lr_in_momentum"] else (h["momentum"], 1.0, lr)


@register("nesterov", slots=("momentum_buffer",), constants=_nesterov)
def nesterov(w, g, b, mu, gain, step):
    """Nesterov (1983) in the form of Sutskever et al. (2013) that looks ahead from the current point."""
    b = mu * b + gain * g
    return w - step * (gain * g + mu * b), b


def _sign(x):
    # torch.sign: 0 for 0 and for NaN. Two selects vectorise, a chain of branches does not.
    return math.copysign(1.0, x) if abs(x) > 0.0 else 0.0


def _signum(h, t):
    return h["lr"], 1.0 - h["momentum"]


@register("signsgd", constants=_sgd)
def signsgd(w, g, lr):
    """Bernstein et al. (2018), algorithm 1."""
    return w - lr * _sign(g)


@register("signum", slots=("momentum_buffer",), constants=_signum)
def signum(w, g, m, lr, d):
    """Bernstein et al. (2018), algorithm 2; d = 1 - momentum."""
    m = m + d * (g - m)
    return w - lr * _sign(m), m


def _lion(h, t):
    b1, b2 = h["betas"]
    return h["lr"], 1.0 - b1, 1.0 - b2


@register("lion", slots=("exp_avg",), constants=_lion)
def lion(w, g, m, lr, d1, d2):
    """Chen et al. (2023), algorithm 2; d = 1 - beta."""
    return w - lr * _sign(m + d1 * (g - m)), m + d2 * (g - m)
