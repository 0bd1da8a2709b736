"""Rows on which the networks of a bag are measured, each on those that it was not trained on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastopt.neural_network.validation import Rows


class HeldOut(NamedTuple):
    """Rows of which some are held out of each network.

    Attributes
    ----------
    X : ndarray or CSR matrix of shape (n_rows, n_inputs)
    labels : ndarray of float64, shape (n_rows, n_targets)
        Codes of classes, or numbers.
    weights : ndarray of shape (n_rows,) or None
    loss_weights : ndarray of shape (n_rows,) or None
        The same times class weights.
    rows : list of ndarray of int64
        For each network.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.tabular.held_out import HeldOut
    >>> held_out = HeldOut(np.zeros((3, 1)), np.zeros((3, 1)), None, None, [np.array([0, 1]), np.array([1])])
    >>> held_out.mean([[[1.0], [2.0]], [[4.0]]])
    array([[ 1.],
           [ 3.],
           [nan]])
    """

    X: Rows
    labels: np.ndarray
    weights: np.ndarray | None
    loss_weights: np.ndarray | None
    rows: list[np.ndarray]

    def mean(self, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """Return for each row the mean output of the networks that it is held out of, NaN if there is none.

        Parameters
        ----------
        outputs : sequence of ndarray of shape (n_held_out, n_outputs)
            Of each network for its rows.

        Returns
        -------
        ndarray of float64, shape (n_rows, n_outputs)
        """
        n_rows = len(self.labels)
        total, count = np.zeros((n_rows, np.shape(outputs[0])[1])), np.zeros((n_rows, 1))
        for rows, own in zip(self.rows, outputs, strict=True):
            total[rows] += own
            count[rows] += 1
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)

    def take(self, rows: np.ndarray) -> "HeldOut":
        """Return labels and weights of some rows, without inputs."""
        weights, loss_weights = (None if w is None else w[rows] for w in (self.weights, self.loss_weights))
        return HeldOut(self.X[:0], self.labels[rows], weights, loss_weights, [])
