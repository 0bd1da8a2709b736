"""Schedule-free methods: no schedule of the learning rate, and an average of the path instead of its end."""

from collections.abc import Mapping
from typing import Any, ClassVar

from fastopt.optimizers.base import Optimizer, optimizer
from fastopt.rules import schedule_free as _rules  # noqa: F401  registers the rules
from fastopt.schedules import Hyperparameter, HyperparameterPair


class _ScheduleFree(Optimizer):
    """Base of schedule-free methods: gradients at y, base iterate z, evaluation at the average x."""

    has_modes: ClassVar[bool] = True

    @classmethod
    def interpolation(cls, h: Mapping[str, Any]) -> float:
        """Return the weight of x in ``y = (1 - weight) * z + weight * x``."""
        raise NotImplementedError

    @classmethod
    def evaluation(cls, h: Mapping[str, Any]) -> tuple[str, float, float]:
        """Return slot z, and the weights that move from y to x and back."""
        beta = cls.interpolation(h)
        return "z", 1.0 - 1.0 / beta, 1.0 - beta

    @classmethod
    def check(cls, h: Mapping[str, Any]) -> None:
        """Check the values; the interpolation must be in (0, 1), as y to x divides by it."""
        super().check(h)
        if not 0 < cls.interpolation(h) < 1:
            raise ValueError(
                f"{cls.__name__} interpolates with {cls.interpolation(h)!r}, which must be in (0, 1)"
            )


@optimizer("schedulefreesgd")
class ScheduleFreeSGD(_ScheduleFree):
    """Gradient descent without a schedule: the average of the iterates is evaluated.

    The weights hold the point where gradients are taken. ``stepper.eval()`` moves them to the average,
    ``stepper.train()`` back; a step in eval mode is refused. The estimators do this by themselves.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate; larger than one would give `SGD`.
    momentum : float or Schedule
        Interpolation between the steps and their average, in (0, 1).
    weight_decay : float or Schedule
        Coupled decay, taken at the point of the gradient.
    warmup_steps : int
        Steps over which the learning rate rises linearly.
    r : float or Schedule
        Power of the step in the average's weights.
    weight_lr_power : float or Schedule
        Power of the largest learning rate so far in the average's weights.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against optax 0.2.8, schedulefree 1.4.1.

    References
    ----------
    Defazio et al. (2024), "The Road Less Scheduled", equations 3-5, in the form of the authors' code.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import ScheduleFreeSGD
    >>> w = np.ones(1)
    >>> stepper = ScheduleFreeSGD(lr=0.5, momentum=0.5).bind(w)
    >>> for _ in range(2):
    ...     stepper.step([np.ones(1)])
    >>> stepper.eval()
    >>> w
    array([0.25])
    """

    lr: Hyperparameter = 1.0
    momentum: Hyperparameter = 0.9
    weight_decay: Hyperparameter = 0.0
    warmup_steps: int = 0
    r: Hyperparameter = 0.0
    weight_lr_power: Hyperparameter = 2.0

    @classmethod
    def interpolation(cls, h: Mapping[str, Any]) -> float:
        """Return the weight of x in ``y = (1 - weight) * z + weight * x``."""
        return h["momentum"]


class _Adaptive(_ScheduleFree):
    """Base of the schedule-free methods with Adam's second moment."""

    @classmethod
    def prologue(cls, h: Mapping[str, Any]) -> tuple[float, float, float]:
        """Return ``(sign, l2, keep)`` without decay, which the rule applies at y."""
        return super().prologue({**h, "weight_decay": 0.0})

    @classmethod
    def decays_in_rule(cls, h: Mapping[str, Any]) -> bool:
        """Whether the rule depends on the decay, as it does if there is any."""
        return bool(h["weight_decay"])

    @classmethod
    def interpolation(cls, h: Mapping[str, Any]) -> float:
        """Return the weight of x in ``y = (1 - weight) * z + weight * x``."""
        return h["betas"][0]


@optimizer("schedulefreeadamw")
class ScheduleFreeAdamW(_Adaptive):
    """AdamW without a schedule: the average of the iterates is evaluated.

    The weights hold the point where gradients are taken. ``stepper.eval()`` moves them to the average,
    ``stepper.train()`` back; a step in eval mode is refused. The estimators do this by themselves.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    betas : tuple of two floats or schedules
        Interpolation between the steps and their average, in (0, 1), and decay of the average of squared
        gradients.
    eps : float or Schedule
        Added to the root of the corrected second moment.
    weight_decay : float or Schedule
        Decoupled decay, taken at the point of the gradient.
    warmup_steps : int
        Steps over which the learning rate rises linearly.
    r : float or Schedule
        Power of the step in the average's weights.
    weight_lr_power : float or Schedule
        Power of the largest learning rate so far in the average's weights.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against optax 0.2.8, keras 3.15.1, schedulefree 1.4.1.

    References
    ----------
    Defazio et al. (2024), "The Road Less Scheduled", algorithm 1, in the form of the authors' code.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import ScheduleFreeAdamW
    >>> w = np.ones(2)
    >>> ScheduleFreeAdamW(lr=0.25).bind(w).step([np.array([3.0, -0.1])])
    >>> w.round(6)
    array([0.75, 1.25])
    """

    lr: Hyperparameter = 2.5e-3
    betas: HyperparameterPair = (0.9, 0.999)
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.0
    warmup_steps: int = 0
    r: Hyperparameter = 0.0
    weight_lr_power: Hyperparameter = 2.0


@optimizer("schedulefreeradam")
class ScheduleFreeRAdam(_Adaptive):
    """Schedule-free AdamW with the rectification of `RAdam` as its warm-up.

    The weights hold the point where gradients are taken; see `ScheduleFreeAdamW`.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    betas : tuple of two floats or schedules
        Interpolation between the steps and their average, in (0, 1), and decay of the average of squared
        gradients.
    eps : float or Schedule
        Added to the root of the corrected second moment.
    weight_decay : float or Schedule
        Decoupled decay, taken at the point of the gradient.
    r : float or Schedule
        Power of the step in the average's weights.
    weight_lr_power : float or Schedule
        Power of the largest learning rate so far in the average's weights.
    silent_sgd_phase : bool
        Move nothing in the first steps, where the second moment is not yet known, as the authors recommend;
        False steps along the gradient there.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against schedulefree 1.4.1.

    References
    ----------
    Defazio et al. (2024), "The Road Less Scheduled", and Liu et al. (2020), "On the Variance of the Adaptive
    Learning Rate and Beyond", combined as in the authors' code.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import ScheduleFreeRAdam
    >>> w = np.ones(2)
    >>> ScheduleFreeRAdam(lr=0.25).bind(w).step([np.array([3.0, -0.1])])
    >>> w
    array([1., 1.])
    """

    lr: Hyperparameter = 2.5e-3
    betas: HyperparameterPair = (0.9, 0.999)
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.0
    r: Hyperparameter = 0.0
    weight_lr_power: Hyperparameter = 2.0
    silent_sgd_phase: bool = True
