"""Variants of Adam with its two moments and another step: NAdam, RAdam, Adamax, AdEMAMix."""

import dataclasses

from fastopt.optimizers.base import MomentOptimizer, optimizer
from fastopt.rules import adam_variants as _rules  # noqa: F401  registers the rules
from fastopt.schedules import Hyperparameter, HyperparameterPair


@optimizer("nadam", nadamw={"decoupled_weight_decay": True, "weight_decay": 0.01})
class NAdam(MomentOptimizer):
    """Adam with Nesterov momentum.

    As ``torch.optim.NAdam``, defaults included.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    betas : tuple of two floats or schedules
        Decay of the averages of the gradient and of its square.
    eps : float or Schedule
        Added to the root of the corrected second moment.
    weight_decay : float or Schedule
        Strength of the decay, in the form that `decoupled_weight_decay` says.
    momentum_decay : float, Schedule or None
        Warms the momentum up: ``mu_t = beta1 * (1 - 0.96 ** (t * momentum_decay) / 2)``. torch has 0.004,
        Keras 1, optax no schedule: None.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    maximize : bool
        Ascend instead of descend.
    state_dtype : {None, 'bfloat16', 'int8'}
        Keep the moments in half or a quarter of the memory.

    Notes
    -----
    Executed against torch 2.13.0, optax 0.2.8, keras 3.15.1.

    References
    ----------
    Dozat (2016), "Incorporating Nesterov Momentum into Adam".

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import NAdam
    >>> w = np.ones(2)
    >>> NAdam(lr=0.25, momentum_decay=None).bind(w).step([np.array([3.0, -0.1])])
    >>> w.round(4)
    array([0.6316, 1.3684])
    """

    lr: Hyperparameter = 2e-3
    betas: HyperparameterPair = (0.9, 0.999)
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.0
    momentum_decay: Hyperparameter | None = 4e-3
    decoupled_weight_decay: bool = False


@optimizer("radam")
class RAdam(MomentOptimizer):
    """Rectified Adam: plain momentum until the second moment's variance is known to be finite.

    As ``torch.optim.RAdam``, defaults included.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    betas : tuple of two floats or schedules
        Decay of the averages of the gradient and of its square.
    eps : float or Schedule
        Added to the root of the second moment.
    weight_decay : float or Schedule
        Strength of the decay, in the form that `decoupled_weight_decay` says.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    eps_mode : {'torch', 'hat', 'corrected'}
        'corrected' adds `eps` after the bias correction, as optax does; torch adds it before ('hat').
    maximize : bool
        Ascend instead of descend.
    state_dtype : {None, 'bfloat16', 'int8'}
        Keep the moments in half or a quarter of the memory.

    Notes
    -----
    Executed against torch 2.13.0, optax 0.2.8.

    References
    ----------
    Liu et al. (2020), "On the Variance of the Adaptive Learning Rate and Beyond", algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import RAdam
    >>> w = np.ones(2)
    >>> RAdam(lr=0.25).bind(w).step([np.array([3.0, -1.0])])
    >>> w
    array([0.25, 1.25])
    """

    lr: Hyperparameter = 1e-3
    betas: HyperparameterPair = (0.9, 0.999)
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.0
    decoupled_weight_decay: bool = False
    _: dataclasses.KW_ONLY
    eps_mode: str = "torch"


@optimizer("adamax", adamaxw={"decoupled_weight_decay": True, "weight_decay": 1e-4})
class Adamax(MomentOptimizer):
    """Adam with the infinity norm in place of the second moment.

    As ``torch.optim.Adamax``, defaults included.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    betas : tuple of two floats or schedules
        Decay of the average of the gradient and of the norm.
    eps : float or Schedule
        Keeps the norm from 0.
    weight_decay : float or Schedule
        Strength of the decay, in the form that `decoupled_weight_decay` says.
    eps_in_max : bool
        Take the maximum with ``abs(g) + eps``, as torch and optax do; False adds `eps` to the norm, as Keras.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    maximize : bool
        Ascend instead of descend.
    state_dtype : {None, 'bfloat16', 'int8'}
        Keep the moments in half or a quarter of the memory.

    Notes
    -----
    Executed against torch 2.13.0, optax 0.2.8, keras 3.15.1.

    References
    ----------
    Kingma & Ba (2015), "Adam: A Method for Stochastic Optimization", algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import Adamax
    >>> w = np.ones(2)
    >>> Adamax(lr=0.25).bind(w).step([np.array([3.0, -0.1])])
    >>> w.round(6)
    array([0.75, 1.25])
    """

    lr: Hyperparameter = 2e-3
    betas: HyperparameterPair = (0.9, 0.999)
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.0
    _: dataclasses.KW_ONLY
    eps_in_max: bool = True
    decoupled_weight_decay: bool = False


@optimizer("ademamix")
class AdEMAMix(MomentOptimizer):
    """Adam with a second, much slower average of the gradient beside the first.

    As the authors' code (apple/ml-ademamix). optax has ``alpha=5``.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    betas : tuple of three floats or schedules
        Decay of the fast average, of the average of the squares, and of the slow average.
    eps : float or Schedule
        Added to the root of the corrected second moment.
    weight_decay : float or Schedule
        Strength of the decay, in the form that `decoupled_weight_decay` says.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    alpha : float or Schedule
        Weight of the slow average.
    alpha_warmup : int or None
        Steps over which `alpha` rises from 0.
    beta3_warmup : int or None
        Steps over which the slow average's half-life rises from that of the fast one.
    maximize : bool
        Ascend instead of descend.
    state_dtype : {None, 'bfloat16', 'int8'}
        Keep the moments in half or a quarter of the memory.

    Notes
    -----
    Executed against optax 0.2.8, pytorch_optimizer 4.1.0.

    References
    ----------
    Pagliardini, Ablin & Grangier (2024), "The AdEMAMix Optimizer: Better, Faster, Older", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import AdEMAMix
    >>> w = np.ones(2)
    >>> AdEMAMix(lr=0.25, alpha=0.0).bind(w).step([np.array([3.0, -0.1])])
    >>> w.round(6)
    array([0.75, 1.25])
    """

    lr: Hyperparameter = 1e-3
    betas: tuple[Hyperparameter, Hyperparameter, Hyperparameter] = (0.9, 0.999, 0.9999)
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.0
    alpha: Hyperparameter = 2.0
    alpha_warmup: int | None = None
    beta3_warmup: int | None = None
    _: dataclasses.KW_ONLY
    decoupled_weight_decay: bool = True
