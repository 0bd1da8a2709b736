"""Counter-based random numbers: functions of a key and an index, the same for any number of threads."""

import math

import numpy as np

from fastopt.rules.bits import float_as_int, int_as_float

#: The bits of the root of 1/2.
_ROOT_HALF = np.int32(0x3F3504F3)


def mix(x):
    """Return a 32-bit hash of 32 bits: the finalizer of MurmurHash3."""
    # Each product is cut to 32 bits at once: Numba would widen it, and 64-bit products of vectors are several
    # times slower.
    x = np.uint32(x ^ np.uint32(x >> np.uint32(16)))
    x = np.uint32(x * np.uint32(0x85EBCA6B))
    x = np.uint32(x ^ np.uint32(x >> np.uint32(13)))
    x = np.uint32(x * np.uint32(0xC2B2AE35))
    return np.uint32(x ^ np.uint32(x >> np.uint32(16)))


def gaussian(key, i):
    """Return the standard normal number of element ``i`` under a 32-bit key.

    The normal quantile of 32 bits, 31 of which choose a probability of at most 1/2 and one the side, so that
    both tails reach 6.2 deviations. Right to 2e-6 in float32 and to 1e-7 in float64.
    """
    bits = mix(np.uint32(mix(np.uint32(np.uint32(i) ^ key)) + key))
    place = float(np.float32(np.int32(bits & np.uint32(0x7FFFFFFF)))) + 0.5
    # The quantile is a ratio of polynomials in t = sqrt(-2 log p) to 4e-8: a minimax fit over p from
    # 2^-33 to 1/2 to SciPy's quantile. It calls nothing, so that the loop around it vectorises.
    t = math.sqrt(-2.0 * _log(place, 32.0))
    upper = -3.2013961 + t * (-7.748025183 + t * (3.3568008026 + t * (4.1156449132 + t * 0.4957704718)))
    lower = 1.0 + t * (5.3969075579 + t * (4.1374551779 + t * 0.4954715942))
    return upper / lower if bits >> np.uint32(31) else -upper / lower


def _log(x, halvings):
    """Return ``log(x / 2**halvings)`` with an error of 5e-9 before rounding."""
    bits = float_as_int(np.float32(x))
    exponent = np.int32(np.int32(bits - _ROOT_HALF) >> np.int32(23))
    # What is left of x lies between the roots of 1/2 and 2.
    f = float(int_as_float(np.int32(bits - np.int32(exponent << np.int32(23))))) - 1.0
    series = -0.1653291253909 + f * (0.1506761026110 + f * (-0.1457708648845 + f * 0.0869284284375))
    series = 0.3333500956281 + f * (-0.2500328770518 + f * (0.1993883959302 + f * series))
    series = 0.9999998805415 + f * (-0.4999997283284 + f * series)
    return (float(np.float32(exponent)) - halvings) * 0.6931471805599453 + f * series


def keys(*parts):
    """Return a 32-bit key for each combination of whole numbers, such as seed, step and index."""
    with np.errstate(over="ignore"):
        key = np.uint32(0)
        for part in parts:
            key = mix(np.uint32(key + np.asarray(part).astype(np.uint32) + np.uint32(1)))
    return key
