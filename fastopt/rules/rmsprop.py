"""Methods that divide by a root of squared gradients, without Adam's first moment."""

import math

import numpy as np

from fastopt.rules.registry import register


def _eps(h):
    """Return the eps added under the root, and that added outside it."""
    return (h["eps"], 0.0) if h["eps_in_sqrt"] else (0.0, h["eps"])


def _rmsprop(h, t):
    return h["lr"], h["alpha"], 1.0 - h["alpha"], *_eps(h)


def _heavy(h, t):
    gain, step = (h["lr"], 1.0) if h["lr_in_momentum"] else (1.0, h["lr"])
    return h["momentum"], gain, step, h["alpha"], 1.0 - h["alpha"], *_eps(h)


@register("rmsprop", slots=("square_avg",), constants=_rmsprop)
def rmsprop(w, g, v, lr, alpha, d, inside, outside):
    """Tieleman & Hinton (2012); d = 1 - alpha."""
    v = alpha * v + d * g * g
    return w - lr * (g / (math.sqrt(v + inside) + outside)), v


@register("rmsprop_momentum", slots=("square_avg", "momentum_buffer"), constants=_heavy)
def rmsprop_momentum(w, g, v, b, mu, gain, step, alpha, d, inside, outside):
    """RMSprop with heavy-ball momentum on the scaled gradient."""
    v = alpha * v + d * g * g
    b = mu * b + gain * (g / (math.sqrt(v + inside) + outside))
    return w - step * b, v, b


#: A float32, so that a comparison with it leaves float32 arithmetic in float32.
_INFINITY = np.float32(np.inf)


def _variance(v, a):
    # v - a*a is 0 for a constant gradient; rounding may leave less, whose root is NaN. Where v has overflowed
    # a*a may have, too: inf - inf is NaN, where torch's fused multiply-add has inf minus a finite product.
    variance = v if v == _INFINITY else v - a * a
    return 0.0 if variance < 0.0 else variance


@register("rmsprop_centered", slots=("square_avg", "grad_avg"), constants=_rmsprop)
def rmsprop_centered(w, g, v, a, lr, alpha, d, inside, outside):
    """Graves (2013), equations 38-41: divides by an estimate of the standard deviation."""
    v = alpha * v + d * g * g
    a = a + d * (g - a)
    return w - lr * (g / (math.sqrt(_variance(v, a) + inside) + outside)), v, a


@register("rmsprop_centered_momentum", slots=("square_avg", "grad_avg", "momentum_buffer"), constants=_heavy)
def rmsprop_centered_momentum(w, g, v, a, b, mu, gain, step, alpha, d, inside, outside):
    """Graves (2013), equations 38-42."""
    v = alpha * v + d * g * g
    a = a + d * (g - a)
    b = mu * b + gain * (g / (math.sqrt(_variance(v, a) + inside) + outside))
    return w - step * b, v, a, b


def _adagrad(h, t):
    return h["lr"] / (1.0 + (t - 1) * h["lr_decay"]), *_eps(h)


@register("adagrad", slots=("sum",), constants=_adagrad, initial={"sum": "initial_accumulator_value"})
def adagrad(w, g, s, lr, inside, outside):
    """Duchi, Hazan & Singer (2011), the diagonal form of figure 1."""
    s = s + g * g
    return w - lr * (g / (math.sqrt(s + inside) + outside)), s


def _adadelta(h, t):
    return h["lr"], h["rho"], 1.0 - h["rho"], h["eps"]


@register("adadelta", slots=("square_avg", "acc_delta"), constants=_adadelta)
def adadelta(w, g, v, a, lr, rho, d, eps):
    """Zeiler (2012), algorithm 1; d = 1 - rho."""
    v = rho * v + d * g * g
    delta = math.sqrt(a + eps) / math.sqrt(v + eps) * g
    a = rho * a + d * delta * delta
    return w - lr * delta, v, a
