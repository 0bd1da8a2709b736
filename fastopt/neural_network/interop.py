"""Conversion to and from scikit-learn's estimators, optimizer state included."""

import copy
import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from sklearn.base import is_classifier
from sklearn.neural_network._base import ACTIVATIONS
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer
from sklearn.utils.validation import check_is_fitted

from fastopt.neural_network import parameters, solvers
from fastopt.neural_network.learning_rates import RULES
from fastopt.stepping.flat_state import FlatState

#: Our class and scikit-learn's, of each kind.
_PAIRS: list[tuple[type, type]] = []
#: scikit-learn's loss for an activation of a regressor's last layer.
_REGRESSION_LOSSES = {"identity": "squared_error", "exp": "poisson"}
#: What scikit-learn's networks do in place of arguments of ours that change only training.
_TRAINING = {
    "label_smoothing": 0.0,
    "init": "auto",
    "dropout": 0.0,
    "weight_decay": 0.0,
    "input_scale": False,
    "learning_rate_factors": None,
    **dict.fromkeys(("class_weight", "scoring", "max_time", "max_norm", "dtype")),
}
_PRIVATE = ("_label_binarizer", "_no_improvement_count", "_random_state")
_OWN_STATE = ("coefs_", "intercepts_", "device_")

_C = TypeVar("_C", bound=type)


def counterpart_of(theirs: type) -> Callable[[_C], _C]:
    """Register the decorated class as the counterpart of scikit-learn's class ``theirs``."""

    def register(ours: _C) -> _C:
        _PAIRS.append((ours, theirs))
        return ours

    return register


def from_sklearn(estimator: Any) -> Any:
    """Return the fastopt estimator equivalent to a fitted scikit-learn one.

    It predicts the same and, with ``warm_start`` or ``partial_fit``, goes on training from the same
    point, optimizer state included. Nothing is shared with the original.

    Parameters
    ----------
    estimator : sklearn.neural_network.MLPClassifier or MLPRegressor
        Fitted.

    Returns
    -------
    MLPClassifier or MLPRegressor

    Raises
    ------
    TypeError
        If it is neither.
    NotFittedError
        If it is not fitted.

    Examples
    --------
    >>> import sklearn.neural_network
    >>> from fastopt import from_sklearn
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> old = sklearn.neural_network.MLPClassifier((8,), solver="lbfgs", max_iter=500).fit(X, y)
    >>> new = from_sklearn(old)
    >>> bool((new.predict(X) == old.predict(X)).all())
    True
    >>> bool((new.to_sklearn().predict(X) == old.predict(X)).all())
    True
    """
    ours = _counterpart(estimator, target=0)
    check_is_fitted(estimator)
    new = ours(**copy.deepcopy(estimator.get_params(deep=False)))
    _copy_state(estimator, new)
    new._set_parameters(*parameters.flatten(estimator.coefs_, estimator.intercepts_))
    new.device_ = "cpu"
    if hasattr(estimator, "_optimizer"):
        new._optimizer = _our_optimizer(new, estimator._optimizer)
    return new


def to_sklearn(estimator: Any) -> Any:
    """Return the scikit-learn estimator equivalent to a fitted fastopt one; see `from_sklearn`.

    Where scikit-learn has no such solver or loss, the result predicts the same but has another, and a
    UserWarning says so. What scikit-learn cannot predict is a ValueError: with an activation that it does not
    have, of the hidden layers or the last, or with several outputs for a target.
    """
    theirs = _counterpart(estimator, target=1)
    check_is_fitted(estimator)
    if "members_" in vars(estimator):
        raise ValueError(
            f"scikit-learn has no network that predicts as {len(estimator.members_)} do: convert each of "
            "members_"
        )
    _check_convertible(estimator)
    known = inspect.signature(theirs).parameters
    params = {k: v for k, v in estimator.get_params(deep=False).items() if k in known}
    params["activation"] = _one_activation(estimator)
    solver = params["solver"]
    params["solver"] = solver.lower() if isinstance(solver, str) else None
    if params["solver"] not in ("lbfgs", "sgd", "adam"):
        params["solver"] = "adam"
        warnings.warn(
            f"scikit-learn has no solver={solver!r}: the converted estimator predicts the same, but would "
            "train with solver='adam'.",
            stacklevel=3,
        )
    if params["learning_rate"] not in RULES:
        warnings.warn(
            f"scikit-learn has no learning_rate={params['learning_rate']!r}: the converted estimator "
            "predicts the same, but would train with learning_rate='constant'.",
            stacklevel=3,
        )
        params["learning_rate"] = "constant"
    loss = "log_loss" if is_classifier(estimator) else _REGRESSION_LOSSES[estimator.out_activation_]
    params |= {"loss": loss} if "loss" in params else {}
    _warn_of_training(estimator, {"loss": loss, **_TRAINING})
    new = theirs(**copy.deepcopy(params))
    _copy_state(estimator, new)
    estimator._parameters()
    for name in ("coefs_", "intercepts_"):
        setattr(new, name, [a.copy() for a in getattr(estimator, name)])
    scale = estimator.input_scale_
    if scale is not None:  # a part of the weights there
        new.coefs_[0] *= scale[:, None]
    new._best_coefs = [a.copy() for a in new.coefs_]
    new._best_intercepts = [a.copy() for a in new.intercepts_]
    is_same = params["solver"] == str(solver).lower() and isinstance(_update(estimator), FlatState)
    if is_same and scale is None:
        new._optimizer = _their_optimizer(new, estimator)
    return new


