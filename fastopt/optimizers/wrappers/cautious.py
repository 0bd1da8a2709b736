"""Cautious updates: a weight moves only where its update agrees with its gradient."""

import dataclasses
from typing import Any

from fastopt.optimizers.base import Optimizer
from fastopt.optimizers.wrappers.base import WrappedStepper, Wrapper
from fastopt.schedules import Run
from fastopt.stepping.fusion_stages import UpdateMask


@dataclasses.dataclass(repr=False)
class Cautious(Wrapper):
    """Moves a weight only where that agrees with its gradient, and there farther (Liang et al., 2024).

    Of the step ``u`` that the optimizer makes, ``w -= u``, those elements are left out whose product with the
    gradient is not positive, and the others are divided by the share of an array's elements that they are,
    but not by less than 1e-3: ``u * mask / max(mean(mask), 1e-3)``. As in the authors' C-AdamW, the decoupled
    decay is no part of the step and shrinks every weight, and the gradient is what the optimizer sees of it:
    scaled, clipped by wrappers inside, and with the coupled decay. State moves on as without the mask.

    ``u`` is what the weights lose when they are rounded, so it is as exact as they are. With `scale` each
    step takes another pass over steps and weights.

    Parameters
    ----------
    optimizer : Optimizer
        What makes the steps.
    scale : bool
        Whether to divide by the share.

    References
    ----------
    Liang et al. (2024), "Cautious Optimizers: Improving Training with One Line of Code", algorithms 1 and 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SGD, Cautious
    >>> w = np.zeros(2)
    >>> stepper = Cautious(SGD(lr=1.0, momentum=0.5)).bind(w)
    >>> stepper.step(np.array([1.0, 4.0]))
    >>> stepper.step(np.array([1.0, -1.0]))  # the momentum of the second is 1.0
    >>> w
    array([-4., -4.])
    """

    scale: bool = True

    def check_own(self) -> None:
        """Check the flag."""
        super().check_own()
        if not isinstance(self.scale, bool):
            raise TypeError(f"Cautious(scale={self.scale!r}): scale must be True or False")

    def around(
        self, optimizer: Optimizer, groups: list[dict[str, Any]], n_threads: int | None, run: Run
    ) -> WrappedStepper:
        """Return the stepper that masks."""
        return CautiousStepper(optimizer.stepper(groups, n_threads, run), self.scale)


class CautiousStepper(WrappedStepper):
    """Lets an update go only where it agrees with the gradient."""

    kind = "caution"

    def __init__(self, inner, is_scaled):
        super().__init__(inner)
        self._mask = UpdateMask(self.fused, is_scaled)

    def prepare(self, request):
        """Let the update be masked."""
        self.fused.accept(request, self.kind)
        request.mask = self._mask
