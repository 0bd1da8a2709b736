"""Skipping steps whose gradients are not finite."""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from fastopt.kernels import recording
from fastopt.optimizers.base import Optimizer
from fastopt.optimizers.wrappers.base import WrappedStepper, Wrapper
from fastopt.rules import wrappers as rules
from fastopt.schedules import Run
from fastopt.stepping.fusion_stages import Stage, StepRequest
from fastopt.stepping.stepper import Stepper


@dataclasses.dataclass(repr=False)
class SkipNonFinite(Wrapper):
    """Skips every step in which an element of a gradient is infinite or NaN.

    As ``optax.apply_if_finite``, but without a limit on how many are skipped in a row. A bound stepper counts
    them in ``n_skipped``. What is tested is the gradient after ``grad_scale``, so values that overflow by it
    count as infinite; large finite values whose squares overflow do not. Schedules count the steps made; with
    ``unit='epoch'`` they count epochs of the data.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer that makes the steps.

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
        """Return the stepper that skips steps around ``optimizer``'s."""
        return SkipStepper(optimizer.stepper(groups, n_threads, run))


class SkipStepper(WrappedStepper):
    """Skips steps whose gradients are not finite, and counts them."""

    kind: ClassVar[str] = "skipping"
    counts: ClassVar[tuple[str, ...]] = ("n_skipped",)

    def __init__(self, inner: Stepper | WrappedStepper) -> None:
        super().__init__(inner)
        self.n_skipped: int = 0
        self._zeros = Stage(rules.zero_or_nan)

    def handle(self, request: StepRequest) -> float | None:
        """Make a step, unless a gradient has an element that is infinite or NaN."""
        self.fused.accept(request, self.kind)
        if self._is_finite(request):
            return self.forward(request)
        self.n_skipped += 1
        recorder = recording.current()
        if recorder is None:
            self._skip(1)
        elif not self.bound.progress.run.epochs_end_steps:  # else `Run.skipped` changes nothing
            recorder.call(self._skip, [1], None)
        request.drop()
        return request.found

    def _skip(self, n):
        """Let the epochs of schedules end as if ``n`` more gradients had been used."""
        self.inner.skip(n / self.inner.gradients_per_step)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a copy of a state from `state_dict`; nothing changes if it does not fit."""
        n_before = self.n_skipped
        super().load_state_dict(state_dict)
        self._skip(self.n_skipped - n_before)

    def _is_finite(self, request):
        # The norms are shared with other wrappers. Elements are tested only if a square has overflowed.
        fused = self.fused
        return np.isfinite(fused.norms(request)).all() or not fused.reduce(request, self._zeros).any()
