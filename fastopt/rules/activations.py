"""Activation functions as scalar functions, from which the kernels of every device are compiled.

`register_activation` adds one to `ACTIVATIONS`: a function of a pre-activation and its derivative, and of a
parameter that each unit learns if there is one, a slope for short: it is the PReLU's slope. The CPU engine
compiles them into loops over blocks of rows, with the functions of `math` in forms that LLVM vectorises
(`fastopt.engine.cpu.compiled_math`); the CUDA engine into device functions. The library's own formulas are in
`fastopt.rules.activation_functions`.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from fastopt.rules import activation_functions as functions
from fastopt.rules.initializations import INITIALIZATIONS, Initialization, lookup_initialization
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
        ``value(z) -> a`` on scalars: the output for a pre-activation. With a learnt parameter,
        ``value(z, slope)``.
    derivative : callable
        ``derivative(a)``, ``derivative(z)`` or ``derivative(z, slope)`` on scalars.
    derivative_from : {'output', 'input'}
        What the derivative takes: the output ``a``, or the pre-activation ``z``, which is then kept beside
        the output between the forward and the backward pass.
    init : Initialization
        Distribution of the initial weights of layers with it.
    is_normalized : bool
        Whether the outputs of a row are divided by their sum, and ``value`` is given the difference from the
        row's largest pre-activation: the softmax. Only of the last layer.
    parameter : float or None
        The initial value of a parameter that each unit learns; None if there is none.
    parameter_derivative : callable or None
        ``parameter_derivative(z, slope)``: the derivative with respect to the parameter.
    """

    name: str
    value: Callable[..., float]
    derivative: Callable[..., float]
    derivative_from: str = "output"
    init: Initialization = INITIALIZATIONS["sklearn"]
    is_normalized: bool = False
    parameter: float | None = None
    parameter_derivative: Callable[[float, float], float] | None = None

    @property
    def keeps_input(self) -> bool:
        """Whether the backward pass needs the pre-activations."""
        return self.derivative_from == "input"

    @property
    def learns(self) -> bool:
        """Whether each unit learns a parameter."""
        return self.parameter is not None

    @property
    def backward(self) -> Callable[..., float]:
        """``backward(delta, point)``: gradient with respect to the input, from that to the output.

        ``point`` is what `derivative` takes, ``point, slope`` with a learnt parameter. Plain Python, with
        `derivative` as a global, to be compiled.
        """
        return with_globals(_backward_with_slope if self.learns else _backward, derivative=self.derivative)

    @property
    def parameter_backward(self) -> Callable[[float, float, float], float]:
        """``parameter_backward(delta, z, slope)``: gradient with respect to the learnt parameter."""
        return with_globals(_backward_with_slope, derivative=self.parameter_derivative)

    def __reduce__(self) -> tuple[Any, ...]:
        return lookup_activation, (self.name,)


def _backward(delta, point):
    return chained(delta, derivative(point))  # noqa: F821  bound by Activation.backward


def chained(delta: float, slope: float) -> float:
    """Return the gradient with respect to the input, from that to the output and the derivative there.

    Where the slope is 0 it is 0, also if ``delta`` has overflowed (not 0 * inf = NaN), as in scikit-learn.
    """
    return (delta if slope != 0.0 else slope) * slope


def _backward_with_slope(delta, z, parameter):
    return chained(delta, derivative(z, parameter))  # noqa: F821  bound by Activation.backward


def lookup_activation(name: str) -> Activation:
    """Return the activation of that name; ValueError lists those that are registered."""
    return lookup(ACTIVATIONS, "activation", name)


