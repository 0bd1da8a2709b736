"""Initialization of a network's parameters."""

import numpy as np
import numpy.typing as npt

from fastopt.engine import Layout
from fastopt.engine.objective import resolve_activations
from fastopt.kernels import aligned_memory

#: Numbers drawn at once: the float64 draws of a wide layer would otherwise go through memory.
_DRAWS = 1 << 14


def initialize(
    layout: Layout, activation: str, random_state: np.random.RandomState, dtype: npt.DTypeLike
) -> np.ndarray:
    """Draw the initial parameters, in scikit-learn's order of draws (Glorot and Bengio, 2010).

    Slopes begin at the value with which their activation was registered.

    Parameters
    ----------
    layout : Layout
    activation : str
        The hidden activation; ``'logistic'`` has narrower bounds.
    random_state : RandomState
        Advanced by one draw per weight and bias, layer by layer, weights before biases.
    dtype : dtype
        Of the result; the draws are float64.

    Returns
    -------
    ndarray of shape (layout.size,)
    """
    flat = aligned_memory.zeros(layout.size, dtype)
    factor = 2.0 if activation == "logistic" else 6.0
    for weights, biases in zip(layout.weights(flat), layout.biases(flat), strict=True):
        bound = np.sqrt(factor / sum(weights.shape))
        for drawn in (weights.reshape(-1), biases):
            for first in range(0, drawn.size, _DRAWS):
                part = drawn[first : first + _DRAWS]
                part[...] = random_state.uniform(-bound, bound, part.size)
    learnt = resolve_activations(activation, len(layout.shapes) - 1)
    for slopes, one in zip(layout.slopes(flat), learnt, strict=True):
        if slopes is not None:
            slopes[...] = one.parameter
    return flat
