"""The training objective: its functions by name, and the mean loss with the L2 penalty."""

import contextlib

import numpy as np

from fastopt.engine.layout import Layout
from fastopt.kernels.blas_threads import single_threaded
from fastopt.rules.activations import lookup_activation, lookup_output
from fastopt.rules.losses import lookup_loss

_LONG_PRODUCT = 5000


def resolve_functions(activation: str, out_activation: str, loss: str) -> dict:
    """Return the registry entries of the named activations and losses.

    Parameters
    ----------
    activation, out_activation, loss : str

    Returns
    -------
    dict
        ``activation`` and ``output`` (`fastopt.rules.activations.Activation`), and ``loss``
        (`fastopt.rules.losses.Loss`).

    Raises
    ------
    ValueError
        If a name is not registered, or the loss has no gradient with this output.
    """
    functions = {
        "activation": lookup_activation(activation),
        "output": lookup_output(out_activation),
        "loss": lookup_loss(loss),
    }
    functions["loss"].output_gradient(functions["output"])
    return functions


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
