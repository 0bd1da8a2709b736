"""Methods that divide by a root of squared gradients, without Adam's first moment."""

import dataclasses
from typing import ClassVar

from fastopt.optimizers.base import MomentOptimizer, Optimizer, optimizer
from fastopt.rules import rmsprop as _rules  # noqa: F401  registers the rules
from fastopt.rules.ranges import IN_0_1
from fastopt.rules.registry import RULES


@optimizer("rmsprop")
class RMSprop(MomentOptimizer):
    """Divide the gradient by a moving average of its size.

    As ``torch.optim.RMSprop``, defaults included. optax and Keras put `eps` under the root, the learning rate
    into the buffer and have ``alpha=0.9``: ``RMSprop(alpha=0.9, eps_in_sqrt=True, lr_in_momentum=True)``.

    Parameters
    ----------
    lr : float
        Learning rate.
    alpha : float
        Decay of the average of the squared gradient.
    eps : float
        Added to its root.
    weight_decay : float
        Coupled decay.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    momentum : float
        Heavy-ball momentum on the scaled gradient; 0 keeps no buffer.
    centered : bool
        Divide by an estimate of the standard deviation (Graves, 2013).
    eps_in_sqrt : bool
        Add `eps` under the root.
    lr_in_momentum : bool
        Put the learning rate into the buffer; differs only when the learning rate changes.
    maximize : bool
        Ascend instead of descend.
    state_dtype : {None, 'bfloat16', 'int8'}
        Keep the moments in half or a quarter of the memory.

    References
    ----------
    Tieleman & Hinton (2012), "Lecture 6.5 - rmsprop".

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import RMSprop
    >>> w = np.ones(2)
    >>> RMSprop(lr=0.25, alpha=0.75).bind(w).step([np.array([3.0, -0.1])])
    >>> w.round(6)
    array([0.5, 1.5])
    """

    ranges: ClassVar[dict] = {"alpha": IN_0_1}
    lr: float = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False
    _: dataclasses.KW_ONLY
    eps_in_sqrt: bool = False
    lr_in_momentum: bool = False
    decoupled_weight_decay: bool = False

    @classmethod
    def rule(cls, h):
        """Return the rule for these values of centered and momentum."""
        return RULES["rmsprop" + "_centered" * bool(h["centered"]) + "_momentum" * bool(h["momentum"])]


@optimizer("adagrad")
class Adagrad(Optimizer):
    """Divide the gradient by the root of the sum of all its squares.

    As ``torch.optim.Adagrad``, defaults included. optax and Keras have
    ``Adagrad(initial_accumulator_value=0.1, eps=1e-7, eps_in_sqrt=True)``.

    Parameters
    ----------
    lr : float
        Learning rate.
    lr_decay : float
        Divides the learning rate by ``1 + (t - 1) * lr_decay``.
    weight_decay : float
        Coupled decay.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    initial_accumulator_value : float
        Where the sum starts.
    eps : float
        Added to the root.
    eps_in_sqrt : bool
        Add `eps` under the root.
    maximize : bool
        Ascend instead of descend.

    References
    ----------
    Duchi, Hazan & Singer (2011), "Adaptive Subgradient Methods for Online Learning".

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import Adagrad
    >>> w = np.ones(2)
    >>> Adagrad(lr=0.25).bind(w).step([np.array([3.0, -0.1])])
    >>> w.round(6)
    array([0.75, 1.25])
    """

    lr: float = 1e-2
    lr_decay: float = 0.0
    weight_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10
    _: dataclasses.KW_ONLY
    eps_in_sqrt: bool = False
    decoupled_weight_decay: bool = False


@optimizer("adadelta")
class Adadelta(Optimizer):
    """Scale each step by the ratio of past steps to past gradients.

    As ``torch.optim.Adadelta``, defaults included; Keras has ``Adadelta(lr=1e-3, rho=0.95, eps=1e-7)``.

    Parameters
    ----------
    lr : float
        Learning rate.
    rho : float
        Decay of both averages.
    eps : float
        Added under both roots.
    weight_decay : float
        Coupled decay.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    maximize : bool
        Ascend instead of descend.

    References
    ----------
    Zeiler (2012), "ADADELTA: An Adaptive Learning Rate Method", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import Adadelta
    >>> w = np.ones(2)
    >>> Adadelta(rho=0.75, eps=1e-2).bind(w).step([np.array([3.0, -1.0])])
    >>> w.round(3)
    array([0.8  , 1.196])
    """

    lr: float = 1.0
    rho: float = 0.9
    eps: float = 1e-6
    weight_decay: float = 0.0
    _: dataclasses.KW_ONLY
    decoupled_weight_decay: bool = False
