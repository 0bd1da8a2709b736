"""Rows on which a network is measured as it trains: passed as ``X_val``, or held out of the training."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastopt.data import BlockSource
from fastopt.engine import Trainer
from fastopt.neural_network import history, scoring, validation
from fastopt.neural_network.data import Data
from fastopt.neural_network.stopwatch import Stopwatch

if TYPE_CHECKING:
    from fastopt.neural_network._base import BaseMLP

#: The arguments of ``fit`` that describe a validation set.
ARGUMENTS = ("X_val", "y_val", "sample_weight_val")


class ValidationSet:
    """Rows whose loss and score are measured after each epoch.

    Parameters
    ----------
    estimator : BaseMLP
        Its ``scoring`` says what the score is.
    data : Data
    rows : ndarray of int64, optional
        Their numbers, if they are held out of the training rows.

    Raises
    ------
    ValueError
        If the rows have no weight in all.
    """

    def __init__(self, estimator: "BaseMLP", data: Data, rows: np.ndarray | None = None) -> None:
        self.data: Data = data
        self.rows: np.ndarray | None = rows
        self._score: scoring.Score = scoring.score_of(estimator, data.sample_weight is not None)
        if data.sample_weight is not None and data.sample_weight.sum() == 0:
            if rows is None:
                raise ValueError("sample_weight_val sums to 0, so the rows of X_val cannot be scored.")
            raise ValueError(
                "The rows held out for early stopping have a total sample_weight of 0, so they cannot be "
                "scored. Increase 'validation_fraction', or leave out rows without weight."
            )

    def measure(self, estimator: "BaseMLP", trainer: Trainer, stopwatch: Stopwatch) -> float:
        """Record loss (without penalty) and score of the network as it is now; return the score.

        Parameters
        ----------
        estimator : BaseMLP
        trainer : Trainer
            Of its network; keeps its buffers from epoch to epoch.
        stopwatch : Stopwatch
        """
        data = self.data
        outputs, loss = self._evaluate(estimator, trainer)
        score = self._score(estimator, data, outputs, loss)
        history.record_validation(estimator, loss, score, stopwatch.seconds())
        if estimator.verbose:
            print(f"Validation score: {score:f}")
        return score

    def _evaluate(self, estimator, trainer):
        """Return outputs and mean loss."""
        data = self.data
        return trainer.evaluate(
            estimator._params, data.X, data.targets, sample_weight=data.sample_weight, keep=True
        )


class Given(NamedTuple):
    """The arguments ``X_val``, ``y_val`` and ``sample_weight_val`` of ``fit``."""

    X: Any = None
    y: Any = None
    sample_weight: npt.ArrayLike | None = None

    def is_there(self):
        """Whether there is a validation set; ValueError if an argument lacks the others that it needs."""
        if isinstance(self.X, BlockSource):
            raise ValueError(
                "X_val must be rows in memory, and is a BlockSource. Load as many as a validation set needs, "
                "or fit with early_stopping=True, which holds out some blocks of the source to train on."
            )
        if self.X is None and self.y is None and self.sample_weight is None:
            return False
        if self.X is None and self.y is None:
            raise ValueError("sample_weight_val was passed without X_val and y_val, whose rows it weighs.")
        if self.X is None or self.y is None:
            passed, missing = ("y_val", "X_val") if self.X is None else ("X_val", "y_val")
            raise ValueError(f"{passed} was passed without {missing}: pass both, or neither.")
        return True

    def validated(
        self, estimator: "BaseMLP", weigh: Callable[..., Any], n_outputs: int
    ) -> tuple[Any, ...] | None:
        """Return rows, targets and weights, held to what the estimator has learnt from X and y; None if none.

        Parameters
        ----------
        estimator : BaseMLP
        weigh : callable
            Multiplies weights by class weights.
        n_outputs : int
            Columns of the targets of y.

        Raises
        ------
        ValueError, TypeError
            As for X and y, with a message that says which data is meant.
        """
        if not self.is_there():
            return None
        try:
            X, targets = estimator._validate_more(self.X, self.y)
            if targets.shape[1] != n_outputs:
                raise ValueError(
                    f"y_val stands for {targets.shape[1]} outputs of the network, but y for {n_outputs}."
                )
            weight = weigh(targets, validation.check_sample_weight(self.sample_weight, X))
        except ValueError as error:
            raise ValueError(f"In the validation set (X_val, y_val): {error}") from error
        except TypeError as error:
            raise TypeError(f"In the validation set (X_val, y_val): {error}") from error
        return X, targets, weight


NO_VALIDATION = Given()
