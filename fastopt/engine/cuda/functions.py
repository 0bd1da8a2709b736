"""Activations, output functions and losses as scalar functions, for `kernels.cuda.device_function`.

The same formulas as `activations`, which works on blocks of rows in polynomials that LLVM vectorises; a GPU
has its own exp, log and tanh. Names differ from `math`'s: a name in a device function stands for one thing.
"""

import math


def _unchanged(z):
    return z


def _rectified(z):
    return 0.0 if z < 0.0 else z  # NaN stays NaN


def _hyperbolic(z):
    return math.tanh(z)


def _sigmoid(z):
    return 1.0 / (1.0 + math.exp(-z))


def _exponential(z):
    return math.exp(z)  # may overflow to infinity, which must be seen


def _times_one(delta, a):
    return delta


def _times_step(delta, a):
    return 0.0 if a == 0.0 else delta


def _times_hyperbolic_slope(delta, a):
    return delta * (1.0 - a * a)


def _times_sigmoid_slope(delta, a):
    return delta * (a * (1.0 - a))


def _clipped(p, smallest):
    largest = 1.0 - smallest
    return smallest if p < smallest else (largest if p > largest else p)


def _squared_error(p, y, smallest):
    return (p - y) * (p - y)


def _log_loss(p, y, smallest):
    return -y * math.log(_clipped(p, smallest))


def _binary_log_loss(p, y, smallest):
    q = _clipped(p, smallest)
    return -y * math.log(q) - (1.0 - y) * math.log(1.0 - q)


def _poisson(p, y, smallest):
    return p - y + (y * math.log(y / p) if y != 0.0 else 0.0)


#: Hidden activation to its function of the pre-activation, and the gradient's way back through it, given the
#: activation's own output.
ACTIVATIONS = {
    "identity": (_unchanged, _times_one),
    "relu": (_rectified, _times_step),
    "tanh": (_hyperbolic, _times_hyperbolic_slope),
    "logistic": (_sigmoid, _times_sigmoid_slope),
}
#: Output function of one pre-activation. The softmax exponentiates differences; its kernel does the rest.
OUTPUTS = {
    "identity": _unchanged,
    "softmax": _exponential,
    "logistic": _sigmoid,
    "exp": _exponential,
}
#: Loss of one output ``p`` for the target ``y``; probabilities are clipped to ``[smallest, 1 - smallest]``.
#: The squared error is left whole, as in `activations.loss`.
LOSSES = {
    "squared_error": _squared_error,
    "log_loss": _log_loss,
    "binary_log_loss": _binary_log_loss,
    "poisson": _poisson,
}
