"""Inputs that the optimizer tests share: parameters and a stream of gradients with awkward elements."""

import numpy as np

import fastopt
from fastopt.stepping.flat_state import FlatState

SHAPES = ((5, 7), (67,), (3, 1), ())


def problem(dtype, seed=0, n_steps=100, shapes=SHAPES):
    """Return parameters and ``n_steps`` lists of gradients.

    One element's gradient is always 0, and all gradients are 0 at step 7: moments then only decay.
    """
    rng = np.random.default_rng(seed)
    params = [np.asarray(rng.normal(size=shape), dtype) for shape in shapes]
    steps = []
    for t in range(n_steps):
        grads = [np.asarray(rng.normal(size=shape) * (t != 7), dtype) for shape in shapes]
        grads[1][3] = 0
        steps.append(grads)
    return params, steps


def advance(stepper, optimizer, grads, loss=2.0):
    """Take a step, with what this optimizer takes beside gradients or in their place."""
    if optimizer.needs:
        stepper.step(closure=lambda: (loss, grads))
    else:
        stepper.step(grads)


def is_flat(name):
    """Tell whether the engine fuses the optimizer's update, which needs nothing but one gradient."""
    return isinstance(fastopt.get_optimizer(name).flat(8, 8, np.float64), FlatState)


def distance(actual, expected):
    """Return the largest difference between two lists of arrays, relative to the largest expected number."""
    actual, expected = (
        np.concatenate([np.asarray(a, np.float64).ravel() for a in arrays]) for arrays in (actual, expected)
    )
    return np.abs(actual - expected).max(initial=0.0) / max(np.abs(expected).max(initial=0.0), 1e-30)
