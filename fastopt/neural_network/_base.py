"""Base class of both estimators: scikit-learn's interface around fastopt's engine."""

import datetime
import functools
import inspect
import os
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, ClassVar, TypeVar, cast

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from fastopt import __version__
from fastopt._parameters import safe_repr
from fastopt.data import BlockSource
from fastopt.engine import Layout, make_trainer
from fastopt.engine.objective import resolve_activations
from fastopt.neural_network import epochs, history, learning_rates, parameters, scoring, solvers, validation
from fastopt.neural_network.bagging import check_members, fit_members
from fastopt.neural_network.block_input import BlockInput
from fastopt.neural_network.caller_warnings import warn_of_version
from fastopt.neural_network.checkpoints import Checkpoint, check_checkpoint
from fastopt.neural_network.class_weights import as_they_are
from fastopt.neural_network.data import Data, data_of_fit
from fastopt.neural_network.familiar_keywords import advice, answers_keywords
from fastopt.neural_network.fit_tasks import CallbackSupportMixin, fit_tasks
from fastopt.neural_network.full_batches import train_lbfgs
from fastopt.neural_network.initialization import initialize
from fastopt.neural_network.loss_curve import LossCurveHTML
from fastopt.neural_network.prediction import outputs
from fastopt.neural_network.progress import fit_bar
from fastopt.neural_network.stopwatch import Stopwatch
from fastopt.neural_network.unused_parameters import warn_of_callbacks, warn_of_unused
from fastopt.neural_network.validation_sets import NO_VALIDATION, Given
from fastopt.optimizers import Optimizer
from fastopt.persistence import Persistent
from fastopt.rules.losses import LOSSES, lookup_loss
from fastopt.schedules import Schedule

_Self = TypeVar("_Self", bound="BaseMLP")
_F = TypeVar("_F", bound=Callable[..., Any])


def in_fit_context(method: _F) -> _F:
    """Validate the estimator's parameters before a method, as in scikit-learn; keeps the method's types."""
    return cast(_F, _fit_context(prefer_skip_nested_validation=True)(method))


def if_stochastic(method: _F) -> _F:
    """Make a method available only if the solver trains by mini-batches."""
    in_context = in_fit_context(method)

    @functools.wraps(method)
    def partial_fit(self, *args, **kwargs):
        # The context does nothing for an estimator that is fitted, but takes as long as training on a row.
        return (method if self.__sklearn_is_fitted__() else in_context)(self, *args, **kwargs)

    return cast(_F, available_if(lambda self: self._check_solver())(answers_keywords(partial_fit)))


