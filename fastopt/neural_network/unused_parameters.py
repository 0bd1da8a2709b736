"""The warning about parameters that were set but have no effect with the chosen solver."""

import functools
import inspect
from typing import Any

import numpy as np

from fastopt.neural_network.caller_warnings import warn
from fastopt.neural_network.validation import layer_sizes
from fastopt.optimizers import Optimizer, get_optimizer
from fastopt.rules.losses import LOSSES, PARAMETERS, lookup_loss
from fastopt.schedules import Schedule

#: Kinds of solver that take mini-batches: scikit-learn's two, any other name, an optimizer object.
_STOCHASTIC = ("sgd", "adam", "name", "object")
#: The kinds that use a parameter; what is not listed has an effect with all.
_USED_BY = {
    "batch_size": _STOCHASTIC,
    "learning_rate": _STOCHASTIC,
    "learning_rate_init": ("sgd", "adam", "name"),
    "power_t": ("sgd",),
    "shuffle": _STOCHASTIC,
    "momentum": ("sgd",),
    "nesterovs_momentum": ("sgd",),
    "early_stopping": _STOCHASTIC,
    "validation_fraction": _STOCHASTIC,
    "beta_1": ("adam",),
    "beta_2": ("adam",),
    "epsilon": ("adam",),
    "n_iter_no_change": _STOCHASTIC,
    "max_fun": ("lbfgs",),
    "reset_optimizer": _STOCHASTIC,
    "restore_best_weights": _STOCHASTIC,
    "warmup": _STOCHASTIC,
    "clip_norm": _STOCHASTIC,
    "clip_value": _STOCHASTIC,
    "checkpoint_every": _STOCHASTIC,
    "scoring": (*_STOCHASTIC, "lbfgs"),
    "dropout": _STOCHASTIC,
    "weight_decay": ("sgd", "adam", "name"),
    "max_norm": _STOCHASTIC,
    "learning_rate_factors": _STOCHASTIC,
    **dict.fromkeys(PARAMETERS, (*_STOCHASTIC, "lbfgs")),
}
#: What an optimizer's class calls a parameter of ours.
_IN_OPTIMIZER = {
    "learning_rate_init": "lr",
    "momentum": "momentum",
    "nesterovs_momentum": "nesterov",
    "beta_1": "betas",
    "beta_2": "betas",
    "epsilon": "eps",
    "weight_decay": "weight_decay",
}


def warn_of_unused(estimator: Any, *, has_validation_set: bool = False) -> None:
    """Warn once of all parameters that are not at their defaults and have no effect in ``fit``.

    Parameters
    ----------
    estimator : BaseMLP
    has_validation_set : bool
        Whether one was passed to ``fit``.
    """
    kind = _kind(estimator.solver)
    found = {}
    for name, default in _defaults(type(estimator)).items():
        value = getattr(estimator, name)
        if value is not default and (np.ndim(value) or value != default):
            reason = _reason(estimator, name, kind, has_validation_set)
            found.setdefault(reason, []).append(f"{name}={value!r}")
    found.pop("", None)
    if found:
        listed = "; ".join(f"{', '.join(settings)} ({reason})" for reason, settings in found.items())
        warn(f"Parameters of {type(estimator).__name__} that have no effect here: {listed}")


@functools.lru_cache(64)
def _defaults(cls):
    known = inspect.signature(cls).parameters
    return {name: known[name].default for name in _USED_BY if name in known}


def _kind(solver):
    if isinstance(solver, Optimizer):
        return "object"
    return solver.lower() if solver.lower() in ("lbfgs", "sgd", "adam") else "name"


def warn_of_callbacks(estimator: Any) -> None:
    """Warn if an estimator has callbacks, which its ``partial_fit`` does not call."""
    if "_skl_callbacks" in vars(estimator):
        warn(
            f"{type(estimator).__name__}.partial_fit calls no callbacks: one call is one epoch, after which "
            "you can do the same by hand. fit calls those that set_callbacks has set."
        )


def _reason(estimator, name, kind, has_validation_set):
    """Return why a parameter has no effect; an empty string if it has one."""
    if kind not in _USED_BY[name]:
        return _where_it_is(estimator.solver, name, kind)
    rate = estimator.learning_rate
    if name == "learning_rate" and rate in ("invscaling", "adaptive") and kind != "sgd":
        return "of solver='sgd' only; see fastopt.schedules.list_schedules() for other solvers"
    if name == "learning_rate_init" and isinstance(rate, Schedule) and rate.based_on(0.5) == rate:
        return f"learning_rate={rate!r} has values of its own"
    if name == "power_t" and rate != "invscaling":
        return "of learning_rate='invscaling' only"
    if name == "validation_fraction" and not estimator.early_stopping:
        return "of early_stopping=True only"
    if name == "validation_fraction" and has_validation_set:
        return "X_val takes the place of rows held out"
    if name == "scoring" and not has_validation_set and (kind == "lbfgs" or not estimator.early_stopping):
        return "of X_val or early_stopping=True only"
    if name in PARAMETERS:
        return reason_of_loss(name, estimator._engine_loss)
    if name == "dropout" and not np.ndim(estimator.dropout) and not layer_sizes(estimator.hidden_layer_sizes):
        return "there are no hidden layers; that of the inputs is dropout=(rate,)"
    if name == "checkpoint_every" and estimator.checkpoint is None:
        return "of checkpoint=... only"
    if name == "reset_optimizer" and not estimator.warm_start:
        return "of warm_start=True only"
    return ""


def reason_of_loss(name: str, loss: str) -> str:
    """Return why the parameter of some losses has no effect with a loss; an empty string if it has one."""
    if lookup_loss(loss).parameter is PARAMETERS[name]:
        return ""
    users = [key for key, other in LOSSES.items() if other.parameter is PARAMETERS[name]]
    return f"of loss={' or '.join(repr(key) for key in users if not key.startswith('binary_'))} only"


def _where_it_is(solver, name, kind):
    """Return which solvers use the parameter, or what it is called in an optimizer."""
    inner = _IN_OPTIMIZER.get(name)
    if kind == "object" and inner:
        paths = [path for path in solver.get_params() if path.split("__")[-1] == inner]
        if paths:
            return f"solver={solver!r} has its own: set solver__{min(paths, key=len)}"
    if kind == "name" and inner:
        optimizer = get_optimizer(solver)
        if inner in optimizer.get_params(deep=False):
            return f"pass an object, solver={type(optimizer).__name__}({inner}=...)"
    if kind == "lbfgs" and "name" in _USED_BY[name]:
        return "solver='lbfgs' takes all rows at once and finds the length of its steps"
    allowed = " or ".join(repr(other) for other in _USED_BY[name] if other in ("lbfgs", "sgd", "adam"))
    return f"of solver={allowed} only"
