"""Initialization of a network's parameters."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fastopt.engine import Layout
from fastopt.engine.objective import resolve_activations
from fastopt.kernels import aligned_memory
from fastopt.kernels.blas_threads import single_threaded
from fastopt.rules.activations import lookup_activation
from fastopt.rules.initializations import Initialization, lookup_initialization

#: Numbers drawn at once: the float64 draws of a wide layer would otherwise go through memory.
_DRAWS = 1 << 14


def initialize(
    layout: Layout,
    activation: str | Sequence[str],
    random_state: np.random.RandomState,
    dtype: npt.DTypeLike,
    init: str = "auto",
) -> np.ndarray:
    """Draw the initial parameters, in scikit-learn's order of draws.

    Slopes begin at the value with which their activation was registered, the scale of the inputs at 1.

    Parameters
    ----------
    layout : Layout
    activation : str or sequence of str
        Of the hidden layers, or one for each.
    random_state : RandomState
        Advanced by one draw per weight and bias that is drawn, layer by layer, weights before biases.
    dtype : dtype
        Of the result; the draws are float64.
    init : str
        Name of the distribution; 'auto' is for each layer that of its activation, and for the last layer
        that of the last hidden one.

    Returns
    -------
    ndarray of shape (layout.size,)
    """
    flat = aligned_memory.zeros(layout.size, dtype)
    kinds = _by_layer(init, activation, len(layout.shapes))
    layers = zip(kinds, layout.weights(flat), layout.biases(flat), strict=True)
    for number, (kind, weights, biases) in enumerate(layers):
        if kind.zero_outputs and number == len(kinds) - 1:
            break
        if kind.distribution == "orthogonal":
            weights[...] = _orthogonal(weights.shape, random_state)
        else:
            _fill(weights.reshape(-1), kind, weights.shape, random_state)
        if kind.draws_biases:
            _fill(biases, kind, weights.shape, random_state)
        elif kind.bias_deviation:
            biases[...] = kind.bias_deviation * random_state.standard_normal(biases.size)
    if layout.scales_inputs:
        layout.scale(flat)[...] = 1.0
    learnt = resolve_activations(activation, len(layout.shapes) - 1)
    for slopes, one in zip(layout.slopes(flat), learnt, strict=True):
        if slopes is not None:
            slopes[...] = one.parameter
    return flat


def _by_layer(init, activation, n_layers) -> list[Initialization]:
    """Return the distribution of each layer's parameters."""
    if init != "auto":
        return [lookup_initialization(init)] * n_layers
    if isinstance(activation, str):
        return [lookup_activation(activation).init] * n_layers
    # Without a hidden layer nothing distinguishes an activation: the default's.
    names = [*activation, *activation[-1:]] or ["relu"]
    return [lookup_activation(name).init for name in names]


def _fill(out, kind, shape, random_state):
    """Draw numbers to ``out`` from the distribution of a layer of this shape."""
    bound, deviation = kind.bound(*shape), kind.deviation(*shape)
    for first in range(0, out.size, _DRAWS):
        part = out[first : first + _DRAWS]
        if kind.distribution == "uniform":
            part[...] = random_state.uniform(-bound, bound, part.size)
        else:
            part[...] = deviation * random_state.standard_normal(part.size)


def _orthogonal(shape, random_state):
    """Return a matrix with orthonormal rows or columns, whichever are fewer, uniformly distributed."""
    drawn = random_state.standard_normal((max(shape), min(shape)))
    with single_threaded():  # the bits of a factorisation depend on BLAS's threads
        matrix, triangle = np.linalg.qr(drawn)
    matrix *= np.sign(np.diag(triangle))  # Mezzadri (2007): else the distribution is not uniform
    return matrix if shape[0] >= shape[1] else matrix.T
