"""What a registered loss can be tried with: parameters, and targets that it takes."""

import numpy as np

from fastopt.rules.losses import LOSSES


def parameter(loss):
    """Return the arguments that a loss's scalar functions take last: its default parameter, or none."""
    return () if loss.parameter is None else (loss.parameter.default,)


def targets(loss, rs, shape):
    """Return targets of shape (n_samples, n_outputs) for a loss, with equal columns where it needs them."""
    kind = loss.targets_for(*parameter(loss))
    if kind == "labels":
        if loss.output == "softmax":
            return np.eye(shape[1])[rs.randint(shape[1], size=shape[0])]
        return rs.randint(2, size=shape).astype(float)
    draw = {"real": rs.standard_normal, "nonnegative": lambda n: rs.poisson(2.0, n).astype(float)}
    numbers = draw.get(kind, lambda n: rs.gamma(2.0, 1.0, n))((shape[0], shape[1] // loss.outputs_per_target))
    return np.repeat(numbers, loss.outputs_per_target, axis=1)


#: The losses of single outputs, and those of whole rows.
ELEMENTS = [name for name, loss in LOSSES.items() if loss.row is None]
ROWS = [name for name, loss in LOSSES.items() if loss.row is not None]
#: The library's own: tests outside `engine` and `cuda` see no others when they run, but may when their cases
#: are collected.
BUILT_IN = [
    name for name, loss in LOSSES.items() if (loss.value or loss.row).__module__.startswith("fastopt.")
]
