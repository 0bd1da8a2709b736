"""Gradient descent with noise."""

import dataclasses

from fastopt.optimizers.base import Optimizer, optimizer
from fastopt.rules import noise as _rules  # noqa: F401  registers the rules
from fastopt.schedules import Hyperparameter


@optimizer("noisysgd")
class NoisySGD(Optimizer):
    """Gradient descent with Gaussian noise of variance ``eta / t ** gamma`` on the gradient.

    As ``optax.noisy_sgd``, with noise of its own: it depends on `seed`, the step, the number of the parameter
    and the element's place in memory alone, so it is the same for any number of threads, and in float32 and
    float64 up to rounding.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    eta : float or Schedule
        Variance of the noise at the first step.
    gamma : float or Schedule
        Power of the step by which it decays.
    seed : int
        Starts the noise, below 2 ** 32.
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
    Neelakantan et al. (2015), "Adding Gradient Noise Improves Learning for Very Deep Networks".

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import NoisySGD
    >>> a, b = np.zeros(1000), np.zeros(1000)
    >>> NoisySGD(lr=1.0, eta=0.25).bind(a).step([np.ones(1000)])
    >>> NoisySGD(lr=1.0, eta=0.25).bind(b).step([np.ones(1000)])
    >>> bool((a == b).all()), bool(abs(a.mean() + 1.0) < 0.05), bool(abs(a.std() - 0.5) < 0.05)
    (True, True, True)
    """

    lr: Hyperparameter = 1e-3
    eta: Hyperparameter = 0.01
    gamma: Hyperparameter = 0.55
    seed: int = 0
    weight_decay: Hyperparameter = 0.0
    _: dataclasses.KW_ONLY
    decoupled_weight_decay: bool = False
