"""Methods that scale each tensor's step by norms of the tensor."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from fastopt.optimizers.adam import AdamW
from fastopt.optimizers.base import Optimizer, optimizer
from fastopt.rules import layerwise as _rules  # noqa: F401  registers the rules
from fastopt.schedules import Hyperparameter, HyperparameterPair


class _DecaysItself(Optimizer):
    """Base of optimizers whose rules apply weight decay themselves."""

    @classmethod
    def prologue(cls, h: Mapping[str, Any]) -> tuple[float, float, float]:
        """Return ``(sign, l2, keep)`` without decay, which the rule applies itself."""
        return super().prologue(h)[0], 0.0, 1.0


@optimizer("lars")
class LARS(_DecaysItself):
    """Layer-wise adaptive rate scaling: momentum, with each tensor's step proportional to its weights' norm.

    As ``optax.lars``; a tensor whose weights or gradient are all 0 takes a plain step. ``LARS(norm="sum",
    lr_in_momentum=False, always_adapt=False, eps=1e-8)`` is timm's.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    momentum : float or Schedule
        Momentum factor.
    weight_decay : float or Schedule
        Coupled decay; enters the norm as `norm` says.
    trust_coefficient : float or Schedule
        Scales the ratio of the norms.
    eps : float or Schedule
        Added to the gradient's norm.
    nesterov : bool
        Nesterov momentum.
    norm : {'decayed', 'sum'}
        Divide by the norm of ``g + weight_decay * w``, as optax does, or by ``|g| + weight_decay * |w|``, as
        the paper and timm do.
    lr_in_momentum : bool
        Put the learning rate into the buffer, as the paper and optax do; timm multiplies the buffer by it.
        The same numbers while the learning rate is constant.
    always_adapt : bool
        Scale tensors without weight decay, too; False gives them plain momentum, as timm does by default.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against optax 0.2.8, timm 1.0.31.

    References
    ----------
    You, Gitman & Ginsburg (2017), "Large Batch Training of Convolutional Networks", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import LARS
    >>> w = np.array([3.0, 4.0])
    >>> LARS(lr=1.0, trust_coefficient=0.1).bind(w).step([np.array([0.0, 2.0])])
    >>> w
    array([3. , 3.5])
    """

    lr: Hyperparameter = 1e-3
    momentum: Hyperparameter = 0.9
    weight_decay: Hyperparameter = 0.0
    trust_coefficient: Hyperparameter = 1e-3
    eps: Hyperparameter = 0.0
    nesterov: bool = False
    _: dataclasses.KW_ONLY
    norm: str = "decayed"
    lr_in_momentum: bool = True
    always_adapt: bool = True


@optimizer("lamb")
class LAMB(_DecaysItself):
    """Adam with each tensor's step scaled to the norm of its weights, times the learning rate.

    As ``optax.lamb``. The ratio is 1 where weights or step are all 0. Gradients are not clipped: with
    ``always_adapt=False`` this is timm's with ``max_grad_norm=None``, which clips their global norm to 1 by
    default (`Clip`).

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    betas : tuple of two floats or schedules
        Decay of the averages of the gradient and of its square.
    eps : float or Schedule
        Added to the root of the corrected second moment.
    weight_decay : float or Schedule
        Decoupled decay.
    decay_in_ratio : bool
        The decay is a part of the step whose norm is taken, as in the paper and optax; False applies it
        before, as Keras does.
    always_adapt : bool
        Scale tensors without weight decay, too; False gives them Adam's step, as timm does by default.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against optax 0.2.8, keras 3.15.1, timm 1.0.31.

    References
    ----------
    You et al. (2020), "Large Batch Optimization for Deep Learning: Training BERT in 76 Minutes", algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import LAMB
    >>> w = np.array([3.0, 4.0])
    >>> LAMB(lr=0.5, eps=0.0).bind(w).step([np.array([2.0, -0.1])])
    >>> w.round(3)
    array([1.232, 5.768])
    """

    lr: Hyperparameter = 1e-3
    betas: HyperparameterPair = (0.9, 0.999)
    eps: Hyperparameter = 1e-6
    weight_decay: Hyperparameter = 0.0
    _: dataclasses.KW_ONLY
    decay_in_ratio: bool = True
    always_adapt: bool = True

    @classmethod
    def prologue(cls, h: Mapping[str, Any]) -> tuple[float, float, float]:
        """Return ``(sign, l2, keep)``, without decay where that is part of the trust ratio."""
        sign = super().prologue(h)[0]
        return sign, 0.0, 1.0 if h["decay_in_ratio"] else 1.0 - h["lr"] * h["weight_decay"]


@optimizer("novograd")
class NovoGrad(_DecaysItself):
    """Momentum on gradients that are divided by a running norm of their whole tensor.

    As ``optax.novograd``: no bias correction; the second moment begins with the first squared norm.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    betas : tuple of two floats or schedules
        Decay of the momentum and of the squared norm.
    eps : float or Schedule
        Added to the running norm.
    weight_decay : float or Schedule
        Joins the normalised gradient.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against optax 0.2.8, pytorch_optimizer 4.1.0.

    References
    ----------
    Ginsburg et al. (2019), "Stochastic Gradient Methods with Layer-wise Adaptive Moments for Training of Deep
    Networks", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import NovoGrad
    >>> w = np.ones(2)
    >>> NovoGrad(lr=0.5, eps=0.0).bind(w).step([np.array([3.0, -4.0])])
    >>> w
    array([0.7, 1.4])
    """

    lr: Hyperparameter = 1e-3
    betas: HyperparameterPair = (0.9, 0.25)
    eps: Hyperparameter = 1e-6
    weight_decay: Hyperparameter = 0.0


@optimizer("fromage")
class Fromage(Optimizer):
    """Gradient descent in which each tensor changes by a fixed share of its norm.

    As ``optax.fromage``.

    Parameters
    ----------
    lr : float or Schedule
        Length of the step relative to the norm of the tensor.
    min_norm : float or Schedule
        Least norm of weights and gradient.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against optax 0.2.8.

    References
    ----------
    Bernstein et al. (2020), "On the distance between two neural networks and the stability of learning",
    algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import Fromage
    >>> w = np.array([3.0, 4.0])
    >>> Fromage(lr=0.75).bind(w).step([np.array([0.0, 2.0])])
    >>> w.round(6)
    array([2.4, 0.2])
    """

    lr: Hyperparameter = 1e-2
    min_norm: Hyperparameter = 1e-6


@optimizer("mars")
class MARS(Optimizer):
    """AdamW on variance-reduced gradients: corrected by their change, and clipped to a norm of 1 per tensor.

    As the authors' code (AGI-Arena/MARS) with ``mars_type='mars-adamw'``: arrays that are no matrices are
    updated by `AdamW` with values of their own, and the gradient before the first is 0.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate of matrices.
    betas : tuple of two floats or schedules
        Decay of the averages of the corrected gradient and of its square.
    eps : float or Schedule
        Added to the root of the corrected second moment.
    weight_decay : float or Schedule
        Decoupled decay of matrices.
    gamma : float or Schedule
        Weight of the correction.
    optimize_1d : bool
        Update arrays that are no matrices likewise.
    lr_1d : float, Schedule or None
        Learning rate of arrays that are no matrices, unless `optimize_1d`; None is `lr`.
    betas_1d : tuple of two floats or schedules
        Their betas, unless `optimize_1d`.
    weight_decay_1d : float or Schedule
        Their decoupled decay, unless `optimize_1d`.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against timm 1.0.31, pytorch_optimizer 4.1.0.

    References
    ----------
    Yuan et al. (2024), "MARS: Unleashing the Power of Variance Reduction for Training Large Models",
    algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import MARS
    >>> w = np.ones((2, 2))
    >>> MARS(lr=0.25).bind(w).step([np.array([[3.0, -0.1], [0.1, -3.0]])])
    >>> w.round(6)
    array([[0.75, 1.25],
           [0.75, 1.25]])
    """

    decoupled: ClassVar[bool] = True
    lr: Hyperparameter = 3e-3
    betas: HyperparameterPair = (0.95, 0.99)
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.0
    gamma: Hyperparameter = 0.025
    optimize_1d: bool = False
    lr_1d: Hyperparameter | None = None
    betas_1d: HyperparameterPair = (0.9, 0.95)
    weight_decay_1d: Hyperparameter = 0.1

    @classmethod
    def for_shape(
        cls, h: Mapping[str, Any], shape: tuple[int, ...]
    ) -> tuple[type[Optimizer], Mapping[str, Any]]:
        """Return the class itself for matrices, and AdamW with its own values for other arrays."""
        if len(shape) == 2 or h["optimize_1d"]:
            return cls, h
        own = {"betas": h["betas_1d"], "weight_decay": h["weight_decay_1d"], "lr": h["lr_1d"]}
        own["lr"] = h["lr"] if own["lr"] is None else own["lr"]
        return AdamW, AdamW().get_params() | {"eps": h["eps"], "maximize": h["maximize"]} | own
