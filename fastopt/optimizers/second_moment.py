"""Variants of Adam with another second moment: AdaBelief, AcProp, Yogi, ADOPT, Sophia."""

import dataclasses
from typing import ClassVar

from fastopt.optimizers.base import MomentOptimizer, Optimizer, optimizer
from fastopt.rules import second_moment as _rules  # noqa: F401  registers the rules
from fastopt.rules.ranges import ABOVE_0, COUNT, Range
from fastopt.schedules import Hyperparameter, HyperparameterPair


@optimizer("adabelief")
class AdaBelief(MomentOptimizer):
    """Adam whose second moment measures how far the gradient is from its own average.

    As ``optax.adabelief``. The authors' code also rectifies by default, as `RAdam` does; this does not.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    betas : tuple of two floats or schedules
        Decay of the average of the gradient, and of that of its squared deviation from the former.
    eps : float or Schedule
        Added to the root of the second moment.
    weight_decay : float or Schedule
        Strength of the decay, in the form that `decoupled_weight_decay` says.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    eps_root : float or Schedule
        Added to the second moment at every step, so that it gathers in the state.
    maximize : bool
        Ascend instead of descend.
    state_dtype : {None, 'bfloat16', 'int8'}
        Keep the moments in half or a quarter of the memory.

    Notes
    -----
    Executed against optax 0.2.8, adabelief-pytorch 0.2.1, pytorch_optimizer 4.1.0.

    References
    ----------
    Zhuang et al. (2020), "AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients",
    algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import AdaBelief
    >>> w = np.ones(2)
    >>> AdaBelief(lr=0.25, betas=(0.5, 0.75)).bind(w).step([np.array([3.0, -0.1])])
    >>> w.round(6)
    array([0.5, 1.5])
    """

    lr: Hyperparameter = 1e-3
    betas: HyperparameterPair = (0.9, 0.999)
    eps: Hyperparameter = 1e-16
    weight_decay: Hyperparameter = 0.0
    decoupled_weight_decay: bool = True
    _: dataclasses.KW_ONLY
    eps_root: Hyperparameter = 1e-16


@optimizer("acprop")
class AcProp(MomentOptimizer):
    """The gradient divided by AdaBelief's second moment of the previous step.

    As ``optax.contrib.acprop``: there is no momentum; the average serves to centre the second moment, and
    does so before it takes in the gradient, where the paper centres afterwards. At the first step, which has
    no denominator yet, 1 stands in its place. A weight whose first gradient that is not 0 comes later divides
    it by `eps` and the root of `eps_root` alone: where inputs are often 0, raise one of them, to 1e-3 for
    example.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    betas : tuple of two floats or schedules
        Decay of the average of the gradient, and of that of its squared deviation from the former.
    eps : float or Schedule
        Added to the root of the second moment.
    weight_decay : float or Schedule
        Strength of the decay, in the form that `decoupled_weight_decay` says.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    eps_root : float or Schedule
        Added to the second moment at every step, so that it gathers in the state.
    maximize : bool
        Ascend instead of descend.
    state_dtype : {None, 'bfloat16', 'int8'}
        Keep the moments in half or a quarter of the memory.

    Notes
    -----
    Executed against optax 0.2.8.

    References
    ----------
    Zhuang et al. (2021), "Momentum Centering and Asynchronous Update for Adaptive Gradient Methods".

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import AcProp
    >>> w = np.ones(2)
    >>> AcProp(lr=0.5, betas=(0.5, 0.75)).bind(w).step([np.array([1.0, -2.0])])
    >>> w
    array([0.5, 2. ])
    """

    lr: Hyperparameter = 1e-3
    betas: HyperparameterPair = (0.9, 0.999)
    eps: Hyperparameter = 1e-16
    weight_decay: Hyperparameter = 0.0
    _: dataclasses.KW_ONLY
    eps_root: Hyperparameter = 1e-16
    decoupled_weight_decay: bool = True


