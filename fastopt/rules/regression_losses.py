"""Losses of numbers: for an output ``p``, a target ``y`` and a parameter ``k``, with derivatives by ``p``.

Those at the pre-activation of the loss's own output (``..._at_exp``) are what remains of the product with the
output's derivative. A NaN output gives a NaN gradient.
"""

import math


def difference(p, y):
    """Return ``p - y``: the gradient of several losses at the pre-activation of their own output."""
    return p - y


def squared_error(p, y):
    """Return half the squared error."""
    return 0.5 * ((p - y) * (p - y))


def absolute_error(p, y):
    """Return the absolute error."""
    return abs(p - y)


def absolute_error_gradient(p, y):
    """Return the sign of the error, 0 without one, as torch's L1Loss."""
    d = p - y
    return 1.0 if d > 0.0 else (-1.0 if d < 0.0 else d)


def huber(p, y, k):
    """Huber (1964): quadratic up to an error of ``k``, linear beyond."""
    d = abs(p - y)
    return 0.5 * d * d if d <= k else k * (d - 0.5 * k)


def huber_gradient(p, y, k):
    """Return the error, bounded by ``k``."""
    d = p - y
    return k if d > k else (-k if d < -k else d)


def log_cosh(p, y):
    """Return the logarithm of the error's hyperbolic cosine, accurate for small and for large errors."""
    d = abs(p - y)
    if d < 1.0:
        s = math.sinh(0.5 * d)  # cosh d = 1 + 2 sinh(d / 2)**2
        return math.log1p(2.0 * s * s)
    return d + math.log1p(math.exp(-2.0 * d)) - math.log(2.0)


def log_cosh_gradient(p, y):
    """Return the hyperbolic tangent of the error."""
    return math.tanh(p - y)


def pinball(p, y, k):
    """Koenker and Bassett (1978): the error, weighed ``k`` below the target and ``1 - k`` above."""
    d = p - y
    return (1.0 - k) * d if d > 0.0 else -k * d


def pinball_gradient(p, y, k):
    """Return ``1 - k`` above the target, ``-k`` below and at it, as scikit-learn's PinballLoss."""
    d = p - y
    return 1.0 - k if d > 0.0 else (-k if d <= 0.0 else d)


def poisson(p, y):
    """Return half the Poisson deviance."""
    return p - y + (y * math.log(y / p) if y != 0.0 else 0.0)


def poisson_gradient(p, y):
    """Return the derivative of `poisson`."""
    return 1.0 - y / p


def gamma(p, y):
    """Return half the gamma deviance."""
    return y / p - 1.0 - math.log(y / p)


def gamma_gradient(p, y):
    """Return the derivative of `gamma`."""
    return (1.0 - y / p) / p


def gamma_gradient_at_exp(p, y):
    """Return the derivative of `gamma` by the logarithm of ``p``."""
    return 1.0 - y / p


def _power_difference(p, log_ratio, a):
    """Return ``(y**a - p**a) / a``, given ``log(y / p)``; in the limit of ``a = 0``, that logarithm."""
    return p**a * (math.expm1(a * log_ratio) / a) if a != 0.0 else log_ratio


def tweedie(p, y, k):
    """Return half the deviance of the Tweedie distribution of power ``k`` (Jorgensen, 1987).

    The textbook's three terms cancel near the powers 1 and 2; these two do not, and have their limits.
    """
    if k > 0.0 and y != 0.0:
        log_ratio = math.log(y / p)
        return y * _power_difference(p, log_ratio, 1.0 - k) - _power_difference(p, log_ratio, 2.0 - k)
    if k == 0.0:
        return 0.5 * ((p - y) * (p - y))
    above = max(y, 0.0)  # of a power below 0, where y may be negative
    constant = above ** (2.0 - k) / ((1.0 - k) * (2.0 - k)) if above > 0.0 else 0.0
    linear = y * p ** (1.0 - k) / (1.0 - k) if y != 0.0 else 0.0
    return constant - linear + p ** (2.0 - k) / (2.0 - k)


def tweedie_gradient(p, y, k):
    """Return the derivative of `tweedie`."""
    return (p - y) * p**-k


def tweedie_gradient_at_exp(p, y, k):
    """Return the derivative of `tweedie` by the logarithm of ``p``."""
    return (p - y) * p ** (1.0 - k)


def gaussian_nll(p, y, gradient):
    """Nix and Weigend (1994): negative log-likelihood of normal distributions, without its constant.

    Pairs of outputs are a mean and the logarithm of a variance; both targets of a pair are the same number.
    """
    total = 0.0
    for j in range(0, p.shape[0], 2):
        d = p[j] - y[j]
        precision = math.exp(-p[j + 1])
        gradient[j] = d * precision
        gradient[j + 1] = 0.5 - 0.5 * (d * precision * d)
        total += 0.5 * (p[j + 1] + d * precision * d)
    return total
