"""Numbers as targets: their validation, the outputs that a loss has for each, predictions and scores."""

import math
from collections.abc import Sequence
from itertools import pairwise
from numbers import Real

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.metrics import d2_pinball_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import InvalidParameterError

from fastopt.data import BlockSource
from fastopt.neural_network import scoring, validation
from fastopt.neural_network._base import BaseMLP
from fastopt.neural_network.block_input import outputs_by_block
from fastopt.neural_network.kept_trainers import kept_trainer
from fastopt.rules.activations import POSITIVE_OUTPUTS, lookup_output
from fastopt.rules.losses import LOSSES, PARAMETERS, REGRESSION_LOSSES, Loss, lookup_loss

#: What targets of a kind must be, and whether numbers are.
_RANGES = {"nonnegative": (">= 0", lambda y: y >= 0), "positive": ("> 0", lambda y: y > 0)}


class RegressionTargets(BaseMLP):
    """The part of `MLPRegressor` that deals with targets.

    The network has `_width` neighbouring outputs for each target: one for each quantile of a list, and for
    each of these as many as the loss has. Its targets are repeated as often.
    """

    loss: str
    delta: float
    quantile: float | Sequence[float]
    power: float
    out_activation: str | None
    n_crossed_: int

    def _validate_params(self):
        if not isinstance(self.loss, str):
            raise InvalidParameterError(
                f"The 'loss' parameter of {type(self).__name__} must be a str among "
                f"{{{', '.join(map(repr, sorted(REGRESSION_LOSSES)))}}}. Got {self.loss!r} instead. loss is "
                "the first argument, as in scikit-learn; name the others, as in "
                f"{type(self).__name__}(hidden_layer_sizes=(64,))."
            )
        super()._validate_params()
        self._quantiles()

    @property
    def _loss_entry(self):
        return LOSSES.get(self.loss) or lookup_loss(self.loss)  # which says what registers it

    def _quantiles(self):
        """Return the quantiles of a list, checked, as a tuple; None where the loss has one number or none."""
        return quantiles_of(self._loss_entry, self.quantile)

    def _width(self):
        """Return the number of the network's outputs for each target."""
        loss = self._loss_entry
        if loss.row is None and loss.parameter is not PARAMETERS["quantile"]:
            return 1
        quantiles = self._quantiles()
        return loss.outputs_per_target * (1 if quantiles is None else len(quantiles))

    def _predicts_outputs(self):
        """Return whether predictions are the network's outputs as they are: none is sorted or left out."""
        loss = self._loss_entry
        is_list = loss.parameter is PARAMETERS["quantile"] and not isinstance(self.quantile, Real)
        return loss.row is None and not is_list

    def _parameter_of_outputs(self, name):
        quantiles = self._quantiles() if name == "quantile" else None
        if quantiles is None:
            return super()._parameter_of_outputs(name)
        n_outputs, width = self._layout.layer_sizes[-1], self._width()
        if n_outputs % width:
            raise ValueError(
                f"quantile={self.quantile!r} takes {width} outputs of the network for each target, and it "
                f"has {n_outputs}, because it was fitted with another loss or quantile: fit it anew."
            )
        each = np.repeat(quantiles, self._loss_entry.outputs_per_target)
        return tuple(np.tile(each, n_outputs // width).tolist())

    def _validate_input(self, X, y, incremental, reset):
        X, targets = self._validate_more(X, y, reset=reset)
        if not reset and self._output_activation() != self.out_activation_:
            raise ValueError(
                f"The network's outputs are {self.out_activation_!r}, but loss={self.loss!r} with "
                f"out_activation={self.out_activation!r} has {self._output_activation()!r}. To change them, "
                "fit with warm_start=False."
            )
        return X, targets

    def _validate_more(self, X, y, name="y_val", *, reset=False):
        X, y = validation.fit_input(self, X, y, reset=reset, kinds="fiu", y_numeric=True)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if issparse(y) or y.dtype.kind not in "buif":
            raise ValueError(
                f"y must be a dense array of numbers, got {type(y).__name__} of dtype {y.dtype}."
            )
        check_range(self, self._loss_entry, y)
        targets = y.reshape(len(y), -1)
        width = self._width()
        return X, targets if width == 1 else np.repeat(targets, width, axis=1)

    def _labels_of(self, targets):
        y = targets[:, :: self._width()]
        return y[:, 0] if y.shape[1] == 1 else y

    def _output_activation(self):
        loss = self._loss_entry
        name = loss.output if self.out_activation is None else self.out_activation
        loss.check_output(lookup_output(name))
        if loss.output in POSITIVE_OUTPUTS and name not in POSITIVE_OUTPUTS:
            raise ValueError(
                f"loss={self.loss!r} needs positive outputs, and those of out_activation={name!r} may be "
                "negative; use 'exp', 'softplus' or 'logistic', or None for that of the loss"
            )
        return name

    def _by_target(self, outputs):
        """Return network outputs as an array of shape (n_samples, n_targets, n_quantiles, of the loss)."""
        each, width = self._loss_entry.outputs_per_target, self._width()
        return outputs.reshape(len(outputs), outputs.shape[1] // width, width // each, each)

    def _combined(self, outputs):
        if self.loss != "gaussian_nll":
            return super()._combined(outputs)
        # Mean and variance of the mixture: the mean variance and the variance of the means.
        means, logarithms = np.moveaxis([self._by_target(one)[..., 0, :] for one in outputs], -1, 0)
        variances = np.exp(logarithms).mean(axis=0) + means.var(axis=0)
        together = np.stack((means.mean(axis=0), np.log(variances)), axis=-1)
        return together.reshape(outputs[0].shape).astype(outputs[0].dtype, copy=False)

    def _predictions(self, outputs):
        """Return predictions of shape (n_samples, n_targets), or (n_samples, n_targets, n_quantiles)."""
        if self._predicts_outputs():
            return outputs
        values = self._by_target(outputs)[..., 0]
        return values[..., 0] if self._quantiles() is None else np.sort(values, axis=2)

    def _default_score_name(self):
        return "r2" if self._quantiles() is None else "d2_pinball_score"

    def _score_outputs(self, targets, outputs, sample_weight):
        targets, predictions = targets[:, :: self._width()], self._predictions(outputs)
        if self._quantiles() is None:
            return scoring.r2(targets, predictions, sample_weight)
        return self._quantile_score(targets, predictions, sample_weight)

    def _quantile_score(self, y, predictions, sample_weight):
        """Return the mean over the quantiles of scikit-learn's ``d2_pinball_score``."""
        if not np.isfinite(predictions).all():
            return math.nan
        quantiles = self._quantiles()
        scores = [
            d2_pinball_score(y, predictions[..., i], sample_weight=sample_weight, alpha=quantile)
            for i, quantile in enumerate(quantiles)
        ]
        return float(np.mean(scores))

    def _conclude(self, data):
        if self._quantiles() is None:
            return
        if isinstance(data.X, BlockSource):
            self.n_crossed_ = sum(map(self._n_crossed, outputs_by_block(self, data.X)))
            return
        network = self._network(self._params.dtype, self.device_)
        self.n_crossed_ = self._n_crossed(kept_trainer("predict", **network).predict(self._params, data.X))

    def _n_crossed(self, outputs):
        """Return in how many rows a quantile lies above a higher one."""
        is_crossed = np.diff(self._by_target(outputs)[..., 0], axis=2) < 0
        return int(is_crossed.any(axis=(1, 2)).sum())


def quantiles_of(loss: Loss, quantile: float | Sequence[float]) -> tuple[float, ...] | None:
    """Return the quantiles of a list, checked; None where the loss has one number or none.

    Parameters
    ----------
    loss : Loss
    quantile : float or sequence of float
        The argument of an estimator.

    Raises
    ------
    ValueError
        If the list is empty, or its numbers do not rise from above 0 to below 1.
    """
    if loss.parameter is not PARAMETERS["quantile"] or isinstance(quantile, Real):
        return None
    numbers = tuple(quantile) if np.ndim(quantile) == 1 else ()
    are_numbers = numbers and all(isinstance(number, Real) for number in numbers)
    if not are_numbers or any(a >= b for a, b in pairwise(numbers)):
        raise ValueError(
            f"quantile={quantile!r} must be one number, or a list of rising numbers, such as "
            "[0.05, 0.5, 0.95]"
        )
    numbers = tuple(map(float, numbers))
    for number in numbers:
        PARAMETERS["quantile"].check(number)
    return numbers


def check_range(estimator: BaseEstimator, loss: Loss, y: np.ndarray) -> None:
    """Raise ValueError if a loss does not allow such targets.

    Parameters
    ----------
    estimator : estimator
        Has the loss's parameter.
    loss : Loss
    y : ndarray
    """
    kind = loss.targets_for(None if loss.parameter is None else getattr(estimator, loss.parameter.name))
    if kind not in _RANGES:
        return
    allowed, holds = _RANGES[kind]
    if not holds(y.min()):
        given = "" if isinstance(loss.targets, str) else f" with {loss.parameter.name}={estimator.power}"
        raise ValueError(
            f"loss={loss.name!r}{given} needs y {allowed}, got a smallest value of {y.min()}. For such "
            "targets use loss='squared_error'."
        )
