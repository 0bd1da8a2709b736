"""The ``solver`` argument: an optimizer with scikit-learn's learning-rate rules, or L-BFGS."""

import dataclasses
from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.optimize
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.optimize import _check_optimize_result

from fastopt.engine import Layout
from fastopt.kernels.blas_threads import single_threaded
from fastopt.neural_network.caller_warnings import warn, warn_interrupted, warn_out_of_time
from fastopt.neural_network.learning_rates import RULES, is_scikit_sgd, rate_factors, with_schedule
from fastopt.neural_network.regularisation import with_max_norm, with_weight_decay
from fastopt.neural_network.stopwatch import Stopwatch
from fastopt.optimizers import SGD, Adam, Optimizer, get_optimizer, list_optimizers
from fastopt.optimizers.base import suggestion
from fastopt.optimizers.wrappers import Clip, Wrapper
from fastopt.persistence import Persistent
from fastopt.schedules import Run, Schedule
from fastopt.stepping.dropout import DropoutState
from fastopt.stepping.flat_state import FlatState
from fastopt.stepping.layerwise_state import LayerwiseState
from fastopt.stepping.scheduling import Scheduled, evaluate, scheduled

if TYPE_CHECKING:
    from fastopt.neural_network._base import BaseMLP

LBFGS = "lbfgs"

#: How many times smaller than an optimizer's own rate ``learning_rate_init`` deserves a warning: methods that
#: find their rate themselves expect 1, and the default is 0.001.
_STARVED = 500
#: The learning rate at or below which no more patience is given for a lower one; scikit-learn's.
_LEAST_RATE = 1e-6


def check_solver(solver: object, owner: str) -> None:
    """Raise if ``solver`` is neither a known name nor an optimizer object.

    Parameters
    ----------
    solver : str or Optimizer
    owner : str
        Name of the estimator's class, for the message.

    Raises
    ------
    InvalidParameterError
        A ValueError and a TypeError, as scikit-learn raises for other parameters.
    """
    if isinstance(solver, Optimizer):
        return
    hint = ""
    if isinstance(solver, str):
        try:
            _ = solver.lower() == LBFGS or get_optimizer(solver)
            return
        except ValueError:
            hint = suggestion(solver, {LBFGS, *list_optimizers()})
    elif isinstance(solver, type) and issubclass(solver, Optimizer):
        hint = f" Did you mean {solver.__name__}()?"
    names = ", ".join(map(repr, sorted({LBFGS, *list_optimizers()})))
    raise InvalidParameterError(
        f"The 'solver' parameter of {owner} must be a str among {{{names}}} "
        f"or an optimizer such as fastopt.AdamW(). Got {solver!r} instead.{hint}"
    )


def is_lbfgs(solver: str | Optimizer) -> bool:
    """Whether ``solver`` is 'lbfgs', which trains on full batches."""
    return isinstance(solver, str) and solver.lower() == LBFGS


def make_optimizer(estimator: "BaseMLP") -> Optimizer:
    """Return the optimizer described by the estimator's arguments.

    ``'sgd'`` and ``'adam'`` are scikit-learn's algorithms with its arguments; another name takes
    ``learning_rate_init`` as its ``lr``; an object is taken as it is.
    """
    solver, lr = estimator.solver, estimator.learning_rate_init
    if not isinstance(solver, str):
        return solver
    match solver.lower():
        case "sgd":
            # scikit-learn's Nesterov form without momentum is plain descent.
            nesterov = bool(estimator.nesterovs_momentum and estimator.momentum > 0)
            own = SGD(lr=lr, momentum=estimator.momentum, nesterov=nesterov, lr_in_momentum=True)
        case "adam":
            betas = (estimator.beta_1, estimator.beta_2)
            own = Adam(lr=lr, betas=betas, eps=estimator.epsilon, eps_mode="hat")
        case name:
            own = get_optimizer(name)
            if isinstance(lr, Real) and lr * _STARVED <= own.lr:
                warn(
                    f"solver={solver!r} takes learning_rate_init={lr!r} as its lr, where its own is "
                    f"{own.lr!r}, and may hardly learn; pass learning_rate_init={own.lr!r} or solver={own!r}"
                )
            own = own.set_params(lr=lr)
    return with_weight_decay(own, solver, estimator.weight_decay)