def register_activation(
    name: str,
    value: Callable[..., float],
    derivative: Callable[..., float],
    *,
    derivative_from: str = "output",
    init: str | Initialization = "sklearn",
    parameter: float | None = None,
    parameter_derivative: Callable[[float, float], float] | None = None,
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
        Whether ``derivative`` takes the output, ``value(z)``, or the input, ``z``. The output costs less
        where it is enough; with the input, derivatives are computed along with the values, and stored.
    init : str, default='sklearn'
        Which distribution the initial weights of such layers have with the estimators' ``init='auto'``:
        'sklearn' (scikit-learn's, as for 'relu'), 'glorot_uniform', 'glorot_normal', 'he_uniform',
        'he_normal', 'lecun_uniform', 'lecun_normal' or 'orthogonal'; see ``docs/activations.md``.
    parameter : float, optional
        The initial value of a parameter that each unit learns with the weights, as the PReLU its slope. Then
        the functions are ``value(z, parameter)`` and ``derivative(z, parameter)``, whose derivative is from
        the input, and ``parameter_derivative`` is needed. Neither ``alpha`` nor weight decay applies to it;
        the estimators have it in ``slopes_``.
    parameter_derivative : callable, optional
        ``parameter_derivative(z, parameter)``: the derivative of ``value`` with respect to the parameter.

    Returns
    -------
    Activation
        The entry of the registry.

    Raises
    ------
    TypeError
        If a function is not a Python function of one argument, or of two with a ``parameter``.
    ValueError
        If the name is taken by other functions, ``derivative_from`` is neither, there is no such ``init``, or
        one of ``parameter`` and ``parameter_derivative`` comes without the other.

    Notes
    -----
    A registration lasts as long as the process. A pickled estimator holds the activation's name, so whoever
    loads it registers the activation first.

    Examples
    --------
    The inverse square root linear unit (Carlile et al., 2017), whose derivative is a function of its value:

    >>> import math
    >>> import fastopt
    >>> def isrlu(z):
    ...     return z if z >= 0.0 else z / math.sqrt(1.0 + z * z)
    >>> def isrlu_derivative(a):
    ...     return 1.0 if a >= 0.0 else (1.0 - a * a) ** 1.5
    >>> isrlu = fastopt.register_activation("isrlu", isrlu, isrlu_derivative, init="he_normal")
    >>> round(isrlu.value(-1.0), 4)
    -0.7071
    >>> network = fastopt.MLPClassifier((4, 4), activation=("isrlu", "gelu"), max_iter=5)

    The Swish of Ramachandran et al. (2017), in which each unit learns the logistic function's steepness:

    >>> from fastopt.rules.activation_functions import logistic
    >>> def steep(z, b):
    ...     return z * logistic(b * z)
    >>> def steep_derivative(z, b):
    ...     p = logistic(b * z)
    ...     return p * (1.0 + b * z * (1.0 - p))
    >>> def by_steepness(z, b):
    ...     p = logistic(b * z)
    ...     return z * z * p * (1.0 - p)
    >>> learnt = fastopt.register_activation(
    ...     "learnt_swish", steep, steep_derivative, parameter=1.0, parameter_derivative=by_steepness)
    >>> network = fastopt.MLPRegressor(hidden_layer_sizes=(3,), activation="learnt_swish", solver="lbfgs")
    >>> network.fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 0.0]).slopes_[0].shape
    (3,)
    """
    if derivative_from not in ("output", "input"):
        raise ValueError(f"derivative_from={derivative_from!r} must be 'output' or 'input'")
    if (parameter is None) != (parameter_derivative is None):
        raise ValueError(
            f"activation {name!r} has parameter={parameter!r} and parameter_derivative="
            f"{parameter_derivative!r}: a learnt parameter takes both, its initial value and the derivative"
        )
    if parameter is not None and not math.isfinite(parameter):
        raise ValueError(
            f"parameter={parameter!r} of activation {name!r} must be finite: each unit begins with it"
        )
    init = init if isinstance(init, Initialization) else lookup_initialization(init)
    if parameter is None:
        entry = Activation(name, value, derivative, derivative_from, init)
        n_arguments = {"value": 1, "derivative": 1}
    else:
        entry = Activation(
            name, value, derivative, "input", init,
            parameter=float(parameter), parameter_derivative=parameter_derivative,
        )  # fmt: skip
        n_arguments = {"value": 2, "derivative": 2, "parameter_derivative": 2}
    enter(ACTIVATIONS, "activation", entry, n_arguments)
    return entry


def list_activations() -> list[str]:
    """Return the names that the estimators' ``activation`` takes, those of one's own included.

    Examples
    --------
    >>> import fastopt
    >>> "gelu" in fastopt.list_activations()
    True
    """
    return sorted(ACTIVATIONS)


def _register(*names, init, derivative_from="output"):
    for name in names:
        value, derivative = getattr(functions, name), getattr(functions, f"{name}_derivative")
        register_activation(name, value, derivative, derivative_from=derivative_from, init=init)


_HE = INITIALIZATIONS["he_normal"]
_LEAKY = dataclasses.replace(_HE, scale=2.0 / (1.0 + 0.01**2))  # He et al. (2015), equation 15
_NARROW = dataclasses.replace(INITIALIZATIONS["sklearn"], scale=1 / 3)  # as scikit-learn's 'logistic' has it

register_activation("identity", functions.identity, functions.one)
_register("relu", "tanh", init="sklearn")
_register("logistic", init=_NARROW)
_register("leaky_relu", init=_LEAKY)
_register("relu6", "elu", "softplus", init="he_normal")
register_activation("celu", functions.elu, functions.elu_derivative, init="he_normal")  # alpha=1, as in torch
_register("selu", init="lecun_normal")
_register("softsign", init="glorot_uniform")
_register("hard_swish", "silu", "mish", "gelu", "gelu_tanh", init="he_normal", derivative_from="input")
_register("sine", init="he_uniform", derivative_from="input")  # Sitzmann et al. (2020), section 3.2
_register("snake", init="lecun_uniform", derivative_from="input")  # Liu et al. (2020), section 5
register_activation(
    "prelu",
    functions.prelu,
    functions.prelu_derivative,
    init=dataclasses.replace(_HE, scale=2.0 / (1.0 + 0.25**2)),
    parameter=0.25,
    parameter_derivative=functions.prelu_parameter_derivative,
)

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
