"""Gradient clipping: by value, by global norm, and by the norm of each unit."""

import dataclasses
import math
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from fastopt.optimizers.base import Optimizer
from fastopt.optimizers.wrappers.base import WrappedStepper, Wrapper
from fastopt.optimizers.wrappers.units import check_layout, of_units, units_of
from fastopt.rules import wrappers as rules
from fastopt.rules.ranges import ABOVE_0, Range
from fastopt.schedules import Run
from fastopt.stepping.fusion_stages import Stage, StepRequest
from fastopt.stepping.recordable import assign, number
from fastopt.stepping.stepper import Stepper


@dataclasses.dataclass(repr=False)
class Clip(Wrapper):
    """Clips gradients: by value, then by the norm of each array, then by the norm of all together.

    As torch's ``clip_grad_value_`` and ``clip_grad_norm_``: norms are L2, and gradients are multiplied by
    ``min(1, bound / (norm + 1e-6))``. The gradients passed in are not written. Norms take one more pass over
    the gradients, which nested wrappers share.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer that makes the steps.
    norm : float, optional
        Bound of the norm of all gradients together, across all groups.
    value : float, optional
        Bound of the magnitude of each element.
    tensor_norm : float, optional
        Bound of the norm of each array, as Keras' ``clipnorm``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SGD, Clip
    >>> w = np.zeros(2)
    >>> Clip(SGD(lr=1.0), norm=1.0).bind(w).step(np.array([3.0, 4.0]))
    >>> w.round(6)
    array([-0.6, -0.8])
    """

    norm: float | None = None
    value: float | None = None
    tensor_norm: float | None = None

    def check_own(self) -> None:
        """Check the bounds."""
        super().check_own()
        for name in ("norm", "value", "tensor_norm"):
            bound = getattr(self, name)
            if bound is None:
                continue
            if isinstance(bound, bool) or not isinstance(bound, Real) or not 0 < bound < math.inf:
                raise ValueError(f"Clip({name}={bound!r}): {name} must be a finite number > 0, or None")

    def around(
        self, optimizer: Optimizer, groups: list[dict[str, Any]], n_threads: int | None, run: Run
    ) -> WrappedStepper:
        """Return the clipping stepper around ``optimizer``'s."""
        inner = optimizer.stepper(groups, n_threads, run)
        return ClipStepper(inner, self.value, self.tensor_norm, self.norm)


class ClipStepper(WrappedStepper):
    """Clips the gradients of each step."""

    kind: ClassVar[str] = "clipping"

    def __init__(
        self,
        inner: Stepper | WrappedStepper,
        value: float | None,
        tensor_norm: float | None,
        norm: float | None,
    ) -> None:
        super().__init__(inner)
        self._value, self._tensor_norm, self._norm = value, tensor_norm, norm
        self._clamp = Stage(rules.clamp)

    def prepare(self, request: StepRequest) -> None:
        """Clip by value, then by the norm of each array, then by the norm of all."""
        fused = self.fused
        fused.accept(request, self.kind)
        if self._value is not None:
            fused.add(request, self._clamp, bound=self._value)
        if self._tensor_norm is not None:
            request.multiply(_factor(fused.norms(request), self._tensor_norm))
        if self._norm is not None:
            request.multiply(number(_factor(np.linalg.norm(fused.norms(request)), self._norm)))


def _factor(norm, bound):
    # As in torch: 1e-6 avoids a division by 0; a norm that is not finite makes the gradients NaN or 0.
    return np.minimum(1.0, bound / (norm + 1e-6))


@dataclasses.dataclass(repr=False)
class AdaptiveClip(Wrapper):
    """Clips each unit's gradient relative to the norm of its weights (adaptive clipping, Brock et al., 2021).

    Where ``norm(g) >= clipping * max(norm(w), eps)``, ``g *= clipping * max(norm(w), eps) / max(norm(g),
    1e-6)``, with the norms of all weights that lead to one output. Arrays with at most one axis longer than 1
    (biases, scalars) are one unit, as in the authors' code and in optax. The authors do not clip the last
    layer; bind it separately to do so. The norms take one more pass over gradients and weights.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer that makes the steps.
    clipping : float
        Largest ratio of the gradient's norm to the weights'.
    eps : float
        Lower bound of the weights' norm, so that weights of 0 can move.
    layout : {'io', 'oi'}
        Whether the outputs are the last axis, as here, in Keras and in the authors' code, or the first, as in
        torch.

    References
    ----------
    Brock et al. (2021), "High-Performance Large-Scale Image Recognition Without Normalization", equation 3.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SGD, AdaptiveClip
    >>> w = np.array([[3.0, 1.0], [4.0, 0.0]])
    >>> AdaptiveClip(SGD(lr=1.0), clipping=0.1).bind(w).step(np.array([[5.0, 0.0], [0.0, 0.01]]))
    >>> w
    array([[ 2.5 ,  1.  ],
           [ 4.  , -0.01]])
    """

    limits: ClassVar[dict[str, Range]] = {"clipping": ABOVE_0, "eps": ABOVE_0}
    clipping: float = 0.01
    eps: float = 1e-3
    layout: str = "io"

    def check_own(self) -> None:
        """Check ``layout``, too."""
        super().check_own()
        check_layout(self)

    def around(
        self, optimizer: Optimizer, groups: list[dict[str, Any]], n_threads: int | None, run: Run
    ) -> WrappedStepper:
        """Return the clipping stepper around ``optimizer``'s."""
        inner = optimizer.stepper(groups, n_threads, run)
        return AdaptiveClipStepper(inner, self.clipping, self.eps, self.layout)


class AdaptiveClipStepper(WrappedStepper):
    """Clips each unit's gradient relative to the norm of its weights."""

    kind: ClassVar[str] = "adaptive clipping"

    def __init__(
        self, inner: Stepper | WrappedStepper, clipping: float, eps: float, layout: str | None
    ) -> None:
        super().__init__(inner)
        self._clipping, self._eps = clipping, eps
        params = self.fused.params
        units = units_of((p for p in params if sum(n > 1 for n in p.array.shape) > 1), layout)
        whole = [p.index for p in params if p.index not in units]
        self._factors = of_units(self.fused, units)
        self._unit_squares = Stage(rules.unit_squares, {}, [*units], units)
        self._whole_squares = Stage(rules.both_squares, {}, whole)
        self._scale = Stage(rules.scale_units, {"f": self._factors}, [*units], units)

    def prepare(self, request: StepRequest) -> None:
        """Clip each unit's gradient."""
        fused = self.fused
        fused.accept(request, self.kind)
        whole = self._factor(*np.sqrt(fused.reduce(request, self._whole_squares)))
        by_unit = fused.reduce(request, self._unit_squares)
        for i, sums in by_unit.items():
            assign(self._factors[i], self._factor(*np.sqrt(sums)))
        if self._whole_squares.members:
            is_whole = np.isin(np.arange(len(fused.params)), self._whole_squares.members)
            request.multiply(np.where(is_whole, whole, 1.0))
        if by_unit:
            fused.add(request, self._scale)

    def _factor(self, weights, gradients):
        bound = self._clipping * np.maximum(weights, self._eps)
        return np.where(gradients < bound, 1.0, bound / np.maximum(gradients, 1e-6))
