"""Contenders of a study: optimizers, each in a network and with its grid of learning rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from . import landscape

if TYPE_CHECKING:
    from typing import Any

# For contenders that the landscape does not have, half a decade a step: wide enough that plain gradient
# descent (best near 0.3 on standardised data) and Adam (best near 0.003) both have their optimum inside.
DEFAULT_LEARNING_RATES: tuple[float, ...] = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)

# Optimizers by common names that are settings of SGD rather than classes of their own.
_SETTINGS_OF_SGD = {
    "gradient descent": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True},
}
_LABELS = {"gradient descent": "Gradient descent", "momentum": "Momentum", "nesterov": "Nesterov"}
DEFAULT_OPTIMIZERS: tuple[str, ...] = ("gradient descent", "momentum", "nesterov", "rmsprop", "adam", "adamw")

# Parameters that do not change the numbers of a fit.
_WITHOUT_BEARING = ("verbose", "progress")


@dataclass(frozen=True)
class Config:
    """One point of the grid: a contender with a learning rate and a batch size."""

    label: str
    lr: float | None
    batch_size: int | None

    def __str__(self):
        """Return a description for messages, such as ``Adam, lr 0.01, batch 32``."""
        parts = [self.label]
        if self.lr is not None:
            parts.append(f"lr {self.lr:g}")
        if self.batch_size is not None:
            parts.append(f"batch {self.batch_size}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Contender:
    """An optimizer in an unfitted network, with the grid of configurations to choose from.

    Attributes
    ----------
    label : str
        Name in tables and plots.
    network : estimator
        Unfitted network with the optimizer set. Never fitted itself; `network_for` copies it.
    lr_parameter : str or None
        Parameter of `network` that holds the learning rate; ``None`` where there is none.
    configs : tuple of Config
        The grid. One entry means that there is nothing to tune.
    follows : str or None
        Label of the contender whose chosen configuration this one takes over.
    is_yardstick : bool
        Whether this is another network, shown beside the optimizers and not competing with them.
    had_early_stopping : bool
        Whether the user's network has ``early_stopping=True``, which `network` has not: contenders train
        for the whole budget, and are scored after each epoch on the study's own validation rows.
    """

    label: str
    network: object
    lr_parameter: str | None
    configs: tuple[Config, ...] = ()
    follows: str | None = None
    is_yardstick: bool = False
    had_early_stopping: bool = False

    def network_for(self, config: Config, seed: int) -> Any:
        """Return a fresh network with the values of `config`, seeded for one fit."""
        values = {"random_state": np.random.RandomState(seed)}
        if config.lr is not None:
            values[self.lr_parameter] = config.lr
        if config.batch_size is not None:
            values["batch_size"] = config.batch_size
        return clone(self.network).set_params(**values)

    def specification(self) -> str:
        """Return text that is equal exactly if two contenders train alike (apart from the learning rate)."""
        return f"{type(self.network).__module__.partition('.')[0]}.{describe(self.network)}"


def describe(estimator: Any) -> str:
    """Return all parameters of `estimator` that affect its results, as text, the same in every process."""
    values = estimator.get_params(deep=False).items()
    shown = [f"{name}={_text(value)}" for name, value in sorted(values) if name not in _WITHOUT_BEARING]
    return f"{type(estimator).__name__}({', '.join(shown)})"


def _text(value):
    if hasattr(value, "get_params") and not isinstance(value, type):
        return describe(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, np.ndarray):
        return joblib.hash(value)  # its repr leaves out the middle
    if hasattr(value, "__code__"):  # the repr of a function holds its address, which no other process has
        code = value.__code__
        constants = [repr(c) for c in code.co_consts if not hasattr(c, "co_code")]
        return f"{value.__module__}.{value.__qualname__}:{joblib.hash((code.co_code, constants))}"
    return repr(value)


def network_of(estimator: Any) -> Any:
    """Return the network inside `estimator`: its last step if it is a `Pipeline`.

    Raises
    ------
    TypeError
        If the network cannot be trained an epoch at a time.
    """
    network = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    if not hasattr(network, "partial_fit"):
        reason = " with solver='lbfgs'" if getattr(network, "solver", None) == "lbfgs" else ""
        raise TypeError(
            f"{type(network).__name__}{reason} has no partial_fit, so it cannot be watched epoch by epoch. "
            "Give an MLPClassifier or MLPRegressor with a stochastic solver, or a Pipeline that ends in one."
        )
    return network


def unseeded(network: Any) -> Any:
    """Return an unfitted copy of `network` without a ``random_state``: each fit gets one from its seed."""
    return clone(network).set_params(random_state=None)


def named_optimizer(name: str) -> tuple[str, Any]:
    """Return ``(label, optimizer)`` for a name of `fastopt.list_optimizers`, or of a common setting of SGD.

    Raises
    ------
    ValueError
        If there is no such optimizer; the message suggests the nearest name.
    """
    from fastopt import get_optimizer, list_optimizers
    from fastopt.optimizers.base import suggestion

    key = " ".join(name.strip().lower().replace("_", " ").replace("-", " ").split())
    if key in _SETTINGS_OF_SGD:
        return _LABELS[key], get_optimizer("sgd", **_SETTINGS_OF_SGD[key])
    try:
        optimizer = get_optimizer(name.strip().lower())
    except ValueError:
        known = [*_SETTINGS_OF_SGD, *list_optimizers()]
        hint = suggestion(key, known)
        raise ValueError(f"optimizer {name!r} is not one of {', '.join(map(repr, known))}.{hint}") from None
    return type(optimizer).__name__, optimizer


def make_contenders(
    estimator: Any, optimizers: Any, lr: Any = None, batch_size: Any = None
) -> list[Contender]:
    """Return the list of contenders, in the order given.

    Parameters
    ----------
    estimator : estimator
        The network, or a `Pipeline` that ends in one.
    optimizers : iterable or mapping
        Names, optimizer objects; or a mapping from label to a name, an object, a dict of parameters of
        the network, or another network.
    lr : None, float, iterable of float, or mapping from label to one of these or to another label
        Learning rates to try. ``None`` is each optimizer's `recommended_grid`, or `DEFAULT_LEARNING_RATES`
        where there is none.
    batch_size : None, int or iterable of int
        Batch sizes to try. ``None`` leaves the network's own.
    """
    network = unseeded(network_of(estimator))
    made = [_contender(network, label, what) for label, what in _labelled(optimizers)]
    labels = [contender.label for contender in made]
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated:
        raise ValueError(
            f"two optimizers are called {repeated[0]!r}. Give a mapping from your own labels to them."
        )
    if not made:
        raise ValueError("optimizers is empty. Name at least one, for example ['adam', 'momentum'].")
    rates = _rates_by_label(lr, labels)
    sizes = _grid(batch_size, "batch_size", _positive_int) if batch_size is not None else (None,)
    return [_with_grid(contender, rates.get(contender.label), sizes, labels) for contender in made]


def _labelled(optimizers):
    if isinstance(optimizers, Mapping):
        return list(optimizers.items())
    if isinstance(optimizers, str) or not isinstance(optimizers, Iterable):
        optimizers = [optimizers]
    optimizers = list(optimizers)
    kinds = [type(o).__name__ for o in optimizers if not isinstance(o, str)]
    return [(_own_label(o, kinds), o) for o in optimizers]


def _own_label(optimizer, kinds):
    if isinstance(optimizer, str):
        return None
    if not hasattr(optimizer, "get_params") or hasattr(optimizer, "fit"):
        raise TypeError(
            f"{optimizer!r} is not a name or an optimizer object. A dict of parameters or another estimator "
            "needs a label: give a mapping {label: ...}."
        )
    kind = type(optimizer).__name__
    return kind if kinds.count(kind) == 1 else repr(optimizer)


def _contender(network, label, what):
    if isinstance(what, str):
        own, what = named_optimizer(what)
        label = own if label is None else label
    is_yardstick = hasattr(what, "partial_fit")
    if isinstance(what, Mapping):
        ready = clone(network).set_params(**what)
    elif is_yardstick:
        ready = unseeded(what)
    elif hasattr(what, "get_params") and not isinstance(what, type):
        ready = clone(network).set_params(solver=clone(what))
    else:
        raise TypeError(
            f"optimizer {label!r} is {what!r}. Allowed: a name, an optimizer object such as Adam(), a dict "
            "of parameters of the network, or a network with partial_fit."
        )
    parameters = ready.get_params(deep=True)
    rate = _rate_parameter(parameters)
    had_early_stopping = bool(parameters.get("early_stopping"))
    if had_early_stopping:
        ready.set_params(early_stopping=False)
    return Contender(label, ready, rate, is_yardstick=is_yardstick, had_early_stopping=had_early_stopping)


def _rate_parameter(parameters):
    """Return the name of the learning rate among the parameters of a network, or None."""
    if not hasattr(parameters.get("solver"), "get_params"):
        return next((name for name in ("learning_rate_init", "eta0") if name in parameters), None)
    # Beside an object learning_rate_init is not used: without a rate of its own, the optimizer finds one.
    optimizer = "solver"
    while optimizer in parameters:
        for name in (f"{optimizer}__lr__value", f"{optimizer}__lr"):  # a schedule keeps its shape
            if name in parameters:
                return name
        optimizer += "__optimizer"  # inside a wrapper
    return None


def _rates_by_label(lr, labels):
    if not isinstance(lr, Mapping):
        return dict.fromkeys(labels, lr)
    unknown = [label for label in lr if label not in labels]
    if unknown:
        raise ValueError(
            f"lr has the key {unknown[0]!r}, which is not the label of an optimizer here. "
            f"Labels: {', '.join(map(repr, labels))}."
        )
    return dict(lr)


def _with_grid(contender, rates, sizes, labels):
    if isinstance(rates, str):
        if rates not in labels or rates == contender.label:
            raise ValueError(
                f"lr[{contender.label!r}]={rates!r} is not the label of another optimizer here. "
                f"Labels: {', '.join(map(repr, labels))}."
            )
        return replace(contender, follows=rates)
    if contender.lr_parameter is None:
        grid = (None,)
    else:
        default = landscape.grid_of(contender) or DEFAULT_LEARNING_RATES
        grid = default if rates is None else _grid(rates, "lr", _positive_float)
    configs = tuple(Config(contender.label, rate, size) for size in sizes for rate in grid)
    return replace(contender, configs=configs)


def _grid(values, name, check):
    values = [values] if isinstance(values, Real) else list(values)
    if not values:
        raise ValueError(f"{name} is empty. Give one value or several.")
    return tuple(dict.fromkeys(sorted(check(value, name) for value in values)))


def _positive_float(value, name):
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise ValueError(f"{name}={value!r} is not a positive finite number.")
    return float(value)


def _positive_int(value, name):
    if not isinstance(value, Real) or isinstance(value, bool) or value != int(value) or value < 1:
        raise ValueError(f"{name}={value!r} is not a whole number of at least 1.")
    return int(value)
