"""The bits of a float32, in which a logarithm to base 2 can be read.

Written so that Numba's loops over them vectorise. ``kernels.cuda`` puts the GPU's own instructions in their
place: what Numba makes of them for a GPU cannot be compiled without a driver.
"""

import numpy as np


def float_as_int(x):
    """Return the bits of a float32 as an int32."""
    return np.float32(x).view(np.int32)


def int_as_float(bits):
    """Return the float32 of these bits."""
    return np.int32(bits).view(np.float32)