@optimizer("yogi")
class Yogi(MomentOptimizer):
    """Adam whose second moment changes at most by the new square in each step, up or down.

    As ``optax.yogi``: bias-corrected, although neither average starts at 0.

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
    initial_accumulator_value : float
        Where both averages start.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    maximize : bool
        Ascend instead of descend.
    state_dtype : {None, 'bfloat16', 'int8'}
        Keep the moments in half or a quarter of the memory.

    Notes
    -----
    Executed against optax 0.2.8, torch-optimizer 0.3.0.

    References
    ----------
    Zaheer et al. (2018), "Adaptive Methods for Nonconvex Optimization", algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import Yogi
    >>> w = np.ones(2)
    >>> Yogi(lr=0.25, eps=0.0, initial_accumulator_value=0.0).bind(w).step([np.array([3.0, -0.1])])
    >>> w.round(6)
    array([0.75, 1.25])
    """

    lr: Hyperparameter = 1e-2
    betas: HyperparameterPair = (0.9, 0.999)
    eps: Hyperparameter = 1e-3
    weight_decay: Hyperparameter = 0.0
    initial_accumulator_value: float = 1e-6
    _: dataclasses.KW_ONLY
    decoupled_weight_decay: bool = False


@optimizer("adopt")
class ADOPT(MomentOptimizer):
    """Adam that divides each gradient by the previous second moment, and averages afterwards.

    With the authors' clipping, by ``(t - 1) ** 0.25``. As ``optax.contrib.adopt``, which has no weight decay,
    and timm's port of the authors' code with ``clip_exp=0.25``, whose decoupled decay begins with the second
    step. The first step only begins the second moment; decoupled decay shrinks the weights at it, too.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    betas : tuple of two floats or schedules
        Decay of the averages of the normalised gradient and of the gradient's square.
    eps : float or Schedule
        Least value of the denominator.
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
    Executed against optax 0.2.8, timm 1.0.31.

    References
    ----------
    Taniguchi et al. (2024), "ADOPT: Modified Adam Can Converge with Any beta2 with the Optimal Rate",
    algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import ADOPT
    >>> w = np.ones(2)
    >>> stepper = ADOPT(lr=0.5, betas=(0.5, 0.99)).bind(w)
    >>> for _ in range(2):
    ...     stepper.step([np.array([3.0, -0.1])])
    >>> w
    array([0.75, 1.25])
    """

    lr: Hyperparameter = 1e-3
    betas: HyperparameterPair = (0.9, 0.9999)
    eps: Hyperparameter = 1e-6
    weight_decay: Hyperparameter = 0.0
    decoupled_weight_decay: bool = False


@optimizer("sophiag")
class SophiaG(Optimizer):
    """Momentum divided by an estimate of the Hessian's diagonal, and clipped to the sign.

    As the authors' code (Liuhong99/Sophia), with the batch size inside the estimate: every few steps pass
    ``stepper.step(grads, hessian=estimates)``, for their estimator of Gauss, Newton and Bartlett the batch
    size times the square of the gradient for labels that are drawn from the model. Where there is no estimate
    yet, a weight moves by `lr`. The estimators have no such labels: `empirical_fisher` takes the squared
    gradient itself.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate: no weight moves further.
    betas : tuple of two floats or schedules
        Decay of the averages of the gradient and of the estimates.
    rho : float or Schedule
        Factor of the estimate; a smaller one clips more.
    weight_decay : float or Schedule
        Strength of the decay, in the form that `decoupled_weight_decay` says.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    empirical_fisher : float or Schedule
        If not 0, every `update_freq` steps this, for example the batch size, times the gradient's square is
        an estimate.
    update_freq : int
        Steps from one such estimate to the next.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against nothing: the authors' code is in no package, and optax's corrects a bias. The tests
    compare it with an oracle written after the authors' code.

    References
    ----------
    Liu et al. (2023), "Sophia: A Scalable Stochastic Second-order Optimizer for Language Model Pre-training",
    algorithm 3.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SophiaG
    >>> w = np.ones(2)
    >>> stepper = SophiaG(lr=0.5, betas=(0.0, 0.0), rho=1.0, weight_decay=0.0).bind(w)
    >>> stepper.step([np.array([3.0, -1.0])], hessian=[np.array([2.0, 4.0])])
    >>> w
    array([0.5  , 1.125])
    """

    takes_hessian: ClassVar[bool] = True
    ranges: ClassVar[dict[str, Range]] = {"rho": ABOVE_0, "update_freq": COUNT}
    lr: Hyperparameter = 1e-4
    betas: HyperparameterPair = (0.965, 0.99)
    rho: Hyperparameter = 0.04
    weight_decay: Hyperparameter = 0.1
    _: dataclasses.KW_ONLY
    empirical_fisher: Hyperparameter = 0.0
    update_freq: int = 10
    decoupled_weight_decay: bool = True
