"""Methods that estimate the distance to the solution, and so their learning rate."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from fastopt.optimizers.base import Optimizer, get_optimizer, optimizer
from fastopt.rules import parameter_free as _rules  # noqa: F401  registers the rules
from fastopt.rules.ranges import ABOVE_0, Range
from fastopt.schedules import Hyperparameter, HyperparameterPair, Run
from fastopt.stepping.cuda_stepper import refuse_on_gpu
from fastopt.stepping.mechanic import MechanicStepper
from fastopt.stepping.stepper import Stepper


class _Adaptive(Optimizer):
    """Base of Prodigy and D-adaptation, whose rules apply decoupled decay at the estimated rate."""

    @classmethod
    def prologue(cls, h: Mapping[str, Any]) -> tuple[float, float, float]:
        """Return ``(sign, l2, keep)`` with coupled decay only; the rule applies decoupled decay."""
        sign, l2, _ = super().prologue(h)
        return sign, l2, 1.0


@optimizer("prodigy")
class Prodigy(_Adaptive):
    """Adam that estimates its own learning rate, from its distance to the starting point.

    As the authors' code (konstmish/prodigy), defaults included: groups whose learning rate is 0 are left
    alone, and a step counts only if one group has another. optax always corrects the bias and counts every
    step.

    Parameters
    ----------
    lr : float or Schedule
        Factor of the estimated rate; leave it at 1, or let a schedule change it.
    betas : tuple of two floats or schedules
        Decay of the averages of the gradient and of its square.
    beta3 : float, Schedule or None
        Decay of the estimate's averages; None is the root of ``betas[1]``.
    eps : float or Schedule
        Added to the root of the second moment, times the estimate.
    weight_decay : float or Schedule
        Decay by the adapted rate, or coupled without `decoupled_weight_decay`.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    use_bias_correction : bool
        Adam's bias correction.
    safeguard_warmup : bool
        Leave `lr` out of the estimate's denominator, for a warm-up of `lr`.
    d0 : float
        First estimate of the distance, above 0.
    d_coef : float or Schedule
        Factor of the estimate.
    growth_rate : float or Schedule
        Bound of the estimate's growth in one step.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against optax 0.2.8, prodigyopt 1.1.2.

    References
    ----------
    Mishchenko & Defazio (2023), "Prodigy: An Expeditiously Adaptive Parameter-Free Learner", algorithm 4.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import Prodigy
    >>> w = np.array([3.0, -4.0])
    >>> stepper = Prodigy().bind(w)
    >>> for _ in range(200):
    ...     stepper.step([w - 1.0])
    >>> bool(np.abs(w - 1.0).max() < 0.5)
    True
    """

    ranges: ClassVar[dict[str, Range]] = {"growth_rate": (lambda x: x >= 1, "a number >= 1")}
    lr: Hyperparameter = 1.0
    betas: HyperparameterPair = (0.9, 0.999)
    beta3: Hyperparameter | None = None
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.0
    decoupled_weight_decay: bool = True
    use_bias_correction: bool = False
    safeguard_warmup: bool = False
    d0: float = 1e-6
    d_coef: Hyperparameter = 1.0
    growth_rate: Hyperparameter = math.inf


@optimizer("dadaptadam")
class DAdaptAdam(_Adaptive):
    """Adam that estimates its own learning rate, by D-adaptation.

    As the authors' code (facebookresearch/dadaptation): groups whose learning rate is 0 are left alone, and a
    step counts only if one group has another.

    Parameters
    ----------
    lr : float or Schedule
        Factor of the estimated rate; leave it at 1, or let a schedule change it.
    betas : tuple of two floats or schedules
        Decay of the averages of the gradient and of its square.
    eps : float or Schedule
        Added to the root of the second moment.
    weight_decay : float or Schedule
        Decay by the adapted rate, or coupled without `decoupled_weight_decay`.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    use_bias_correction : bool
        Adam's bias correction.
    d0 : float
        First estimate of the distance, above 0.
    growth_rate : float or Schedule
        Bound of the estimate's growth in one step.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against dadaptation 3.2, pytorch_optimizer 4.1.0.

    References
    ----------
    Defazio & Mishchenko (2023), "Learning-Rate-Free Learning by D-Adaptation", algorithm 5.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import DAdaptAdam
    >>> w = np.array([3.0, -4.0])
    >>> stepper = DAdaptAdam().bind(w)
    >>> for _ in range(300):
    ...     stepper.step([w - 1.0])
    >>> bool(np.abs(w - 1.0).max() < 0.5)
    True
    """

    ranges: ClassVar[dict[str, Range]] = {"growth_rate": (lambda x: x >= 1, "a number >= 1")}
    lr: Hyperparameter = 1.0
    betas: HyperparameterPair = (0.9, 0.999)
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.0
    decoupled_weight_decay: bool = False
    use_bias_correction: bool = False
    d0: float = 1e-6
    growth_rate: Hyperparameter = math.inf


@optimizer("dog")
class DoG(Optimizer):
    """Gradient descent at the rate of the distance from the start over the norm of all gradients so far.

    As ``optax.contrib.dog`` with its default, heuristic first step: one distance for all tensors. The authors
    recommend to average the weights.

    Parameters
    ----------
    lr : float or Schedule
        Factor of the estimated rate; leave it at 1, or let a schedule change it.
    reps_rel : float
        First distance, relative to 1 plus the norm of the weights.
    eps : float or Schedule
        Added to the sum of the squared norms.
    weight_decay : float or Schedule
        Strength of the decay, in the form that `decoupled_weight_decay` says.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against optax 0.2.8, dog-optimizer 1.0.3.

    References
    ----------
    Ivgi, Hinder & Carmon (2023), "DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size Schedule".

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import DoG
    >>> w = np.array([3.0, -4.0])
    >>> stepper = DoG(reps_rel=1e-2).bind(w)
    >>> for _ in range(200):
    ...     stepper.step([w - 1.0])
    >>> bool(np.abs(w - 1.0).max() < 0.5)
    True
    """

    lr: Hyperparameter = 1.0
    reps_rel: float = 1e-6
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.0
    _: dataclasses.KW_ONLY
    decoupled_weight_decay: bool = False


@optimizer("dowg")
class DoWG(Optimizer):
    """Gradient descent as in `DoG`, with each gradient weighted by the distance at which it was taken.

    As ``optax.contrib.dowg``: one distance for all tensors.

    Parameters
    ----------
    lr : float or Schedule
        Factor of the estimated rate; leave it at 1, or let a schedule change it.
    init_estim_sq_dist : float
        First squared distance.
    eps : float or Schedule
        Added to the root of the weighted sum.
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
    Khaled, Mishchenko & Jin (2023), "DoWG Unleashed: An Efficient Universal
    Parameter-Free Gradient Descent Method", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import DoWG
    >>> w = np.array([3.0, -4.0])
    >>> stepper = DoWG().bind(w)
    >>> for _ in range(200):
    ...     stepper.step([w - 1.0])
    >>> bool(np.abs(w - 1.0).max() < 0.5)
    True
    """

    lr: Hyperparameter = 1.0
    init_estim_sq_dist: float = 1e-4
    _: dataclasses.KW_ONLY
    eps: Hyperparameter = 1e-4
    weight_decay: Hyperparameter = 0.0
    decoupled_weight_decay: bool = False


@optimizer("mechanic")
class Mechanic(Optimizer):
    """Learns the scale of another optimizer's steps: weights are start plus scale times the sum of steps.

    As ``optax.contrib.mechanize`` with its default of six discount factors.

    Parameters
    ----------
    lr : float or Schedule
        The other optimizer's learning rate; its size does not matter, its schedule does.
    base : str
        Name of the other optimizer, which has its own defaults; one that needs nothing but gradients.
    weight_decay : float or Schedule
        Decay in the gradient from which the factor is learned, relative to the gradient's norm; the other
        optimizer's own decay is apart from it.
    eps : float or Schedule
        Keeps divisions from 0.
    s_init : float
        First value of the factor for each discount.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against optax 0.2.8.

    References
    ----------
    Cutkosky, Defazio & Mehta (2023), "Mechanic: A Learning Rate Tuner", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import Mechanic
    >>> w = np.array([3.0, -4.0])
    >>> stepper = Mechanic(base="sgd", lr=0.1).bind(w)
    >>> for _ in range(300):
    ...     stepper.step([w - 1.0])
    >>> bool(np.abs(w - 1.0).max() < 0.5)
    True
    """

    ranges: ClassVar[dict[str, Range]] = {"s_init": ABOVE_0, "eps": ABOVE_0}
    lr: Hyperparameter = 1.0
    base: str = "adamw"
    weight_decay: Hyperparameter = 1e-2
    eps: Hyperparameter = 1e-8
    s_init: float = 1e-6

    @classmethod
    def prologue(cls, h: Mapping[str, Any]) -> tuple[float, float, float]:
        """Return ``(sign, l2, keep)`` without decay, which the rule applies itself."""
        return super().prologue(h)[0], 0.0, 1.0

    @classmethod
    def check(cls, h: Mapping[str, Any]) -> None:
        """Check the values, and that the base optimizer needs only gradients."""
        super().check(h)
        inner = cls.make_base(h["base"])
        if inner.needs or inner.has_modes or isinstance(inner, cls):
            raise ValueError(
                f"Mechanic(base={h['base']!r}): base must be the name of an optimizer that needs nothing but "
                "gradients and has no evaluation mode, such as 'adamw' or 'sgd'"
            )

    @staticmethod
    def make_base(name: str) -> Optimizer:
        """Return the base optimizer, whose steps are scaled."""
        return get_optimizer(name)

    def stepper(self, groups: list[dict[str, Any]], n_threads: int | None, run: Run) -> Stepper:
        """Return the stepper for groups of arrays; see `Optimizer.bind`."""
        refuse_on_gpu(self, groups)
        return MechanicStepper(self, groups, n_threads, run)
