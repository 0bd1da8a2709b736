"""Cautious updates: a weight moves only where its step is a descent direction."""

import dataclasses
from typing import Any, ClassVar

from fastopt.optimizers.base import Optimizer
from fastopt.optimizers.wrappers.base import WrappedStepper, Wrapper
from fastopt.schedules import Run
from fastopt.stepping.fusion_stages import StepRequest, UpdateMask
from fastopt.stepping.stepper import Stepper


@dataclasses.dataclass(repr=False)
class Cautious(Wrapper):
    """Masks the elements of each step that do not agree with the gradient's sign (Liang et al., 2024).

    With the optimizer's step ``u`` (``w -= u``) and ``mask = u * g > 0``, the step made is
    ``u * mask / max(mean(mask), 1e-3)``, with the mean over an array. As in the authors' C-AdamW, decoupled
    decay is not part of ``u`` and shrinks every weight, and ``g`` is the gradient as the optimizer sees it:
    scaled, clipped by wrappers inside, and with coupled decay. The optimizer's state is not masked.

    ``u`` is computed as the difference of the weights before and after the update, so it has their rounding.
    `scale` costs another pass over steps and weights.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer whose steps are masked.
    scale : bool
        Whether to divide by the mean of the mask.

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
        """Check ``scale``, too."""
        super().check_own()
        if not isinstance(self.scale, bool):
            raise TypeError(f"Cautious(scale={self.scale!r}): scale must be True or False")

    def around(
        self, optimizer: Optimizer, groups: list[dict[str, Any]], n_threads: int | None, run: Run
    ) -> WrappedStepper:
        """Return the stepper that masks the steps of ``optimizer``'s."""
        return CautiousStepper(optimizer.stepper(groups, n_threads, run), self.scale)


class CautiousStepper(WrappedStepper):
    """Masks the elements of each step that do not agree with the gradient's sign."""

    kind: ClassVar[str] = "caution"

    def __init__(self, inner: Stepper | WrappedStepper, is_scaled: bool) -> None:
        super().__init__(inner)
        self._mask = UpdateMask(self.fused, is_scaled)

    def prepare(self, request: StepRequest) -> None:
        """Set the mask of the request, which masks the update."""
        self.fused.accept(request, self.kind)
        request.mask = self._mask
