"""Methods with a factored second moment: one number for each row and column, not for each weight."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from fastopt.optimizers.base import Optimizer, optimizer
from fastopt.rules import factored as _rules  # noqa: F401  registers the rules
from fastopt.rules.ranges import ABOVE_0, Range
from fastopt.rules.registry import RULES, Rule
from fastopt.rules.tensorwise import TENSOR_RULES, TensorRule
from fastopt.schedules import Hyperparameter

#: In place of an eps that depends on the dtype: rules take numbers only.
_EPS_OF_DTYPE = float("nan")  # and not math.nan, which a user may pass


@optimizer("adafactor")
class Adafactor(Optimizer):
    """Adam without momentum, whose second moment of a matrix is factored into means of rows and of columns.

    As ``torch.optim.Adafactor``, defaults included. optax factors only from 128 rows and columns on, adds
    1e-30 to the squares and applies the decay unscaled; Keras keeps the whole second moment as well.

    Of more than two axes the last two are factored, each such matrix by itself; in NumPy, on one thread.

    Parameters
    ----------
    lr : float or Schedule
        Upper bound of the relative step size ``1 / sqrt(t)``.
    beta2_decay : float or Schedule
        Power of the step that the averages' weight follows, not above 0.
    eps : tuple of two floats
        Lower bounds of the second moment's root (None is the dtype's machine epsilon) and of the weights'
        root mean square.
    d : float or Schedule
        Largest root mean square of the update.
    weight_decay : float or Schedule
        Decoupled decay: each step multiplies the weights by ``1 - lr * weight_decay`` first.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against torch 2.13.0.

    References
    ----------
    Shazeer & Stern (2018), "Adafactor: Adaptive Learning Rates with Sublinear Memory
    Cost", algorithms 4 and 5.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import Adafactor
    >>> w = np.ones((2, 2))
    >>> Adafactor(lr=0.25).bind(w).step([np.array([[3.0, 3.0], [-1.0, -1.0]])])
    >>> w
    array([[0.75, 0.75],
           [1.25, 1.25]])
    """

    decoupled: ClassVar[bool] = True
    ranges: ClassVar[dict[str, Range]] = {
        "beta2_decay": (lambda x: -math.inf < x <= 0, "a finite number <= 0"),
        "d": ABOVE_0,
    }
    lr: Hyperparameter = 1e-2
    beta2_decay: Hyperparameter = -0.8
    eps: tuple[float | None, float] = (None, 1e-3)
    d: Hyperparameter = 1.0
    weight_decay: Hyperparameter = 0.0

    @classmethod
    def check(cls, h: Mapping[str, Any]) -> None:
        """Check the values; the first eps may be None, or what `for_shape` puts in its place."""
        eps = h["eps"]
        is_pair = isinstance(eps, (tuple, list)) and len(eps) == 2
        if is_pair and (eps[0] is None or eps[0] is _EPS_OF_DTYPE):
            h = {**h, "eps": (0.0, eps[1])}
        super().check(h)

    @classmethod
    def for_shape(
        cls, h: Mapping[str, Any], shape: tuple[int, ...]
    ) -> tuple[type[Optimizer], Mapping[str, Any]]:
        """Return class and values, with NaN for an eps that depends on the dtype."""
        first, second = h["eps"]
        return cls, {**h, "eps": (_EPS_OF_DTYPE if first is None else first, second)}

    @classmethod
    def rule_for(cls, h: Mapping[str, Any], shape: tuple[int, ...]) -> Rule | TensorRule:
        """Return the rule for a vector, a matrix, or a stack of matrices."""
        return TENSOR_RULES[
            ("adafactor_vector", "adafactor", "adafactor_stack")[min(max(len(shape) - 1, 0), 2)]
        ]


@optimizer("sm3")
class SM3(Optimizer):
    """Adagrad with an accumulator for each row and each column of a matrix, not for each weight.

    As ``optax.sm3`` for one and two axes. Arrays of more axes are matrices here whose columns are the last
    axis; optax keeps an accumulator for each axis.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    momentum : float or Schedule
        Decay of the average of the scaled gradient.
    eps : float or Schedule
        Added under the root.
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
    Anil et al. (2019), "Memory-Efficient Adaptive Optimization", algorithm SM3-II.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SM3
    >>> w = np.ones((1, 2))
    >>> SM3(lr=0.5, momentum=0.5, eps=0.0).bind(w).step([np.array([[3.0, -0.1]])])
    >>> w
    array([[0.75, 1.25]])
    """

    lr: Hyperparameter = 1e-3
    momentum: Hyperparameter = 0.9
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.0
    _: dataclasses.KW_ONLY
    decoupled_weight_decay: bool = False

    @classmethod
    def rule_for(cls, h: Mapping[str, Any], shape: tuple[int, ...]) -> Rule | TensorRule:
        """Return the rule with rows and columns for two axes or more, else that for vectors."""
        return TENSOR_RULES["sm3"] if len(shape) > 1 else RULES["sm3_vector"]
