"""Scores of held-out rows: scikit-learn's two from network outputs, and any scorer.

`accuracy` and `r2` equal `sklearn.metrics.accuracy_score` and `r2_score`, whose input checks cost more than a
whole epoch of a small network.
"""

import inspect
from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import sklearn.metrics
from sklearn.utils._param_validation import InvalidParameterError

from fastopt._parameters import suggestion
from fastopt.neural_network.caller_warnings import warn

if TYPE_CHECKING:
    from fastopt.neural_network._base import BaseMLP
    from fastopt.neural_network.data import Data


def accuracy(targets: np.ndarray, outputs: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Return the share of rows whose labels are all correct.

    Parameters
    ----------
    targets : ndarray of shape (n_samples, n_outputs)
        One-hot rows, or one 0/1 column per label.
    outputs : ndarray of shape (n_samples, n_outputs)
        Probabilities. Rows that sum to one pick their largest; labels are on above 0.5.
    sample_weight : ndarray of shape (n_samples,), optional

    Returns
    -------
    float
    """
    return float(np.average(((outputs > 0.5) == (targets > 0.5)).all(axis=1), weights=sample_weight))


def multiclass_accuracy(
    targets: np.ndarray, outputs: np.ndarray, sample_weight: np.ndarray | None = None
) -> float:
    """Return the share of rows whose most probable class is correct; see `accuracy`."""
    return float(np.average(outputs.argmax(axis=1) == targets.argmax(axis=1), weights=sample_weight))


def r2(targets: np.ndarray, outputs: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Return R2, averaged over the outputs; NaN if an output is not finite.

    A constant target counts 1 when predicted exactly and 0 otherwise, as in scikit-learn.

    Parameters
    ----------
    targets, outputs : ndarray of shape (n_samples, n_outputs)
    sample_weight : ndarray of shape (n_samples,), optional

    Returns
    -------
    float
    """
    if not np.isfinite(outputs).all():
        return float("nan")
    weight = 1.0 if sample_weight is None else sample_weight[:, None]
    mean = np.average(targets, axis=0, weights=sample_weight)
    residual = (weight * (targets - outputs) ** 2).sum(axis=0)
    total = (weight * (targets - mean) ** 2).sum(axis=0)
    constant = total == 0
    return float(np.mean(np.where(constant, residual == 0, 1 - residual / np.where(constant, 1, total))))


#: Returns the score, the greater the better, of an estimator, rows, its outputs for them, and their loss.
Score: TypeAlias = "Callable[[BaseMLP, Data, np.ndarray, float], float]"


def check_scoring_parameter(scoring: object, owner: str) -> None:
    """Raise unless ``scoring`` is None, 'loss', the name of a scorer of scikit-learn's, or a callable.

    Raises
    ------
    InvalidParameterError
        A ValueError and a TypeError, as scikit-learn raises for other parameters.
    """
    if scoring is None or (callable(scoring) and not isinstance(scoring, type)):
        return
    names, hint = {"loss", *sklearn.metrics.get_scorer_names()}, ""
    if isinstance(scoring, str):
        if scoring in names:
            return
        hint = suggestion(scoring, names)
    elif isinstance(scoring, (list, tuple, set, dict)):
        hint = " Early stopping goes by one score; measure others after the fit."
    raise InvalidParameterError(
        f"The 'scoring' parameter of {owner} must be None, 'loss', a name of "
        "sklearn.metrics.get_scorer_names() "
        f"or a callable scorer(estimator, X, y). Got {scoring!r} instead.{hint}"
    )


def score_name(estimator: "BaseMLP") -> str:
    """Return what the validation score of an estimator is called."""
    scoring = estimator.scoring
    if scoring is None:
        return estimator._default_score_name()
    if isinstance(scoring, str):
        return scoring
    metric = getattr(scoring, "_score_func", scoring)
    return getattr(metric, "__name__", type(metric).__name__)


def score_of(estimator: "BaseMLP", is_weighted: bool) -> Score:
    """Return the function that computes the validation score which an estimator asks for.

    Parameters
    ----------
    estimator : BaseMLP
    is_weighted : bool
        Whether the rows have weights.

    Warns
    -----
    UserWarning
        If the rows have weights that the scorer cannot take.
    """
    if estimator.scoring is None:
        return _own_score
    if estimator.scoring == "loss":
        return _negative_loss
    scorer = sklearn.metrics.check_scoring(estimator, estimator.scoring)
    takes_weights = _takes_weights(scorer)
    if is_weighted and not takes_weights:
        warn(
            f"scoring={estimator.scoring!r} takes no sample_weight: the rows of the validation set count "
            "alike in its score, though not in validation_loss_curve_"
        )

    def score(estimator, data, outputs, loss):
        if not np.isfinite(outputs).all():
            return float("nan")  # metrics refuse them, and the fit says better why it ends
        weights = {"sample_weight": data.sample_weight} if is_weighted and takes_weights else {}
        value = scorer(as_it_is_now(estimator), data.X, estimator._labels_of(data.targets), **weights)
        if not isinstance(value, (Real, np.ndarray)) or np.size(value) != 1:
            raise TypeError(f"scoring={estimator.scoring!r} must return one number, not {value!r}")
        return float(value)

    return score


def _own_score(estimator, data, outputs, loss):
    return estimator._score_outputs(data.targets, outputs, data.sample_weight)


def _negative_loss(estimator, data, outputs, loss):
    return -loss


def _takes_weights(scorer):
    """Whether a scorer takes ``sample_weight`` and does something with it."""
    known = inspect.signature(getattr(scorer, "_score_func", scorer)).parameters.values()
    return any(parameter.name == "sample_weight" for parameter in known)


def as_it_is_now(estimator: "BaseMLP") -> "BaseMLP":
    """Return an estimator that is fitted as this one is now, and free to change without harm to the fit.

    It has no names of features, because its rows are arrays: they were validated when the fit began.
    """
    view = object.__new__(type(estimator))
    left_out = {"feature_names_in_", "_random_state", "_is_seeded"}
    vars(view).update((name, value) for name, value in vars(estimator).items() if name not in left_out)
    return view
