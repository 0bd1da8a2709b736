"""Resilient backpropagation."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from fastopt.optimizers.base import Optimizer, optimizer
from fastopt.rules import rprop as _rules  # noqa: F401  registers the rules
from fastopt.schedules import Hyperparameter, HyperparameterPair


@optimizer("rprop")
class Rprop(Optimizer):
    """Resilient propagation: only the sign of the gradient counts. For full batches.

    As ``torch.optim.Rprop``, defaults included.

    Parameters
    ----------
    lr : float or Schedule
        First step size of every weight.
    etas : tuple of two floats or schedules
        Factors of a step size after the gradient changed its sign, and after it did not.
    step_sizes : tuple of two floats or schedules
        Smallest and largest step size.
    weight_decay : float or Schedule
        Decoupled decay, which torch does not have.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against torch 2.13.0.

    References
    ----------
    Igel & Huesken (2003), "Empirical evaluation of the improved Rprop learning algorithms".

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import Rprop
    >>> w = np.ones(2)
    >>> Rprop(lr=0.25).bind(w).step([np.array([3.0, -0.1])])
    >>> w
    array([0.75, 1.25])
    """

    lr: Hyperparameter = 1e-2
    etas: HyperparameterPair = (0.5, 1.2)
    step_sizes: HyperparameterPair = (1e-6, 50.0)
    weight_decay: Hyperparameter = 0.0
    _: dataclasses.KW_ONLY
    decoupled_weight_decay: bool = True

    @classmethod
    def check(cls, h: Mapping[str, Any]) -> None:
        """Check the values, and that each pair is in order."""
        super().check(h)
        minus, plus = h["etas"]
        if not 0 < minus < 1 < plus:
            raise ValueError(f"Rprop(etas={h['etas']!r}): etas must be below and above 1")
        if not h["step_sizes"][0] <= h["step_sizes"][1]:
            raise ValueError(
                f"Rprop(step_sizes={h['step_sizes']!r}): the smallest must not exceed the largest"
            )
