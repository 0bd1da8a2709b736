"""Registry of the loss functions, from which the kernels of every device are compiled.

`register_loss` adds one to `LOSSES`: the loss of one output, and its derivative; or, where the outputs of a
row depend on each other, a function of the row. The library's own are plain functions of
`fastopt.rules.regression_losses` and `fastopt.rules.classification_losses`.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from fastopt.rules import classification_losses, regression_losses
from fastopt.rules.activations import OUTPUTS, Activation, lookup_output
from fastopt.rules.scalar_functions import enter, lookup, with_globals

#: Losses by name; those that regressors offer; and those of classifiers.
LOSSES: dict[str, "Loss"] = {}
REGRESSION_LOSSES: dict[str, "Loss"] = {}
CLASSIFICATION_LOSSES: dict[str, "Loss"] = {}

#: What targets may be: any numbers, numbers from 0 on or above 0, or numbers from 0 to 1 for each class.
TARGETS = ("real", "nonnegative", "positive", "labels")


@dataclasses.dataclass(frozen=True)
class LossParameter:
    """A number that a loss takes at run time, an argument of the estimators.

    Attributes
    ----------
    name : str
        The argument.
    default : float
    intervals : tuple
        Which numbers are allowed: ``(low, high, closed)`` as scikit-learn's ``Interval`` takes them.
    """

    name: str
    default: float
    intervals: tuple[tuple[float | None, float | None, str], ...]

    def check(self, k: float) -> None:
        """Raise ValueError if a number is not allowed."""
        if not (math.isfinite(k) and any(_is_in(k, *interval) for interval in self.intervals)):
            allowed = " or ".join(_in_words(*interval) for interval in self.intervals)
            raise ValueError(f"{self.name}={k!r} must be a number {allowed}")


def _is_in(k, low, high, closed):
    above = low is None or k > low or (k == low and closed in ("left", "both"))
    return above and (high is None or k < high or (k == high and closed in ("right", "both")))


def _in_words(low, high, closed):
    above = "" if low is None else f"{'>=' if closed in ('left', 'both') else '>'} {low}"
    below = "" if high is None else f"{'<=' if closed in ('right', 'both') else '<'} {high}"
    return " and ".join(filter(None, (above, below)))


#: The parameters that losses may have, by name.
PARAMETERS = {
    one.name: one
    for one in (
        LossParameter("delta", 1.0, ((0, None, "neither"),)),
        LossParameter("quantile", 0.5, ((0, 1, "neither"),)),
        LossParameter("power", 1.5, ((None, 0, "right"), (1, None, "left"))),
        LossParameter("focal_gamma", 2.0, ((0, None, "left"),)),
    )
}


@dataclasses.dataclass(frozen=True, eq=False)
class Loss:
    """A loss function and its derivative.

    Attributes
    ----------
    name : str
        The key in the registry.
    value : callable or None
        ``value(p, y)`` on scalars: the loss of an output ``p`` for the target ``y``.
    gradient : callable or None
        ``gradient(p, y)``: the derivative of ``value`` with respect to ``p``.
    output : str
        The activation of the last layer that the estimators use with it.
    fused : callable or None
        ``fused(p, y)``: the derivative with respect to the pre-activation for this ``output``, where that is
        simpler than the product of two derivatives.
    targets : str or callable
        What ``y`` may be, one of `TARGETS`, or a function of the parameter that returns one. Regressors offer
        losses that are not for labels.
    is_mean : bool
        Whether a row's loss is the mean over its outputs, not the sum. The gradient is that of the sum in
        either case, as of scikit-learn's squared error.
    parameter : LossParameter or None
        What every function of the loss takes as one more argument, ``k``: a number for each output.
    row : callable or None
        In place of ``value`` and ``gradient``, ``row(p, y, gradient)`` on the arrays of a row: returns its
        loss and writes the gradient at the pre-activations.
    outputs_per_target : int
        How many outputs of the network belong to one target; `y` has as many equal columns.
    """

    name: str
    value: Callable[..., float] | None
    gradient: Callable[..., float] | None
    output: str = "identity"
    fused: Callable[..., float] | None = None
    targets: str | Callable[[float], str] = "real"
    is_mean: bool = False
    parameter: LossParameter | None = None
    row: Callable[..., float] | None = None
    outputs_per_target: int = 1

    def check_output(self, output: Activation) -> None:
        """Raise ValueError if the loss has no gradient with a last layer of that activation."""
        if (self.row is not None or output.is_normalized) and output is not OUTPUTS[self.output]:
            raise ValueError(
                f"loss={self.name!r} has no gradient for out_activation={output.name!r}, because outputs of "
                f"a row depend on each other; use out_activation={self.output!r}"
            )

    def output_gradient(self, output: Activation) -> Callable[..., float]:
        """Return ``gradient(p, y)`` with respect to the last layer's pre-activation, to be compiled.

        Takes the parameter as third argument if there is one. Not of losses of rows.

        Raises
        ------
        ValueError
            If the outputs depend on each other (softmax) and the loss does not state the gradient.
        """
        self.check_output(output)
        if self.fused is not None and output is OUTPUTS[self.output]:
            return self.fused
        chained = _chained if self.parameter is None else _chained_with_parameter
        return with_globals(chained, gradient=self.gradient, derivative=output.derivative)

    def row_function(self, output: Activation) -> Callable[..., float] | None:
        """Return ``row(p, y, gradient, k)`` of a loss of rows or with a parameter, to be compiled; else None.

        It writes the gradient with respect to the last layer's pre-activations, and returns the loss.
        """
        self.check_output(output)
        if self.row is not None:
            return self.row if self.parameter else with_globals(_row_without_parameter, row=self.row)
        if self.parameter is None:
            return None
        return with_globals(_row_of_elements, value=self.value, slope=self.output_gradient(output))

    def targets_for(self, k: float | None = None) -> str:
        """Return what ``y`` may be, one of `TARGETS`, for the parameter ``k``."""
        if isinstance(self.targets, str):
            return self.targets
        return self.targets(math.nan if k is None else k)

    def __reduce__(self) -> tuple[Any, ...]:
        return lookup_loss, (self.name,)


def _chained(p, y):
    return gradient(p, y) * derivative(p)  # noqa: F821  bound by Loss.output_gradient


def _chained_with_parameter(p, y, k):
    return gradient(p, y, k) * derivative(p)  # noqa: F821  bound by Loss.output_gradient


def _row_of_elements(p, y, gradient, k):
    total = 0.0
    for j in range(p.shape[0]):
        total += value(p[j], y[j], k[j])  # noqa: F821  bound by Loss.row_function
        gradient[j] = slope(p[j], y[j], k[j])  # noqa: F821
    return total


def _row_without_parameter(p, y, gradient, k):
    return row(p, y, gradient)  # noqa: F821  bound by Loss.row_function


def lookup_loss(name: str) -> Loss:
    """Return the loss of that name; ValueError lists those that are registered."""
    return lookup(LOSSES, "loss", name)


def register_loss(
    name: str,
    value: Callable[..., float] | None = None,
    gradient: Callable[..., float] | None = None,
    *,
    output: str = "identity",
    fused: Callable[..., float] | None = None,
    targets: str | Callable[[float], str] = "real",
    is_mean: bool = False,
    parameter: str | None = None,
    row: Callable[..., float] | None = None,
    outputs_per_target: int = 1,
) -> Loss:
    """Register a loss function, on every device.

    The functions are compiled for float32 and float64 arrays: they take numbers and return one, may use
    `math`, conditional expressions, numbers and functions of their own module, and have no side effects.
    Write constants as floats (``2.0``, not ``2``): they take the array's precision.

    To add one to the library, call this at the end of ``fastopt/rules/losses.py``: estimators, both devices
    and the tests, which take their cases from the registry, then know it.

    Parameters
    ----------
    name : str
        The name for the estimators' ``loss``.
    value : callable
        ``value(p, y)``: the loss of one output ``p`` for its target ``y``. Losses are summed over the outputs
        of a row and averaged over rows.
    gradient : callable
        ``gradient(p, y)``: the derivative of ``value`` with respect to ``p``.
    output : {'identity', 'logistic', 'exp', 'softplus', 'tanh', 'softmax'}, default='identity'
        The last layer's activation: what makes ``p`` of the pre-activation.
    fused : callable, optional
        ``fused(p, y)``: the derivative with respect to the pre-activation, in place of ``gradient`` times the
        derivative of ``output``; required with ``'softmax'``.
    targets : {'real', 'nonnegative', 'positive', 'labels'} or callable, default='real'
        What ``y`` may be, or a function of the parameter that returns it. A regressor refuses other targets,
        and offers no loss for ``'labels'`` (numbers from 0 to 1 for each class). A classifier offers those:
        with ``output='softmax'`` for several classes, with ``'logistic'`` for two and for multilabel targets;
        where these are two losses, that of the latter has the name of the other after ``'binary_'``.
    is_mean : bool, default=False
        Report the mean over a row's outputs in place of the sum, as scikit-learn does for its squared error;
        the gradient stays that of the sum.
    parameter : {'delta', 'quantile', 'power', 'focal_gamma'}, optional
        The estimators' argument that all functions of the loss take as one more argument, the last: a number
        for each output, which may change without compiling anew. ``'focal_gamma'`` is the classifier's.
    row : callable, optional
        In place of ``value``, ``gradient`` and ``fused``, where the outputs of a row depend on each other:
        ``row(p, y, gradient)`` takes arrays with the outputs and the targets of one row, writes the
        derivatives with respect to the pre-activations to ``gradient`` and returns the row's loss. A
        parameter is an array as well.
    outputs_per_target : int, default=1
        Number of neighbouring outputs that belong to one target. Their columns of ``y`` are equal, and a
        regressor predicts the first of them.

    Returns
    -------
    Loss
        The entry of the registry.

    Raises
    ------
    TypeError
        If one of the functions is not a Python function of two arguments.
    ValueError
        If the name is taken by other functions, or another argument is none of those named.

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
    if not callable(targets) and targets not in TARGETS:
        raise ValueError(f"targets={targets!r} must be one of {', '.join(map(repr, TARGETS))}")
    arguments = [one for one in PARAMETERS if (one == "focal_gamma") == (targets == "labels")]
    if parameter is not None and parameter not in arguments:
        raise ValueError(f"parameter={parameter!r} must be one of {arguments}, with targets={targets!r}")
    if row is None and fused is None and OUTPUTS[output].is_normalized:
        raise ValueError(f"loss {name!r} needs fused=: the outputs of {output!r} depend on each other")
    given = {"value": value, "gradient": gradient, "fused": fused, "row": row}
    names = {field for field, function in given.items() if function is not None}
    if names not in ({"row"}, {"value", "gradient"}, {"value", "gradient", "fused"}):
        raise ValueError(f"loss {name!r} needs value and gradient, or row alone; got {sorted(names)}")
    if outputs_per_target < 1 or (outputs_per_target > 1 and row is None):
        raise ValueError(
            f"loss {name!r} has outputs_per_target={outputs_per_target!r}: it must be 1, or more with row="
        )
    known = None if parameter is None else PARAMETERS[parameter]
    entry = Loss(
        name, value, gradient, output, fused, targets, is_mean, known, row, outputs_per_target
    )  # fmt: skip
    more = parameter is not None
    enter(
        LOSSES,
        "loss",
        entry,
        {field: (3 if field == "row" else 2) + more for field in given if field in names},
    )
    for offered, is_offered in (
        (REGRESSION_LOSSES, targets != "labels"),
        (CLASSIFICATION_LOSSES, targets == "labels"),
    ):
        offered.pop(name, None)
        if is_offered:
            offered[name] = entry
    return entry


