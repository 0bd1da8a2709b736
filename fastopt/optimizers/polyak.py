"""Methods that choose the step from the value of the loss."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from fastopt.optimizers.base import Optimizer, optimizer
from fastopt.rules import polyak as _rules  # noqa: F401  registers the rules
from fastopt.rules.ranges import BELOW_1, FINITE, Range
from fastopt.schedules import Hyperparameter, HyperparameterPair


@optimizer("polyaksgd")
class PolyakSGD(Optimizer):
    """Gradient descent whose step is the loss above its least value, over the gradient's squared norm.

    As ``optax.polyak_sgd(variant='sps+')`` with ``scaling=1``: a loss below `f_min` gives no step. Needs
    ``stepper.step(grads, loss=...)``; the estimators pass the loss of each batch.

    Parameters
    ----------
    lr : float or Schedule
        Largest step.
    f_min : float or Schedule
        Least value of the loss.
    scaling : float or Schedule
        Factor of the step, below its bound as at it; optax divides by its argument of this name below.
    eps : float or Schedule
        Added to the squared norm, which is that of all tensors together.
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
    Loizou et al. (2021), "Stochastic Polyak Step-size for SGD: An Adaptive Learning
    Rate for Fast Convergence".

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import PolyakSGD
    >>> w = np.array([3.0, 4.0])
    >>> PolyakSGD().bind(w).step([2 * w], loss=w @ w)
    >>> w
    array([1.5, 2. ])
    """

    needs: ClassVar[str | None] = "loss"
    ranges: ClassVar[dict[str, Range]] = {"f_min": FINITE}
    lr: Hyperparameter = 1.0
    f_min: Hyperparameter = 0.0
    scaling: Hyperparameter = 1.0
    eps: Hyperparameter = 0.0
    weight_decay: Hyperparameter = 0.0
    _: dataclasses.KW_ONLY
    decoupled_weight_decay: bool = False


class _Momo(Optimizer):
    """Base of the two MoMo methods."""

    needs: ClassVar[str | None] = "loss"
    ranges: ClassVar[dict[str, Range]] = {"lower_bound": FINITE}

    @classmethod
    def prologue(cls, h: Mapping[str, Any]) -> tuple[float, float, float]:
        """Return ``(sign, l2, keep)`` without decay, which the rule applies itself."""
        return super().prologue(h)[0], 0.0, 1.0


@optimizer("momo")
class MoMo(_Momo):
    """Momentum whose step follows from averages of the loss and of the gradient.

    As the authors' code (fabian-sp/MoMo); optax applies the weight decay before the step, not after it. Needs
    ``stepper.step(grads, loss=...)``; the estimators pass the loss of each batch.

    Parameters
    ----------
    lr : float or Schedule
        Largest step.
    beta : float or Schedule
        Decay of the averages, below 1.
    lower_bound : float or Schedule
        Bound of the loss from below.
    weight_decay : float or Schedule
        Decay, proximal: divides the weights by ``1 + lr * weight_decay`` after the step.
    adapt_lower_bound : bool
        Raise the bound when the loss says so.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against optax 0.2.8, momo-opt 0.1.0.

    References
    ----------
    Schaipp et al. (2023), "MoMo: Momentum Models for Adaptive Learning Rates", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import MoMo
    >>> w = np.array([3.0, 4.0])
    >>> MoMo().bind(w).step([2 * w], loss=w @ w)
    >>> w
    array([1.5, 2. ])
    """

    ranges: ClassVar[dict[str, Range]] = {"lower_bound": FINITE, "beta": BELOW_1}
    lr: Hyperparameter = 1.0
    beta: Hyperparameter = 0.9
    lower_bound: Hyperparameter = 0.0
    weight_decay: Hyperparameter = 0.0
    adapt_lower_bound: bool = False


@optimizer("momoadam")
class MoMoAdam(_Momo):
    """Adam whose step follows from averages of the loss and of the gradient.

    As the authors' code (fabian-sp/MoMo); optax applies the weight decay before the step, not after it. Needs
    ``stepper.step(grads, loss=...)``; the estimators pass the loss of each batch.

    Parameters
    ----------
    lr : float or Schedule
        Largest step.
    betas : tuple of two floats or schedules
        Decay of the averages of gradient and loss, and of the squared gradient.
    eps : float or Schedule
        Added to the root of the corrected second moment.
    lower_bound : float or Schedule
        Bound of the loss from below.
    weight_decay : float or Schedule
        Decay, proximal: divides the weights by ``1 + lr * weight_decay`` after the step.
    adapt_lower_bound : bool
        Raise the bound when the loss says so.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against optax 0.2.8, momo-opt 0.1.0.

    References
    ----------
    Schaipp et al. (2023), "MoMo: Momentum Models for Adaptive Learning Rates", algorithm 3.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import MoMoAdam
    >>> w = np.array([3.0, 4.0])
    >>> MoMoAdam(lr=0.5).bind(w).step([2 * w], loss=w @ w)
    >>> w.round(6)
    array([2.5, 3.5])
    """

    lr: Hyperparameter = 1e-2
    betas: HyperparameterPair = (0.9, 0.999)
    eps: Hyperparameter = 1e-8
    lower_bound: Hyperparameter = 0.0
    weight_decay: Hyperparameter = 0.0
    adapt_lower_bound: bool = False
