"""Gradient accumulation: one step with the mean of several gradients."""

import dataclasses
from typing import Any, ClassVar

from fastopt.kernels import recording
from fastopt.optimizers.base import Optimizer
from fastopt.optimizers.wrappers.base import WrappedStepper, Wrapper
from fastopt.rules import wrappers as rules
from fastopt.schedules import Run
from fastopt.stepping.fusion_stages import Stage, StepRequest
from fastopt.stepping.stepper import Stepper


@dataclasses.dataclass(repr=False)
class MultiSteps(Wrapper):
    """Gradient accumulation: every `n` gradients make one step, with their mean.

    A bound stepper works like ``optax.MultiSteps``: every `n`-th call of ``step`` changes the weights.
    Gradients left over at the end, fewer than `n`, are not used.

    In an estimator, ``solver=MultiSteps(optimizer, n)`` with batches of ``b`` rows trains as ``optimizer``
    with batches of ``n * b``: gradients count by the rows of their batch (by ``sample_weight``, where given),
    the penalty ``alpha`` counts once a step, and the last step of an epoch is made with the gradients left
    over, as in Hugging Face's ``Trainer`` (transformers 5.24.0). With ``partial_fit`` gradients left over are
    kept for the next call instead.

    Schedules count the steps made, not the gradients; with ``unit='epoch'`` they count epochs of the data.
    Wrappers around it that change gradients see each gradient; those that average weights (`EMA`, `SWA`,
    `Lookahead`) see only the steps made.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer that makes the steps.
    n : int
        Number of gradients for each step, at least 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SGD, MultiSteps
    >>> w = np.zeros(1)
    >>> stepper = MultiSteps(SGD(lr=1.0), n=2).bind(w)
    >>> for gradient in (1.0, 3.0, 5.0):
    ...     stepper.step(np.array([gradient]))
    >>> w
    array([-2.])
    """

    least: ClassVar[dict[str, int]] = {"n": 1}
    n: int = 2

    def around(
        self, optimizer: Optimizer, groups: list[dict[str, Any]], n_threads: int | None, run: Run
    ) -> WrappedStepper:
        """Return the stepper that accumulates gradients around ``optimizer``'s."""
        return MultiStepsStepper(optimizer.stepper(groups, n_threads, run.accumulated(self.n)), self.n)

    def inner_run(self, run: Run) -> Run:
        """Return the run with its steps counted as the innermost optimizer makes them."""
        return super().inner_run(run.accumulated(self.n))


class MultiStepsStepper(WrappedStepper):
    """Accumulates gradients, and makes one step with the mean of every n.

    Attributes
    ----------
    count : int
        Gradients in the mean so far.
    weight, loss : float
        Their total weight, and the weighted mean of their losses.
    present : tuple of int
        Indices of the parameters that have a gradient.
    """

    kind: ClassVar[str] = "accumulation"
    counts: ClassVar[tuple[str, ...]] = ("count", "weight", "loss", "present")

    def __init__(self, inner: Stepper | WrappedStepper, n: int) -> None:
        super().__init__(inner)
        self._n = n
        self.count: int = 0
        self.weight: float = 0.0
        self.loss: float = 0.0
        self.present: tuple[int, ...] = ()
        self._means = self.fused.copies()
        self._move = Stage(rules.accumulate, {"b": self._means})

    def _kept(self):
        return self._means

    @property
    def gradients_per_step(self) -> int:
        """Number of gradients for each step of the innermost optimizer."""
        return self._n * self.inner.gradients_per_step

    @property
    def pending(self) -> float:
        """Share of the next step's gradients accumulated so far, in [0, 1)."""
        return self.inner.pending + self.count / self.gradients_per_step

    def begin(self, run: Run) -> None:
        """Set the run that schedules follow; they count the steps made."""
        self.inner.begin(run.accumulated(self._n))

    def handle(self, request: StepRequest) -> float | None:
        """Add gradients to the mean; make a step when there are enough."""
        self.fused.accept(request, self.kind)
        if "hessian" in request.options:
            raise TypeError("estimates of the Hessian are not accumulated; leave out hessian")
        if request.active != tuple(self.present) and recording.current() is None and self.count:
            raise ValueError(
                "the gradients that are None must be the same in all that are accumulated into one step"
            )
        self._enter(request)
        if self.count < self._n and not request.ends_epoch:
            request.drop()
            return request.found
        request.weight = self.weight
        if "loss" in request.options:
            request.options["loss"] = self.loss
        found = self.forward(request)
        self.count, self.weight, self.loss = 0, 0.0, 0.0
        return found

    def _enter(self, request):
        """Add gradients and loss to their means."""
        loss = request.options.get("loss", 0.0)
        share = request.weight / (self.weight + request.weight)
        self.present = request.active
        self.fused.write(request, self._move, share=share, keep=1.0 - share)  # the first share is 1
        self.loss += share * (loss - self.loss)
        self.count, self.weight = self.count + 1, self.weight + request.weight
