"""The classifier of tables."""

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_y

from fastopt.neural_network import validation
from fastopt.neural_network.class_weights import as_they_are, class_weighing
from fastopt.neural_network.familiar_keywords import answers_keywords
from fastopt.neural_network.frames import plain_labels
from fastopt.neural_network.validation import Rows
from fastopt.tabular.calibration import at_temperature, fit_temperature, log_loss
from fastopt.tabular.estimator import BaseTabularMLP


class TabularMLPClassifier(ClassifierMixin, BaseTabularMLP):
    """Bag of small networks that classifies the rows of a table, with calibrated probabilities.

    Takes tables as they are: numbers, text, categories, booleans, dates, missing values; see
    `fastopt.tabular.TableEncoder`. The defaults are those of RealMLP (Holzmüller, Grinsztajn & Steinwart,
    2024) for a bag of smaller networks, each trained on the rows outside one fold of a repeated, stratified
    cross-validation and validated on that fold. y may be binary, multiclass or a multilabel indicator.

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
        Whether numbers are also encoded piecewise linearly between their quantiles; ``'auto'`` is None.
    loss : {'log_loss', 'focal'}, default='log_loss'
        What is trained; see `fastopt.MLPClassifier`. The probabilities of ``'focal'`` need the calibration.
    focal_gamma : float, default=2.0
        Exponent of ``loss='focal'``.
    label_smoothing : float, default=0.1
        Share, in [0, 1), of each training target that is spread evenly over all classes.
    input_scale : bool, default=True
        Whether the networks learn a factor for each input.
    learning_rate_init : float or 'auto', default='auto'
        The peaks of the learning rate, ``'auto'`` is 0.04. Weights have ``1 / sqrt(fan_in)`` of it, biases
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
    calibration : {'temperature'} or None, default='temperature'
        Whether probabilities are calibrated by one temperature, fitted to those of the rows held out.
    class_weight : 'balanced', dict, list of dict or None, default=None
        Weights of the classes, by which those of the rows are multiplied, in training, validation and
        calibration; see `fastopt.MLPClassifier`.
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
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    oof_predictions_ : ndarray of shape (n_samples, n_classes)
        Probabilities for the training rows by the networks that were not trained on them, calibrated: what
        can be expected of new rows. NaN for rows that fewer networks than folds leave out. Absent with
        ``X_val``, as are `oof_score_` and `folds_`.
    oof_score_ : float
        Their accuracy, with the weights of the rows.
    validation_score_ : float
        With ``X_val``: the accuracy there.
    temperature_ : float
        What the logarithms of the mean probabilities are divided by; 1 without calibration.
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
    TabularMLPRegressor : The same for numbers.
    fastopt.MLPClassifier : One network, with scikit-learn's defaults.

    Notes
    -----
    Rows that are equal, label included, count as one with the sum of their weights, so that none is on both
    sides of a fold. But copies of rows whose inputs have another label elsewhere, or of which there are only
    a few kinds, are repeated observations and go to different folds: a row of weight 2 is two copies there,
    too. A fit does not depend on the order of the rows.

    Each network keeps the epoch that is best for the rows held out of it. Scores and calibration are those of
    another epoch, which the rows held out of the other networks choose: their own labels take no part.

    Examples
    --------
    >>> from fastopt import TabularMLPClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = TabularMLPClassifier(random_state=0).fit(X, y)
    >>> clf.oof_score_ > 0.93
    True
    >>> clf.predict(X[:1])
    array([0])
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseTabularMLP._parameter_constraints,
        "loss": [StrOptions({"log_loss", "focal"})],
        "focal_gamma": validation.CONSTRAINTS["focal_gamma"],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "calibration": [StrOptions({"temperature"}), None],
        "class_weight": validation.CONSTRAINTS["class_weight"],
    }
    _own_fitted: ClassVar[dict] = {"classes_": np.ndarray, "temperature_": float, "_is_multilabel": bool}
    _learning_rate = 0.04
    _embedding = None

    classes_: np.ndarray
    temperature_: float

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
        loss: str = "log_loss",
        focal_gamma: float = 2.0,
        label_smoothing: float = 0.1,
        input_scale: bool = True,
        learning_rate_init: float | str = "auto",
        beta_1: float = 0.9,
        beta_2: float = 0.95,
        weight_decay: float = 0.02,
        max_iter: int = 186,
        batch_size: int = 256,
        calibration: str | None = "temperature",
        class_weight: str | dict[Any, float] | list[dict[int, float]] | None = None,
        max_time: float | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
        progress: bool = False,
    ) -> None:
        self._store(locals())

    def predict_proba(self, X: Rows) -> np.ndarray:
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : DataFrame, {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples, n_classes)
            Columns in the order of `classes_`; of multilabel targets the probability of each label.
        """
        return self._predicted(self._mean_outputs(self._encoded(X)))

    def predict(self, X: Rows) -> np.ndarray:
        """Return the most probable label of each row.

        Parameters
        ----------
        X : DataFrame, {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
        """
        return self._labels(self.predict_proba(X))

    def _labels(self, probabilities):
        if self._is_multilabel:
            return (probabilities > 0.5).astype(np.intp)
        return self.classes_[probabilities.argmax(axis=1)]

    def _read_labels(self, y, *, reset):
        y = _check_y(plain_labels(y), multi_output=True, estimator=self)
        check_classification_targets(y)
        is_multilabel = type_of_target(y).startswith("multilabel")
        if is_multilabel:
            y = np.asarray(y.toarray() if hasattr(y, "toarray") else y)
            classes, codes = np.arange(y.shape[1]), y
        else:
            if y.ndim == 2 and y.shape[1] > 1:
                raise ValueError(
                    f"y has {y.shape[1]} columns of labels: pass one, or an indicator matrix of 0 and 1"
                )
            y = column_or_1d(y, warn=True)
            classes, codes = np.unique(y, return_inverse=True)
        if reset:
            self.classes_, self._is_multilabel = classes, is_multilabel
        elif is_multilabel != self._is_multilabel:
            raise ValueError(
                "y_val must have labels of the same kind as y: of one column, or an indicator matrix"
            )
        elif not is_multilabel:
            unknown = np.setdiff1d(classes, self.classes_)
            if len(unknown):
                raise ValueError(f"y_val has labels that y has not: {unknown}. y has {self.classes_}.")
            codes = np.searchsorted(self.classes_, y)
        return np.asarray(codes, np.float64).reshape(len(codes), -1)

    def _strata(self, labels):
        return np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)

    def _one_hot(self, labels):
        if self._is_multilabel:
            return labels
        return (labels == np.arange(len(self.classes_))).astype(np.float32)

    def _targets(self, labels):
        targets, share = self._one_hot(labels), self.label_smoothing
        n_outcomes = 2 if self._is_multilabel else targets.shape[1]
        return targets * (1 - share) + share / n_outcomes, targets

    def _class_weighing(self, targets):
        if self.class_weight is None:
            return as_they_are
        return class_weighing(self.class_weight, self.classes_, targets, self._is_multilabel)

    def _expected_outputs(self):
        return len(self.classes_)

    def _objective(self):
        parameter = self.focal_gamma if self.loss == "focal" else None
        if self._is_multilabel:
            return f"binary_{self.loss}", "logistic", parameter
        return self.loss, "softmax", parameter

    def _calibrate(self, held_out, outputs, mean):
        self.temperature_ = 1.0
        if self.calibration is not None:
            outcomes, targets, weights = self._outcomes(held_out, mean)
            self.temperature_ = fit_temperature(outcomes, targets, weights)

    def _outcomes(self, held_out, mean):
        """Return probabilities and targets with a column for each outcome, one of which comes true."""
        targets, weights = self._one_hot(held_out.labels), held_out.loss_weights
        if not self._is_multilabel:
            return mean, targets, weights
        weights = None if weights is None else np.repeat(weights, mean.shape[1])
        return _two_outcomes(mean), _two_outcomes(targets), weights

    def _predicted(self, outputs):
        if not self._is_multilabel:
            return at_temperature(outputs, self.temperature_)
        return at_temperature(_two_outcomes(outputs), self.temperature_)[:, 1].reshape(outputs.shape)

    def _score_of(self, held_out, outputs):
        predicted = self._labels(self._predicted(outputs))
        labels = (
            held_out.labels if self._is_multilabel else self.classes_[held_out.labels[:, 0].astype(np.intp)]
        )
        return float(accuracy_score(labels, predicted, sample_weight=held_out.weights))

    def _loss_of(self, held_out, outputs):
        outcomes, targets, weights = self._outcomes(held_out, outputs)
        return log_loss(at_temperature(outcomes, self.temperature_), targets, weights)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _two_outcomes(probabilities):
    """Return an array of shape (n_rows * n_labels, 2) with the probabilities that labels are 0, and 1."""
    flat = probabilities.reshape(-1, 1)
    return np.hstack([1 - flat, flat])
