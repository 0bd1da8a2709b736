"""Methods of online learning: weights are computed from sums over all gradients."""

from collections.abc import Mapping
from typing import Any

from fastopt.optimizers.base import Optimizer, optimizer
from fastopt.rules import online as _rules  # noqa: F401  registers the rules
from fastopt.schedules import Hyperparameter


@optimizer("ftrl")
class FTRL(Optimizer):
    """Follow the regularized leader, per coordinate; `l1` makes weights exactly 0.

    As ``keras.optimizers.Ftrl`` with its default power of -0.5. Meant for linear models that start at 0: the
    first step replaces the weights by ones that depend on them through the gradient alone, so that a deep
    network forgets its random start.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate, above 0.
    initial_accumulator_value : float
        Where the sum of squared gradients starts.
    l1 : float or Schedule
        Strength of the L1 penalty.
    l2 : float or Schedule
        Strength of the L2 penalty.
    l2_shrinkage : float or Schedule
        L2 penalty that is added to the gradient and not to its square.
    beta : float or Schedule
        Adds ``beta / lr`` to the L2 penalty (McMahan et al.).
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against keras 3.15.1.

    References
    ----------
    McMahan et al. (2013), "Ad Click Prediction: a View from the Trenches", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import FTRL
    >>> w = np.zeros(2)
    >>> FTRL(lr=0.5, initial_accumulator_value=0.0, l1=0.5).bind(w).step([np.array([2.0, -0.1])])
    >>> w
    array([-0.375,  0.   ])
    """

    lr: Hyperparameter = 1e-3
    initial_accumulator_value: float = 0.1
    l1: Hyperparameter = 0.0
    l2: Hyperparameter = 0.0
    l2_shrinkage: Hyperparameter = 0.0
    beta: Hyperparameter = 0.0

    @classmethod
    def check(cls, h: Mapping[str, Any]) -> None:
        """Check the values; the method divides by the learning rate."""
        super().check(h)
        if not h["lr"]:
            raise ValueError("FTRL(lr=0): lr must be above 0, because the weights are divided by it")


@optimizer("cocob")
class COCOB(Optimizer):
    """Coin betting on each coordinate: a method without a learning rate to tune.

    As the authors' code (bremen79/parameterfree), and ``optax.contrib.cocob`` with a learning rate of 1;
    optax multiplies the gradient by other rates.

    Parameters
    ----------
    lr : float or Schedule
        Share of the way to the new point that is gone; leave it at 1.
    alpha : float or Schedule
        Keeps the first bets small.
    eps : float or Schedule
        Where the largest gradient so far starts; above 0.
    weight_decay : float or Schedule
        Coupled decay: ``weight_decay * w`` is added to the gradient.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against optax 0.2.8, parameterfree 0.0.1.

    References
    ----------
    Orabona & Tommasi (2017), "Training Deep Networks without Learning Rates Through
    Coin Betting", algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import COCOB
    >>> w = np.zeros(2)
    >>> COCOB(alpha=10.0).bind(w).step([np.array([1.0, -5.0])])
    >>> w
    array([-0.1,  0.1])
    """

    lr: Hyperparameter = 1.0
    alpha: Hyperparameter = 100.0
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.0

    @classmethod
    def check(cls, h: Mapping[str, Any]) -> None:
        """Check the values; eps > 0 avoids a division 0 / 0."""
        super().check(h)
        if not h["eps"]:
            raise ValueError(
                "COCOB(eps=0): eps must be above 0, or a coordinate without a gradient divides by 0"
            )


@optimizer("madgrad")
class MADGRAD(Optimizer):
    """Dual averaging divided by the cube root of the weighted sum of squared gradients.

    As the authors' code (facebookresearch/madgrad). ``optax.contrib.madgrad`` and timm are the same but for a
    learning rate of 0, to which they add `eps`.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    momentum : float or Schedule
        Share of the old weights in the new ones.
    weight_decay : float or Schedule
        Coupled decay: ``weight_decay * w`` is added to the gradient.
    eps : float or Schedule
        Added to the cube root, and to a learning rate that is not 0.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against optax 0.2.8, madgrad 1.3, timm 1.0.31.

    References
    ----------
    Defazio & Jelassi (2022), "Adaptivity without Compromise: A Momentumized, Adaptive, Dual Averaged Gradient
    Method for Stochastic Optimization", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import MADGRAD
    >>> w = np.zeros(2)
    >>> MADGRAD(lr=1.0, momentum=0.5, eps=0.0).bind(w).step([np.array([8.0, -1.0])])
    >>> w.round(6)
    array([-1. ,  0.5])
    """

    lr: Hyperparameter = 1e-2
    momentum: Hyperparameter = 0.9
    weight_decay: Hyperparameter = 0.0
    eps: Hyperparameter = 1e-6
