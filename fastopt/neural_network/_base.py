"""What both estimators share: scikit-learn's policy around fastopt's engine."""

import inspect
import warnings
from abc import ABCMeta, abstractmethod
from math import isfinite
from numbers import Integral, Real
from operator import index
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from fastopt.engine import Layout, make_trainer
from fastopt.neural_network import learning_rates, parameters, solvers, validation
from fastopt.neural_network.predictors import predictor
from fastopt.neural_network.progress import fit_bar
from fastopt.optimizers import Optimizer
from fastopt.persistence import Persistent
from fastopt.schedules import Run

# From the function that warns up to the line that called fit.
_CALLER = 6
# scikit-learn's batch_size="auto".
_AUTO_BATCH = 200


class BaseMLP(parameters.FlatParameters, Persistent, BaseEstimator, metaclass=ABCMeta):
    """Fitting and prediction; `MLPClassifier` and `MLPRegressor` add targets and scores."""

    _family: ClassVar[str] = "estimator"
    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"identity", "logistic", "tanh", "relu"})],
        "solver": [str, Optimizer],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [str, callable],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [
            None,
            Interval(Integral, 1, None, closed="left"),
            Interval(Integral, None, -1, closed="right"),
        ],
        "device": [str],
        "reset_optimizer": ["boolean"],
        "restore_best_weights": [StrOptions({"auto"}), "boolean"],
        "warmup": [Interval(Real, 0, 1, closed="left")],
        "clip_norm": [None, Interval(Real, 0, None, closed="neither")],
        "clip_value": [None, Interval(Real, 0, None, closed="neither")],
        "progress": ["boolean"],
    }

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        n_jobs=None,
        device="cpu",
        reset_optimizer=True,
        restore_best_weights="auto",
        warmup=0.0,
        clip_norm=None,
        clip_value=None,
        progress=False,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.n_jobs = n_jobs
        self.device = device
        self.reset_optimizer = reset_optimizer
        self.restore_best_weights = restore_best_weights
        self.warmup = warmup
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        self.progress = progress

    def __getstate__(self):
        state = super().__getstate__()
        state.pop("_random_state", None)  # the next fit makes it from random_state
        return state

    def __setstate__(self, state):
        # Parameters that are newer than the pickle have their defaults.
        parameters = inspect.signature(type(self)).parameters.values()
        super().__setstate__({p.name: p.default for p in parameters if p.default is not p.empty} | state)

    @abstractmethod
    def _validate_input(self, X, y, incremental, reset):
        """Return X and the targets as scikit-learn validates and encodes them, targets two-dimensional."""

    @abstractmethod
    def _output_activation(self):
        """Return the output activation for the targets just validated."""

    @abstractmethod
    def _score_outputs(self, targets, outputs, sample_weight):
        """Return the validation score of network outputs."""

    def _stratification(self, targets):
        """Return what the early-stopping split is stratified by, or None."""
        return

    @property
    def _engine_loss(self):
        return self.loss

    def set_params(self, **params):
        """Set parameters of the estimator, or as ``solver__name`` of its optimizer object.

        Raises
        ------
        ValueError
            If there is no such parameter, or the solver is a name, which has none.
        """
        solver = params.get("solver", self.solver)
        inner = [name for name in params if name.startswith("solver__")]
        if inner and isinstance(solver, str):
            raise ValueError(
                f"solver={solver!r} is a name and has no parameter {inner[0]!r}. Pass an optimizer "
                "object, such as solver=fastopt.Adam(), or set learning_rate_init."
            )
        return super().set_params(**params)

    def _validate_params(self):
        # Before scikit-learn's generic message, which cannot suggest a name.
        solvers.check_solver(self.solver, type(self).__name__)
        learning_rates.check_learning_rate(self.learning_rate, type(self).__name__)
        super()._validate_params()

    def _check_solver(self):
        if solvers.is_lbfgs(self.solver):
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the network to the data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data. Not copied when it is C-contiguous (or CSR) and float32 or float64.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels or real numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If a parameter or the data is not acceptable, or the weights stop being finite.
        RuntimeError
            If ``device`` names a device that cannot be had.
        MissingExtraError
            If ``progress=True`` and rich is not installed.

        Warns
        -----
        ConvergenceWarning
            When ``max_iter`` ends the fit, or the loss is no longer finite.
        """
        return self._fit(X, y, sample_weight)

    def _fit(self, X, y, sample_weight=None, incremental=False):
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if np.any(np.array(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        sizes = [index(n) for n in sizes]
        device = validation.check_device(self.device, type(self).__name__)

        fresh = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        X, targets = self._validate_input(X, y, incremental, reset=fresh)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
            if not sample_weight.any():  # scikit-learn says so from 1.9 on
                raise ValueError("Sample weights must contain at least one non-zero number.")
        self._random_state = check_random_state(self.random_state)
        if fresh:
            self._initialize(Layout([X.shape[1], *sizes, targets.shape[1]]), X.dtype)
        self._parameters()
        self._make_writable()
        validation.check_network_shape(self._layout, X.shape[1], targets.shape[1])
        self.device_, self.n_outputs_ = device, targets.shape[1]

        fit = self._fit_lbfgs if solvers.is_lbfgs(self.solver) else self._fit_stochastic
        with fit_bar(self, incremental) as report:
            fit(X, targets, sample_weight, incremental, report)
        if not np.isfinite(self._params).all():
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and "
                "need to be preprocessed."
            )
        return self

    def _initialize(self, layout, dtype):
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(layout.layer_sizes)
        self.out_activation_ = self._output_activation()
        flat = parameters.initialize(layout, self.activation, self._random_state, dtype)
        self._set_parameters(layout, flat)
        if not solvers.is_lbfgs(self.solver):
            self._begin_history()

    def _begin_history(self):
        self.loss_curve_ = []
        self._no_improvement_count = 0
        self.best_loss_ = None if self.early_stopping else np.inf
        self.validation_scores_ = [] if self.early_stopping else None
        self.best_validation_score_ = -np.inf if self.early_stopping else None

    def _network(self, dtype, device):
        """Return the arguments of `make_trainer` for this network."""
        return {
            "device": device,
            "layout": self._layout,
            "activation": self.activation,
            "out_activation": self.out_activation_,
            "loss": self._engine_loss,
            "dtype": dtype,
            "n_threads": validation.thread_count(self.n_jobs),
        }

    def _fit_lbfgs(self, X, targets, sample_weight, incremental, report):
        trainer = make_trainer(**self._network(self._params.dtype, self.device_))
        X, targets, sample_weight = validation.as_engine_arrays(X, targets, sample_weight, self._params.dtype)

        def loss_and_gradient(flat):
            return trainer.loss_and_gradient(
                flat, X, targets, alpha=float(self.alpha), sample_weight=sample_weight
            )

        self.n_iter_, self.loss_ = solvers.minimize_lbfgs(
            loss_and_gradient,
            self._params,
            max_iter=self.max_iter,
            max_fun=self.max_fun,
            tol=self.tol,
            report=report,
        )

    def _fit_stochastic(self, X, targets, sample_weight, incremental, report):
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        params = self._params
        if not hasattr(self, "loss_curve_") or (self.best_loss_ is None) != self.early_stopping:
            self._begin_history()
        if not incremental:
            # scikit-learn carries the count over a warm start, and then stops after a single epoch.
            self._no_improvement_count = 0

        X, targets, sample_weight = validation.as_engine_arrays(X, targets, sample_weight, params.dtype)
        rows, held_out = None, None
        if self.early_stopping:
            rows, held_out = self._hold_out(X, targets, sample_weight)
        elif self.shuffle:
            rows = np.arange(X.shape[0])
        self._prepare_optimizer(params, incremental, X.shape[0] if rows is None else len(rows))
        best = self._best_weights(params)
        try:
            n_epochs = 1 if incremental else None
            self._run_epochs(X, targets, sample_weight, rows, held_out, best, n_epochs, report)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=_CALLER - 1)
        if best is not None:
            best.restore(params)

    def _best_weights(self, params):
        """Return what shall keep the best epoch's parameters, or None."""
        if self.restore_best_weights is False or (
            self.restore_best_weights == "auto" and not self.early_stopping
        ):
            return None
        # A warm start whose score never exceeds the earlier best ends with its last weights in
        # scikit-learn (its "best" arrays are the ones being trained), so it does here unless asked.
        again = self.n_iter_ > 0 and self.restore_best_weights == "auto"
        return parameters.Best(None if again else params)

    def _prepare_optimizer(self, params, incremental, n_rows):
        n_batches = -(-n_rows // self._batch_rows(n_rows))
        run = Run(n_batches * self.max_iter, n_batches)
        old = getattr(self, "_optimizer", None)
        usable = old is not None and old.fits(params)
        if usable:
            old.make_writable()
        if incremental and usable:
            old.go_on(run)
            return
        self._optimizer = solvers.StochasticSolver(self, self._layout, params.dtype, run)
        if usable and self.warm_start and not self.reset_optimizer:
            self._optimizer.continue_from(old)

    def _hold_out(self, X, targets, sample_weight):
        """Return the rows to train on and the held-out ``(X, targets, sample_weight)``."""
        rows, held_out = validation.held_out_rows(
            X.shape[0], self._stratification(targets), self._random_state, self.validation_fraction
        )
        weight = None if sample_weight is None else sample_weight[held_out]
        if weight is not None and weight.sum() == 0:
            raise ValueError(
                "The rows held out for early stopping have a total sample_weight of 0, so they cannot be "
                "scored. Increase 'validation_fraction', or leave out rows without weight."
            )
        return rows, (validation.as_engine_array(X[held_out], X.dtype), targets[held_out], weight)

    def _run_epochs(self, X, targets, sample_weight, rows, held_out, best, n_epochs, report):
        """Train until patience or ``max_iter`` runs out; ``best`` receives the best epoch's parameters."""
        params, optimizer = self._params, self._optimizer
        # Two trainers: each keeps the buffers of its own batch size from epoch to epoch.
        network = self._network(params.dtype, self.device_)
        trainer, predictor = (make_trainer(**network) for _ in range(2))
        n_samples = X.shape[0] if rows is None else len(rows)
        batch_size = self._clipped_batch_size(n_samples)
        shuffle = self._random_state.shuffle if self.shuffle else None
        self.n_iter_ = 0
        for _ in range(n_epochs or self.max_iter):
            if shuffle is not None:
                # The same draws and swaps as scikit-learn's, which permutes a copy.
                shuffle(rows)
            optimizer.update.train(params)
            try:
                loss = trainer.train(
                    params,
                    X,
                    targets,
                    optimizer.update,
                    batch_size=batch_size,
                    alpha=float(self.alpha),
                    order=rows,
                    sample_weight=sample_weight,
                )
            finally:
                optimizer.update.eval(params)
            self.n_iter_ += 1
            self.t_ += n_samples
            self.loss_ = loss / n_samples
            self.loss_curve_.append(self.loss_)
            report(self.n_iter_, self.loss_)
            if self.verbose:
                print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
            improved = self._watch_loss() if held_out is None else self._watch_score(predictor, *held_out)
            if improved and best is not None:
                best.take(params)
            score = None if held_out is None else self.validation_scores_[-1]
            optimizer.epoch_ends(self.t_, self.loss_, score)
            if not isfinite(self.loss_):
                solvers.warn_diverged(self.n_iter_, self.loss_)
                return
            if self._no_improvement_count > self.n_iter_no_change and self._answer_plateau():
                return
        if n_epochs is None:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization "
                "hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=_CALLER,
            )

    def _batch_rows(self, n_samples):
        """Return how many rows a batch has."""
        return min(_AUTO_BATCH if self.batch_size == "auto" else self.batch_size, n_samples)

    def _clipped_batch_size(self, n_samples):
        if self.batch_size != "auto" and self.batch_size > n_samples:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
                stacklevel=_CALLER + 1,
            )
        return self._batch_rows(n_samples)

    def _watch_loss(self):
        improved = self.loss_ < self.best_loss_
        self._no_improvement_count = (
            self._no_improvement_count + 1 if self.loss_ > self.best_loss_ - self.tol else 0
        )
        if improved:
            self.best_loss_ = self.loss_
        return improved

    def _watch_score(self, predictor, X, targets, sample_weight):
        score = self._score_outputs(targets, predictor.predict(self._params, X, keep=True), sample_weight)
        self.validation_scores_.append(score)
        if self.verbose:
            print(f"Validation score: {score:f}")
        improved = score > self.best_validation_score_
        self._no_improvement_count = (
            self._no_improvement_count + 1 if score < self.best_validation_score_ + self.tol else 0
        )
        if improved:
            self.best_validation_score_ = score
        return improved

    def _answer_plateau(self):
        stop, answer = self._optimizer.plateau()
        if self.verbose:
            what = "Validation score" if self.early_stopping else "Training loss"
            print(
                f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change:d} "
                f"consecutive epochs. {answer}"
            )
        if not stop:
            self._no_improvement_count = 0
        return stop

    def _outputs(self, X):
        """Return the output activations of validated ``X``, in the wider of its dtype and the network's."""
        if not self.__sklearn_is_fitted__():
            check_is_fitted(self)
        params = self._parameters()
        X = validation.prediction_input(self, X)
        dtype, n_features = params.dtype, self._layout.layer_sizes[0]
        if X.shape[1] != n_features:  # the user has put in other coefs_ since fit
            raise ValueError(f"X has {X.shape[1]} features, but the network takes {n_features}.")
        if X.dtype != dtype:
            dtype = np.dtype(np.float32 if np.result_type(X.dtype, dtype) == np.float32 else np.float64)
            params = params.astype(dtype, copy=False)
        X = validation.as_engine_array(X, dtype)
        device = validation.check_device(self.device, type(self).__name__)
        return predictor(**self._network(dtype, device)).predict(params, X)

    def _loss_grad_lbfgs(self, packed, X, y, sample_weight, *workspaces):
        """scikit-learn's private loss and gradient, on its packed vector; its workspaces are not used."""
        layout, flat = self._layout, parameters.unpack(self._layout, packed)
        X, y, sample_weight = validation.as_engine_arrays(X, y, sample_weight, flat.dtype)
        trainer = make_trainer(**self._network(flat.dtype, "cpu"))
        loss, gradient = trainer.loss_and_gradient(
            flat, X, y, alpha=float(self.alpha), sample_weight=sample_weight
        )
        return loss, parameters.pack(layout, gradient)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
