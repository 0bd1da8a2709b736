"""Dropout (Srivastava et al., 2014): which elements are dropped, as functions of a key and of their places.

A batch and a layer share a key. An element is dropped if its 16 random bits are below a threshold, so the
rate is a multiple of 1 / 65536; the others are scaled by the reciprocal of the share that is kept in the
mean. Elements that lie 16 apart share a 32-bit number: a loop over 16 numbers makes two vectors of each.
"""

import numpy as np

from fastopt.rules.randomness import keys, mix

#: Values of an element's random bits.
LEVELS = 1 << 16
#: Elements that one vector of 32-bit numbers decides on, and numbers of that vector.
RUN, LANES = 32, 16


def thresholds(rates) -> np.ndarray:
    """Return the threshold for each rate in [0, 1): the nearest of 65536 steps, below 1."""
    return np.minimum(np.rint(np.asarray(rates, np.float64) * LEVELS), LEVELS - 1).astype(np.int64)


def layer_keys(seed: int, steps: np.ndarray, n_layers: int) -> np.ndarray:
    """Return the 32-bit key of each step and layer, shape (steps, layers)."""
    return np.asarray(keys(seed, np.asarray(steps)[:, None], np.arange(n_layers)))


def scale_of(threshold):
    """Return the reciprocal of the share of elements that a threshold keeps in the mean."""
    return LEVELS / (LEVELS - threshold)


def second_key(key):
    """Return what `number` takes beside a key."""
    return mix(np.uint32(key ^ np.uint32(0x9E3779B9)))


def number(key, second, i):
    """Return the 32-bit random number ``i`` under a key: `mix`, with a second key added half way.

    Without it, keys that differ in low bits alone would give the same numbers in another order.
    """
    x = np.uint32(np.uint32(i) ^ key)
    x = np.uint32(x ^ np.uint32(x >> np.uint32(16)))
    x = np.uint32(x * np.uint32(0x85EBCA6B))
    x = np.uint32(np.uint32(x ^ np.uint32(x >> np.uint32(13))) + second)
    x = np.uint32(x * np.uint32(0xC2B2AE35))
    return np.uint32(x ^ np.uint32(x >> np.uint32(16)))


def low_bits(number):
    """Return the random bits of the first of the two elements that share a number, as an int32."""
    return np.int32(number & np.uint32(0xFFFF))


def high_bits(number):
    """Return the random bits of the second of the two elements that share a number, as an int32."""
    return np.int32(number >> np.uint32(16))


def bits_of(key, second, at):
    """Return the 16 random bits of element ``at`` under a key, as an int32."""
    shared = number(key, second, np.uint32(((at >> 5) << 4) | (at & 15)))
    return high_bits(shared) if at & 16 else low_bits(shared)


def dropped(x, bits, threshold, scale):
    """Return 0 for an element that is dropped, which hides NaN and infinity, too; else the scaled element."""
    return x * scale if bits >= threshold else 0.0
