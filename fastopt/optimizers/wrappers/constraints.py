"""Constraints on weights: a bound on the norm of each unit's incoming weights."""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from fastopt.optimizers.base import Optimizer
from fastopt.optimizers.wrappers.base import WrappedStepper, Wrapper
from fastopt.optimizers.wrappers.units import check_layout, of_units, units_of
from fastopt.rules import wrappers as rules
from fastopt.rules.ranges import ABOVE_0, Range
from fastopt.schedules import Run
from fastopt.stepping.fusion_stages import Stage, StepRequest
from fastopt.stepping.recordable import assign
from fastopt.stepping.stepper import Stepper


@dataclasses.dataclass(repr=False)
class MaxNorm(Wrapper):
    """Bounds the L2 norm of each unit's incoming weights after every step (Srivastava et al., 2014).

    Where ``norm(w) > max_norm``, ``w *= max_norm / norm(w)``, with the norm over all weights that lead to one
    output: the projection onto the ball of that radius. As ``torch.renorm`` and Keras' ``MaxNorm``, but for
    the 1e-7 that both add to the norm; Keras' also shrinks, by that much, weights inside the ball. Arrays
    with fewer than two axes (biases) are not changed; arrays without a gradient are bounded, too. Costs two
    passes over the weights.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer that makes the steps. Averages of wrappers around this one see the bounded weights.
    max_norm : float
        Largest norm.
    layout : {'io', 'oi'}
        Whether the outputs are the last axis, as here and in Keras, or the first, as in torch.

    References
    ----------
    Srivastava et al. (2014), "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
    section 5.1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SGD, MaxNorm
    >>> w = np.array([[3.0, 0.3], [4.0, 0.4]])
    >>> MaxNorm(SGD(lr=1.0), max_norm=1.0).bind(w).step(np.zeros((2, 2)))
    >>> w.round(6)
    array([[0.6, 0.3],
           [0.8, 0.4]])
    """

    takes_closure: ClassVar[bool] = True
    limits: ClassVar[dict[str, Range]] = {"max_norm": ABOVE_0}
    max_norm: float = 3.0
    layout: str = "io"

    def check_own(self) -> None:
        """Check ``layout``, too."""
        super().check_own()
        check_layout(self)

    def around(
        self, optimizer: Optimizer, groups: list[dict[str, Any]], n_threads: int | None, run: Run
    ) -> WrappedStepper:
        """Return the stepper that bounds the weights after each step of ``optimizer``'s."""
        return MaxNormStepper(optimizer.stepper(groups, n_threads, run), self.max_norm, self.layout)


class MaxNormStepper(WrappedStepper):
    """Bounds the norm of each unit's incoming weights after every step."""

    kind: ClassVar[str] = "max-norm"

    def __init__(self, inner: Stepper | WrappedStepper, max_norm: float, layout: str | None) -> None:
        super().__init__(inner)
        self._max_norm = max_norm
        units = units_of(self.fused.params, layout)
        self._factors = of_units(self.fused, units)
        self._squares = Stage(rules.weight_squares, {}, [*units], units)
        self._scale = Stage(rules.scale_weights, {"f": self._factors}, [*units], units)

    def handle(self, request: StepRequest) -> float | None:
        """Make a step, then bound the weights, before wrappers around this one see them."""
        outer, request.after = request.after, []
        found = self.forward(request)
        self.fused.finish(request)  # what wrappers inside add to a step that cannot be fused
        if request.is_made:
            self._project()
            request.after = outer
        return found

    def _project(self):
        if not self._factors:
            return
        for i, (squares,) in self.fused.reduce_weights(self._squares).items():
            # 1.0 exactly for a norm within the bound, which leaves the weights' bits as they are.
            assign(self._factors[i], self._max_norm / np.maximum(np.sqrt(squares), self._max_norm))
        self.fused.change_weights(self._scale)
