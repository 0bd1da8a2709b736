"""The regressor of tables."""

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Literal, overload

import numpy as np
import numpy.typing as npt
from sklearn.base import RegressorMixin
from sklearn.metrics import d2_pinball_score, r2_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import _check_y, check_consistent_length, check_is_fitted

from fastopt.neural_network import validation
from fastopt.neural_network.familiar_keywords import answers_keywords
from fastopt.neural_network.frames import plain_labels
from fastopt.neural_network.regression_targets import check_range, quantiles_of
from fastopt.neural_network.validation import Rows
from fastopt.rules.losses import REGRESSION_LOSSES, lookup_loss
from fastopt.tabular.estimator import BaseTabularMLP
from fastopt.tabular.intervals import cv_plus

#: Largest target, and the reciprocal of the smallest range: squares and their sums stay within float64.
_LARGEST = 1e150
#: Losses with one output for each target.
_LOSSES = frozenset(name for name, loss in REGRESSION_LOSSES.items() if loss.outputs_per_target == 1)


class TabularMLPRegressor(RegressorMixin, BaseTabularMLP):
    """Bag of small networks that predicts numbers from the rows of a table, with intervals.

    Takes tables as they are: numbers, text, categories, booleans, dates, missing values; see
    `fastopt.tabular.TableEncoder`. The defaults are those of RealMLP (Holzmüller, Grinsztajn & Steinwart,
    2024) for a bag of smaller networks, each trained on the rows outside one fold of a repeated
    cross-validation and validated on that fold. y may have several columns.

    Parameters
    ----------
    n_members : int or 'auto', default='auto'
        Networks; ``'auto'`` is 10 for fewer than 2,000 rows, otherwise 5. Those beyond ``n_cv`` belong to
        another repeat of the cross-validation.
    n_cv : int or 'auto', default='auto'
        Folds, at most as many as there are rows that differ; ``'auto'`` is 5, for fewer than 2,000 rows as
        many as there are networks, from 5 to 10.
    hidden_layer_sizes : array-like of int, int or 'auto', default='auto'
        Units of each hidden layer; ``'auto'`` is (64, 64, 64) for fewer than 2,000 rows, otherwise
        (128, 128, 128).
    activation : str or sequence of str, default='silu'
        Of the hidden layers, or one for each: see `fastopt.list_activations`.
    numeric_scaler : {'robust_clip', 'standard', 'quantile'} or None, default='robust_clip'
        What numbers are scaled by; see `fastopt.tabular.TableEncoder`.
    categorical_features : 'from_dtype', array-like or None, default='from_dtype'
        Which columns are categories: by the table's own types, or their numbers, names or a mask.
    max_one_hot : int, default=30
        Most levels of a category that have a column of their own.
    num_embedding : {'auto', 'ple'} or None, default='auto'
        Whether numbers are also encoded piecewise linearly between their quantiles; ``'auto'`` is 'ple'.
    target_scaler : {'standard'} or None, default='standard'
        Whether the networks learn standardised targets; with a loss for positive numbers these are divided by
        their mean.
    loss : str, default='squared_error'
        ``'squared_error'``, ``'absolute_error'``, ``'huber'``, ``'log_cosh'``, ``'quantile'``, ``'poisson'``,
        ``'gamma'`` or ``'tweedie'``; see `fastopt.MLPRegressor`.
    delta : float, default=1.0
        Error at which ``loss='huber'`` goes over from a square to a line, in units of the scaled targets.
    quantile : float or list of float, default=0.5
        What ``loss='quantile'`` predicts. Of a list of rising numbers `predict` returns a column for each.
    power : float, default=1.5
        Power of the mean that ``loss='tweedie'`` takes for the variance.
    input_scale : bool, default=True
        Whether the networks learn a factor for each input.
    learning_rate_init : float or 'auto', default='auto'
        The peaks of the learning rate, ``'auto'`` is 0.07. Weights have ``1 / sqrt(fan_in)`` of it, biases
        0.1 times and the factors of inputs 6 times.
    beta_1, beta_2 : float, default=0.9, 0.95
        Of AdamW.
    weight_decay : float, default=0.02
        Decoupled decay of the weights: constant for half of the epochs, then along a cosine to 0.
    max_iter : int, default=186
        Epochs, in five cycles of the learning rate of which each is twice as long as the one before. From
        the third on training ends with a cycle after which the loss of the rows held out is worse than after
        the one before.
    batch_size : int, default=256
        Rows per step, at most all.
    max_time : float or None, default=None
        Seconds that `fit` may take: a last cycle is shortened to what is left. At least one epoch is made.
    n_jobs : int or None, default=None
        Threads. None is Numba's current number, -1 is all. The numbers that come out do not depend on it.
    random_state : int, RandomState instance or None, default=None
        Draws the folds, then the first parameters of each network and the orders of its rows.
    verbose : bool or int, default=False
        Whether to print the losses after each cycle.
    progress : bool, default=False
        Whether `fit` shows a live bar on standard error (needs rich, extra ``cli``), or in a notebook one
        figure of the loss curve, which is redrawn.

    Attributes
    ----------
    oof_predictions_ : ndarray of shape (n_samples,), or as `predict` returns it
        Predictions for the training rows by the networks that were not trained on them: what can be expected
        of new rows. NaN for rows that fewer networks than folds leave out. Absent with ``X_val``, as are
        `oof_score_` and `folds_`.
    oof_score_ : float
        Their R2, with the weights of the rows; of quantiles the mean D2 pinball score.
    validation_score_ : float
        With ``X_val``: the score there.
    members_ : list of TabularMember
        The networks: ``coefs_``, ``intercepts_``, ``input_scale_``, ``best_epoch_``, ``best_loss_``.
    folds_ : ndarray of shape (n_repeats, n_samples)
        The fold of each row, held out of the network ``n_folds * repeat + fold``; -1 for rows without weight.
    history_ : dict of ndarray of shape (n_epochs,)
        ``loss``, the mean of the networks' training losses; ``val_loss``, the pooled loss of rows held out.
    n_iter_ : int
        Epochs.
    feature_importances_ : ndarray of shape (n_features,)
        By permutation of rows held out.
    encoder_ : TableEncoder
        What was learnt of the columns.
    n_features_in_ : int
        Columns of the table.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if all are strings.

    See Also
    --------
    TabularMLPClassifier : The same for labels.
    fastopt.MLPRegressor : One network, with scikit-learn's defaults.

    Notes
    -----
    Predictions do not leave the range of the training targets. Rows that are equal, target included, count as
    one with the sum of their weights, so that none is on both sides of a fold. But copies of rows whose
    inputs have another target elsewhere, or of which there are only a few kinds, are repeated observations
    and go to different folds: a row of weight 2 is two copies there, too. A fit does not depend on the order
    of the rows.

    Examples
    --------
    >>> from fastopt import TabularMLPRegressor
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> regr = TabularMLPRegressor(random_state=0).fit(X, y)
    >>> regr.oof_score_ > 0.4
    True
    >>> regr.predict_interval(X[:3], coverage=0.9).shape
    (3, 2)
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseTabularMLP._parameter_constraints,
        "loss": [StrOptions(set(_LOSSES))],
        "target_scaler": [StrOptions({"standard"}), None],
        **{name: validation.CONSTRAINTS[name] for name in ("delta", "quantile", "power")},
    }
    _own_fitted: ClassVar[dict] = dict.fromkeys(("_low", "_high", "_shift", "_scale"), np.ndarray)
    _own_optional: ClassVar[dict] = {"_residuals": list, "_residual_weights": (list, type(None))}
    _learning_rate = 0.07
    _embedding = "ple"

    @answers_keywords
    def __init__(
        self,
        *,
        n_members: int | str = "auto",
        n_cv: int | str = "auto",
        hidden_layer_sizes: int | Sequence[int] | str = "auto",
        activation: str | Sequence[str] = "silu",
        numeric_scaler: str | None = "robust_clip",
        categorical_features: str | npt.ArrayLike | None = "from_dtype",
        max_one_hot: int = 30,
        num_embedding: str | None = "auto",
        target_scaler: str | None = "standard",
        loss: str = "squared_error",
        delta: float = 1.0,
        quantile: float | Sequence[float] = 0.5,
        power: float = 1.5,
        input_scale: bool = True,
        learning_rate_init: float | str = "auto",
        beta_1: float = 0.9,
        beta_2: float = 0.95,
        weight_decay: float = 0.02,
        max_iter: int = 186,
        batch_size: int = 256,
        max_time: float | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
        progress: bool = False,
    ) -> None:
        self._store(locals())

    @overload
    def predict(self, X: Rows, return_std: Literal[False] = False) -> np.ndarray: ...

    @overload
    def predict(self, X: Rows, return_std: Literal[True]) -> tuple[np.ndarray, np.ndarray]: ...

    def predict(self, X: Rows, return_std: bool = False) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Predict numbers: the mean over the networks, within the range of the training targets.

        Parameters
        ----------
        X : DataFrame, {array-like, sparse matrix} of shape (n_samples, n_features)
        return_std : bool, default=False
            Whether to return standard deviations as well.

        Returns
        -------
        y : ndarray of float64, shape (n_samples,) or (n_samples, n_targets)
            With a list of quantiles another axis at the end, one place for each; they do not cross.
        std : ndarray of the same shape
            The root of the networks' variance at the row plus the mean squared residual of rows held out: the
            standard deviation of the distribution of which `predict_interval` returns quantiles. The second
            part is the same for every row.

        Raises
        ------
        ValueError
            If X does not fit, or there are no residuals for a standard deviation.
        """
        X = self._encoded(X)
        if not return_std:
            return self._predicted(self._mean_outputs(X))
        _, residuals, weights, _ = self._residual_groups("return_std=True")
        each = self._each_values(X)
        noise = np.average(
            np.concatenate(residuals) ** 2, axis=0, weights=weights and np.concatenate(weights)
        )
        return self._predicted(self._mean_outputs(X)), self._shaped(
            np.sqrt(each.var(axis=0) + noise)[..., None]
        )

    def predict_interval(self, X: Rows, coverage: float = 0.9) -> np.ndarray:
        """Return intervals that contain the target with some probability: CV+.

        Of each row that was held out of a network, the absolute residual is added to and subtracted from what
        that network predicts for the new row; the interval goes from a quantile of the latter to one of the
        former (Barber, Candès, Ramdas & Tibshirani, "Predictive inference with the jackknife+", 2021). For
        exchangeable rows, whatever their distribution, it then contains the target with a probability of at
        least ``1 - 2 * (1 - coverage) - sqrt(2 / n_samples)``, and typically of about ``coverage``. This
        holds on average over new rows, not for each kind of row. The theorem is about one network for each
        fold; here residuals are those after the epoch that the other folds choose, and predictions those of
        the network's own best epoch.

        With ``X_val`` the residuals are those of the mean prediction on these rows (split conformal).

        Parameters
        ----------
        X : DataFrame, {array-like, sparse matrix} of shape (n_samples, n_features)
        coverage : float, default=0.9
            Above 0 and below 1.

        Returns
        -------
        ndarray of float64, shape (n_samples, 2) or (n_samples, n_targets, 2)
            Lower and upper bounds; infinite where there are too few rows for the coverage.

        Raises
        ------
        ValueError
            If X does not fit, ``coverage`` is out of its range, or there are no residuals: with a list of
            quantiles, or fewer networks than folds.
        """
        if not (isinstance(coverage, Real) and 0 < coverage < 1):
            raise ValueError(f"coverage={coverage!r} must be a number above 0 and below 1, such as 0.9")
        check_is_fitted(self)
        n_repeats, residuals, weights, is_mean = self._residual_groups("predict_interval")
        values = self._each_values(self._encoded(X))
        if is_mean:
            values = values.mean(axis=0, keepdims=True)
        bounds = [
            np.stack(
                cv_plus(
                    values[: len(residuals), :, t],
                    [own[:, t] for own in residuals],
                    coverage,
                    weights=weights,
                    n_repeats=n_repeats,
                ),
                axis=1,
            )
            for t in range(values.shape[2])
        ]
        # Where networks differ, those of a small coverage may cross, and no number would be between them.
        found = np.sort(np.stack(bounds, axis=1), axis=2)
        return found[:, 0] if len(bounds) == 1 else found

    def score(self, X: Rows, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
        """Return R2; with a list of quantiles the mean of their D2 pinball scores.

        Parameters
        ----------
        X : DataFrame, {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
        """
        if self._quantiles() is None:
            return super().score(X, y, sample_weight)
        labels = self._read_labels(y, reset=False)
        check_consistent_length(X, labels)
        return self._score(labels, self._values(self._mean_outputs(self._encoded(X))), sample_weight)

    def _quantiles(self):
        return quantiles_of(lookup_loss(self.loss), self.quantile)

    def _width(self):
        """Return the number of a network's outputs for each target."""
        quantiles = self._quantiles()
        return 1 if quantiles is None else len(quantiles)

    def _read_labels(self, y, *, reset):
        y = _check_y(plain_labels(y), multi_output=True, y_numeric=True, estimator=self)
        if not isinstance(y, np.ndarray) or y.dtype.kind not in "buif":
            raise ValueError(
                f"y must be a dense array of numbers, got {type(y).__name__} of dtype {y.dtype}."
            )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        check_range(self, lookup_loss(self.loss), y)
        return np.asarray(y, np.float64).reshape(len(y), -1)

    def _strata(self, labels):
        return np.zeros(len(labels), np.int8)

    def _learn_targets(self, labels, weights):
        n_targets = labels.shape[1]
        self._low, self._high = labels.min(axis=0), labels.max(axis=0)
        _check_squares(self._low, self._high)
        self._shift, self._scale = np.zeros(n_targets), np.ones(n_targets)
        if self.target_scaler is None:
            return
        if (
            lookup_loss(self.loss).output != "identity"
        ):  # of positive numbers, which a shift would not leave so
            scale = np.average(np.abs(labels), axis=0, weights=weights)
        else:
            self._shift = np.average(labels, axis=0, weights=weights)
            scale = np.sqrt(np.average((labels - self._shift) ** 2, axis=0, weights=weights))
        self._scale = np.where((scale > 0) & (self._low < self._high), scale, 1.0)

    def _targets(self, labels):
        targets = np.repeat((labels - self._shift) / self._scale, self._width(), axis=1)
        return targets, targets

    def _expected_outputs(self):
        return len(self._low) * self._width()

    def _objective(self):
        loss, quantiles = lookup_loss(self.loss), self._quantiles()
        parameter = None if loss.parameter is None else getattr(self, loss.parameter.name)
        if quantiles is not None:
            parameter = quantiles * (self._layout.layer_sizes[-1] // len(quantiles))
        return self.loss, loss.output, parameter

    def _values(self, outputs):
        """Return outputs as numbers of y's scale, of shape (n_samples, n_targets, n_quantiles)."""
        values = outputs.reshape(len(outputs), -1, self._width())
        values = values * self._scale[:, np.newaxis] + self._shift[:, np.newaxis]
        return np.sort(np.clip(values, self._low[:, np.newaxis], self._high[:, np.newaxis]), axis=2)

    def _shaped(self, values):
        """Return values in the shape of predictions."""
        values = values[:, 0] if values.shape[1] == 1 else values
        return values[..., 0] if self._quantiles() is None else values

    def _predicted(self, outputs):
        return self._shaped(self._values(outputs))

    def _each_values(self, X):
        """Return the predictions of each network, of shape (n_members, n_samples, n_targets)."""
        predict = self._predictor(X)
        return np.stack([self._values(predict(flat, X))[..., 0] for flat in self._params])

    def _calibrate(self, held_out, outputs, mean):
        """Keep the residuals of the rows held out, of as many networks as make whole repeats."""
        vars(self).pop("_residuals", None)
        if self._quantiles() is not None:
            return
        rows, n_folds = held_out.rows, len(outputs)
        if hasattr(self, "folds_"):
            n_folds = int(self.folds_.max()) + 1
            rows = rows[: len(rows) // n_folds * n_folds]
        else:
            rows, outputs = rows[:1], [mean]
        if rows:
            self._residuals = [
                np.abs(self._values(own)[..., 0] - held_out.labels[at])
                for own, at in zip(outputs[: len(rows)], rows, strict=True)
            ]
            weights = held_out.weights
            self._residual_weights = None if weights is None else [weights[at] for at in rows]

    def _residual_groups(self, what):
        """Return the number of repeats, residuals and weights of each network, and whether of their mean."""
        if "_residuals" not in vars(self):
            if self._quantiles() is not None:
                raise ValueError(f"{what} needs one quantile, not a list (quantile={self.quantile!r}).")
            raise ValueError(
                f"{what} needs a residual of each row: at least as many networks as folds "
                f"(n_members={len(self._params)}, {int(self.folds_.max()) + 1} folds)."
            )
        has_folds = hasattr(self, "folds_")
        n_repeats = len(self._residuals) // (int(self.folds_.max()) + 1) if has_folds else 1
        return n_repeats, self._residuals, self._residual_weights, not has_folds

    def _score_of(self, held_out, outputs):
        return self._score(held_out.labels, self._values(outputs), held_out.weights)

    def _score(self, labels, values, weights):
        quantiles = self._quantiles()
        if quantiles is None:
            return float(r2_score(labels, values[..., 0], sample_weight=weights))
        scores = [
            d2_pinball_score(labels, values[..., i], sample_weight=weights, alpha=quantile)
            for i, quantile in enumerate(quantiles)
        ]
        return float(np.mean(scores))

    def _loss_of(self, held_out, outputs):
        return -self._score_of(held_out, outputs)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _check_squares(low, high):
    """Refuse targets of which R2 cannot be computed: the squares of their differences are no float64."""
    spread = high / 2 - low / 2
    wrong = (np.maximum(-low, high) > _LARGEST) | ((spread > 0) & (spread < 1 / _LARGEST))
    if wrong.any():
        t = wrong.argmax()
        raise ValueError(
            f"y goes from {low[t]:.3g} to {high[t]:.3g}, and squares of such numbers are beyond float64: "
            "multiply it by a power of ten, so that its range is between 1e-150 and 1e150"
        )
