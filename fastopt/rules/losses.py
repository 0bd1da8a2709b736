"""Loss functions as scalar functions, from which the kernels of every device are compiled.

`register_loss` adds one to `LOSSES`: the loss of one output, and its derivative. Formulas, clipping and
scales are scikit-learn's.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from fastopt.rules.activations import OUTPUTS, Activation, lookup_output
from fastopt.rules.scalar_functions import enter, epsilon, lookup, with_globals

#: Losses by name; and those that regressors offer.
LOSSES: dict[str, "Loss"] = {}
REGRESSION_LOSSES: dict[str, "Loss"] = {}

#: What targets may be: any numbers, numbers from 0 on, or 0 and 1 for each class.
TARGETS = ("real", "nonnegative", "labels")


@dataclasses.dataclass(frozen=True, eq=False)
class Loss:
    """A loss function and its derivative.

    Attributes
    ----------
    name : str
        The key in the registry.
    value : callable
        ``value(p, y)`` on scalars: the loss of an output ``p`` for the target ``y``.
    gradient : callable
        ``gradient(p, y)``: the derivative of ``value`` with respect to ``p``.
    output : str
        The activation of the last layer that the estimators use with it.
    fused : callable or None
        ``fused(p, y)``: the derivative with respect to the pre-activation for this ``output``, where that is
        simpler than the product of two derivatives.
    targets : {'real', 'nonnegative', 'labels'}
        What ``y`` may be. Regressors offer losses that are not for labels.
    is_mean : bool
        Whether a row's loss is the mean over its outputs, not the sum. The gradient is that of the sum in
        either case, as of scikit-learn's squared error.
    """

    name: str
    value: Callable[[float, float], float]
    gradient: Callable[[float, float], float]
    output: str = "identity"
    fused: Callable[[float, float], float] | None = None
    targets: str = "real"
    is_mean: bool = False

    def output_gradient(self, output: Activation) -> Callable[[float, float], float]:
        """Return ``gradient(p, y)`` with respect to the last layer's pre-activation, to be compiled.

        Raises
        ------
        ValueError
            If the outputs depend on each other (softmax) and the loss does not state the gradient.
        """
        if self.fused is not None and output is OUTPUTS[self.output]:
            return self.fused
        if output.is_normalized:
            raise ValueError(
                f"loss={self.name!r} has no gradient for out_activation={output.name!r}, whose outputs "
                f"depend on each other; use out_activation={self.output!r}"
            )
        return with_globals(_chained, gradient=self.gradient, derivative=output.derivative)

    def __reduce__(self) -> tuple[Any, ...]:
        return lookup_loss, (self.name,)


def _chained(p, y):
    return gradient(p, y) * derivative(p)  # noqa: F821  bound by Loss.output_gradient


def lookup_loss(name: str) -> Loss:
    """Return the loss of that name; ValueError lists those that are registered."""
    return lookup(LOSSES, "loss", name)


def register_loss(
    name: str,
    value: Callable[[float, float], float],
    gradient: Callable[[float, float], float],
    *,
    output: str = "identity",
    fused: Callable[[float, float], float] | None = None,
    targets: str = "real",
    is_mean: bool = False,
) -> Loss:
    """Register a loss function, on every device.

    The functions are compiled for float32 and float64 arrays: they take numbers and return one, may use
    `math`, conditional expressions, numbers and functions of their own module, and have no side effects.
    Write constants as floats (``2.0``, not ``2``): they take the array's precision.

    To add one to the library, call this at the end of ``fastopt/rules/losses.py``: regressors, both devices
    and the tests, which take their cases from the registry, then know it.

    Parameters
    ----------
    name : str
        The name for the regressor's ``loss``.
    value : callable
        ``value(p, y)``: the loss of one output ``p`` for its target ``y``. Losses are summed over the outputs
        of a row and averaged over rows.
    gradient : callable
        ``gradient(p, y)``: the derivative of ``value`` with respect to ``p``.
    output : {'identity', 'logistic', 'exp', 'softmax'}, default='identity'
        The last layer's activation: what makes ``p`` of the pre-activation.
    fused : callable, optional
        ``fused(p, y)``: the derivative with respect to the pre-activation, in place of ``gradient`` times the
        derivative of ``output``; required with ``'softmax'``.
    targets : {'real', 'nonnegative', 'labels'}, default='real'
        What ``y`` may be. A regressor refuses negative targets for ``'nonnegative'``, and offers no loss for
        ``'labels'`` (columns of 0 and 1).
    is_mean : bool, default=False
        Report the mean over a row's outputs in place of the sum, as scikit-learn does for its squared error;
        the gradient stays that of the sum.

    Returns
    -------
    Loss
        The entry of the registry.

    Raises
    ------
    TypeError
        If one of the functions is not a Python function of two arguments.
    ValueError
        If the name is taken by other functions, or ``output`` or ``targets`` is none of those named.

    Notes
    -----
    A registration lasts as long as the process. A pickled estimator holds the loss's name, so whoever loads
    it registers the loss first.

    Examples
    --------
    The pseudo-Huber loss (Charbonnier et al., 1997):

    >>> import math
    >>> import fastopt
    >>> def value(p, y):
    ...     return math.sqrt(1.0 + (p - y) * (p - y)) - 1.0
    >>> def gradient(p, y):
    ...     return (p - y) / math.sqrt(1.0 + (p - y) * (p - y))
    >>> fastopt.register_loss("pseudo_huber", value, gradient).name
    'pseudo_huber'
    >>> X, y = [[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0]
    >>> model = fastopt.MLPRegressor("pseudo_huber", (8,), solver="lbfgs", random_state=0).fit(X, y)
    >>> bool(model.loss_ < 0.01)
    True
    """
    lookup_output(output)
    if targets not in TARGETS:
        raise ValueError(f"targets={targets!r} must be one of {', '.join(map(repr, TARGETS))}")
    if fused is None and OUTPUTS[output].is_normalized:
        raise ValueError(f"loss {name!r} needs fused=: the outputs of {output!r} depend on each other")
    entry = Loss(name, value, gradient, output, fused, targets, is_mean)
    n_arguments = {"value": 2, "gradient": 2} | ({} if fused is None else {"fused": 2})
    enter(LOSSES, "loss", entry, n_arguments)
    REGRESSION_LOSSES.pop(name, None)
    if targets != "labels":
        REGRESSION_LOSSES[name] = entry
    return entry


def clipped(p):
    """Clip a probability to ``[epsilon, 1 - epsilon]``, as scikit-learn does; a NaN passes."""
    smallest = epsilon(p)
    largest = 1.0 - smallest
    return smallest if p < smallest else (largest if p > largest else p)


def difference(p, y):
    """Return ``p - y``, the gradient at the pre-activation of each loss below with its own output."""
    return p - y


def _squared_error(p, y):
    return 0.5 * ((p - y) * (p - y))


def _log_loss(p, y):
    return -(y * math.log(clipped(p)))


def _log_loss_gradient(p, y):
    return -y / clipped(p)


def _binary_log_loss(p, y):
    q = clipped(p)
    return -(y * math.log(q) + (1.0 - y) * math.log(1.0 - q))


def _binary_log_loss_gradient(p, y):
    q = clipped(p)
    return (1.0 - y) / (1.0 - q) - y / q


def _poisson(p, y):
    return p - y + (y * math.log(y / p) if y != 0.0 else 0.0)


def _poisson_gradient(p, y):
    return 1.0 - y / p


register_loss("squared_error", _squared_error, difference, is_mean=True)
register_loss("log_loss", _log_loss, _log_loss_gradient, output="softmax", fused=difference, targets="labels")
register_loss(
    "binary_log_loss",
    _binary_log_loss,
    _binary_log_loss_gradient,
    output="logistic",
    fused=difference,
    targets="labels",
)
register_loss("poisson", _poisson, _poisson_gradient, output="exp", fused=difference, targets="nonnegative")