class StochasticSolver(Persistent):
    """The state of an optimizer for one network, and the rule for its learning rate between epochs.

    Parameters
    ----------
    estimator : estimator
        Read, not kept.
    layout : Layout
    dtype : dtype
    run : Run, optional
        What schedules know about the run.

    Attributes
    ----------
    update : FlatState or LayerwiseState
        What the engine applies after each batch.
    n_epochs : int
        Epochs of the run so far.
    dropout : DropoutState or None
        Which units are dropped; set by whoever trains the network.
    """

    update: FlatState | LayerwiseState
    n_epochs: int
    rule: str
    learning_rate_init: float
    power_t: float
    dropout: DropoutState | None = None

    _state_names = ("update", "n_epochs", "rule", "learning_rate_init", "power_t", "dropout")
    _may_lack = ("dropout",)

    def __init__(
        self, estimator: "BaseMLP", layout: Layout, dtype: npt.DTypeLike, run: Run | None = None
    ) -> None:
        optimizer = unclipped = with_schedule(make_optimizer(estimator), estimator)
        norm, value = estimator.clip_norm, estimator.clip_value
        if norm is not None or value is not None:
            optimizer = Clip(optimizer, norm=norm, value=value)
        optimizer = with_max_norm(optimizer, estimator.max_norm)
        factors = rate_factors(estimator.learning_rate_factors, layout, optimizer)
        try:
            self.update = optimizer.flat(layout.size, layout.n_decay, dtype, run, factors)
        except TypeError as error:
            if optimizer is unclipped:
                raise
            raise TypeError(f"clip_norm={norm!r}, clip_value={value!r}: {error}") from error
        self.n_epochs = 0
        rate = estimator.learning_rate
        follows_rule = is_scikit_sgd(estimator.solver) and isinstance(rate, str) and rate in RULES
        self.rule = rate if follows_rule else "constant"
        self.learning_rate_init, self.power_t = estimator.learning_rate_init, estimator.power_t

    def _check_restored(self) -> None:
        if not isinstance(self.update, Scheduled) or type(self.n_epochs) is not int or self.rule not in RULES:
            raise ValueError(f"{self.update!r} after {self.n_epochs!r} epochs is no state of a solver")
        if not isinstance(self.dropout, (DropoutState, type(None))):
            raise ValueError(f"{self.dropout!r} is no state of dropout")

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the next step; an assigned value is used from then on."""
        return self.update.values()["lr"]

    @learning_rate.setter
    def learning_rate(self, value: float | Schedule) -> None:
        self.update.hyper["lr"] = value

    def rates(self, first_step: int, n_epochs: int, n_batches: int) -> list[float]:
        """Return the learning rate of the first step of each of some epochs; NaN if there is none.

        Parameters
        ----------
        first_step : int
            Completed steps at the beginning of the first of the epochs.
        n_epochs, n_batches : int
            How many, and the steps of each.
        """
        lr, update = self.update.hyper.get("lr"), self.update
        if type(lr) is float:  # the quick way: a test for abstract classes takes longer
            return [lr] * n_epochs
        if isinstance(lr, Schedule) and n_epochs:  # an error may end the first epoch
            optimizer, steps = update.optimizer, first_step + n_batches * np.arange(n_epochs)
            return evaluate(optimizer.innermost, update.hyper, optimizer.inner_run(update.run), steps)[
                "lr"
            ].tolist()
        return [float(lr) if isinstance(lr, Real) else np.nan] * n_epochs

    def fits(self, params: np.ndarray) -> bool:
        """Whether the state is for a vector of this length and dtype."""
        return self.update.size == params.size and self.update.dtype == params.dtype

    def make_writable(self) -> None:
        """Copy read-only state, such as that of a model loaded by joblib with ``mmap_mode="r"``."""
        if not self.update.state.flags.writeable:
            self.update.state = np.array(self.update.state)

    def continue_from(self, other: "StochasticSolver") -> None:
        """Continue with the state of another solver, keeping the present hyper-parameters.

        Nothing happens if the other is of another kind.
        """
        mine, theirs = self.update, other.update
        if _kinds(mine.optimizer) == _kinds(theirs.optimizer) and mine.state.shape == theirs.state.shape:
            self.update = theirs.continue_as(mine)
            if self.update is theirs:
                theirs.begin(dataclasses.replace(mine.run, origin=theirs.t))
            if self.dropout is not None and other.dropout is not None:
                self.dropout.continue_from(other.dropout)

    def go_on(self, run: Run) -> None:
        """Update what schedules know of the run: where it stands, and how long later epochs are."""
        update = self.update
        if self.dropout is not None:
            self.dropout.go_on(run, self.n_epochs)
        ends_as_before = update.run.epochs_end_steps == run.epochs_end_steps
        if ends_as_before and not scheduled(update.hyper):
            return  # nothing looks at the run
        pending = 0.0 if run.epochs_end_steps else update.pending
        seen = update.t - update.run.origin + pending, self.n_epochs
        update.begin(dataclasses.replace(run, origin=update.run.origin, seen=seen))

    def epoch_ends(self, n_seen: int, loss: float, score: float | None = None) -> bool:
        """Update learning rate and schedules at the end of an epoch.

        Parameters
        ----------
        n_seen : int
            Rows in all so far, by which ``invscaling`` goes.
        loss : float
        score : float, optional
            The validation score, which schedules see in place of the loss.

        Returns
        -------
        bool
            Whether `fastopt.schedules.plateau` has lowered the learning rate, so that training deserves
            patience anew.
        """
        self.n_epochs += 1
        if isinstance(self.update.optimizer, Wrapper):  # `SkipNonFinite` may have made fewer steps
            self.go_on(self.update.run)
        rate = self._scheduled_rate()
        for state in (self.update, self.dropout):
            if state is not None:
                state.observe(loss if score is None else score, greater_is_better=score is not None)
        if self.rule == "invscaling":
            self.learning_rate = self.learning_rate_init / (n_seen + 1) ** self.power_t
        return self._is_lower_than(rate)

    def answer_plateau(self) -> tuple[bool, str]:
        """Lower the learning rate when patience has run out, if it is 'adaptive' or a `plateau`.

        Returns
        -------
        stops : bool
            Whether training ends, because the rate is not to be lowered or is as low as it gets.
        answer : str
            What to tell the user.
        """
        if self.rule == "adaptive":
            if self.learning_rate <= _LEAST_RATE:
                return True, "Learning rate too small. Stopping."
            self.learning_rate /= 5.0
        else:
            rate, schedule = self._scheduled_rate(), self.update.hyper.get("lr")
            if rate is None:
                return True, "Stopping."
            self.learning_rate = schedule.reduced()
            if not self._is_lower_than(rate):
                self.learning_rate = schedule
                return True, "Stopping."
        return False, f"Setting learning rate to {self.learning_rate:f}"

    def _scheduled_rate(self):
        """Return the learning rate if that is a schedule, else None."""
        return self.learning_rate if isinstance(self.update.hyper.get("lr"), Schedule) else None

    def _is_lower_than(self, rate):
        """Tell whether the learning rate has fallen below ``rate``, if that is above the smallest rate."""
        return rate is not None and rate > _LEAST_RATE * (1 + 1e-9) and self.learning_rate < rate


def _kinds(optimizer):
    """Return the classes of an optimizer and of those inside it, from the outside in."""
    inside = _kinds(optimizer.optimizer) if isinstance(optimizer, Wrapper) else []
    return [type(optimizer), *inside]


def minimize_lbfgs(
    loss_and_gradient: Callable[[np.ndarray], tuple[float, np.ndarray]],
    params: np.ndarray,
    *,
    max_iter: int,
    max_fun: int,
    tol: float,
    report: Callable[[int, float], object],
    stopwatch: Stopwatch,
) -> tuple[int, float]:
    """Train with SciPy's L-BFGS-B; ``params`` holds the last accepted point, also after Ctrl-C.

    Parameters
    ----------
    loss_and_gradient : callable
        ``f(params) -> (loss, gradient)``. Called with params' dtype: SciPy iterates in float64 and rounds
        each point to it.
    params : ndarray
        Start; changed in place at every iteration.
    max_iter, max_fun : int
    tol : float
        On the largest component of the gradient.
    report : callable
        Called with the number of iterations done and the loss. A true answer ends the training.
    stopwatch : Stopwatch
        Says after each iteration whether time is over.

    Returns
    -------
    n_iter : int
    loss : float

    Warns
    -----
    ConvergenceWarning
        With scikit-learn's text, when a limit was reached or the line search failed; with ours when time was
        over.
    """
    n_iter, loss, stops = 0, np.nan, ""

    def accept(intermediate_result):
        nonlocal n_iter, loss, stops
        point, now = intermediate_result.x, float(intermediate_result.fun)
        params[...] = point  # no call until all are set: Ctrl-C finds them at one iteration
        n_iter, loss = n_iter + 1, now
        stops = "callback" if report(n_iter, loss) else "max_time" if stopwatch.is_over() else ""
        if stops:
            raise StopIteration

    def loss_and_gradient_at(point):
        # SciPy 1.11 hands over float64, and takes nothing else.
        loss, gradient = loss_and_gradient(np.asarray(point, params.dtype))
        return loss, np.asarray(gradient, np.float64)

    options = {"maxfun": max_fun, "maxiter": max_iter, "gtol": tol}
    try:
        with single_threaded():  # the bits of SciPy's long products depend on BLAS's threads
            result = scipy.optimize.minimize(
                loss_and_gradient_at, params, method="L-BFGS-B", jac=True, callback=accept, options=options
            )
    except KeyboardInterrupt:
        warn_interrupted()
        return n_iter, loss
    if stops:  # SciPy versions differ in the status that they give to this
        if stops == "max_time":
            warn_out_of_time(stopwatch.max_time, n_iter)
        return n_iter, loss
    params[...] = result.x
    return _check_optimize_result(LBFGS, result, max_iter), float(result.fun)
