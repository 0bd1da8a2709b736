"""The formulas of the activations: plain functions of one number, from which every device compiles its own.

A derivative takes the output where that is enough, else the pre-activation (`fastopt.rules.activations` says
which). NaN stays NaN. Exponentials of positive numbers are avoided, so that no number that the type can hold
overflows within; and where a derivative is the product of what vanishes and what grows, the first factor is 0
before the second could be infinite. Numbers are literals, because these take the precision of the arrays.
"""

import math

from fastopt.rules.scalar_functions import bounded_exp, normal_tail


def identity(z):
    """Return ``z``."""
    return z


def one(a):
    """Return 1, the derivative of the identity."""
    return 1.0


def relu(z):
    """Return the larger of 0 and ``z``."""
    return 0.0 if z < 0.0 else z  # NaN stays NaN


def relu_derivative(a):
    """Return the derivative of the ReLU from its value: 0 at 0."""
    return 0.0 if a == 0.0 else 1.0


def prelu(z, slope):
    """Return ``z``, times the slope where it is negative (He et al., 2015)."""
    return slope * z if z < 0.0 else z


def prelu_derivative(z, slope):
    """Return the derivative of the PReLU: at 0 the slope, as torch's."""
    return 1.0 if z > 0.0 else slope


def prelu_parameter_derivative(z, slope):
    """Return the derivative of the PReLU with respect to its slope."""
    return 0.0 if z > 0.0 else z


def tanh(z):
    """Return the hyperbolic tangent."""
    return math.tanh(z)


def tanh_derivative(a):
    """Return the derivative of the hyperbolic tangent from its value."""
    return 1.0 - a * a


def logistic(z):
    """Return ``1 / (1 + e**-z)``."""
    return 1.0 / (1.0 + bounded_exp(-z))


def logistic_derivative(p):
    """Return the derivative of the logistic function from its value."""
    return p * (1.0 - p)


def exponential(z):
    """Return e**z, which may overflow to infinity, so that divergence is noticed."""
    return math.exp(z)


def leaky_relu(z):
    """Return ``z``, a hundredth of it where it is negative (Maas, Hannun and Ng, 2013)."""
    return 0.01 * z if z < 0.0 else z


def leaky_relu_derivative(a):
    """Return the derivative of the leaky ReLU from its value: 0.01 at 0."""
    return 1.0 if a > 0.0 else 0.01


def relu6(z):
    """Return ``z`` brought to between 0 and 6 (Krizhevsky, 2010)."""
    return 0.0 if z < 0.0 else (6.0 if z > 6.0 else z)


def relu6_derivative(a):
    """Return the derivative of `relu6` from its value: 0 at both ends."""
    return (0.0 if a >= 6.0 else 1.0) if a > 0.0 else 0.0


def hard_swish(z):
    """Return ``z relu6(z + 3) / 6`` (Howard et al., 2019)."""
    return z * (relu6(z + 3.0) / 6.0)


def hard_swish_derivative(z):
    """Return the derivative of `hard_swish` from its argument: of the outer pieces at -3 and 3."""
    return 0.0 if z <= -3.0 else (1.0 if z >= 3.0 else z / 3.0 + 0.5)


def elu(z):
    """Return ``z``, ``e**z - 1`` where it is negative (Clevert, Unterthiner and Hochreiter, 2016)."""
    bend = math.expm1(min(z, 0.0))
    return z if z > 0.0 else bend


def elu_derivative(a):
    """Return the derivative of `elu` from its value."""
    return 1.0 if a > 0.0 else a + 1.0


def selu(z):
    """Return the scaled `elu` of which mean 0 and variance 1 are a fixed point (Klambauer et al., 2017)."""
    bend = 1.7580993408473766 * math.expm1(min(z, 0.0))  # scale times alpha, by their equation 14
    return 1.0507009873554805 * z if z > 0.0 else bend


def selu_derivative(a):
    """Return the derivative of `selu` from its value."""
    return 1.0507009873554805 if a > 0.0 else a + 1.7580993408473766


def softplus(z):
    """Return ``log(1 + e**z)`` (Dugas et al., 2001)."""
    return max(z, 0.0) + math.log1p(math.exp(-abs(z)))


def softplus_derivative(a):
    """Return the derivative of `softplus`, the logistic function, from its value."""
    return -math.expm1(-a)


def softsign(z):
    """Return ``z / (1 + |z|)`` (Bergstra et al., 2009)."""
    return z / (1.0 + abs(z))


def softsign_derivative(a):
    """Return the derivative of `softsign` from its value."""
    rest = 1.0 - abs(a)
    return rest * rest


def logistic_parts(z):
    """Return the logistic functions of ``z`` and ``-z``, either of which may be 0."""
    e = math.exp(-abs(z))
    larger = 1.0 / (1.0 + e)
    smaller = e * larger
    return (larger, smaller) if z >= 0.0 else (smaller, larger)


def silu(z):
    """Return ``z / (1 + e**-z)`` (Elfwing, Uchibe and Doya, 2018)."""
    return z * logistic_parts(z)[0]


def silu_derivative(z):
    """Return the derivative of `silu` from its argument."""
    p, q = logistic_parts(z)
    return p * (1.0 + z * q)


def mish(z):
    """Return ``z tanh(log(1 + e**z))`` (Misra, 2020)."""
    top, rest = _mish_parts(z)
    return z * (top / (top + rest))


def mish_derivative(z):
    """Return the derivative of `mish` from its argument."""
    top, rest = _mish_parts(z)
    whole = top + rest
    return top / whole + z * (rest * (whole + top) / (whole * whole) * logistic_parts(z)[0])


def _mish_parts(z):
    """Return n and d with ``n / (n + d) = tanh(log(1 + e**z))``, of exponentials that are at most 1."""
    e = math.exp(-abs(z))
    return (1.0 + 2.0 * e, 2.0 * e * e) if z >= 0.0 else (e * (e + 2.0), 2.0)


def gelu(z):
    """Return ``z`` times the normal distribution function of ``z`` (Hendrycks and Gimpel, 2016)."""
    size = abs(z)
    return max(z, 0.0) - size * normal_tail(size)


def gelu_derivative(z):
    """Return the derivative of `gelu` from its argument."""
    tail, density = normal_tail(abs(z)), 0.3989422804014327 * math.exp(-0.5 * (z * z))
    return (1.0 - tail if z >= 0.0 else tail) + z * density


def gelu_tanh(z):
    """Return `gelu` with the authors' approximation of the distribution function by a tanh."""
    return z * logistic_parts(_gelu_angle(z))[0]


def gelu_tanh_derivative(z):
    """Return the derivative of `gelu_tanh` from its argument."""
    p, q = logistic_parts(_gelu_angle(z))
    slope = p * q
    if slope > 0.0:
        slope *= 1.5957691216057308 + 0.21406444881780076 * z * z
    return p + z * slope


def _gelu_angle(z):
    """Return twice the argument of the tanh, ``sqrt(8 / pi) (z + 0.044715 z**3)``."""
    return z * (1.5957691216057308 + 0.07135481627260025 * z * z)


def sine(z):
    """Return the sine (Sitzmann et al., 2020, with the frequency in the weights)."""
    return math.sin(z)


def sine_derivative(z):
    """Return the derivative of the sine from its argument."""
    return math.cos(z)


def snake(z):
    """Return ``z + sin(z)**2`` (Liu, Hartwig and Ueda, 2020)."""
    s = math.sin(z)
    return z + s * s


def snake_derivative(z):
    """Return the derivative of `snake` from its argument."""
    return 1.0 + 2.0 * (math.sin(z) * math.cos(z))
