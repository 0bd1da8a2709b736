"""The regressor."""

import datetime
import os
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, TypeVar, overload

import numpy as np
import numpy.typing as npt
import sklearn.neural_network
from sklearn.base import RegressorMixin
from sklearn.utils._param_validation import StrOptions

from fastopt.data import BlockSource
from fastopt.neural_network._base import BaseMLP, if_stochastic
from fastopt.neural_network.block_input import targets_to_score
from fastopt.neural_network.familiar_keywords import answers_keywords
from fastopt.neural_network.interop import counterpart_of, to_sklearn
from fastopt.neural_network.regression_targets import RegressionTargets
from fastopt.neural_network.validation import Rows
from fastopt.optimizers import Optimizer
from fastopt.rules.losses import REGRESSION_LOSSES
from fastopt.schedules import Schedule

_Self = TypeVar("_Self", bound="MLPRegressor")


@counterpart_of(sklearn.neural_network.MLPRegressor)
class MLPRegressor(RegressorMixin, RegressionTargets):
    """Multi-layer perceptron regressor, a drop-in for scikit-learn's.

    Minimizes half the squared error, or another loss, on fastopt's compiled engine. For the same arguments,
    data and ``random_state`` it computes what `sklearn.neural_network.MLPRegressor` computes, up to rounding;
    docs/differences.md lists every deliberate difference. y may have several columns.

    Parameters
    ----------
    loss : str, default='squared_error'
        ``'squared_error'``, ``'absolute_error'``, ``'huber'``, ``'log_cosh'``, ``'quantile'``; with positive
        predictions ``'poisson'`` (``y >= 0``), ``'gamma'`` (``y > 0``), ``'tweedie'``; ``'gaussian_nll'``,
        which predicts a standard deviation as well; or what `fastopt.register_loss` added. The page on
        losses has the formulas.
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
    delta : float, default=1.0
        Error at which ``loss='huber'`` goes over from a square to a straight line.
    quantile : float or list of float, default=0.5
        What ``loss='quantile'`` predicts, between 0 and 1. Of a list of rising numbers, such as
        ``[0.05, 0.5, 0.95]``, `predict` returns a column for each, sorted, so that none cross.
    power : float, default=1.5
        Power of the mean that ``loss='tweedie'`` takes for the variance: 1 is Poisson's, 2 the gamma
        distribution's. Below 1 only numbers up to 0, where 0 is half the squared error.
    out_activation : {'identity', 'exp', 'softplus', 'logistic', 'tanh'} or None, default=None
        Activation of the output layer; None is that of the loss. Losses with positive predictions refuse
        ``'identity'`` and ``'tanh'``.
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
        Held-out R2, or what ``scoring`` says, after every epoch; None without validation rows, absent
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
    n_crossed_ : int
        Of the rows of the last fit, for how many the network's quantiles crossed before they were sorted;
        only with a list of quantiles.
    members_ : list of estimator
        The networks of ``n_members`` above 1, with all that a fit leaves behind. The ensemble itself then has
        no ``coefs_``, ``loss_curve_`` and ``history_``; its ``loss_`` is their mean and its ``n_iter_`` the
        most of them.

    See Also
    --------
    MLPClassifier : The same network for labels.

    Examples
    --------
    >>> from fastopt import MLPRegressor
    >>> from sklearn.datasets import make_regression
    >>> from sklearn.model_selection import train_test_split
    >>> X, y = make_regression(n_samples=200, n_features=20, random_state=1)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=1)
    >>> regr = MLPRegressor(random_state=1, max_iter=2000, tol=0.1).fit(X_train, y_train)
    >>> round(regr.score(X_test, y_test), 2)
    0.98
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions(REGRESSION_LOSSES.keys())],
    }

    @answers_keywords
    def __init__(
        self,
        loss: str = "squared_error",
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
        scoring: str | Callable[..., float] | None = None,
        max_time: float | None = None,
        init: str = "auto",
        dropout: float | Schedule | Sequence[float | Schedule] = 0.0,
        weight_decay: float | Schedule = 0.0,
        max_norm: float | None = None,
        input_scale: bool = False,
        learning_rate_factors: str | dict[str, Any] | None = None,
        delta: float = 1.0,
        quantile: float | Sequence[float] = 0.5,
        power: float = 1.5,
        out_activation: str | None = None,
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
    ) -> _Self:
        """Train for one epoch on the given rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or BlockSource
            Training data; a `fastopt.data.BlockSource` is read from disk, and brings y and sample_weight.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss.

        Returns
        -------
        self : MLPRegressor

        Raises
        ------
        AttributeError
            If the solver is ``'lbfgs'``.
        """
        return self._fit(X, y, sample_weight=sample_weight, incremental=True)

    @overload
    def predict(self, X: Rows | BlockSource, return_std: Literal[False] = False) -> np.ndarray: ...

    @overload
    def predict(self, X: Rows | BlockSource, return_std: Literal[True]) -> tuple[np.ndarray, np.ndarray]: ...

    def predict(
        self, X: Rows | BlockSource, return_std: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The data.
        return_std : bool, default=False
            Whether to return the standard deviations as well, with ``loss='gaussian_nll'``.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
            With a list of quantiles another axis at the end, one place for each.
        std : ndarray of the same shape
            Only with ``return_std=True``.

        Raises
        ------
        ValueError
            If X does not fit, or the loss predicts no standard deviation.
        """
        outputs = self._outputs(X)
        if not return_std and self._predicts_outputs():
            return outputs.ravel() if outputs.shape[1] == 1 else outputs
        predictions = self._predictions(outputs)
        shape = (len(outputs), *predictions.shape[1 + (predictions.shape[1] == 1) :])
        if not return_std:
            return predictions.reshape(shape)
        if self.loss != "gaussian_nll":
            raise ValueError(
                f"return_std=True is of loss='gaussian_nll' only; loss={self.loss!r} predicts no deviation"
            )
        std = np.exp(0.5 * self._by_target(outputs)[..., 0, 1])
        return predictions.reshape(shape), std.reshape(shape)

    def score(self, X: Rows | BlockSource, y: Any = None, sample_weight: Any = None) -> float:
        """Return R2, of a Gaussian's mean too; with a list of quantiles the mean of their D2 pinball scores.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or BlockSource
        y : array-like of shape (n_samples,) or (n_samples, n_targets), default=None
            A `BlockSource` brings its own, and weights beside it.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
        """
        y, sample_weight = targets_to_score(self, X, y, sample_weight)
        if self._quantiles() is None:
            return super().score(X, y, sample_weight)
        return self._quantile_score(y, self.predict(X), sample_weight)

    def to_sklearn(self) -> sklearn.neural_network.MLPRegressor:
        """Return the equivalent fitted `sklearn.neural_network.MLPRegressor`; see `from_sklearn`."""
        return to_sklearn(self)
