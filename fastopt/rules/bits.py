"""Reinterpretation of a float32 as an int32 and back: the exponent bits give a logarithm to base 2.

Written so that Numba's loops over them vectorise. `fastopt.kernels.cuda.api` replaces them by CUDA
intrinsics: what Numba makes of these for a GPU cannot be compiled without a driver.
"""

import numpy as np


def float_as_int(x):
    """Return the bits of a float32 as an int32."""
    return np.float32(x).view(np.int32)


def int_as_float(bits):
    """Return the float32 with these bits."""
    return np.int32(bits).view(np.float32)
