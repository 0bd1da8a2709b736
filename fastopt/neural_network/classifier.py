"""The classifier."""

import datetime
import os
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import sklearn.neural_network
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target

from fastopt.data import BlockSource
from fastopt.neural_network._base import if_stochastic
from fastopt.neural_network.block_input import first_targets, targets_to_score
from fastopt.neural_network.class_labels import ClassLabels
from fastopt.neural_network.familiar_keywords import answers_keywords
from fastopt.neural_network.interop import counterpart_of, to_sklearn
from fastopt.neural_network.validation import Rows
from fastopt.optimizers import Optimizer
from fastopt.rules.losses import CLASSIFICATION_LOSSES
from fastopt.schedules import Schedule

_Self = TypeVar("_Self", bound="MLPClassifier")


@counterpart_of(sklearn.neural_network.MLPClassifier)
class MLPClassifier(ClassifierMixin, ClassLabels):
    """Multi-layer perceptron classifier, a drop-in for scikit-learn's.

    Minimizes the log-loss, or another loss, on fastopt's compiled engine. For the same arguments, data and
    ``random_state`` it computes what `sklearn.neural_network.MLPClassifier` computes, up to rounding;
    docs/differences.md lists every deliberate difference. y may be binary, multiclass or a multilabel
    indicator.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int or int, default=(100,)
        Units of each hidden layer. ``()`` gives a linear model.
    activation : str or sequence of str, default='relu'
        Activation of the hidden layers, or one for each: 'identity', 'logistic', 'tanh', 'relu', 'gelu',
        'prelu' or another of `fastopt.list_activations`.
    solver : str or optimizer, default='adam'
        ``'lbfgs'``, ``'sgd'`` and ``'adam'`` are scikit-learn's algorithms with its arguments. Any other
        name of `fastopt.list_optimizers` takes ``learning_rate_init`` as its ``lr`` and its own defaults for
        the rest. An optimizer object, such as ``fastopt.AdamW(lr=1e-3, weight_decay=0.01)``, brings all its
        values; its parameters can be searched as ``solver__lr`` and so on. Names ignore case.
    alpha : float, default=0.0001
        L2 penalty on the weights, divided by the sum of the batch's sample weights; biases are free.
        Decoupled decay is ``weight_decay``.
    batch_size : int or 'auto', default='auto'
        Rows per step; ``'auto'`` is ``min(200, n_samples)``. Not used by ``'lbfgs'``.
    learning_rate : str, schedule or callable, default='constant'
        How the learning rate moves. With ``solver='sgd'`` ``'invscaling'`` sets it to
        ``learning_rate_init / (t_ + 1) ** power_t`` after each epoch, and ``'adaptive'`` to a fifth whenever
        patience runs out; they are scikit-learn's and do nothing with other solvers. For every solver but
        ``'lbfgs'``: a name of `fastopt.schedules.list_schedules`, such as ``'cosine'``, ``'onecycle'`` or
        ``'plateau'``, which starts (``'onecycle'``: peaks) at ``learning_rate_init``, or at the ``lr`` of an
        optimizer object, and lasts for ``max_iter`` epochs; a schedule object, which brings its own values;
        or a function of the share of those epochs that is over, whose result multiplies the rate.
        Schedules begin anew with each `fit` and go on over `partial_fit`. `fastopt.schedules.plateau` is
        lowered by its own patience or when the estimator's runs out, which then begins anew.
    learning_rate_init : float, default=0.001
        The learning rate, for a ``solver`` given by name.
    power_t : float, default=0.5
        Exponent of ``'invscaling'``.
    max_iter : int, default=200
        Most epochs, or most iterations of ``'lbfgs'``.
    shuffle : bool, default=True
        Whether each epoch visits the rows in a new order.
    random_state : int, RandomState instance or None, default=None
        Draws the initial parameters, then the early-stopping split, then each epoch's order, as
        scikit-learn does. The result is the same for any number of threads.
    tol : float, default=1e-4
        Least improvement of the loss or score that resets patience; for ``'lbfgs'`` the largest
        component of the gradient at which to stop.
    verbose : bool or int, default=False
        Whether to print each epoch's loss, in scikit-learn's words.
    warm_start : bool, default=False
        Whether `fit` continues from the current parameters.
    momentum : float, default=0.9
        Momentum of ``solver='sgd'``, in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether that momentum is Nesterov's.
    early_stopping : bool, default=False
        Whether to hold out ``validation_fraction`` of the rows, stop when their score stops improving, and
        keep the weights of the best epoch. Not used by ``'lbfgs'``.
    validation_fraction : float, default=0.1
        Share of the rows to hold out.
    beta_1, beta_2, epsilon : float, default=0.9, 0.999, 1e-8
        Of ``solver='adam'``, where epsilon is Kingma and Ba's "epsilon hat".
    n_iter_no_change : int or np.inf, default=10
        Patience: epochs without improvement that are still accepted.
    max_fun : int, default=15000
        Most evaluations of the loss by ``'lbfgs'``.
    n_jobs : int or None, default=None
        Threads that one fit or prediction uses. None is Numba's current number, so that joblib's workers
        keep to their share; -1 is all. The numbers that come out do not depend on it.
    device : {'cpu', 'auto', 'cuda', 'cuda:N'}, default='cpu'
        Where to train and predict; ``'cuda'`` is ``'cuda:0'``. A device asked for by name is used or refused,
        never replaced; ``'auto'`` takes the GPU if there is a usable one. A GPU needs the extra ``cuda12`` or
        ``cuda13``; sparse X is dense there. A fitted network consists of NumPy arrays wherever it was
        trained: ``set_params(device='cpu')`` predicts without a GPU. Tested in Numba's simulator; not yet
        run on hardware.
    reset_optimizer : bool, default=True
        Whether a warm start begins with a new optimizer state, as in scikit-learn. False keeps the state
        (moments, step count) and reads the hyper-parameters anew.
    restore_best_weights : bool or 'auto', default='auto'
        Whether to end with the weights of the best epoch: by validation score with early stopping,
        otherwise by training loss. ``'auto'``: only with early stopping, as in scikit-learn.
    warmup : float, default=0.0
        Share of the ``max_iter`` epochs, in [0, 1), in which the learning rate first rises from 0 in a
        straight line; its schedule follows.
    clip_norm, clip_value : float or None, default=None
        Bounds of each step's gradient, penalty included: of its L2 norm over all layers, and of each element
        (before the norm), as `fastopt.Clip`. Not used by ``'lbfgs'``.
    progress : bool, default=False
        Whether `fit` shows a live bar on standard error with loss and time left (needs rich, extra ``cli``),
        or in a notebook one figure of the loss curve, which is redrawn. Silent elsewhere and in
        `partial_fit`.
    checkpoint : str, path-like or None, default=None
        File that holds the state of the fit. If it exists when `fit` is called, the fit goes on where the
        file stands and ends with the numbers of a fit that was never interrupted; after a completed fit it
        returns that model at once. Needs the same arguments and data as before (or is refused), a file for
        each fit, and safetensors (extra ``files``). Not for ``'lbfgs'`` and `partial_fit`. See the page on
        the estimators, "A fit that survives".
    checkpoint_every : int or datetime.timedelta, default=1
        Epochs from one checkpoint to the next, or the least time, as ``timedelta(minutes=5)``. At most one
        such interval is lost. Ctrl-C writes the last completed epoch.
    class_weight : 'balanced', dict, list of dict or None, default=None
        Weights of the classes, by which those of the rows are multiplied, the validation rows' as well.
        ``'balanced'`` is ``n_samples / (n_classes * np.bincount(y))``. For multilabel y a list of
        ``{0: ..., 1: ...}`` for each label, or ``'balanced'``: a row has the product.
    scoring : str, callable or None, default=None
        The score of the validation rows, by which early stopping goes: a name of scikit-learn's scorers, a
        function of (estimator, X, y), or ``'loss'``, the negative mean loss. None is that of `score`.
    max_time : float or None, default=None
        Seconds after which a call of `fit` or `partial_fit` stops, with a ConvergenceWarning. The clock is
        looked at between runs of compiled code, of about a tenth of a second each.
    init : str, default='auto'
        Distribution of the initial weights: 'sklearn', 'glorot_uniform', 'glorot_normal', 'he_uniform',
        'he_normal', 'lecun_uniform', 'lecun_normal', 'orthogonal', 'realmlp', or 'auto': scikit-learn's for
        its own activations, and what suits each of the others. Biases are 0 but for 'sklearn' and 'realmlp',
        which draws them from a standard normal distribution and begins with a last layer of zeros.
    loss : str, default='log_loss'
        ``'log_loss'``; ``'focal'``, which gives less weight to rows that are classified well; or what
        `fastopt.register_loss` added for labels.
    focal_gamma : float, default=2.0
        Exponent of ``loss='focal'``: the log-loss of a row whose label has probability p is multiplied by
        ``(1 - p) ** focal_gamma``. With 0 it is the log-loss.
    label_smoothing : float, default=0.0
        Share, in [0, 1), of each training target that is spread evenly over all classes; of each label of
        two classes or a multilabel target, over its two outcomes. Scores are those of the true labels.
    dropout : float, Schedule or sequence of these, default=0.0
        Share of each hidden layer's units that are dropped in each mini-batch of training, in [0, 1); of a
        sequence the first is of the inputs, then one for each hidden layer. What is kept is scaled by
        ``1 / (1 - dropout)``. A seed is drawn from ``random_state``. Not used by ``'lbfgs'``.
    weight_decay : float or Schedule, default=0.0
        Decoupled decay, beside the penalty ``alpha``: each step multiplies weights, not biases, by ``1 -
        learning rate * weight_decay``, as `fastopt.AdamW`. For a ``solver`` given by name; 0 leaves the
        solver's own, which is 0.01 for ``'adamw'``.
    max_norm : float or None, default=None
        Bound of the L2 norm of each unit's incoming weights after each step, as `fastopt.MaxNorm`. Not used
        by ``'lbfgs'``.
    input_scale : bool, default=False
        Whether the network learns a scale of its inputs, one factor for each column that begins at 1 and is
        spared by penalty and decay: ``(X * input_scale_) @ coefs_[0]``. Not on a GPU.
    learning_rate_factors : None, 'fan_in' or dict, default=None
        Factors of the learning rate for parts of the network. A dict has some of ``'weights'``, ``'biases'``
        (each a number, one for each layer, or 'fan_in', ``1 / sqrt(fan_in)``) and ``'input_scale'`` (a
        number); what it leaves out has 1. ``'fan_in'`` is ``{'weights': 'fan_in'}``. Decoupled decay follows
        the rate. Not used by ``'lbfgs'``, and not on a GPU.
    n_members : int, default=1
        Networks that `fit` trains, alike but for their random states, whose mean is the prediction: a deep
        ensemble (Lakshminarayanan et al. 2017). Small ones are trained side by side, one a thread. Each is
        what the estimator with ``n_members=1`` and that ``random_state`` would be, bit for bit. Not for
        `partial_fit`, ``checkpoint``, callbacks and `to_sklearn`, which are of one network.
    dtype : {'float32', 'float64'} or None, default=None
        In which rows are held and the network computes, in `fit` and in predictions. None: float32 if X is,
        otherwise float64. With ``'float32'`` images of uint8 take four times their bytes, not eight.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    coefs_ : list of ndarray of shape (fan_in, fan_out)
        The weights. Views of the network's one vector: writing to them changes predictions, also after
        unpickling. Of the type ``dtype``, or float32 if X was, otherwise float64.
    intercepts_ : list of ndarray of shape (fan_out,)
        The biases, views as well.
    slopes_ : list of ndarray of shape (n_units,) or None
        What ``activation='prelu'`` learns, views as well, one for each hidden layer; None for a layer whose
        activation learns nothing.
    input_scale_ : ndarray of shape (n_features,) or None
        The learnt scale of the inputs, a view as well; None without ``input_scale=True``.
    loss_ : float
        Mean loss of the last epoch, penalty included.
    best_loss_ : float or None
        Least loss so far; None with early stopping, absent with ``'lbfgs'``.
    loss_curve_ : list of float
        Loss of every epoch, over warm starts and `partial_fit` too; absent with ``'lbfgs'``.
    validation_loss_curve_ : list of float or None
        Loss of the validation rows after every epoch, penalty not included; None without any.
    validation_scores_ : list of float or None
        Held-out accuracy, or what ``scoring`` says, after every epoch; None without validation rows, absent
        with ``'lbfgs'``.
    best_validation_score_ : float or None
        The best of them, with early stopping.
    history_ : dict of ndarray of shape (n_epochs,)
        What was recorded after each epoch: loss, val_loss, val_score, lr, seconds.
    best_iteration_, best_score_, evals_result_ : int, float, dict
        The best epoch, counted from 0; its validation score, or its loss where nothing was validated; and the
        curves. The names are those of boosting libraries.
    n_iter_ : int
        Epochs, or iterations, of the last fit.
    t_ : int
        Rows seen in training.
    n_layers_, n_outputs_ : int
        Layers, inputs and outputs included; units of the last.
    out_activation_ : str
        Activation of the output layer.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if all are strings.
    device_ : str
        Where the network was last trained: ``'cpu'`` or ``'cuda:N'``.
    members_ : list of estimator
        The networks of ``n_members`` above 1, with all that a fit leaves behind. The ensemble itself then has
        no ``coefs_``, ``loss_curve_`` and ``history_``; its ``loss_`` is their mean and its ``n_iter_`` the
        most of them.

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

    _parameter_constraints: ClassVar[dict] = {
        **ClassLabels._parameter_constraints,
        "loss": [StrOptions(CLASSIFICATION_LOSSES.keys())],
    }

    @answers_keywords
    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str | Sequence[str] = "relu",
        *,
        solver: str | Optimizer = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str | Schedule | Callable[[float], float] = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        n_jobs: int | None = None,
        device: str = "cpu",
        reset_optimizer: bool = True,
        restore_best_weights: bool | str = "auto",
        warmup: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        progress: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int | datetime.timedelta = 1,
        class_weight: str | dict[Any, float] | list[dict[int, float]] | None = None,
        scoring: str | Callable[..., float] | None = None,
        max_time: float | None = None,
        init: str = "auto",
        loss: str = "log_loss",
        focal_gamma: float = 2.0,
        label_smoothing: float = 0.0,
        dropout: float | Schedule | Sequence[float | Schedule] = 0.0,
        weight_decay: float | Schedule = 0.0,
        max_norm: float | None = None,
        input_scale: bool = False,
        learning_rate_factors: str | dict[str, Any] | None = None,
        n_members: int = 1,
        dtype: str | None = None,
    ) -> None:
        self._store(locals())

    @if_stochastic
    def partial_fit(
        self: _Self,
        X: Rows | BlockSource,
        y: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
        classes: npt.ArrayLike | None = None,
    ) -> _Self:
        """Train for one epoch on the given rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or BlockSource
            Training data; a `fastopt.data.BlockSource` is read from disk, and brings y and sample_weight.
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
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit. In order to use 'balanced' "
                "weights, use compute_class_weight('balanced', classes=classes, y=y). In place of y you can "
                "use a large enough sample of the full training set target to properly estimate the class "
                "frequency distributions. Pass the resulting weights as the class_weight parameter."
            )
        known = self.__dict__.get("classes_")
        is_known = known is not None and (classes is None or np.array_equal(classes, known))
        if not is_known and _check_partial_fit_first_call(self, classes):
            known = first_targets(X) if isinstance(X, BlockSource) else y
            multilabel = type_of_target(known).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(known if multilabel else classes)
        return self._fit(X, y, sample_weight=sample_weight, incremental=True)

    def predict(self, X: Rows | BlockSource) -> np.ndarray:
        """Predict labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or BlockSource
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

    def predict_proba(self, X: Rows | BlockSource) -> np.ndarray:
        """Predict probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or BlockSource
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

    def predict_log_proba(self, X: Rows | BlockSource) -> np.ndarray:
        """Return the logarithm of `predict_proba`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or BlockSource
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def score(self, X: Rows | BlockSource, y: Any = None, sample_weight: Any = None) -> float:
        """Return the accuracy.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or BlockSource
        y : array-like of shape (n_samples,) or (n_samples, n_classes), default=None
            A `BlockSource` brings its own, and weights beside it.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
        """
        return super().score(X, *targets_to_score(self, X, y, sample_weight))

    def to_sklearn(self) -> sklearn.neural_network.MLPClassifier:
        """Return the equivalent fitted `sklearn.neural_network.MLPClassifier`; see `from_sklearn`."""
        return to_sklearn(self)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
