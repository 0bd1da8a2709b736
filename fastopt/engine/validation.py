"""Checks of the trainers' arguments, on all devices."""

import numpy as np


def check(layout, dtype, params, X, Y, order, sample_weight):
    """Check the trainers' arguments, as compiled code sees addresses only; raises ValueError."""
    n, n_features, n_outputs = X.shape[0], layout.layer_sizes[0], layout.layer_sizes[-1]
    require("params", params, (layout.size,), dtype)
    if isinstance(X, np.ndarray):
        require("X", X, (n, n_features), dtype)
    elif X.shape[1] != n_features or X.dtype != dtype or X.indices.dtype != np.int32:
        raise ValueError(
            f"X is a CSR matrix of {X.dtype} with {X.shape[1]} columns and {X.indices.dtype} indices; "
            f"it must be of {dtype} with {n_features} columns and int32 indices"
        )
    if Y is not None:
        require("Y", Y, (n, n_outputs), dtype)
    if order is not None:
        require("order", order, order.shape[:1], np.int64)
    if sample_weight is not None:
        require("sample_weight", sample_weight, (n,), dtype)


def require(name, array, shape, dtype):
    """Raise ValueError unless an array is C-contiguous and of this shape and dtype."""
    if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
        raise ValueError(
            f"{name} must be a C-contiguous array of {np.dtype(dtype)} and shape {shape}; "
            f"it has {array.dtype}, shape {array.shape} and strides {array.strides}"
        )
