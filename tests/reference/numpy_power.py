"""Whether NumPy's power is the C library's, which recorded programs call."""

import math

import numpy as np

_BASES, _EXPONENTS = np.meshgrid([0.5, 0.9, 0.95, 0.99, 0.999], np.arange(1.0, 400.0))
#: Not so where NumPy has one of its own for the processor (AVX-512): one result in 25 is an ulp apart. The
#: corrections ``1 - beta ** t`` of a step in Python then differ from those of a program by rounding.
IS_THE_C_LIBRARYS = np.array_equal(
    np.power(_BASES, _EXPONENTS).ravel(), list(map(math.pow, _BASES.ravel(), _EXPONENTS.ravel()))
)


def tolerance(dtype):
    """Return how far a step in Python may be from one by a program that does the same operations."""
    if IS_THE_C_LIBRARYS:
        return 0.0
    return {4: 1e-6, 8: 1e-12}[np.dtype(dtype).itemsize]  # a few roundings, over up to 20 steps
