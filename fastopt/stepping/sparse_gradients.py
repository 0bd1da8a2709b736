"""Sparse gradients: those of some rows of a parameter only, as of embeddings."""

import numpy as np

from fastopt.kernels import work_queue
from fastopt.stepping import arrays


class Rows:
    """A checked sparse gradient: row indices without duplicates, and the gradients of those rows.

    Parameters
    ----------
    p : Param
    gradient : tuple
        ``(indices, values)``: integers of shape (k,), and an array of shape ``(k, *p.array.shape[1:])``.
    name : str
        What to call it in a message.

    Raises
    ------
    TypeError, ValueError
        If they do not fit the parameter.
    """

    def __init__(self, p, gradient, name):
        if len(gradient) != 2:
            raise ValueError(f"{name} is a tuple of {len(gradient)}; rows are given as (indices, values)")
        if not p.array.ndim or not p.array.flags.c_contiguous:
            raise ValueError(
                f"{name} is given by rows, but {p.name} has none that lie together: its shape is "
                f"{p.array.shape} and its strides {p.array.strides}; pass a C-contiguous array with an axis"
            )
        indices, values = np.asarray(gradient[0]), arrays.view(gradient[1], f"{name}[1]")
        if indices.ndim != 1 or (indices.size and not np.issubdtype(indices.dtype, np.integer)):
            raise TypeError(
                f"{name}[0] must be a 1-D array of integers, not {indices.ndim}-D of {indices.dtype}"
            )
        n_rows = len(p.array)
        if indices.size and not 0 <= indices.min() <= indices.max() < n_rows:
            raise ValueError(
                f"{name}[0] has rows from {indices.min()} to {indices.max()}, but {p.name} has those from 0 "
                f"to {n_rows - 1}"
            )
        wanted = (len(indices), *p.array.shape[1:])
        if values.dtype != p.array.dtype:
            raise TypeError(f"{name}[1] has dtype {values.dtype} but {p.name} has {p.array.dtype}")
        if values.shape != wanted or not values.flags.c_contiguous:
            raise ValueError(
                f"{name}[1] has shape {values.shape} and strides {values.strides}; pass a C-contiguous array "
                f"of shape {wanted}"
            )
        self.p = p
        self._indices, self._values = _coalesce(indices.astype(np.int64), values)

    def update(self, row, n_threads):
        """Update the rows; ``row`` is the parameter's row in the stepper's table, except for the gradient."""
        n, width = len(self._indices), int(np.prod(self.p.array.shape[1:]))
        if not n or not width:
            return
        step = width * self.p.array.itemsize
        table = np.tile(row, (n, 1))
        offsets = step * self._indices
        table[:, 1] += offsets
        table[:, 2] = arrays.address(self._values) + step * np.arange(n)
        table[:, 3] += offsets
        work = np.zeros((n, 3), np.int64)
        work[:, 0], work[:, 2] = np.arange(n), width
        work_queue.KernelQueue(table, work, n_threads).run()


def _coalesce(indices, values):
    """Return each row index once, with the sum of its values, as one update needs the whole gradient."""
    unique, places = np.unique(indices, return_inverse=True)
    if len(unique) == len(indices):
        return indices, values
    total = np.zeros((len(unique), *values.shape[1:]), values.dtype)
    np.add.at(total, places, values)
    return unique, total
