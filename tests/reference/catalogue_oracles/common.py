"""What the oracles share."""

import functools

import numpy as np

N_STEPS = 30

#: The value of the loss at each step, for methods that need it.
LOSSES = [5.0 + np.sin(t) for t in range(N_STEPS)]


def each(oracle):
    """Lift an oracle of one array over lists."""

    @functools.wraps(oracle)
    def lifted(params, steps, **h):
        columns = zip(*steps, strict=True)
        return [oracle(p.copy(), list(grads), **h) for p, grads in zip(params, columns, strict=True)]

    return lifted


def norm(x):
    return np.sqrt((x**2).sum())


def ratio(top, bottom):
    return top / bottom if top > 0 and bottom > 0 else 1.0


def total(arrays):
    return sum(a.sum() for a in arrays)
