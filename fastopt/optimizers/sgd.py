"""Gradient descent with and without momentum, and the sign methods."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from fastopt.optimizers.base import MomentOptimizer, Optimizer, optimizer
from fastopt.rules import sgd as _rules  # noqa: F401  registers the rules
from fastopt.rules.registry import RULES, Rule
from fastopt.schedules import Hyperparameter, HyperparameterPair


@optimizer("sgd", momentum={"momentum": 0.9}, nesterov={"momentum": 0.9, "nesterov": True})
class SGD(MomentOptimizer):
    """Stochastic gradient descent, optionally with (Nesterov) momentum.

    ``b = g`` at the first step, then ``b = momentum * b + (1 - dampening) * g``; ``w -= lr * b``, or with
    `nesterov` ``w -= lr * (g + momentum * b)``. As ``torch.optim.SGD``, defaults included.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    momentum : float or Schedule
        Momentum factor; 0 keeps no buffer.
    dampening : float or Schedule
        Damps the gradient that enters the buffer, from the second step on.
    weight_decay : float or Schedule
        Strength of the decay, in the form that `decoupled_weight_decay` says.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    nesterov : bool
        Nesterov momentum; needs ``momentum > 0`` and ``dampening == 0``.
    lr_in_momentum : bool
        Put the learning rate into the buffer, ``b = momentum * b + lr * g; w -= b``, as Keras and
        scikit-learn do. The same numbers while the learning rate is constant.
    maximize : bool
        Ascend instead of descend.
    state_dtype : {None, 'bfloat16', 'int8'}
        Keep the moments in half or a quarter of the memory.

    Notes
    -----
    Executed against torch 2.13.0, optax 0.2.8, keras 3.15.1, scikit-learn 1.9.1.

    References
    ----------
    Robbins & Monro (1951), "A Stochastic Approximation Method"; Polyak (1964), "Some
    methods of speeding up the convergence of iteration methods"; Sutskever et al. (2013), "On the importance
    of initialization and momentum in deep learning".

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SGD
    >>> w = np.ones(2)
    >>> SGD(lr=0.5).bind(w).step([np.array([1.0, 2.0])])
    >>> w
    array([0.5, 0. ])
    """

    lr: Hyperparameter = 1e-3
    momentum: Hyperparameter = 0.0
    dampening: Hyperparameter = 0.0
    weight_decay: Hyperparameter = 0.0
    nesterov: bool = False
    lr_in_momentum: bool = False
    _: dataclasses.KW_ONLY
    decoupled_weight_decay: bool = False

    @classmethod
    def rule(cls, h: Mapping[str, Any]) -> Rule:
        """Return the rule: sgd, momentum or nesterov."""
        if not h["momentum"]:
            return RULES["sgd"]
        return RULES["nesterov" if h["nesterov"] else "momentum"]

    @classmethod
    def check(cls, h: Mapping[str, Any]) -> None:
        """Check the values; as in torch, nesterov needs a momentum and no dampening."""
        super().check(h)
        if h["nesterov"] and (h["momentum"] <= 0 or h["dampening"] != 0):
            raise ValueError(
                f"SGD(nesterov=True) needs momentum > 0 and dampening == 0, not "
                f"momentum={h['momentum']!r}, dampening={h['dampening']!r}"
            )


@optimizer("signsgd")
class SignSGD(Optimizer):
    """The sign of the gradient: ``w -= lr * sign(g)``; the sign of 0 (and of NaN) is 0.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate: every weight moves by exactly this much.
    weight_decay : float or Schedule
        Strength of the decay, in the form that `decoupled_weight_decay` says.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against optax 0.2.8.

    References
    ----------
    Bernstein et al. (2018), "signSGD: Compressed Optimisation for Non-Convex Problems", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SignSGD
    >>> w = np.ones(2)
    >>> SignSGD(lr=0.25).bind(w).step([np.array([3.0, -0.1])])
    >>> w
    array([0.75, 1.25])
    """

    lr: Hyperparameter = 1e-3
    weight_decay: Hyperparameter = 0.0
    _: dataclasses.KW_ONLY
    decoupled_weight_decay: bool = True


@optimizer("signum")
class Signum(MomentOptimizer):
    """The sign of a moving average of the gradient: ``m += (1 - momentum) * (g - m); w -= lr * sign(m)``.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate: every weight moves by exactly this much.
    momentum : float or Schedule
        Decay of the average.
    weight_decay : float or Schedule
        Strength of the decay, in the form that `decoupled_weight_decay` says.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    maximize : bool
        Ascend instead of descend.
    state_dtype : {None, 'bfloat16', 'int8'}
        Keep the moments in half or a quarter of the memory.

    Notes
    -----
    Executed against optax 0.2.8, pytorch_optimizer 4.1.0.

    References
    ----------
    Bernstein et al. (2018), "signSGD: Compressed Optimisation for Non-Convex Problems", algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import Signum
    >>> w = np.ones(2)
    >>> Signum(lr=0.25).bind(w).step([np.array([3.0, -0.1])])
    >>> w
    array([0.75, 1.25])
    """

    lr: Hyperparameter = 1e-3
    momentum: Hyperparameter = 0.9
    weight_decay: Hyperparameter = 0.0
    _: dataclasses.KW_ONLY
    decoupled_weight_decay: bool = True


@optimizer("lion")
class Lion(MomentOptimizer):
    """Evolved sign momentum: ``w -= lr * sign(b1 * m + (1 - b1) * g); m = b2 * m + (1 - b2) * g``.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate; three to ten times smaller than Adam's.
    betas : tuple of two floats or schedules
        Weight of the old average in the step, and its decay.
    weight_decay : float or Schedule
        Decoupled decay; three to ten times larger than AdamW's.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    maximize : bool
        Ascend instead of descend.
    state_dtype : {None, 'bfloat16', 'int8'}
        Keep the moments in half or a quarter of the memory.

    Notes
    -----
    Executed against optax 0.2.8, keras 3.15.1, lion-pytorch 0.2.5.

    References
    ----------
    Chen et al. (2023), "Symbolic Discovery of Optimization Algorithms", algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import Lion
    >>> w = np.ones(2)
    >>> Lion(lr=0.25).bind(w).step([np.array([3.0, -0.1])])
    >>> w
    array([0.75, 1.25])
    """

    lr: Hyperparameter = 1e-4
    betas: HyperparameterPair = (0.9, 0.99)
    weight_decay: Hyperparameter = 0.0
    _: dataclasses.KW_ONLY
    decoupled_weight_decay: bool = True
