"""Which arrays an optimizer accepts, and the sentences that refuse the others."""

import numpy as np

from fastopt.kernels.cpu import DTYPES


def check_dtype(dtype):
    """Return ``dtype`` as a NumPy dtype, or raise TypeError unless it is float32 or float64."""
    dtype = np.dtype(dtype)
    if dtype.name not in DTYPES or not dtype.isnative:
        raise TypeError(
            f"dtype {dtype} is not supported; use one of {', '.join(DTYPES)} in native byte order"
        )
    return dtype
