"""Methods that use the difference between this gradient (or step) and the previous one."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from fastopt.optimizers.base import Optimizer, optimizer
from fastopt.rules import previous_gradient as _rules  # noqa: F401  registers the rules
from fastopt.schedules import Hyperparameter, HyperparameterPair


@optimizer("adan")
class Adan(Optimizer):
    """Adam with Nesterov momentum estimated from the difference of gradients.

    As the authors' code (sail-sg/Adan). optax takes ``1 - betas[1]`` where they take ``betas[1]``, a mistake
    that this library does not offer.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    betas : tuple of three floats or schedules
        Decay of the averages of the gradient, of its change, and of the square of the gradient looked ahead.
    eps : float or Schedule
        Added to the root of the corrected third average.
    weight_decay : float or Schedule
        Decay; proximal, ``w = (w - lr * u) / (1 + lr * weight_decay)``, unless `no_prox`.
    no_prox : bool
        Decoupled decay as in `AdamW`.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against timm 1.0.31, pytorch_optimizer 4.1.0.

    References
    ----------
    Xie et al. (2022), "Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models",
    algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import Adan
    >>> w = np.ones(2)
    >>> Adan(lr=0.25).bind(w).step([np.array([3.0, -0.1])])
    >>> w.round(6)
    array([0.75, 1.25])
    """

    lr: Hyperparameter = 1e-3
    betas: tuple[Hyperparameter, Hyperparameter, Hyperparameter] = (0.98, 0.92, 0.99)
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.0
    no_prox: bool = False

    @classmethod
    def prologue(cls, h: Mapping[str, Any]) -> tuple[float, float, float]:
        """Return ``(sign, l2, keep)``; with proximal decay ``keep`` is ``1 / (1 + lr * weight_decay)``."""
        sign, _, _ = super().prologue(h)
        rate = h["lr"] * h["weight_decay"]
        return sign, 0.0, 1.0 - rate if h["no_prox"] else 1.0 / (1.0 + rate)

    @classmethod
    def decays_in_rule(cls, h: Mapping[str, Any]) -> bool:
        """Whether the rule depends on the decay, as it does in the proximal form."""
        return bool(h["weight_decay"]) and not h["no_prox"]


@optimizer("optimisticgradientdescent")
class OptimisticGradientDescent(Optimizer):
    """Gradient descent that extrapolates the gradient: ``w -= lr * ((alpha + beta) * g - beta * g_before)``.

    As ``optax.optimistic_gradient_descent``. For games and saddle points, where plain descent circles.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    alpha : float or Schedule
        Weight of the gradient.
    beta : float or Schedule
        Weight of its change; 0 is gradient descent.
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
    Mokhtari, Ozdaglar & Pattathil (2020), "A Unified Analysis of Extra-gradient and Optimistic Gradient
    Methods for Saddle Point Problems".

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import OptimisticGradientDescent
    >>> w = np.zeros(1)
    >>> stepper = OptimisticGradientDescent(lr=1.0).bind(w)
    >>> stepper.step([np.array([1.0])])
    >>> stepper.step([np.array([2.0])])
    >>> w
    array([-4.])
    """

    lr: Hyperparameter = 1e-3
    alpha: Hyperparameter = 1.0
    beta: Hyperparameter = 1.0
    weight_decay: Hyperparameter = 0.0
    _: dataclasses.KW_ONLY
    decoupled_weight_decay: bool = False


@optimizer("optimisticadam")
class OptimisticAdam(Optimizer):
    """Adam that extrapolates its steps: ``w -= (lr + optimism) * u - optimism * u_before``.

    As ``optax.optimistic_adam_v2(nesterov=False)``, whose `nesterov` is True by default; ``beta * lr`` there
    is `optimism`.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    betas : tuple of two floats or schedules
        Decay of the averages of the gradient and of its square.
    eps : float or Schedule
        Added to the root of the corrected second moment.
    optimism : float, Schedule or None
        Weight of the steps' change; None is `lr`.
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
    Daskalakis et al. (2018), "Training GANs with Optimism", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import OptimisticAdam
    >>> w = np.ones(2)
    >>> OptimisticAdam(lr=0.25).bind(w).step([np.array([3.0, -0.1])])
    >>> w.round(6)
    array([0.75, 1.25])
    """

    lr: Hyperparameter = 1e-3
    betas: HyperparameterPair = (0.9, 0.999)
    eps: Hyperparameter = 1e-8
    optimism: Hyperparameter | None = None
    weight_decay: Hyperparameter = 0.0
    _: dataclasses.KW_ONLY
    decoupled_weight_decay: bool = False
