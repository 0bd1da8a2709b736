"""Class labels as targets: their validation, encoding and scores."""

from typing import Any

import numpy as np
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import unique_labels

from fastopt.neural_network import plain_data, scoring, validation
from fastopt.neural_network._base import BaseMLP
from fastopt.neural_network.class_weights import as_they_are, class_weighing
from fastopt.rules.activations import OUTPUTS
from fastopt.rules.losses import LOSSES, lookup_loss


class ClassLabels(BaseMLP):
    """The part of `MLPClassifier` that deals with labels."""

    loss: str
    focal_gamma: float
    label_smoothing: float
    classes_: np.ndarray
    class_weight: str | dict[Any, float] | list[dict[int, float]] | None

    @property
    def _engine_loss(self):
        return self._loss_of(self.out_activation_)

    def _loss_of(self, output):
        single = f"binary_{self.loss}"  # of one label, for two classes or several labels
        return single if output != "softmax" and single in LOSSES else self.loss

    def _output_activation(self):
        targets = self._label_binarizer.y_type_
        name = "softmax" if targets == "multiclass" else "logistic"
        loss = lookup_loss(self._loss_of(name))
        if OUTPUTS[loss.output].is_normalized != OUTPUTS[name].is_normalized:
            raise ValueError(
                f"loss={self.loss!r} is registered with output={loss.output!r}, and {targets} targets need "
                f"one with output={name!r}; see fastopt.register_loss"
            )
        return name

    def _training_targets(self, targets):
        share = self.label_smoothing
        if not share:
            return targets
        # As torch's cross_entropy, over all classes; of each label as Keras' BinaryCrossentropy.
        n_outcomes = targets.shape[1] if self.out_activation_ == "softmax" else 2
        return targets * (1 - share) + share / n_outcomes

    def _validate_input(self, X, y, incremental, reset):
        if incremental and not reset and not self.warm_start:
            plain = self._plain_input(X, y)
            if plain is not None:
                return plain
        X, y = validation.fit_input(self, X, y, reset=reset, kinds="biuU")
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = _fitted_binarizer(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            self._check_labels(unique_labels(y))
        return X, self._encode(y, X.dtype)

    def _validate_more(self, X, y, name="y_val"):
        plain = self._plain_input(X, y)
        if plain is not None:
            return plain
        X, y = validation.fit_input(self, X, y, reset=False, kinds="biuU")
        is_multilabel, n_labels = self._is_multilabel(), len(self.classes_)
        if y.ndim == 2 and y.shape[1] == 1 and not is_multilabel:
            y = column_or_1d(y, warn=True)
        if (y.ndim == 2) != is_multilabel or (is_multilabel and y.shape[1] != n_labels):
            expected = f"an indicator matrix of {n_labels} labels" if is_multilabel else "a column of labels"
            raise ValueError(f"{name} must be {expected}, as y is; got an array of shape {y.shape}.")
        unknown = np.setdiff1d(unique_labels(y), self.classes_)
        if len(unknown):
            raise ValueError(f"{name} has labels that y has not: {unknown}. y has {self.classes_}.")
        return X, self._encode(y, X.dtype)

    def _is_multilabel(self):
        return self._label_binarizer.y_type_.startswith("multilabel")

    def _labels_of(self, targets):
        if self._is_multilabel():
            return targets.astype(np.intp)
        codes = targets.argmax(axis=1) if targets.shape[1] > 1 else targets[:, 0].astype(np.intp)
        return self.classes_[codes]

    def _class_weighing(self, targets):
        if self.class_weight is None:
            return as_they_are
        return class_weighing(self.class_weight, self.classes_, targets, self._is_multilabel())

    def _plain_input(self, X, y):
        """Return plain rows with labels that are known, as `_validate_input` does; None for all others."""
        rows = plain_data.rows(self, X, reset=False, to_float=True)
        if rows is None or self._is_multilabel():
            return None
        codes = plain_data.codes(y, rows.shape[0], self.classes_)
        return None if codes is None else (rows, self._encode_codes(codes, rows.dtype))

    def _encode(self, y, dtype):
        """Return the targets as columns of 0 and 1; every label of ``y`` must be a known class."""
        if y.ndim > 1 or self._is_multilabel():
            return self._label_binarizer.transform(y).astype(bool)
        # LabelBinarizer.transform would validate y four more times: longer than an epoch of a small network.
        return self._encode_codes(np.searchsorted(self.classes_, y), dtype)

    def _encode_codes(self, codes, dtype):
        if len(self.classes_) <= 2:
            return codes.reshape(-1, 1).astype(dtype)
        targets = np.zeros((len(codes), len(self.classes_)), dtype=dtype)
        targets[np.arange(len(codes)), codes] = 1
        return targets

    def _check_labels(self, labels):
        if self.warm_start:
            if set(labels) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to "
                    f"fit. Previously got {self.classes_}, `y` has {labels}"
                )
        elif len(np.setdiff1d(labels, self.classes_, assume_unique=True)):
            raise ValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {labels}."
            )

    def _default_score_name(self):
        return "accuracy"

    def _stratification(self, targets):
        # Strings, so that the message about rare classes reads as scikit-learn's.
        return np.array(["False", "True"])[targets[:, 0].astype(int)] if self.n_outputs_ == 1 else None

    def _score_outputs(self, targets, outputs, sample_weight):
        if self.out_activation_ == "softmax":
            return scoring.multiclass_accuracy(targets, outputs, sample_weight)
        if len(self.classes_) == 1:
            return 1.0  # whatever the output is, the only class is predicted
        return scoring.accuracy(targets, outputs, sample_weight)


def _fitted_binarizer(y):
    """Return ``LabelBinarizer().fit(y)`` without its repeated validation, which costs as much as an epoch."""
    binarizer = LabelBinarizer()
    if y.ndim > 1 or y.dtype.kind != "i" or not len(y):
        return binarizer.fit(y)
    binarizer.classes_, binarizer.sparse_input_ = np.unique(y), False
    binarizer.y_type_ = "binary" if len(binarizer.classes_) <= 2 else "multiclass"
    return binarizer
