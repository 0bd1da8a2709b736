"""Activation functions as scalar functions, from which the kernels of every device are compiled.

`register_activation` adds one to `ACTIVATIONS`: a function of a pre-activation and its derivative. The CPU
engine compiles them into loops over blocks of rows, with the functions of `math` in forms that LLVM
vectorises (`fastopt.engine.cpu.compiled_math`); the CUDA engine into device functions. The library's own
formulas are in `fastopt.rules.activation_functions`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from fastopt.rules import activation_functions as functions
from fastopt.rules.scalar_functions import bounded_exp, enter, lookup, with_globals

#: Activations of the hidden layers, by name.
ACTIVATIONS: dict[str, "Activation"] = {}


@dataclasses.dataclass(frozen=True, eq=False)
class Activation:
    """An activation function and its derivative.

    Attributes
    ----------
    name : str
        The key in the registry.
    value : callable
        ``value(z) -> a`` on scalars: the output for a pre-activation.
    derivative : callable
        ``derivative(a)`` or ``derivative(z)`` on scalars.
    derivative_from : {'output', 'input'}
        What the derivative takes: the output ``a``, or the pre-activation ``z``, which is then kept beside
        the output between the forward and the backward pass.
    is_normalized : bool
        Whether the outputs of a row are divided by their sum, and ``value`` is given the difference from the
        row's largest pre-activation: the softmax. Only of the last layer.
    """

    name: str
    value: Callable[[float], float]
    derivative: Callable[[float], float]
    derivative_from: str = "output"
    is_normalized: bool = False

    @property
    def keeps_input(self) -> bool:
        """Whether the backward pass needs the pre-activations."""
        return self.derivative_from == "input"

    @property
    def backward(self) -> Callable[[float, float], float]:
        """``backward(delta, point)``: gradient with respect to the input, from that to the output.

        ``point`` is what `derivative` takes. Plain Python, with `derivative` as a global, to be compiled.
        """
        return with_globals(_backward, derivative=self.derivative)

    def __reduce__(self) -> tuple[Any, ...]:
        return lookup_activation, (self.name,)


def _backward(delta, point):
    return chained(delta, derivative(point))  # noqa: F821  bound by Activation.backward


def chained(delta: float, slope: float) -> float:
    """Return the gradient with respect to the input, from that to the output and the derivative there.

    Where the slope is 0 it is 0, also if ``delta`` has overflowed (not 0 * inf = NaN), as in scikit-learn.
    """
    return (delta if slope != 0.0 else slope) * slope


def lookup_activation(name: str) -> Activation:
    """Return the activation of that name; ValueError lists those that are registered."""
    return lookup(ACTIVATIONS, "activation", name)


def register_activation(
    name: str,
    value: Callable[[float], float],
    derivative: Callable[[float], float],
    *,
    derivative_from: str = "output",
) -> Activation:
    """Register an activation function for the hidden layers, on every device.

    The two functions are compiled for float32 and float64 arrays: they take and return one number, may use
    `math`, conditional expressions, numbers and functions of their own module, and have no side effects.
    Write constants as floats (``2.0``, not ``2``): they take the array's precision.

    To add one to the library, call this at the end of ``fastopt/rules/activations.py``: estimators, both
    devices and the tests, which take their cases from the registry, then know it.

    Parameters
    ----------
    name : str
        The name for the estimators' ``activation``.
    value : callable
        ``value(z)``: the output for the pre-activation ``z``.
    derivative : callable
        The derivative of ``value``.
    derivative_from : {'output', 'input'}, default='output'
        Whether ``derivative`` takes the output, ``value(z)``, or the input, ``z``. The output costs less:
        with the input the pre-activations of the hidden layers are stored as well.

    Returns
    -------
    Activation
        The entry of the registry.

    Raises
    ------
    TypeError
        If ``value`` or ``derivative`` is not a Python function of one argument.
    ValueError
        If the name is taken by other functions, or ``derivative_from`` is neither.

    Notes
    -----
    A registration lasts as long as the process. A pickled estimator holds the activation's name, so whoever
    loads it registers the activation first. scikit-learn's initial weights are used, those of its ``'relu'``.

    Examples
    --------
    The SiLU (Elfwing et al., 2018), whose derivative needs the pre-activation:

    >>> import fastopt
    >>> from fastopt.rules.activation_functions import logistic
    >>> def swish(z):
    ...     return z * logistic(z)
    >>> def swish_derivative(z):
    ...     p = logistic(z)
    ...     return p * (1.0 + z * (1.0 - p))
    >>> swish = fastopt.register_activation("swish", swish, swish_derivative, derivative_from="input")
    >>> round(swish.value(1.0), 4)
    0.7311
    >>> network = fastopt.MLPClassifier((4,), activation="swish", max_iter=5, tol=0, n_iter_no_change=9)
    """
    if derivative_from not in ("output", "input"):
        raise ValueError(f"derivative_from={derivative_from!r} must be 'output' or 'input'")
    entry = Activation(name, value, derivative, derivative_from)
    enter(ACTIVATIONS, "activation", entry, {"value": 1, "derivative": 1})
    return entry


def _register(*names, derivative_from="output"):
    for name in names:
        value, derivative = getattr(functions, name), getattr(functions, f"{name}_derivative")
        register_activation(name, value, derivative, derivative_from=derivative_from)


register_activation("identity", functions.identity, functions.one)
_register("relu", "tanh", "logistic", "leaky_relu", "relu6", "elu", "selu", "softplus", "softsign")
register_activation("celu", functions.elu, functions.elu_derivative)  # for alpha=1, torch's default
_register(
    "hard_swish", "silu", "mish", "gelu", "gelu_tanh", "sine", "snake", derivative_from="input"
)  # fmt: skip

#: Activations of the last layer, by name. The softmax's derivative is a matrix: it is trained by losses that
#: state their gradient at the pre-activations, see `fastopt.rules.losses.Loss.output_gradient`.
OUTPUTS = {
    "identity": ACTIVATIONS["identity"],
    "logistic": ACTIVATIONS["logistic"],
    "exp": Activation("exp", functions.exponential, functions.identity),
    "softplus": ACTIVATIONS["softplus"],
    "tanh": ACTIVATIONS["tanh"],
    "softmax": Activation("softmax", bounded_exp, functions.logistic_derivative, is_normalized=True),
}

#: Those of them that are positive, as the mean of counts and durations has to be.
POSITIVE_OUTPUTS = ("logistic", "exp", "softplus", "softmax")


def lookup_output(name: str) -> Activation:
    """Return the last layer's activation of that name; ValueError lists the allowed names."""
    if name not in OUTPUTS:
        raise ValueError(f"out_activation={name!r} must be one of {', '.join(map(repr, sorted(OUTPUTS)))}")
    return OUTPUTS[name]
