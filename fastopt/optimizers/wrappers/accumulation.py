"""Gradient accumulation: one step with the mean of several gradients."""

import dataclasses
from typing import Any, ClassVar

from fastopt.optimizers.base import Optimizer
from fastopt.optimizers.wrappers.base import WrappedStepper, Wrapper
from fastopt.rules import wrappers as rules
from fastopt.schedules import Run
from fastopt.stepping.fusion_stages import Stage, StepRequest


@dataclasses.dataclass(repr=False)
class MultiSteps(Wrapper):
    """Gradient accumulation: every `n` gradients make one step, with their mean.

    A bound stepper does as ``optax.MultiSteps``: every `n`-th call of ``step`` changes the weights. Gradients
    that do not suffice for a step wait for the next call, and are dropped when there is none.

    In an estimator, ``solver=MultiSteps(optimizer, n)`` with batches of ``b`` rows trains as ``optimizer``
    with batches of ``n * b``: gradients count by the rows of their batch (by ``sample_weight``, where given),
    the penalty ``alpha`` counts once a step, and the last step of an epoch is made with those gradients that
    there are, as by Hugging Face's ``Trainer`` (transformers 5.24.0). Over ``partial_fit`` they wait for the
    next call instead.

    Schedules count the steps that are made, and where they count epochs, those of the data. Wrappers around
    it that change gradients see each gradient; those that follow the weights (`EMA`, `SWA`, `Lookahead`) see
    the steps that are made.

    Parameters
    ----------
    optimizer : Optimizer
        What makes the steps.
    n : int
        Gradients of a step, at least 1.

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
        """Return the accumulating stepper."""
        return MultiStepsStepper(optimizer.stepper(groups, n_threads, run.accumulated(self.n)), self.n)

    def inner_run(self, run: Run) -> Run:
        """Return the run as the schedules of the optimizer inside count it."""
        return super().inner_run(run.accumulated(self.n))


class MultiStepsStepper(WrappedStepper):
    """Steps with the mean of n gradients.

    Attributes
    ----------
    count : int
        Gradients in the mean.
    weight, loss : float
        Their weight, and the mean of their losses.
    present : tuple of int
        The parameters that have a gradient.
    """

    kind, counts = "accumulation", ("count", "weight", "loss", "present")

    def __init__(self, inner, n):
        super().__init__(inner)
        self._n, self.count, self.weight, self.loss, self.present = n, 0, 0.0, 0.0, ()
        self._means = self.fused.copies()
        self._begin, self._move = (Stage(s, {"b": self._means}) for s in (rules.scale, rules.accumulate))

    def _kept(self):
        return self._means

    @property
    def gradients_per_step(self) -> int:
        """Gradients that make a step."""
        return self._n * self.inner.gradients_per_step

    @property
    def pending(self) -> float:
        """Share of the next step's gradients that has been gathered."""
        return self.inner.pending + self.count / self.gradients_per_step

    def begin(self, run: Run) -> None:
        """Let schedules go by another run; they count the steps that are made."""
        self.inner.begin(run.accumulated(self._n))

    def handle(self, request: StepRequest) -> float | None:
        """Let gradients enter the mean; step with it when it is complete."""
        self.fused.accept(request, self.kind)
        if "hessian" in request.options:
            raise TypeError("estimates of the Hessian are not accumulated; leave out hessian")
        if self.count and request.active != tuple(self.present):
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
        """Let gradients and loss enter the means."""
        loss = request.options.get("loss", 0.0)
        share = request.weight / (self.weight + request.weight)
        if self.count == 0:  # whatever the buffer holds, infinity or NaN
            self.present = request.active
            self.fused.write(request, self._begin)
        else:
            self.fused.write(request, self._move, share=share, keep=1.0 - share)
        self.loss += share * (loss - self.loss)
        self.count, self.weight = self.count + 1, self.weight + request.weight
