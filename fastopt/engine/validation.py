"""Checks of the trainers' arguments, on all devices."""

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import scipy.sparse

#: What the trainers take as X: rows as they are in memory, or CSR.
Rows: TypeAlias = "np.ndarray | scipy.sparse.csr_matrix | scipy.sparse.csr_array"


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
    else:
        check_compressed(X)
    if Y is not None:
        require("Y", Y, (n, n_outputs), dtype)
    if order is not None:
        require("order", order, order.shape[:1], np.int64)
        if order.size and not 0 <= order.min() <= order.max() < n:
            raise ValueError(
                f"order holds rows from {order.min()} to {order.max()}, but X has {n}, numbered from 0"
            )
    if sample_weight is not None:
        require("sample_weight", sample_weight, (n,), dtype)


def check_compressed(X):
    """Raise ValueError if the arrays of a CSR or CSC matrix contradict each other or its shape.

    SciPy's constructors accept some such matrices, and so do those who assign ``indices`` or ``indptr``.
    """
    name, n_lines, length = ("row", *X.shape) if X.format == "csr" else ("column", *X.shape[::-1])
    starts, indices = X.indptr, X.indices
    n = min(len(indices), len(X.data))
    problem = None
    if len(starts) != n_lines + 1 or starts[0] != 0 or starts[-1] > n or (starts[1:] < starts[:-1]).any():
        problem = f"its {name} pointers (indptr) must be {n_lines + 1} numbers, rising from 0 to at most {n}"
    elif starts[-1] and not 0 <= indices[: starts[-1]].min() <= indices[: starts[-1]].max() < length:
        found = indices[: starts[-1]]
        problem = f"its indices reach from {found.min()} to {found.max()}, outside 0 to {length - 1}"
    if problem:
        raise ValueError(
            f"X is a {X.format.upper()} matrix of shape {X.shape} whose arrays do not fit together: {problem}"
        )


def require(name, array, shape, dtype):
    """Raise ValueError unless an array is C-contiguous and of this shape and dtype."""
    if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
        raise ValueError(
            f"{name} must be a C-contiguous array of {np.dtype(dtype)} and shape {shape}; "
            f"it has {array.dtype}, shape {array.shape} and strides {array.strides}"
        )
