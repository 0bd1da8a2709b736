"""The parameters of the estimators of tables, their state, and what each of the two has to add."""

import inspect
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions

from fastopt.neural_network import validation
from fastopt.neural_network.caller_warnings import warn
from fastopt.neural_network.class_weights import as_they_are
from fastopt.neural_network.fit_tasks import CallbackSupportMixin
from fastopt.neural_network.loss_curve import LossCurveHTML
from fastopt.neural_network.unused_parameters import reason_of_loss
from fastopt.rules.losses import PARAMETERS
from fastopt.tabular.columns import TableEncoder
from fastopt.tabular.held_out import HeldOut
from fastopt.tabular.state import TabularState

#: Multiplies the weights of rows with these targets by class weights.
Weigh = Callable[[np.ndarray, np.ndarray | None], np.ndarray | None]


class TabularParameters(TabularState, LossCurveHTML, CallbackSupportMixin, BaseEstimator, metaclass=ABCMeta):
    """The part of the estimators that says what they are told, and what each of the two adds."""

    _parameter_constraints: ClassVar[dict] = {
        "n_members": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "n_cv": [StrOptions({"auto"}), Interval(Integral, 2, None, closed="left")],
        "hidden_layer_sizes": [StrOptions({"auto"}), *validation.CONSTRAINTS["hidden_layer_sizes"]],
        "numeric_scaler": [StrOptions({"robust_clip", "standard", "quantile"}), None],
        "categorical_features": [StrOptions({"from_dtype"}), "array-like", None],
        "max_one_hot": [Interval(Integral, 1, None, closed="left")],
        "num_embedding": [StrOptions({"auto", "ple"}), None],
        "input_scale": ["boolean"],
        "learning_rate_init": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        **{
            name: validation.CONSTRAINTS[name]
            for name in "activation beta_1 beta_2 max_iter max_time".split()
            + "n_jobs random_state verbose progress".split()
        },
    }
    #: The learning rate of ``'auto'``, and the encoding of numbers.
    _learning_rate: ClassVar[float]
    _embedding: ClassVar[str | None]

    n_members: int | str
    n_cv: int | str
    hidden_layer_sizes: int | Sequence[int] | str
    activation: str | Sequence[str]
    numeric_scaler: str | None
    categorical_features: str | npt.ArrayLike | None
    max_one_hot: int
    loss: str
    num_embedding: str | None
    input_scale: bool
    learning_rate_init: float | str
    beta_1: float
    beta_2: float
    weight_decay: float
    max_iter: int
    batch_size: int
    max_time: float | None
    n_jobs: int | None
    random_state: int | np.random.RandomState | None
    verbose: bool | int
    progress: bool

    encoder_: TableEncoder
    folds_: np.ndarray | None
    n_iter_: int

    def _store(self, arguments: dict[str, Any]) -> None:
        """Set an attribute for each argument of `__init__`, whose ``locals()`` are passed."""
        vars(self).update(
            (name, value) for name, value in arguments.items() if name not in ("self", "__class__")
        )

    @abstractmethod
    def _read_labels(self, y: Any, *, reset: bool) -> np.ndarray:
        """Return y as an array of float64 with a column for each target: codes of classes, or numbers."""

    @abstractmethod
    def _strata(self, labels: np.ndarray) -> np.ndarray:
        """Return what the folds are stratified by, an integer for each row."""

    @abstractmethod
    def _expected_outputs(self) -> int:
        """Return the number of a network's outputs, from what has been learnt of the targets."""

    def _learn_targets(self, labels: np.ndarray, weights: np.ndarray | None) -> None:
        """Learn what turns labels into the targets of a network."""

    @abstractmethod
    def _targets(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the targets of a network, and those before label smoothing."""

    @abstractmethod
    def _objective(self) -> tuple[str, str, Any]:
        """Return the engine's loss, the activation of the outputs and the loss's parameter."""

    @abstractmethod
    def _calibrate(self, held_out: HeldOut, outputs: list[np.ndarray], mean: np.ndarray) -> None:
        """Learn from the outputs of each network for rows held out of it, and their mean."""

    @abstractmethod
    def _predicted(self, outputs: np.ndarray) -> np.ndarray:
        """Return what `oof_predictions_` holds, from mean outputs."""

    @abstractmethod
    def _score_of(self, held_out: HeldOut, outputs: np.ndarray) -> float:
        """Return the score of mean outputs."""

    @abstractmethod
    def _loss_of(self, held_out: HeldOut, outputs: np.ndarray) -> float:
        """Return the loss of mean outputs, by which importance is measured."""

    def _class_weighing(self, targets: np.ndarray) -> Weigh:
        """Return the function of targets and weights that multiplies these by class weights."""
        return as_they_are

    def _warn_of_unused(self, has_validation_set):
        """Warn of parameters that are not at their defaults and have no effect."""
        known = inspect.signature(type(self)).parameters
        reasons = {name: reason_of_loss(name, self.loss) for name in PARAMETERS if name in known}
        reasons["n_cv"] = "X_val takes the place of folds" if has_validation_set else ""
        found = [
            f"{name}={getattr(self, name)!r} ({reason})"
            for name, reason in reasons.items()
            if reason and not np.array_equal(getattr(self, name), known[name].default)
        ]
        if found:
            warn(f"Parameters of {type(self).__name__} that have no effect here: {'; '.join(found)}")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.sparse = True
        tags.input_tags.categorical = tags.input_tags.string = True
        return tags
