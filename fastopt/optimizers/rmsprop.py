"""Methods that divide by a root of squared gradients, without Adam's first moment."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from fastopt.optimizers.base import MomentOptimizer, Optimizer, optimizer
from fastopt.rules import rmsprop as _rules  # noqa: F401  registers the rules
from fastopt.rules.ranges import IN_0_1, Range
from fastopt.rules.registry import RULES, Rule
from fastopt.schedules import Hyperparameter


@optimizer("rmsprop")
class RMSprop(MomentOptimizer):
    """Divide the gradient by a moving average of its size.

    As ``torch.optim.RMSprop``, defaults included. optax and Keras put `eps` under the root, the learning rate
    into the buffer and have ``alpha=0.9``: ``RMSprop(alpha=0.9, eps_in_sqrt=True, lr_in_momentum=True)``.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    alpha : float or Schedule
        Decay of the average of the squared gradient.
    eps : float or Schedule
        Added to its root.
    weight_decay : float or Schedule
        Strength of the decay, in the form that `decoupled_weight_decay` says.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    momentum : float or Schedule
        Heavy-ball momentum on the scaled gradient; 0 keeps no buffer.
    centered : bool
        Divide by an estimate of the standard deviation (Graves, 2013).
    eps_in_sqrt : bool
        Add `eps` under the root.
    lr_in_momentum : bool
        Put the learning rate into the buffer; differs only when the learning rate changes.
    maximize : bool
        Ascend instead of descend.
    state_dtype : {None, 'bfloat16', 'int8'}
        Keep the moments in half or a quarter of the memory.

    Notes
    -----
    Executed against torch 2.13.0, optax 0.2.8, keras 3.15.1.

    References
    ----------
    Tieleman & Hinton (2012), "Lecture 6.5 - rmsprop".

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import RMSprop
    >>> w = np.ones(2)
    >>> RMSprop(lr=0.25, alpha=0.75).bind(w).step([np.array([3.0, -0.1])])
    >>> w.round(6)
    array([0.5, 1.5])
    """

    ranges: ClassVar[dict[str, Range]] = {"alpha": IN_0_1}
    lr: Hyperparameter = 1e-2
    alpha: Hyperparameter = 0.99
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.0
    momentum: Hyperparameter = 0.0
    centered: bool = False
    _: dataclasses.KW_ONLY
    eps_in_sqrt: bool = False
    lr_in_momentum: bool = False
    decoupled_weight_decay: bool = False

    @classmethod
    def rule(cls, h: Mapping[str, Any]) -> Rule:
        """Return the rule for the values of ``centered`` and ``momentum``."""
        return RULES["rmsprop" + "_centered" * bool(h["centered"]) + "_momentum" * bool(h["momentum"])]


@optimizer("adagrad")
class Adagrad(Optimizer):
    """Divide the gradient by the root of the sum of all its squares.

    As ``torch.optim.Adagrad``, defaults included. optax and Keras have
    ``Adagrad(initial_accumulator_value=0.1, eps=1e-7, eps_in_sqrt=True)``.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    lr_decay : float or Schedule
        Divides the learning rate by ``1 + (t - 1) * lr_decay``.
    weight_decay : float or Schedule
        Strength of the decay, in the form that `decoupled_weight_decay` says.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    initial_accumulator_value : float
        Where the sum starts.
    eps : float or Schedule
        Added to the root.
    eps_in_sqrt : bool
        Add `eps` under the root.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against torch 2.13.0, optax 0.2.8, keras 3.15.1.

    References
    ----------
    Duchi, Hazan & Singer (2011), "Adaptive Subgradient Methods for Online Learning".

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import Adagrad
    >>> w = np.ones(2)
    >>> Adagrad(lr=0.25).bind(w).step([np.array([3.0, -0.1])])
    >>> w.round(6)
    array([0.75, 1.25])
    """

    lr: Hyperparameter = 1e-2
    lr_decay: Hyperparameter = 0.0
    weight_decay: Hyperparameter = 0.0
    initial_accumulator_value: float = 0.0
    eps: Hyperparameter = 1e-10
    _: dataclasses.KW_ONLY
    eps_in_sqrt: bool = False
    decoupled_weight_decay: bool = False


@optimizer("adadelta")
class Adadelta(Optimizer):
    """Scale each step by the ratio of past steps to past gradients.

    As ``torch.optim.Adadelta``, defaults included; Keras has ``Adadelta(lr=1e-3, rho=0.95, eps=1e-7)``.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    rho : float or Schedule
        Decay of both averages.
    eps : float or Schedule
        Added under both roots.
    weight_decay : float or Schedule
        Strength of the decay, in the form that `decoupled_weight_decay` says.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against torch 2.13.0, optax 0.2.8, keras 3.15.1.

    References
    ----------
    Zeiler (2012), "ADADELTA: An Adaptive Learning Rate Method", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import Adadelta
    >>> w = np.ones(2)
    >>> Adadelta(rho=0.75, eps=1e-2).bind(w).step([np.array([3.0, -1.0])])
    >>> w.round(3)
    array([0.8  , 1.196])
    """

    lr: Hyperparameter = 1.0
    rho: Hyperparameter = 0.9
    eps: Hyperparameter = 1e-6
    weight_decay: Hyperparameter = 0.0
    _: dataclasses.KW_ONLY
    decoupled_weight_decay: bool = False
