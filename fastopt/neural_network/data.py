"""Rows, targets and weights in the form that the engine reads."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastopt.engine.validation import Rows
from fastopt.neural_network import validation

if TYPE_CHECKING:
    from fastopt.neural_network._base import BaseMLP


class Data(NamedTuple):
    """Rows in the form that the engine reads: ``X``, targets of shape (n_samples, n_outputs), weights.

    The weights may be `weight_scale` times those that were given; ``alpha`` has to be multiplied by it, too.
    `true_targets`, if any, are the targets before label smoothing: rows that are taken out to be scored have
    them.
    """

    X: Rows
    targets: np.ndarray
    sample_weight: np.ndarray | None
    weight_scale: float = 1.0
    true_targets: np.ndarray | None = None

    @classmethod
    def of(
        cls, X: Rows, targets: npt.ArrayLike, sample_weight: np.ndarray | None, dtype: npt.DTypeLike
    ) -> "Data":
        """Convert validated rows to the form that the engine reads."""
        weights = validation.as_engine_weights(sample_weight, dtype)
        targets = np.ascontiguousarray(targets, dtype=dtype)
        return cls(validation.as_engine_array(X, dtype), targets, *weights)

    @property
    def scored_targets(self) -> np.ndarray:
        """Return the targets without label smoothing."""
        return self.targets if self.true_targets is None else self.true_targets

    def take(self, rows: np.ndarray) -> "Data":
        """Return some of the rows, to be scored."""
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        X = validation.as_engine_array(self.X[rows], self.X.dtype)
        return Data(X, self.scored_targets[rows], weight, self.weight_scale)


def data_of_fit(
    estimator: "BaseMLP",
    X: Rows,
    targets: npt.ArrayLike,
    sample_weight: np.ndarray | None,
    held_out: tuple[Any, ...] | None,
) -> tuple[Data, Data | None]:
    """Return validated rows, and those of the validation set or None, in the form that the engine reads.

    The targets of the rows to train on are those that the loss sees: smoothed, if the estimator says so.
    """
    dtype = estimator._params.dtype
    data = Data.of(X, targets, sample_weight, dtype)
    smoothed = estimator._training_targets(data.targets)
    if smoothed is not data.targets:
        data = data._replace(targets=smoothed, true_targets=data.targets)
    return data, None if held_out is None else Data.of(*held_out, dtype)