def _check_convertible(estimator):
    """Raise ValueError if scikit-learn has no network that predicts the same."""
    network = {"activation": (_one_activation(estimator), ACTIVATIONS)}
    if not is_classifier(estimator):
        network["out_activation"] = estimator.out_activation_, _REGRESSION_LOSSES
        if estimator._width() > 1 or estimator._quantiles() is not None:
            network["loss"] = estimator.loss, ()
    for name, (value, known) in network.items():
        if value not in known:
            raise ValueError(f"scikit-learn has no {name}={value!r}: the network cannot be converted.")


def _warn_of_training(estimator, theirs):
    """Warn of arguments with which the converted estimator would train in another way: theirs by name."""
    for name, value in theirs.items():
        ours = getattr(estimator, name, value)
        if np.ndim(ours) or ours != value:
            warnings.warn(
                f"scikit-learn has no {name}={ours!r}: the converted estimator predicts the same, but would "
                f"train with {name}={value!r}.",
                stacklevel=4,
            )


def _one_activation(estimator):
    """Return the activation of all hidden layers, or what was given where they have different ones."""
    activation = estimator.activation
    if isinstance(activation, str):
        return activation
    return activation[0] if len({*activation}) == 1 else tuple(activation)


def _update(estimator):
    """Return the optimizer state of the last fit, or None."""
    return estimator._optimizer.update if hasattr(estimator, "_optimizer") else None


def _counterpart(estimator, target):
    for pair in _PAIRS:
        if isinstance(estimator, pair[1 - target]):
            return pair[target]
    names = " or ".join(
        f"{p[1 - target].__module__.split('.')[0]}'s {p[1 - target].__name__}" for p in _PAIRS
    )
    raise TypeError(f"expected {names}, got {type(estimator).__name__}.")


def _copy_state(source, new):
    for name, value in vars(source).items():
        fitted = name.endswith("_") and not name.startswith("_")
        if (fitted and name not in _OWN_STATE) or name in _PRIVATE:
            setattr(new, name, copy.deepcopy(value))


def _our_optimizer(new, theirs):
    solver = solvers.StochasticSolver(new, new._layout, new._params.dtype)
    if isinstance(theirs, AdamOptimizer):
        slots, solver.update.t = (theirs.ms, theirs.vs), theirs.t
    else:
        # scikit-learn adds its velocity, the rule subtracts its buffer; without momentum there is none.
        slots = [[-v for v in theirs.velocities]] if new.momentum else []
        solver.learning_rate = theirs.learning_rate
    n = len(new._layout.shapes)
    for row, arrays in zip(solver.update.state, slots, strict=True):
        row[...] = parameters.flatten(arrays[:n], arrays[n:])[1]
    return solver


def _their_optimizer(new, ours):
    params = new.coefs_ + new.intercepts_
    update, layout = ours._optimizer.update, ours._layout
    slots = [[a.copy() for a in layout.weights(row) + layout.biases(row)] for row in update.state]
    if new.solver == "adam":
        optimizer = AdamOptimizer(params, new.learning_rate_init, new.beta_1, new.beta_2, new.epsilon)
        optimizer.t, (optimizer.ms, optimizer.vs) = update.t, slots
        return optimizer
    optimizer = SGDOptimizer(
        params, new.learning_rate_init, new.learning_rate, new.momentum, new.nesterovs_momentum, new.power_t
    )
    optimizer.learning_rate = ours._optimizer.learning_rate
    if slots:
        optimizer.velocities = [-buffer for buffer in slots[0]]
    return optimizer
