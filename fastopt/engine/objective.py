"""The training objective: its functions by name, and the mean loss with the L2 penalty."""

import contextlib
import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fastopt.engine.layout import Layout
from fastopt.kernels.blas_threads import single_threaded
from fastopt.rules.activations import Activation, lookup_activation, lookup_output
from fastopt.rules.losses import Loss, lookup_loss

_LONG_PRODUCT = 5000


@dataclasses.dataclass(frozen=True)
class Functions:
    """The functions of a network: what its layers apply to their pre-activations, and its loss.

    Attributes
    ----------
    activations : tuple of Activation
        One for each hidden layer.
    output : Activation
        Of the last layer.
    loss : Loss
    """

    activations: tuple[Activation, ...]
    output: Activation
    loss: Loss

    def __post_init__(self) -> None:
        self.loss.check_output(self.output)


def resolve_functions(
    activation: str | Sequence[str], out_activation: str, loss: str, layout: Layout
) -> Functions:
    """Return the registry entries of the named activations and losses.

    Parameters
    ----------
    activation : str or sequence of str
        Of all hidden layers, or one for each.
    out_activation, loss : str
    layout : Layout

    Raises
    ------
    ValueError
        If a name is not registered, there are more or fewer activations than hidden layers, the loss has no
        gradient with this output, or the layout has other slopes than the activations learn.
    """
    hidden = resolve_activations(activation, len(layout.shapes) - 1)
    learns = tuple(one.learns for one in hidden)
    if learns != (layout.has_slopes or (False,) * len(hidden)):
        raise ValueError(
            f"activation={activation!r} learns slopes in the hidden layers {_numbers(learns)}, but the "
            f"network has some in {_numbers(layout.has_slopes)}: fit it anew, or assign slopes_"
        )
    return Functions(hidden, lookup_output(out_activation), lookup_loss(loss))


def _numbers(layers):
    return [number for number, is_one in enumerate(layers) if is_one]


def resolve_activations(activation: str | Sequence[str], n_hidden: int) -> tuple[Activation, ...]:
    """Return the registry entry of each hidden layer's activation.

    Parameters
    ----------
    activation : str or sequence of str
        Of all hidden layers, or one for each.
    n_hidden : int
        Number of hidden layers.

    Raises
    ------
    ValueError
        If a name is not registered, or there are more or fewer names than hidden layers.
    """
    if isinstance(activation, str):
        return (lookup_activation(activation),) * n_hidden
    if not all(isinstance(name, str) for name in activation):
        raise ValueError(
            f"activation={activation!r} must be the name of an activation, or a sequence of names"
        )
    if len(activation) != n_hidden:
        raise ValueError(
            f"activation={activation!r} has {len(activation)} entries for {n_hidden} hidden layers; pass one "
            "name for each hidden layer, or a single name for all"
        )
    return tuple(map(lookup_activation, activation))


def loss_parameters(
    loss: Loss, given: float | Sequence[float] | None, n_outputs: int, dtype: npt.DTypeLike
) -> np.ndarray:
    """Return a loss's parameter for each output, an array; empty if the loss has none.

    Parameters
    ----------
    loss : Loss
    given : float or sequence of float, optional
        One number for all outputs, or one for each; by default that of the loss.
    n_outputs : int
    dtype : {numpy.float32, numpy.float64}

    Raises
    ------
    ValueError
        If the loss has no parameter, not that many outputs, or does not allow a number.
    """
    if n_outputs % loss.outputs_per_target:
        raise ValueError(
            f"loss={loss.name!r} has {loss.outputs_per_target} outputs for each target; a last layer of "
            f"{n_outputs} units is no multiple of that"
        )
    known = loss.parameter
    if known is None:
        if given is not None:
            raise ValueError(f"loss={loss.name!r} has no parameter; got loss_parameter={given!r}")
        return np.empty(0, dtype)
    numbers = [float(k) for k in np.atleast_1d(known.default if given is None else given)]
    for k in numbers:
        known.check(k)
    if len(numbers) not in (1, n_outputs):
        raise ValueError(
            f"loss_parameter={given!r} must be one number, or one for each of {n_outputs} outputs"
        )
    return np.resize(np.array(numbers, dtype), n_outputs)


def penalize(
    layout: Layout, params: np.ndarray, gradient: np.ndarray, alpha: float, weight: float, loss: float
) -> float:
    """Return the mean loss with the L2 penalty; turn the sum of gradients into theirs, in place.

    Parameters
    ----------
    layout : Layout
    params : ndarray of shape (layout.size,)
    gradient : ndarray of shape (layout.size,)
        Changed in place.
    alpha : float
    weight : float
        Sum of the rows' weights.
    loss : float
        Sum of the rows' losses.

    Returns
    -------
    float
        The mean loss, penalty included.
    """
    real, weights = gradient.dtype.type, params[: layout.n_decay]
    gradient[: layout.n_decay] += real(alpha) * weights
    gradient /= real(weight)
    # The bits of a long product depend on BLAS's threads; OpenBLAS starts none for a short one.
    with single_threaded() if len(weights) >= _LONG_PRODUCT else contextlib.nullcontext():
        square = float(weights @ weights)
    return (loss + 0.5 * alpha * square) / weight
