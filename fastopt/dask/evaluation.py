"""Loss and score of rows that lie on many machines, from sums over their partitions."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.base import is_classifier

from fastopt.dask.rounds import Recipe
from fastopt.neural_network.data import Data
from fastopt.neural_network.kept_trainers import kept_trainer


class Tally(NamedTuple):
    """Sums over some rows, from which `add_tallies` makes those of all.

    ``right`` is the weight of rows whose label is predicted, ``spread`` the sum of squares of each target
    around its ``mean`` and ``error`` that around the predictions; the former of a classifier, the latter
    three arrays of a regressor.
    """

    weight: float
    loss: float
    right: float = 0.0
    mean: Any = 0.0
    spread: Any = 0.0
    error: Any = 0.0

    @property
    def mean_loss(self) -> float:
        """The mean loss of the rows."""
        return self.loss / self.weight

    @property
    def accuracy(self) -> float:
        """The share of rows whose label is predicted."""
        return self.right / self.weight

    @property
    def r2(self) -> float:
        """The mean over the targets of R2, with scikit-learn's values for a target without spread."""
        spread, error = np.atleast_1d(self.spread), np.atleast_1d(self.error)
        constant = np.where(error == 0, 1.0, 0.0)
        return float(np.mean(np.where(spread > 0, 1 - error / np.where(spread > 0, spread, 1), constant)))


def add_tallies(*tallies: Tally) -> Tally:
    """Return the tally of all rows; spreads are merged around the common mean (Chan et al. 1979)."""
    total = tallies[0]
    for one in tallies[1:]:
        weight = total.weight + one.weight
        share = one.weight / weight if weight else 0.0
        gap = one.mean - total.mean
        total = Tally(
            weight,
            total.loss + one.loss,
            total.right + one.right,
            total.mean + gap * share,
            total.spread + one.spread + gap**2 * total.weight * share,
            total.error + one.error,
        )
    return total


def tally_of_network(params: np.ndarray, rows: Data, recipe: Recipe) -> Tally:
    """Return loss and score of the network with these parameters on validated rows."""
    network = recipe.network
    trainer = kept_trainer("measure", **network._network(recipe.dtype, "cpu"))
    outputs, loss = trainer.evaluate(params, rows.X, rows.targets, sample_weight=rows.sample_weight)
    weight = float(rows.X.shape[0] if rows.sample_weight is None else rows.sample_weight.sum())
    if is_classifier(network):
        right = network._score_outputs(rows.targets, outputs, rows.sample_weight)
        return Tally(weight, loss * weight, right=right * weight)
    y = rows.targets[:, :: network._width()]
    return _of_numbers(y, network._predictions(outputs), rows.sample_weight, loss)


def tally_of_predictions(network: Any, X: Any, y: Any, sample_weight: Any = None) -> Tally:
    """Return the score of a fitted network on the rows of a partition; the loss is left out."""
    if not len(y):
        return Tally(0.0, 0.0)
    weight = float(len(y) if sample_weight is None else np.sum(sample_weight))
    if is_classifier(network):
        return Tally(weight, 0.0, right=network.score(X, y, sample_weight) * weight)
    predictions = network.predict(X).reshape(len(y), -1)
    return _of_numbers(np.asarray(y).reshape(len(y), -1), predictions, sample_weight, 0.0)


def _of_numbers(y, predictions, sample_weight, loss):
    weights = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)
    weight = float(weights.sum())
    y, predictions = np.asarray(y, float), np.asarray(predictions, float)
    mean = np.average(y, axis=0, weights=weights) if weight else np.zeros(y.shape[1])
    return Tally(
        weight,
        loss * weight,
        mean=mean,
        spread=weights @ (y - mean) ** 2,
        error=weights @ (y - predictions) ** 2,
    )
