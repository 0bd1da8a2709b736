"""Rows, targets and weights in the form that the engine reads."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastopt.engine.validation import Rows
from fastopt.neural_network import validation


class Data(NamedTuple):
    """Rows in the form that the engine reads: ``X``, targets of shape (n_samples, n_outputs), weights.

    The weights may be `weight_scale` times those that were given; ``alpha`` has to be multiplied by it, too.
    """

    X: Rows
    targets: np.ndarray
    sample_weight: np.ndarray | None
    weight_scale: float = 1.0

    @classmethod
    def of(
        cls, X: Rows, targets: npt.ArrayLike, sample_weight: np.ndarray | None, dtype: npt.DTypeLike
    ) -> "Data":
        """Convert validated rows to the form that the engine reads."""
        weights = validation.as_engine_weights(sample_weight, dtype)
        targets = np.ascontiguousarray(targets, dtype=dtype)
        return cls(validation.as_engine_array(X, dtype), targets, *weights)

    def take(self, rows: np.ndarray) -> "Data":
        """Return some of the rows."""
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        X = validation.as_engine_array(self.X[rows], self.X.dtype)
        return Data(X, self.targets[rows], weight, self.weight_scale)
