"""Adam and the methods that share its two moments."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from fastopt.optimizers.base import MomentOptimizer, Optimizer, optimizer
from fastopt.rules import adam as _rules  # noqa: F401  registers the rules
from fastopt.rules.registry import RULES, Rule
from fastopt.schedules import Hyperparameter, HyperparameterPair


def _adam_rule(h):
    if h["amsgrad"]:
        return RULES["amsgrad"]
    return RULES["adam_rooted" if h["eps_root"] else "adam"]


@optimizer("adam", amsgrad={"amsgrad": True})
class Adam(MomentOptimizer):
    """Adam: adaptive moments with bias correction.

    As ``torch.optim.Adam``, defaults included; `eps_mode` and `eps_root` give the other libraries' forms.

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
    amsgrad : bool
        Divide by the largest second moment so far (Reddi, Kale & Kumar, 2018).
    maximize : bool
        Ascend instead of descend.
    state_dtype : {None, 'bfloat16', 'int8'}
        Keep the moments in half or a quarter of the memory.
    decoupled_weight_decay : bool
        Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.
    eps_mode : {'torch', 'corrected', 'hat'}
        'torch' adds `eps` after the bias correction, as 'corrected' says; 'hat' adds it before, as Keras and
        scikit-learn do (the "epsilon hat" of the paper's section 2).
    eps_root : float or Schedule
        Added under the root, as optax does.
    amsgrad_corrected : bool
        Take amsgrad's maximum over bias-corrected moments, as optax does; torch and Keras do not.

    Notes
    -----
    Executed against torch 2.13.0, optax 0.2.8, keras 3.15.1, scikit-learn 1.9.1.

    References
    ----------
    Kingma & Ba (2015), "Adam: A Method for Stochastic Optimization", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import Adam
    >>> w = np.ones(2)
    >>> Adam(lr=0.25).bind(w).step([np.array([3.0, -0.1])])
    >>> w.round(6)
    array([0.75, 1.25])
    """

    lr: Hyperparameter = 1e-3
    betas: HyperparameterPair = (0.9, 0.999)
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.0
    amsgrad: bool = False
    _: dataclasses.KW_ONLY
    decoupled_weight_decay: bool = False
    eps_mode: str = "torch"
    eps_root: Hyperparameter = 0.0
    amsgrad_corrected: bool = False

    @classmethod
    def rule(cls, h: Mapping[str, Any]) -> Rule:
        """Return the rule: adam, with eps under the root, or amsgrad."""
        return _adam_rule(h)


@optimizer("adamw")
class AdamW(MomentOptimizer):
    """Adam with decoupled weight decay: ``w *= 1 - lr * weight_decay`` before each step.

    As ``torch.optim.AdamW``, defaults included. The default `weight_decay` is 0.01 there, 1e-4 in optax and
    0.004 in Keras.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    betas : tuple of two floats or schedules
        Decay of the averages of the gradient and of its square.
    eps : float or Schedule
        Added to the root of the second moment.
    weight_decay : float or Schedule
        Decoupled decay: each step multiplies the weights by ``1 - lr * weight_decay`` first.
    amsgrad : bool
        Divide by the largest second moment so far (Reddi, Kale & Kumar, 2018).
    maximize : bool
        Ascend instead of descend.
    state_dtype : {None, 'bfloat16', 'int8'}
        Keep the moments in half or a quarter of the memory.
    eps_mode : {'torch', 'corrected', 'hat'}
        'torch' adds `eps` after the bias correction, as 'corrected' says; 'hat' adds it before, as Keras and
        scikit-learn do (the "epsilon hat" of the paper's section 2).
    eps_root : float or Schedule
        Added under the root, as optax does.
    amsgrad_corrected : bool
        Take amsgrad's maximum over bias-corrected moments, as optax does; torch and Keras do not.

    Notes
    -----
    Executed against torch 2.13.0, optax 0.2.8, keras 3.15.1.

    References
    ----------
    Loshchilov & Hutter (2019), "Decoupled Weight Decay Regularization", algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import AdamW
    >>> w = np.ones(2)
    >>> AdamW(lr=0.25, weight_decay=0.4).bind(w).step([np.array([3.0, -0.1])])
    >>> w.round(6)
    array([0.65, 1.15])
    """

    decoupled: ClassVar[bool] = True
    lr: Hyperparameter = 1e-3
    betas: HyperparameterPair = (0.9, 0.999)
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 1e-2
    amsgrad: bool = False
    _: dataclasses.KW_ONLY
    eps_mode: str = "torch"
    eps_root: Hyperparameter = 0.0
    amsgrad_corrected: bool = False

    @classmethod
    def rule(cls, h: Mapping[str, Any]) -> Rule:
        """Return the rule: adam, with eps under the root, or amsgrad."""
        return _adam_rule(h)


@optimizer("sparseadam")
class SparseAdam(Optimizer):
    """Adam that updates, and whose moments decay in, only the rows that have a gradient.

    As ``torch.optim.SparseAdam``, defaults included: epsilon stands beside the uncorrected root. A gradient
    is a tuple ``(indices, values)`` of row numbers, shape (k,), and of their gradients, shape ``(k,
    *parameter.shape[1:])``; rows that are named twice are added up. An array is a gradient of all rows, where
    torch refuses one; so the estimators use it. A torch tensor ``g`` is ``(g.coalesce().indices()[0],
    g.coalesce().values())``.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    betas : tuple of two floats or schedules
        Decay of the averages of the gradient and of its square.
    eps : float or Schedule
        Added to the root of the second moment.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against torch 2.13.0.

    References
    ----------
    Kingma & Ba (2015), "Adam: A Method for Stochastic Optimization", algorithm 1, on the rows in question.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SparseAdam
    >>> w = np.ones((1000, 2))
    >>> rows = np.array([3, 998])
    >>> SparseAdam(lr=0.25).bind(w).step([(rows, np.array([[3.0, -0.1], [1.0, 0.5]]))])
    >>> w[rows].round(5)
    array([[0.75, 1.25],
           [0.75, 0.75]])
    """

    takes_rows: ClassVar[bool] = True
    lr: Hyperparameter = 1e-3
    betas: HyperparameterPair = (0.9, 0.999)
    eps: Hyperparameter = 1e-8
