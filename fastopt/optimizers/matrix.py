"""Methods that treat a weight matrix as a matrix: Muon, NorMuon, Shampoo, SOAP."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from fastopt.optimizers.base import OPTIMIZERS, Optimizer, optimizer
from fastopt.rules import matrix as _rules  # noqa: F401  registers the rules
from fastopt.rules.ranges import ABOVE_0, COUNT, FINITE, WHOLE, Range
from fastopt.rules.registry import Rule
from fastopt.rules.tensorwise import TENSOR_RULES, TensorRule
from fastopt.schedules import Hyperparameter, HyperparameterPair


class _Matrix(Optimizer):
    """Base of matrix methods: arrays that are not matrices are updated by a fallback optimizer."""

    @classmethod
    def for_shape(
        cls, h: Mapping[str, Any], shape: tuple[int, ...]
    ) -> tuple[type[Optimizer], Mapping[str, Any]]:
        """Return the class itself for matrices, and the fallback with its own values for other arrays."""
        if len(shape) == 2:
            return cls, h
        other = OPTIMIZERS[h["fallback"]]
        values = {f.name: f.default for f in dataclasses.fields(other)}
        values |= {name: h[name] for name in ("weight_decay", "maximize") if name in values}
        return other, values | {"lr": h["lr"] if h["fallback_lr"] is None else h["fallback_lr"]}

    @classmethod
    def check(cls, h: Mapping[str, Any]) -> None:
        """Check the values, and that the fallback is an elementwise optimizer."""
        super().check(h)
        other = OPTIMIZERS.get(h["fallback"])
        if other is None or isinstance(other.rule_for(_defaults(other), (1,)), TensorRule):
            raise ValueError(
                f"{cls.__name__}(fallback={h['fallback']!r}): fallback must be the name of an optimizer that "
                "updates each weight by itself, such as 'adamw' or 'sgd'"
            )


def _defaults(cls):
    return {f.name: f.default for f in dataclasses.fields(cls)}


@optimizer("muon")
class Muon(_Matrix):
    """Momentum with orthogonalized updates: all singular values of a matrix's update are about equal.

    As ``torch.optim.Muon``, defaults included, but computed in the array's own precision, not in bfloat16,
    and for weights of shape (inputs, outputs): `layout`. Arrays that are no matrices are updated by
    `fallback`, where torch refuses them. Keras has ``adjust_lr_fn='match_rms_adamw'`` and optax corrects the
    momentum's bias.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    weight_decay : float or Schedule
        Decoupled decay; the fallback's, too.
    momentum : float or Schedule
        Decay of the average of the gradient.
    nesterov : bool
        Nesterov momentum.
    ns_coefficients : tuple of three floats or schedules
        Coefficients of the Newton-Schulz polynomial ``a x + b x**3 + c x**5``.
    eps : float or Schedule
        Least norm by which the momentum is divided.
    ns_steps : int
        Newton-Schulz iterations.
    adjust_lr_fn : {None, 'original', 'match_rms_adamw'}
        Scale the step by ``sqrt(max(1, outputs / inputs))`` (None, too), or by ``0.2 * sqrt(max(outputs,
        inputs))`` so that it is as large as AdamW's.
    layout : {'io', 'oi'}
        Whether weights have the shape (inputs, outputs), as here and in Keras, or (outputs, inputs), as in
        torch.
    fallback : str
        Name of the elementwise optimizer of arrays with fewer or more than two axes, with its own defaults.
    fallback_lr : float, Schedule or None
        Learning rate of the fallback; None is `lr`.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against torch 2.13.0, keras 3.15.1.

    References
    ----------
    Jordan et al. (2024), "Muon: An optimizer for hidden layers in neural networks".

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import Muon
    >>> w = np.zeros((2, 2))
    >>> muon = Muon(lr=0.5, ns_steps=20, ns_coefficients=(1.5, -0.5, 0.0))
    >>> muon.bind(w).step([np.array([[3.0, 0.0], [0.0, -1.0]])])
    >>> w.round(6)
    array([[-0.5,  0. ],
           [ 0. ,  0.5]])
    """

    decoupled: ClassVar[bool] = True
    ranges: ClassVar[dict[str, Range]] = {"ns_coefficients": FINITE, "ns_steps": WHOLE}
    lr: Hyperparameter = 1e-3
    weight_decay: Hyperparameter = 0.1
    momentum: Hyperparameter = 0.95
    nesterov: bool = True
    ns_coefficients: tuple[Hyperparameter, Hyperparameter, Hyperparameter] = (3.4445, -4.775, 2.0315)
    eps: Hyperparameter = 1e-7
    ns_steps: int = 5
    adjust_lr_fn: str | None = None
    _: dataclasses.KW_ONLY
    layout: str = "io"
    fallback: str = "adamw"
    fallback_lr: Hyperparameter | None = None

    @classmethod
    def rule_for(cls, h: Mapping[str, Any], shape: tuple[int, ...]) -> Rule | TensorRule:
        """Return the rule for matrices."""
        return TENSOR_RULES["muon"]


@optimizer("normuon")
class NorMuon(Muon):
    """Muon whose update is divided by a second moment of each output, and scaled back to its norm.

    With the authors' defaults: a learning rate of 0.02 and no weight decay.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    weight_decay : float or Schedule
        Decoupled decay; the fallback's, too.
    momentum : float
        Decay of the average of the gradient.
    nesterov : bool
        Nesterov momentum.
    ns_coefficients : tuple of three floats
        Coefficients of the Newton-Schulz polynomial ``a x + b x**3 + c x**5``.
    eps : float
        Least norm by which the momentum is divided.
    ns_steps : int
        Newton-Schulz iterations.
    adjust_lr_fn : {None, 'original', 'match_rms_adamw'}
        Scale the step by ``sqrt(max(1, outputs / inputs))`` (None, too), or by ``0.2 * sqrt(max(outputs,
        inputs))`` so that it is as large as AdamW's.
    layout : {'io', 'oi'}
        Whether weights have the shape (inputs, outputs), as here and in Keras, or (outputs, inputs), as in
        torch.
    fallback : str
        Name of the elementwise optimizer of arrays with fewer or more than two axes, with its own defaults.
    fallback_lr : float or None
        Learning rate of the fallback; None is `lr`.
    maximize : bool
        Ascend instead of descend.
    beta2 : float or Schedule
        Decay of the average of each output's squared direction.

    Notes
    -----
    Executed against pytorch_optimizer 4.1.0.

    References
    ----------
    Li et al. (2025), "NorMuon: Making Muon more efficient and scalable", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import NorMuon
    >>> w = np.zeros((2, 2))
    >>> muon = NorMuon(lr=0.5, ns_steps=20, ns_coefficients=(1.5, -0.5, 0.0))
    >>> muon.bind(w).step([np.array([[3.0, 0.0], [0.0, -1.0]])])
    >>> w.round(6)
    array([[-0.5,  0. ],
           [ 0. ,  0.5]])
    """

    lr: Hyperparameter = 0.02
    weight_decay: Hyperparameter = 0.0
    beta2: Hyperparameter = 0.95

    @classmethod
    def rule_for(cls, h: Mapping[str, Any], shape: tuple[int, ...]) -> Rule | TensorRule:
        """Return the rule for matrices of this layout."""
        return TENSOR_RULES[f"normuon_{h['layout']}"]


class _Preconditioned(_Matrix):
    """Base of Shampoo and SOAP, which have one rule each."""

    @classmethod
    def rule_for(cls, h: Mapping[str, Any], shape: tuple[int, ...]) -> Rule | TensorRule:
        """Return the rule for matrices."""
        return TENSOR_RULES[cls.name]


@optimizer("shampoo")
class Shampoo(_Preconditioned):
    """Gradient descent preconditioned by inverse roots of the sums of ``g @ g.T`` and of ``g.T @ g``.

    For matrices whose sides are not too long: each step costs their cubes, and the roots an
    eigendecomposition.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    eps : float or Schedule
        Where the diagonals of both sums start, and the least eigenvalue; above 0.
    weight_decay : float or Schedule
        Coupled decay; the fallback's, too.
    root : int
        The sums are raised to ``-1 / root``; the paper has 4 for matrices.
    update_freq : int
        Steps between two computations of the roots.
    fallback : str
        Name of the elementwise optimizer of arrays that are no matrices, with its own defaults.
    fallback_lr : float, Schedule or None
        Learning rate of the fallback; None is `lr`.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against pytorch_optimizer 4.1.0.

    References
    ----------
    Gupta, Koren & Singer (2018), "Shampoo: Preconditioned Stochastic Tensor Optimization", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import Shampoo
    >>> w = np.zeros((2, 2))
    >>> Shampoo(lr=0.5, eps=1e-12).bind(w).step([np.array([[3.0, 0.0], [0.0, -1.0]])])
    >>> w.round(6)
    array([[-0.5,  0. ],
           [ 0. ,  0.5]])
    """

    ranges: ClassVar[dict[str, Range]] = {
        "eps": ABOVE_0,
        "root": ABOVE_0,
        "update_freq": COUNT,
    }
    lr: Hyperparameter = 1e-1
    eps: Hyperparameter = 1e-4
    weight_decay: Hyperparameter = 0.0
    _: dataclasses.KW_ONLY
    root: int = 4
    update_freq: int = 1
    fallback: str = "adagrad"
    fallback_lr: Hyperparameter | None = None


@optimizer("soap")
class SOAP(_Preconditioned):
    """Adam in the eigenbasis of Shampoo's preconditioners, which are averages here.

    As the authors' code (nikhilvyas/SOAP), defaults included: the first step only builds the basis, the decay
    follows the step, epsilon stands beside the uncorrected root. Arrays that are no matrices are updated by
    `fallback`, where the authors have Adam with the betas of SOAP.

    Parameters
    ----------
    lr : float or Schedule
        Learning rate.
    betas : tuple of two floats or schedules
        Decay of the averages of the projected gradient, and of its square and the basis' matrices.
    eps : float or Schedule
        Added to the root of the second moment.
    weight_decay : float or Schedule
        Decoupled decay; the fallback's, too.
    precondition_frequency : int
        Steps between two turns of the basis.
    fallback : str
        Name of the elementwise optimizer of arrays that are no matrices, with its own defaults.
    fallback_lr : float, Schedule or None
        Learning rate of the fallback; None is `lr`.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against pytorch_optimizer 4.1.0.

    References
    ----------
    Vyas et al. (2024), "SOAP: Improving and Stabilizing Shampoo using Adam", algorithm 3.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SOAP
    >>> w = np.ones((2, 2))
    >>> stepper = SOAP(lr=0.5, weight_decay=0.0).bind(w)
    >>> for _ in range(2):
    ...     stepper.step([np.array([[3.0, 0.0], [0.0, -1.0]])])
    >>> w.round(6)
    array([[0.5, 1. ],
           [1. , 1.5]])
    """

    ranges: ClassVar[dict[str, Range]] = {"precondition_frequency": COUNT}
    lr: Hyperparameter = 3e-3
    betas: HyperparameterPair = (0.95, 0.95)
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.01
    precondition_frequency: int = 10
    _: dataclasses.KW_ONLY
    fallback: str = "adamw"
    fallback_lr: Hyperparameter | None = None

    @classmethod
    def prologue(cls, h: Mapping[str, Any]) -> tuple[float, float, float]:
        """Return ``(sign, l2, keep)`` without decay, which follows the step."""
        return super().prologue(h)[0], 0.0, 1.0
