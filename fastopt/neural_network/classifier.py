"""The classifier."""

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import validate_data

from fastopt.neural_network import scoring
from fastopt.neural_network._base import BaseMLP
from fastopt.neural_network.docstrings import document


@document(score="accuracy")
class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multi-layer perceptron classifier, a drop-in for scikit-learn's.

    Minimizes the log-loss on fastopt's compiled engine. For the same arguments, data and ``random_state``
    it computes what `sklearn.neural_network.MLPClassifier` computes, up to rounding; docs/differences.md
    lists every deliberate difference. y may be binary, multiclass or a multilabel indicator.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    {attributes}

    See Also
    --------
    MLPRegressor : The same network for real-valued targets.

    Examples
    --------
    >>> from fastopt import MLPClassifier
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.model_selection import train_test_split
    >>> X, y = make_classification(n_samples=100, random_state=1)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=1)
    >>> clf = MLPClassifier(random_state=1, max_iter=300).fit(X_train, y_train)
    >>> clf.predict_proba(X_test[:1]).round(3)
    array([[0.038, 0.962]])
    >>> clf.predict(X_test[:5])
    array([1, 0, 1, 0, 1])

    Any optimizer trains it:

    >>> from fastopt import AdamW
    >>> clf = MLPClassifier((32, 16), solver=AdamW(lr=0.01), random_state=1, max_iter=50, tol=0)
    >>> float(clf.fit(X_train, y_train).loss_) < 0.05
    True
    """

    #: The only loss; not a parameter, as in scikit-learn.
    loss = "log_loss"

    def _validate_input(self, X, y, incremental, reset):
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = _fitted_binarizer(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            self._check_labels(unique_labels(y))
        return X, self._encode(y, X.dtype)

    def _encode(self, y, dtype):
        """Return the targets as columns of 0 and 1; every label of ``y`` is known to be a class."""
        n_classes = len(self.classes_)
        if y.ndim > 1 or self._label_binarizer.y_type_.startswith("multilabel"):
            return self._label_binarizer.transform(y).astype(bool)
        # LabelBinarizer.transform would validate y four more times: longer than an epoch of a small network.
        codes = np.searchsorted(self.classes_, y)
        if n_classes <= 2:
            return codes.reshape(-1, 1).astype(dtype)
        targets = np.zeros((len(y), n_classes), dtype=dtype)
        targets[np.arange(len(y)), codes] = 1
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

    @property
    def _engine_loss(self):
        return "log_loss" if self.out_activation_ == "softmax" else "binary_log_loss"

    def _output_activation(self):
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _stratification(self, targets):
        # Strings, so that the message about rare classes reads as scikit-learn's.
        return np.array(["False", "True"])[targets[:, 0].astype(int)] if self.n_outputs_ == 1 else None

    def _score_outputs(self, targets, outputs, sample_weight):
        if self.out_activation_ == "softmax":
            return scoring.multiclass_accuracy(targets, outputs, sample_weight)
        if len(self.classes_) == 1:
            return 1.0  # whatever the output is, the only class is predicted
        return scoring.accuracy(targets, outputs, sample_weight)

    @available_if(lambda self: self._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Train for one epoch on the given rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss.
        classes : array-like of shape (n_classes,), default=None
            Every label that will ever occur. Needed in the first call.

        Returns
        -------
        self : MLPClassifier

        Raises
        ------
        ValueError
            If ``classes`` is missing in the first call, or differs from it later, or y has other labels.
        AttributeError
            If the solver is ``'lbfgs'``.
        """
        if _check_partial_fit_first_call(self, classes):
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
        return self._fit(X, y, sample_weight=sample_weight, incremental=True)

    def predict(self, X):
        """Predict labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Labels, or an indicator matrix if y was one, sparse if y was.
        """
        outputs = self._outputs(X)
        if self.out_activation_ == "softmax":
            return self.classes_.take(outputs.argmax(axis=1), mode="clip")
        if self._label_binarizer.y_type_.startswith("multilabel"):
            return self._label_binarizer.inverse_transform(outputs)
        if len(self.classes_) == 1:
            return np.repeat(self.classes_, len(outputs))
        return self.classes_[(outputs[:, 0] > 0.5).astype(np.intp)]

    def predict_proba(self, X):
        """Predict probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``. Two columns for a binary target; for a multilabel one, each column
            is that label's own probability.
        """
        outputs = self._outputs(X)
        if outputs.shape[1] > 1:
            return outputs
        return np.concatenate((1 - outputs, outputs), axis=1)

    def predict_log_proba(self, X):
        """Return the logarithm of `predict_proba`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def to_sklearn(self):
        """Return the equivalent fitted `sklearn.neural_network.MLPClassifier`; see `from_sklearn`."""
        from fastopt.neural_network.interop import to_sklearn

        return to_sklearn(self)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _fitted_binarizer(y):
    """Return ``LabelBinarizer().fit(y)``, without validating ``y`` four times more: two small epochs'."""
    binarizer = LabelBinarizer()
    if y.ndim > 1 or y.dtype.kind != "i" or not len(y):
        return binarizer.fit(y)
    binarizer.classes_, binarizer.sparse_input_ = np.unique(y), False
    binarizer.y_type_ = "binary" if len(binarizer.classes_) <= 2 else "multiclass"
    return binarizer
