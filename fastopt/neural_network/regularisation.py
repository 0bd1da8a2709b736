"""The estimators' ``dropout``, ``weight_decay`` and ``max_norm``: what they make of network and optimizer."""

from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from fastopt.optimizers import Optimizer
from fastopt.optimizers.wrappers import MaxNorm, Wrapper
from fastopt.schedules import Run, Schedule
from fastopt.stepping.dropout import DropoutState

if TYPE_CHECKING:
    from fastopt.neural_network._base import BaseMLP


def new_dropout(estimator: "BaseMLP", run: Run) -> DropoutState | None:
    """Return the state of an estimator's dropout, or None if no unit is ever dropped.

    Only then is a number drawn from its random state: the seed.

    Raises
    ------
    TypeError, ValueError
        If ``dropout`` does not fit the network, or is no rate.
    """
    given, n_hidden = estimator.dropout, len(estimator._layout.shapes) - 1
    if type(given) is float and given == 0.0:  # the quick way
        return None
    rates = [0.0, *[given] * n_hidden] if isinstance(given, (int, float, Real, Schedule)) else [*given]
    if len(rates) != n_hidden + 1:
        raise ValueError(
            f"dropout={given!r} has {len(rates)} entries, and a network of {n_hidden} hidden layers needs "
            f"{n_hidden + 1}: the inputs' rate, then each hidden layer's. One number is of all hidden layers"
        )
    rates = tuple(rate.item() if isinstance(rate, np.generic) else rate for rate in rates)
    state = DropoutState(rates, 0, run)
    if not any(state.drops):
        return None
    state.seed = int(estimator._random_state.randint(2**32, dtype=np.uint64))
    return state


def with_weight_decay(optimizer: Optimizer, name: str, weight_decay: float | Schedule) -> Optimizer:
    """Return the optimizer of a ``solver`` given by name with decoupled decay, if there is to be any.

    Raises
    ------
    ValueError
        If the optimizer has no such decay.
    """
    if not isinstance(weight_decay, Schedule) and weight_decay == 0:
        return optimizer
    own, kind = optimizer.get_params(deep=False), type(optimizer).__name__
    if "decoupled_weight_decay" in own:
        return optimizer.set_params(weight_decay=weight_decay, decoupled_weight_decay=True)
    if optimizer.decoupled and "weight_decay" in own:
        return optimizer.set_params(weight_decay=weight_decay)
    advice = (
        f"its own form of decay is that of solver={kind}(weight_decay=...)"
        if "weight_decay" in own
        else "for an L2 penalty set alpha"
    )
    raise ValueError(
        f"weight_decay={weight_decay!r}: solver={name!r} has no decoupled weight decay; {advice}"
    )


def with_max_norm(optimizer: Optimizer, max_norm: float | None) -> Optimizer:
    """Return an optimizer that bounds weights: inside all wrappers, which average bounded ones."""
    if max_norm is None:
        return optimizer
    return _around_innermost(optimizer, lambda inner: MaxNorm(inner, max_norm))


def _around_innermost(optimizer: Optimizer, wrap: Callable[[Optimizer], Optimizer]) -> Optimizer:
    if not isinstance(optimizer, Wrapper):
        return wrap(optimizer)
    inner = _around_innermost(optimizer.optimizer, wrap)
    return type(optimizer)(**optimizer.get_params(deep=False) | {"optimizer": inner})
