"""Predictions of a few rows, where looking at arguments takes longer than the network."""

import contextlib

import numpy as np

from fastopt.engine.cpu import compilation
from fastopt.engine.cpu.context import DENSE, PREDICT
from fastopt.engine.cpu.trainer import Trainer
from fastopt.engine.cpu.workspace import SPARSE_MIN_FEATURES, Workspace
from fastopt.kernels.blas_threads import single_threaded

#: Most rows of a call.
MAX_ROWS = 64
#: Multiplications of a call above which a second thread may be worth it.
_MAX_PRODUCTS = 1_000_000


class FewRows:
    """Predicts up to `MAX_ROWS` dense rows in this thread, as `Trainer.predict` does.

    Parameters
    ----------
    trainer : Trainer
        Of the network.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.engine import Layout, Trainer
    >>> from fastopt.engine.cpu.few_rows import FewRows
    >>> layout = Layout([2, 1])
    >>> network = dict(activation="relu", out_activation="identity", loss="squared_error", dtype=np.float64)
    >>> few = FewRows(Trainer(layout, **network))
    >>> few.can_take(1), few.predict(np.ones(layout.size), np.array([[2.0, 3.0]]))
    (True, array([[6.]]))
    """

    def __init__(self, trainer: Trainer) -> None:
        layout, functions = trainer.layout, trainer._functions
        self._n_outputs, self._dtype = layout.layer_sizes[-1], trainer.dtype
        is_dense = layout.layer_sizes[0] < SPARSE_MIN_FEATURES  # others may be read by their non-zeros
        self._most = min(MAX_ROWS, _MAX_PRODUCTS // layout.n_decay) if is_dense else 0
        if not self._most:
            return
        routines = compilation.routine_addresses(trainer.dtype.name, False, functions)
        self._workspace = Workspace(
            layout, trainer.dtype, routines, functions.activations, MAX_ROWS, DENSE, 0, 1
        )
        self._workspace.set(mode=PREDICT)
        self._blas = single_threaded if self._workspace.calls_blas else contextlib.nullcontext
        self._run, self._worker = compilation.alone(), compilation.worker_address()

    def can_take(self, n_rows: int) -> bool:
        """Whether so many rows are few enough."""
        return 0 < n_rows <= self._most

    def predict(self, params: np.ndarray, X: np.ndarray) -> np.ndarray:
        """Return the outputs of the last layer, an ndarray of shape (n_rows, n_outputs).

        Parameters
        ----------
        params : ndarray of shape (layout.size,)
        X : ndarray of shape (n_rows, n_features)
            C-contiguous, both of the network's dtype; not checked again.
        """
        n_rows, workspace = X.shape[0], self._workspace
        out = np.empty((n_rows, self._n_outputs), self._dtype)
        workspace.aim(x=X, params=params, out=out)
        workspace.begin(0, 1, n_rows, n_rows, 1)
        with self._blas():
            self._run(self._worker, workspace.address, 1)
        return out
