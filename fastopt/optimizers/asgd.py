"""Averaged stochastic gradient descent."""

import dataclasses

from fastopt.optimizers.base import Optimizer, optimizer
from fastopt.rules import asgd as _rules  # noqa: F401  registers the rules
from fastopt.schedules import Hyperparameter


@optimizer("asgd")
class ASGD(Optimizer):
    """Gradient descent with a decaying step, and the average of its path.

    As ``torch.optim.ASGD``, defaults included. The average is the slot ``ax`` of the state.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    lambd : float or Schedule
        Decay of the weights and of the step size.
    alpha : float or Schedule
        Power of the step size's decay: ``eta = lr / (1 + lambd * lr * t) ** alpha``.
    t0 : float
        Step from which on the path is averaged.
    weight_decay : float or Schedule
        Strength of the decay, in the form that `decoupled_weight_decay` says.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against torch 2.13.0.

    References
    ----------
    Polyak & Juditsky (1992), "Acceleration of Stochastic Approximation by Averaging".

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import ASGD
    >>> w = np.ones(2)
    >>> ASGD(lr=0.5, lambd=0.0).bind(w).step([np.array([1.0, -1.0])])
    >>> w
    array([0.5, 1.5])
    """

    lr: Hyperparameter = 1e-2
    lambd: Hyperparameter = 1e-4
    alpha: Hyperparameter = 0.75
    t0: float = 1e6
    weight_decay: Hyperparameter = 0.0
    _: dataclasses.KW_ONLY
    decoupled_weight_decay: bool = False
