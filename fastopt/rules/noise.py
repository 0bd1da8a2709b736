"""Gradient descent with noise that is a function of seed, step and place: no order of work changes it."""

import math

import numpy as np

from fastopt.rules.tensorwise import sweep, tensor_rule

_UNIT = 2.0**-32
_TURN = 2.0 * math.pi


def _mix(x):
    # MurmurHash3's last step. Each product is cut to 32 bits at once: Numba would widen it, and 64-bit
    # products of vectors are several times slower.
    x = np.uint32(x ^ np.uint32(x >> np.uint32(16)))
    x = np.uint32(x * np.uint32(0x85EBCA6B))
    x = np.uint32(x ^ np.uint32(x >> np.uint32(13)))
    x = np.uint32(x * np.uint32(0xC2B2AE35))
    return np.uint32(x ^ np.uint32(x >> np.uint32(16)))


@sweep("w")
def _noisy_step(w, g, i, *, high, low, deviation, lr):
    key = np.uint32(np.uint32(high) * np.uint32(65536) + np.uint32(low))
    first = _mix(np.uint32(_mix(np.uint32(np.uint32(i) ^ key)) + key))
    second = _mix(np.uint32(first + np.uint32(0x9E3779B9)))
    # Box and Muller, in float64 throughout: a float32 would lose 8 of the 32 bits. Half a unit keeps log from
    # 0.
    radius = math.sqrt(-2.0 * math.log((first + 0.5) * _UNIT))
    noise = radius * math.cos(_TURN * (second * _UNIT))
    return w - lr * (g + deviation * noise)


def _keys(seed, t, place):
    """Return a 32-bit key for each tensor's step."""
    with np.errstate(over="ignore"):
        key = np.zeros(len(t), np.uint32)
        for part in (seed, t, place):
            key = _mix(np.uint32(key + np.asarray(part).astype(np.uint32) + np.uint32(1)))
    return key


@tensor_rule("noisysgd")
def noisysgd(x, h):
    """Neelakantan et al. (2015): Gaussian noise of variance eta / t^gamma."""
    key = _keys(h["seed"], x.t, x.places)
    deviation = np.sqrt(h["eta"] / x.t ** h["gamma"])
    # A float32 holds 16 bits of the key, not 32.
    x.sweep(_noisy_step, high=key >> 16, low=key & 0xFFFF, deviation=deviation, lr=h["lr"])