def _targets_of_tweedie(power):
    return "real" if power <= 0 else ("nonnegative" if power < 2 else "positive")


def _register_own():
    """Register the library's losses, on the scale of scikit-learn's metrics; of deviances the half."""
    of, labels = regression_losses, classification_losses
    at_output = of.difference
    register_loss("squared_error", of.squared_error, of.difference, is_mean=True)
    register_loss("absolute_error", of.absolute_error, of.absolute_error_gradient)
    register_loss("huber", of.huber, of.huber_gradient, parameter="delta")
    register_loss("log_cosh", of.log_cosh, of.log_cosh_gradient)
    register_loss("quantile", of.pinball, of.pinball_gradient, parameter="quantile")
    register_loss(
        "poisson", of.poisson, of.poisson_gradient, output="exp", fused=at_output, targets="nonnegative"
    )
    register_loss(
        "gamma", of.gamma, of.gamma_gradient, output="exp", fused=of.gamma_gradient_at_exp, targets="positive"
    )
    register_loss(
        "tweedie", of.tweedie, of.tweedie_gradient, output="exp", fused=of.tweedie_gradient_at_exp,
        targets=_targets_of_tweedie, parameter="power",
    )  # fmt: skip
    register_loss("gaussian_nll", row=of.gaussian_nll, outputs_per_target=2)
    register_loss(
        "log_loss", labels.log_loss, labels.log_loss_gradient,
        output="softmax", fused=at_output, targets="labels",
    )  # fmt: skip
    register_loss(
        "binary_log_loss", labels.binary_log_loss, labels.binary_log_loss_gradient,
        output="logistic", fused=at_output, targets="labels",
    )  # fmt: skip
    register_loss("focal", row=labels.focal, output="softmax", targets="labels", parameter="focal_gamma")
    register_loss(
        "binary_focal", labels.binary_focal, labels.binary_focal_gradient, output="logistic",
        fused=labels.binary_focal_gradient_at_logistic, targets="labels", parameter="focal_gamma",
    )  # fmt: skip


_register_own()
