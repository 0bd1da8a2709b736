"""Random numbers that are a function of a key and a place: no order of work and no thread changes them."""

import math

import numpy as np

_UNIT = 2.0**-32
_TURN = 2.0 * math.pi


def mix(x):
    """Return 32 well mixed bits for 32 bits: the last step of MurmurHash3."""
    # Each product is cut to 32 bits at once: Numba would widen it, and 64-bit products of vectors are several
    # times slower.
    x = np.uint32(x ^ np.uint32(x >> np.uint32(16)))
    x = np.uint32(x * np.uint32(0x85EBCA6B))
    x = np.uint32(x ^ np.uint32(x >> np.uint32(13)))
    x = np.uint32(x * np.uint32(0xC2B2AE35))
    return np.uint32(x ^ np.uint32(x >> np.uint32(16)))


def gaussian(key, i):
    """Return a standard normal number for place ``i`` under a 32-bit key."""
    first = mix(np.uint32(mix(np.uint32(np.uint32(i) ^ key)) + key))
    second = mix(np.uint32(first + np.uint32(0x9E3779B9)))
    # Box and Muller, in float64 throughout: a float32 would lose 8 of the 32 bits. Half a unit keeps log from
    # 0.
    radius = math.sqrt(-2.0 * math.log((first + 0.5) * _UNIT))
    return radius * math.cos(_TURN * (second * _UNIT))


def keys(*parts):
    """Return a 32-bit key for each combination of whole numbers, such as seed, step and place."""
    with np.errstate(over="ignore"):
        key = np.uint32(0)
        for part in parts:
            key = mix(np.uint32(key + np.asarray(part).astype(np.uint32) + np.uint32(1)))
    return key