class BaseMLP(
    parameters.FlatParameters,
    history.TrainingHistory,
    Persistent,
    LossCurveHTML,
    CallbackSupportMixin,
    BaseEstimator,
    metaclass=ABCMeta,
):
    """Base class with fitting and prediction; `MLPClassifier` and `MLPRegressor` add targets and scores."""

    _family: ClassVar[str] = "estimator"
    _parameter_constraints: ClassVar[dict] = validation.CONSTRAINTS

    # The arguments of __init__, which the subclasses spell out for scikit-learn and for editors.
    hidden_layer_sizes: int | Sequence[int]
    activation: str | Sequence[str]
    solver: str | Optimizer
    alpha: float
    batch_size: int | str
    learning_rate: str | Schedule | Callable[[float], float]
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: int | np.random.RandomState | None
    tol: float
    verbose: bool | int
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    n_jobs: int | None
    device: str
    dtype: str | None
    reset_optimizer: bool
    restore_best_weights: bool | str
    warmup: float
    clip_norm: float | None
    clip_value: float | None
    progress: bool
    checkpoint: str | os.PathLike[str] | None
    checkpoint_every: int | datetime.timedelta
    scoring: str | Callable[..., float] | None
    max_time: float | None
    init: str
    dropout: float | Schedule | Sequence[float | Schedule]
    weight_decay: float | Schedule
    max_norm: float | None
    n_members: int
    input_scale: bool
    learning_rate_factors: str | dict[str, Any] | None

    # What a fit leaves behind.
    device_: str
    loss_: float
    n_iter_: int
    n_layers_: int
    n_outputs_: int
    members_: list[Any]
    out_activation_: str
    t_: int

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Keep the constraints of those parameters that the class has."""
        super().__init_subclass__(**kwargs)
        if "__init__" not in vars(cls):
            return
        known = inspect.signature(cls.__init__).parameters
        constraints = cls._parameter_constraints.items()
        cls._parameter_constraints = {name: allowed for name, allowed in constraints if name in known}

    def _store(self, arguments: dict[str, Any]) -> None:
        """Set an attribute for each argument of `__init__`, whose ``locals()`` are passed."""
        vars(self).update((name, value) for name, value in arguments.items() if name != "self")

    def __getstate__(self) -> dict[str, Any]:
        # The next fit makes these from random_state. From Python 3.11 on the state is __dict__ itself.
        made_again = ("_random_state", "_is_seeded")
        state = {name: value for name, value in super().__getstate__().items() if name not in made_again}
        if "_history" in state:
            state["_history"] = history.as_table(self)  # skops and safetensors take no array of Python's
        return state | {"_library_version": __version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Parameters that are newer than the pickle have their defaults.
        known = inspect.signature(type(self)).parameters.values()
        state = {p.name: p.default for p in known if p.default is not p.empty} | state
        warn_of_version(type(self).__name__, state.pop("_library_version", None), __version__)
        super().__setstate__(state)
        if "_history" in state:
            history.begin(self, anew=False)

    @abstractmethod
    def _validate_input(self, X, y, incremental, reset):
        """Return X and the targets as scikit-learn validates and encodes them, targets two-dimensional."""

    @abstractmethod
    def _output_activation(self):
        """Return the output activation for the targets just validated."""

    @abstractmethod
    def _score_outputs(self, targets, outputs, sample_weight):
        """Return the validation score of network outputs."""

    @abstractmethod
    def _validate_more(self, X, y):
        """Return X and the targets as `_validate_input` does, of rows that must fit those it has seen."""

    @abstractmethod
    def _labels_of(self, targets):
        """Return y in the form in which it was passed to fit, from validated targets."""

    def _class_weighing(self, targets):
        """Return the function of targets and sample weights that multiplies these by class weights."""
        return as_they_are

    @abstractmethod
    def _default_score_name(self):
        """Return what that score is called."""

    def _stratification(self, targets):
        """Return what the early-stopping split is stratified by, or None."""
        return

    @property
    def _engine_loss(self):
        return self.loss

    def _parameter_of_outputs(self, name):
        """Return the value of a loss's parameter, or a tuple with one for each output."""
        return float(getattr(self, name))

    def _training_targets(self, targets):
        """Return the targets that the loss sees, where they are not those that scores see."""
        return targets

    def _conclude(self, data):
        """Record what a fit leaves beside weights and history."""

    def set_params(self: _Self, **params: Any) -> _Self:
        """Set parameters of the estimator, or of its optimizer object as ``solver__name``.

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
        try:
            return super().set_params(**params)
        except ValueError as error:
            known = self.get_params(deep=False)
            unknown = next((name for name in params if name.partition("__")[0] not in known), None)
            if unknown is None:
                raise
            raise ValueError(f"{error}{advice(type(self), '__init__', unknown, params[unknown])}") from None

    def _validate_params(self):
        # Before scikit-learn's generic message, which cannot suggest a name.
        solvers.check_solver(self.solver, type(self).__name__)
        learning_rates.check_learning_rate(self.learning_rate, type(self).__name__)
        scoring.check_scoring_parameter(self.scoring, type(self).__name__)
        check_checkpoint(self)
        if not validation.has_valid_parameters(self):
            super()._validate_params()

    def _check_solver(self):
        if solvers.is_lbfgs(self.solver):
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        if self.n_members > 1:
            raise AttributeError(
                f"partial_fit trains one network, and n_members={self.n_members}: use n_members=1, with "
                "another random_state for each network."
            )
        return True

    @answers_keywords
    @in_fit_context
    def fit(
        self: _Self,
        X: validation.Rows | BlockSource,
        y: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
        *,
        X_val: validation.Rows | None = None,
        y_val: npt.ArrayLike | None = None,
        sample_weight_val: npt.ArrayLike | None = None,
    ) -> _Self:
        """Fit the network to the data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or BlockSource
            Training data. Not copied when it is C-contiguous (or CSR) and float32 or float64. A
            `fastopt.data.BlockSource` is read from disk, and brings y and sample_weight itself.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels or real numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss.
        X_val : {array-like, sparse matrix} of shape (n_validation, n_features), default=None
            Rows on which loss and score are measured after each epoch. With ``early_stopping=True`` they take
            the place of rows held out of X; otherwise they are only monitored. In a `Pipeline` with
            ``transform_input=["X_val"]`` they go through the steps before, as X does.
        y_val : array-like of shape (n_validation,) or (n_validation, n_outputs), default=None
            Their targets.
        sample_weight_val : array-like of shape (n_validation,), default=None
            Their weights.

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
            When ``max_iter`` or ``max_time`` ends the fit, or the loss is no longer finite.
        """
        return self._fit(X, y, sample_weight, Given(X_val, y_val, sample_weight_val))

    def _fit(self, X, y, sample_weight=None, given=NO_VALIDATION, incremental=False):
        stopwatch = Stopwatch(self.max_time)
        validation.layer_sizes(self.hidden_layer_sizes)  # before anything is validated at length
        device = validation.check_device(self.device, type(self).__name__)
        check_members(self, X, incremental)
        fresh = not self._has("coefs_") or (not self.warm_start and not incremental)
        arguments = X, y, sample_weight
        blocks = None
        if isinstance(X, BlockSource):
            blocks = BlockInput(self, X, y, sample_weight, device=device, incremental=incremental)
            X, targets, weigh = blocks.validated(self, incremental=incremental, reset=fresh)
        else:
            X, targets = self._validate_input(X, y, incremental, reset=fresh)
            weigh = self._class_weighing(targets)
        sample_weight = weigh(targets, validation.check_sample_weight(sample_weight, X))
        held_out = None if given is NO_VALIDATION else given.validated(self, weigh, targets.shape[1])
        rows = X, targets, sample_weight, held_out
        if self.n_members > 1:
            fit_members(self, rows, device=device, fresh=fresh, stopwatch=stopwatch)
            return self
        checkpoint = self._begin(X, targets, device, fresh)
        if not incremental or not hasattr(self, "_optimizer"):
            warn_of_unused(self, has_validation_set=held_out is not None)
        if incremental and not hasattr(self, "_optimizer"):
            warn_of_callbacks(self)
        data, measured = data_of_fit(self, *rows)
        tasks = None if incremental else fit_tasks(self, *arguments)
        with fit_bar(self, incremental) as report:
            call = {"validation_data": measured, "stopwatch": stopwatch, "report": report, "tasks": tasks}
            if solvers.is_lbfgs(self.solver):
                train_lbfgs(self, data, **call)
            else:
                call["incremental"] = incremental
                if blocks is None:
                    training = epochs.MiniBatchTraining(self, data, **call)
                else:
                    training = blocks.training(self, weigh, **call)
                    data = training.data
                training.run(checkpoint)
        validation.check_fitted_parameters(self._params)
        if tasks is not None:
            tasks.finish()  # a callback may restore other weights
        self._conclude(data)
        return self

    def _begin(self, X, targets, device, fresh):
        """Make the network, or go on with that of the last fit; return the checkpoint, if there is one."""
        self._seed()
        checkpoint = None if self.checkpoint is None else Checkpoint(self, fresh)
        sizes = X.shape[1], *validation.layer_sizes(self.hidden_layer_sizes), targets.shape[1]
        if fresh:
            self._initialize(sizes, X.dtype)
        self._parameters()
        self._make_writable()
        validation.check_dtype(self.dtype, self._params)
        validation.check_network_shape(self._layout, X.shape[1], targets.shape[1], self.input_scale)
        self.device_, self.n_outputs_ = device, targets.shape[1]
        return checkpoint

    def _seed(self):
        """Set ``_random_state`` as ``check_random_state`` does; reseeding is 100 times as fast."""
        if isinstance(self.random_state, Integral) and self.__dict__.get("_is_seeded"):
            self._random_state.seed(self.random_state)
        else:
            self._random_state = check_random_state(self.random_state)
            self._is_seeded = isinstance(self.random_state, Integral)

    def _initialize(self, layer_sizes, dtype):
        activations = resolve_activations(self.activation, len(layer_sizes) - 2)
        layout = Layout(layer_sizes, [one.learns for one in activations], bool(self.input_scale))
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(layout.layer_sizes)
        self.out_activation_ = self._output_activation()
        self._set_parameters(
            layout, initialize(layout, self.activation, self._random_state, dtype, self.init)
        )
        if solvers.is_lbfgs(self.solver):
            history.begin(self, anew=True)
        else:
            epochs.begin_history(self)

    def _network(self, dtype, device):
        """Return the arguments of `make_trainer` for this network."""
        loss = self._engine_loss
        parameter = (LOSSES.get(loss) or lookup_loss(loss)).parameter  # which says what registers it
        return {
            "device": device,
            "layout": self._layout,
            "activation": self.activation if isinstance(self.activation, str) else tuple(self.activation),
            "out_activation": self.out_activation_,
            "loss": loss,
            "loss_parameter": None if parameter is None else self._parameter_of_outputs(parameter.name),
            "dtype": dtype,
            "n_threads": validation.thread_count(self.n_jobs),
        }

    def _report(self, n_iter, loss, show):
        """Report the loss of an epoch or iteration: on the progress bar, and printed as scikit-learn does."""
        show(n_iter, loss)
        if self.verbose:
            print(f"Iteration {n_iter}, loss = {loss:.8f}")

    def _outputs(self, X):
        """Return the output activations of ``X``; see `fastopt.neural_network.prediction.outputs`."""
        if not self.__sklearn_is_fitted__():
            check_is_fitted(self)
        return outputs(self, X)

    def _combined(self, outputs):
        """Return what several networks predict together, from the outputs of each."""
        return np.mean(outputs, axis=0)

    def _loss_grad_lbfgs(self, packed, X, y, sample_weight, *workspaces):
        """Return loss and gradient as scikit-learn's private method does, on its packed vector."""
        layout, flat = self._layout, parameters.unpack(self._layout, packed)
        data = Data.of(X, y, sample_weight, flat.dtype)
        trainer = make_trainer(**self._network(flat.dtype, "cpu"))
        alpha = float(self.alpha) * data.weight_scale
        loss, gradient = trainer.loss_and_gradient(
            flat, data.X, data.targets, alpha=alpha, sample_weight=data.sample_weight
        )
        return loss, parameters.pack(layout, gradient)

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        """Return scikit-learn's repr, or one of all parameters where one of them cannot be shown."""
        try:
            return super().__repr__(N_CHAR_MAX)
        except Exception:
            shown = (f"{name}={safe_repr(value)}" for name, value in self.get_params(deep=False).items())
            return f"{type(self).__name__}({', '.join(shown)})"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
