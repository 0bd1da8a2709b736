"""Skipping steps whose gradients are not finite."""

import dataclasses
from typing import Any

import numpy as np

from fastopt.optimizers.base import Optimizer
from fastopt.optimizers.wrappers.base import WrappedStepper, Wrapper
from fastopt.schedules import Run


@dataclasses.dataclass(repr=False)
class SkipNonFinite(Wrapper):
    """Leaves out steps whose gradients' squares do not add up to a finite number.

    As ``optax.apply_if_finite`` without a limit. A stepper counts them in ``n_skipped``.

    Parameters
    ----------
    optimizer : Optimizer
        What makes the steps.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SGD, SkipNonFinite
    >>> w = np.zeros(1)
    >>> stepper = SkipNonFinite(SGD(lr=1.0)).bind(w)
    >>> stepper.step(np.array([np.nan]))
    >>> w, stepper.n_skipped
    (array([0.]), 1)
    """

    def around(
        self, optimizer: Optimizer, groups: list[dict[str, Any]], n_threads: int | None, run: Run
    ) -> WrappedStepper:
        """Return the skipping stepper."""
        return SkipStepper(optimizer.stepper(groups, n_threads, run))


class SkipStepper(WrappedStepper):
    """Leaves out steps whose gradients are not finite."""

    kind, counts = "skipping", ("n_skipped",)

    def __init__(self, inner):
        super().__init__(inner)
        self.n_skipped = 0

    def handle(self, request):
        """Step, unless a gradient has an element that is infinite or NaN."""
        self.fused.accept(request, self.kind)
        if np.isfinite(self.fused.norms(request)).all():
            return self.forward(request)
        self.n_skipped += 1
        request.drop()
        return request.found
