"""Activations and losses that a user might register: what the built-in ones do not ask of the engine."""

import math

from fastopt import register_activation, register_loss
from fastopt.rules.activation_functions import logistic


def silu(z):
    """Elfwing, Uchibe and Doya (2018), equation 1."""
    return z * logistic(z)


def silu_derivative(z):
    p = logistic(z)
    return p * (1.0 + z * (1.0 - p))


def learnt_softsign(z, s):
    """Return a softsign ``z / (1 + s**2 |z|)`` that each unit bends by itself."""
    return z / (1.0 + s * s * abs(z))


def learnt_softsign_derivative(z, s):
    d = 1.0 + s * s * abs(z)
    return 1.0 / (d * d)


def learnt_softsign_by_bend(z, s):
    d = 1.0 + s * s * abs(z)
    return -2.0 * s * z * abs(z) / (d * d)


def huber(p, y):
    """Huber (1964), with the bend at 1."""
    d = abs(p - y)
    return 0.5 * d * d if d <= 1.0 else d - 0.5


def huber_gradient(p, y):
    d = p - y
    return d if abs(d) <= 1.0 else math.copysign(1.0, d)


def absolute_error(p, y):
    return abs(p - y)


def absolute_error_gradient(p, y):
    return 1.0 if p > y else (-1.0 if p < y else 0.0)


def half_log(p, y):
    """Squared difference of logarithms, of a positive output: the gradient needs the output's derivative."""
    d = math.log(p) - math.log(y + 1.0)
    return 0.5 * d * d


def half_log_gradient(p, y):
    return (math.log(p) - math.log(y + 1.0)) / p


#: The derivative of the SiLU is not a function of its output.
SILU = register_activation("own_silu", silu, silu_derivative, derivative_from="input")
#: A learnt parameter that is no slope: neither the function nor its derivative is linear in it.
LEARNT_SOFTSIGN = register_activation(
    "learnt_softsign",
    learnt_softsign,
    learnt_softsign_derivative,
    parameter=1.0,
    parameter_derivative=learnt_softsign_by_bend,
)
HUBER = register_loss("own_huber", huber, huber_gradient)
ABSOLUTE_ERROR = register_loss("own_absolute_error", absolute_error, absolute_error_gradient)
#: Another output than the identity, without a fused gradient.
HALF_LOG = register_loss("half_log", half_log, half_log_gradient, output="exp", targets="nonnegative")
