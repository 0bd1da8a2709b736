"""Losses of labels: for a probability ``p``, a target ``y`` in [0, 1] and a parameter ``k``.

Clipping is scikit-learn's: it bounds the loss, while gradients at the pre-activations go on.
"""

import math

from fastopt.rules.scalar_functions import epsilon


def clipped(p):
    """Clip a probability to ``[epsilon, 1 - epsilon]``, as scikit-learn does; a NaN passes."""
    smallest = epsilon(p)
    largest = 1.0 - smallest
    return smallest if p < smallest else (largest if p > largest else p)


def log_loss(p, y):
    """Return the cross-entropy of one class of several, whose probabilities sum to 1."""
    return -(y * math.log(clipped(p)))


def log_loss_gradient(p, y):
    """Return the derivative of `log_loss`."""
    return -y / clipped(p)


def binary_log_loss(p, y):
    """Return the cross-entropy of one label."""
    q = clipped(p)
    return -(y * math.log(q) + (1.0 - y) * math.log(1.0 - q))


def binary_log_loss_gradient(p, y):
    """Return the derivative of `binary_log_loss`."""
    q = clipped(p)
    return (1.0 - y) / (1.0 - q) - y / q


def focal(p, y, gradient, k):
    """Lin et al. (2017): the cross-entropy of each class times ``(1 - p)**k``, after the softmax.

    ``dp_c / dz_j = p_c (delta_cj - p_j)``: each class has a slope along its own pre-activation, and their sum
    goes to all, as `log_loss` has ``p - y`` where ``k`` is 0.
    """
    total = 0.0
    sum_of_slopes = 0.0
    for j in range(p.shape[0]):
        gradient[j] = 0.0
        if y[j] != 0.0:
            q = clipped(p[j])
            weight, logarithm = (1.0 - q) ** k[j], math.log(q)
            total -= y[j] * weight * logarithm
            gradient[j] = y[j] * weight * (k[j] * q * logarithm / (1.0 - q) - 1.0)
            sum_of_slopes += gradient[j]
    for j in range(p.shape[0]):
        gradient[j] -= p[j] * sum_of_slopes
    return total


def binary_focal(p, y, k):
    """Lin et al. (2017): each part of the cross-entropy times the other outcome's probability ** ``k``."""
    q = clipped(p)
    return -(y * (1.0 - q) ** k * math.log(q) + (1.0 - y) * q**k * math.log(1.0 - q))


def binary_focal_gradient(p, y, k):
    """Return the derivative of `binary_focal`."""
    q = clipped(p)
    return binary_focal_gradient_at_logistic(q, y, k) / (q * (1.0 - q))


def binary_focal_gradient_at_logistic(p, y, k):
    """Return the derivative of `binary_focal` by the logit."""
    q = clipped(p)
    on = (1.0 - q) ** k * (k * p * math.log(q) - (1.0 - p))
    off = q**k * (p - k * (1.0 - p) * math.log(1.0 - q))
    return y * on + (1.0 - y) * off
