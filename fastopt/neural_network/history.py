"""The history of training: what is recorded after each epoch, and the attributes that show it."""

import math
from array import array
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fastopt.neural_network._base import BaseMLP

#: What is recorded of each epoch, in this order.
COLUMNS = ("loss", "val_loss", "val_score", "lr", "seconds")


def begin(estimator: "BaseMLP", *, anew: bool) -> None:
    """Begin a history, or go on with the one that is there."""
    rows = () if anew else _rows(estimator)
    if type(rows) is not array:
        # A quarter of the memory of a list of tuples, for whoever calls partial_fit a million times.
        estimator._history = array("d", () if rows is None else np.ravel(rows))


def restore(estimator: "BaseMLP", table: np.ndarray | None) -> None:
    """Go on with a history from `as_table`, or without one from the estimator's curves.

    Raises
    ------
    ValueError
        If the table has another form, as of a damaged file.
    """
    vars(estimator).pop("_history", None)
    if table is not None:
        if table.dtype != np.float64 or table.shape[1:] != (len(COLUMNS),):
            raise ValueError(f"a history of the type {table.dtype} and the shape {table.shape} is none")
        estimator._history = table
    begin(estimator, anew=False)


def record(estimator: "BaseMLP", loss: float, lr: float, seconds: float) -> None:
    """Record an epoch, or an iteration of L-BFGS."""
    # In one call, so that Ctrl-C cannot come between two columns.
    estimator._history.extend((loss, math.nan, math.nan, lr, seconds))


def record_validation(estimator: "BaseMLP", val_loss: float, val_score: float, seconds: float) -> None:
    """Complete the last epoch by what was measured on the validation set."""
    rows = estimator._history
    rows[-4], rows[-3], rows[-1] = val_loss, val_score, seconds


def elapsed(estimator: "BaseMLP") -> float:
    """Return the seconds of training so far."""
    rows = estimator._history
    return rows[-1] if len(rows) and not math.isnan(rows[-1]) else 0.0


def as_table(estimator: "BaseMLP") -> np.ndarray:
    """Return the history as an array with a row for each epoch, or raise AttributeError if there is none."""
    rows = _rows(estimator)
    if rows is None and "members_" in vars(estimator):
        raise AttributeError("an ensemble has no history of its own: see that of members_[0] and the others")
    if rows is None:
        raise AttributeError(
            f"{type(estimator).__name__} has no history: it is not trained, or was by 'lbfgs' in a version "
            "of fastopt that kept none. Fit it to have one."
        )
    return np.array(rows, np.float64).reshape(-1, len(COLUMNS))


def _rows(estimator):
    """Return what is recorded; of a model of other versions its two curves; None if there is nothing."""
    state = vars(estimator)
    if "_history" in state or "loss_curve_" not in state:
        return state.get("_history")
    losses, scores = state["loss_curve_"], state.get("validation_scores_")
    table = np.full((len(losses), len(COLUMNS)), np.nan)
    table[:, 0] = losses
    if scores is not None and len(scores) == len(losses):
        table[:, 2] = scores
    return table


class TrainingHistory:
    """Gives an estimator the attributes that are made of its history."""

    @property
    def history_(self) -> dict[str, np.ndarray]:
        """What was recorded after each epoch, for ``pandas.DataFrame(clf.history_)``.

        Arrays of one length, float64: ``loss``; ``val_loss`` and ``val_score``, NaN where nothing was
        validated; ``lr``, the learning rate of the epoch's first step (NaN for ``'lbfgs'``, and for
        optimizers without one); ``seconds`` of training until then. Over warm starts and `partial_fit` too.
        """
        return dict(zip(COLUMNS, np.ascontiguousarray(as_table(self).T), strict=True))

    @property
    def validation_loss_curve_(self) -> list[float] | None:
        """Mean loss of the validation rows after each epoch, without penalty; None without validation."""
        losses = as_table(self)[:, 1]
        return None if np.isnan(losses).all() else losses.tolist()

    @property
    def best_iteration_(self) -> int:
        """Index in the curves of the epoch with the best validation score, else with the least loss.

        Counted from 0 as XGBoost does.
        """
        table = as_table(self)
        if not len(table):
            raise AttributeError("best_iteration_: no epoch is complete")
        losses, scores = table[:, 0], table[:, 2]
        quality = -losses if np.isnan(scores).all() else scores
        return int(np.where(np.isnan(quality), -np.inf, quality).argmax())

    @property
    def best_score_(self) -> float:
        """The validation score in epoch `best_iteration_`; without validation the loss."""
        loss, _, score = as_table(self)[self.best_iteration_, :3].tolist()
        return loss if math.isnan(score) else score

    @property
    def evals_result_(self) -> dict[str, dict[str, list[float]]]:
        """The curves under the names of LightGBM: ``{'training': {'loss': ...}, 'validation': {...}}``."""
        curves = {name: column.tolist() for name, column in self.history_.items()}
        result = {"training": {"loss": curves["loss"]}}
        if not np.isnan(as_table(self)[:, 1:3]).all():
            name = vars(self).get("_score_name", "score")
            scores = {} if name == "loss" else {name: curves["val_score"]}
            result["validation"] = {"loss": curves["val_loss"], **scores}
        return result
