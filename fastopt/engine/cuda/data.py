"""The rows of a data set on a GPU: all of them, copied once, or blocks of rows if they do not fit."""

import numpy as np

from fastopt.kernels.cuda import api as cuda

#: Bytes of dense rows that are made of a sparse matrix at a time, on their way to the device.
_CHUNK = 1 << 26


class Data:
    """A data set in device memory, as the kernels read it.

    Where it does not fit, the rows of a block of whole batches are gathered on the host, in the order of
    visit. Either way ``rows`` says where a row of the order lies, so the kernels' arguments are the same.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n_samples, n_features)
        Sparse rows are dense on the device.
    Y : ndarray of shape (n_samples, n_outputs), optional
    sample_weight : ndarray of shape (n_samples,), optional
    n_visits : int
        Rows of an epoch, the most that an order may have.
    batch_size : int
    n_bytes : int
        The most bytes to hold on the device, unless a batch takes more.

    Attributes
    ----------
    x, y, w, rows : device arrays
        Flat. ``y`` and ``w`` have one element where there are none.
    has_targets, is_weighted : bool
    capacity : int
        Rows of the largest block.
    """

    def __init__(self, X, Y, sample_weight, n_visits, batch_size, n_bytes):
        device_array = cuda.module().device_array
        self._sources = [X] + [a for a in (Y, sample_weight) if a is not None]
        widths = [1 if a.ndim == 1 else a.shape[1] for a in self._sources]
        # Each row has its place in ``rows``, and in training its loss.
        row_bytes = (sum(widths) + 1) * X.dtype.itemsize + 8
        self.is_resident = max(X.shape[0], n_visits) * row_bytes <= n_bytes
        if self.is_resident:
            held, self.capacity = X.shape[0], n_visits
        else:
            held = self.capacity = min(n_visits, max(1, n_bytes // row_bytes // batch_size) * batch_size)
        self._targets = [device_array(held * width, X.dtype) for width in widths]
        unused = device_array(1, X.dtype)
        self.x = self._targets[0]
        self.y = unused if Y is None else self._targets[1]
        self.has_targets, self.is_weighted = Y is not None, sample_weight is not None
        self.w = self._targets[-1] if self.is_weighted else unused
        self.rows = cuda.module().to_device(np.arange(self.capacity))
        if self.is_resident:
            is_dense = isinstance(X, np.ndarray)
            step = held if is_dense else max(1, _CHUNK // (widths[0] * X.dtype.itemsize))
            for first in range(0, held, step):
                self._fill(slice(first, first + step), first)

    def _fill(self, index, first):
        """Copy the rows ``index`` of each source to the device, from row ``first`` there."""
        for source, target in zip(self._sources, self._targets, strict=True):
            part = source[index]
            part = part if isinstance(part, np.ndarray) else part.toarray()
            width = 1 if source.ndim == 1 else source.shape[1]
            target[first * width : first * width + part.size].copy_to_device(part.reshape(-1))

    def blocks(self, order, n_visits):
        """Yield ``(first, last)`` for each block of the order, after copying its rows to the device.

        Parameters
        ----------
        order : ndarray of int64 or None
            None stands for all rows as they are.
        n_visits : int
        """
        if self.is_resident:
            self.rows.copy_to_device(np.arange(n_visits) if order is None else order)
            yield 0, n_visits
            return
        for first in range(0, n_visits, self.capacity):
            last = min(first + self.capacity, n_visits)
            self._fill(slice(first, last) if order is None else order[first:last], 0)
            yield first, last
