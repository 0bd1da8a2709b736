"""What both sides are put through: shapes, gradients, learning rates of 0, gradients that are missing."""

import dataclasses

import numpy as np

N_STEPS = 40
SHAPES = ((7,), (6, 5), (2, 3, 4), (2, 3, 2, 2))
MATRICES = ((6, 5), (5, 9), (4, 4))
SQUARES = ((6, 6), (5, 5))

#: A rate that begins at 0 and returns there, as under a warm-up or with frozen groups.
_PROFILE = np.concatenate([np.linspace(0, 1, 6), np.full(7, 1.0), np.zeros(2), np.linspace(1, 0.1, N_STEPS)])


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One way to run an optimizer.

    Attributes
    ----------
    name : str
    decays : bool
        Whether there is weight decay.
    changes : bool
        Whether the learning rate changes and is 0 at the first step and at two later ones.
    gaps : bool
        Whether the second parameter's gradients begin at the fifth step and others' are missing at times.
    dtype : type
    """

    name: str
    decays: bool = False
    changes: bool = False
    gaps: bool = False
    dtype: type = np.float64

    def rate(self, lr, t):
        """Return the learning rate of step ``t``, counted from 0."""
        return lr * float(_PROFILE[t]) if self.changes else lr

    def has_gradient(self, t, i):
        """Tell whether parameter ``i`` has a gradient at step ``t``."""
        return not self.gaps or not ((i == 1 and t < 4) or (t + 3 * i) % 11 == 9)


SCENARIOS = (
    Scenario("plain"),
    Scenario("decay", decays=True),
    Scenario("rates", changes=True),
    Scenario("gaps", gaps=True),
    Scenario("float32", decays=True, changes=True, gaps=True, dtype=np.float32),
)


def problem(shapes, dtype, seed=0):
    """Return parameters, and for each step gradients and the value of a loss.

    One element's gradient is always 0 and all are 0 at the eighth step.
    """
    rng = np.random.default_rng(seed)
    params = [np.asarray(rng.normal(size=shape), dtype) for shape in shapes]
    steps = []
    for t in range(N_STEPS):
        grads = [np.asarray(rng.normal(size=shape) * (t != 7), dtype) for shape in shapes]
        grads[0].flat[3] = 0
        steps.append((grads, 5.0 + np.sin(t)))
    return params, steps


def distance(actual, expected):
    """Return the largest difference between two lists of arrays, relative to the largest expected number."""
    actual, expected = (
        np.concatenate([np.asarray(a, np.float64).ravel() for a in arrays]) for arrays in (actual, expected)
    )
    return float(np.abs(actual - expected).max() / np.abs(expected).max())
