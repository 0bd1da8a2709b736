"""Gradient descent with noise."""

import numpy as np

from fastopt.rules.randomness import gaussian, keys
from fastopt.rules.tensorwise import sweep, tensor_rule


@sweep("w")
def _noisy_step(w, g, i, *, high, low, deviation, lr):
    key = np.uint32(np.uint32(high) * np.uint32(65536) + np.uint32(low))
    return w - lr * (g + deviation * gaussian(key, i))


@tensor_rule("noisysgd")
def noisysgd(x, h):
    """Neelakantan et al. (2015): Gaussian noise of variance eta / t^gamma."""

    def halves(t):
        key = keys(h["seed"], t, x.places)
        return np.stack([key >> 16, key & 0xFFFF], axis=-2)

    high, low = x.by_step("key", halves, (2, len(x.sizes)))
    deviation = np.sqrt(h["eta"] / x.t ** h["gamma"])
    # Constants are cast to the array's dtype: a float32 holds half of the key exactly, not all of it.
    x.sweep(_noisy_step, high=high, low=low, deviation=deviation, lr=h["lr"])
