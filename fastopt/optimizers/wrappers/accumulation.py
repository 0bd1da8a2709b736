"""Gradient accumulation: one step with the mean of several gradients."""

import dataclasses
from typing import ClassVar

from fastopt.optimizers.wrappers.base import WrappedStepper, Wrapper
from fastopt.rules import wrappers as rules
from fastopt.stepping.fusion_stages import Stage


@dataclasses.dataclass(repr=False)
class MultiSteps(Wrapper):
    """Gradient accumulation: every `n`-th step is one with the mean of the last `n` gradients.

    As ``optax.MultiSteps``. Schedules count the steps that are made. A mean that is not complete when
    training ends is dropped.

    Parameters
    ----------
    optimizer : Optimizer
        What makes the steps.
    n : int
        Gradients of a step.

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

    least: ClassVar[dict] = {"n": 1}
    n: int = 2

    def around(self, optimizer, groups, n_threads, run):
        """Return the accumulating stepper."""
        inner = optimizer.stepper(groups, n_threads, fewer_steps(run, self.n))
        return MultiStepsStepper(inner, self.n)


class MultiStepsStepper(WrappedStepper):
    """Steps with the mean of n gradients."""

    kind, counts = "accumulation", ("count", "loss", "present")

    def __init__(self, inner, n):
        super().__init__(inner)
        self._n, self.count, self.loss, self.present = n, 0, 0.0, ()
        self._means = self.fused.copies()
        self._begin, self._move = (Stage(s, {"b": self._means}) for s in (rules.scale, rules.accumulate))

    def _kept(self):
        return self._means

    def begin(self, run):
        """Let schedules go by another run; they count the steps that are made."""
        self.inner.begin(fewer_steps(run, self._n))

    def handle(self, request):
        """Let gradients enter the mean; step with it when it is complete."""
        self.fused.accept(request, self.kind)
        if "hessian" in request.options:
            raise TypeError("estimates of the Hessian are not accumulated; leave out hessian")
        active, loss = request.active, request.options.get("loss")
        if self.count and active != tuple(self.present):
            raise ValueError(
                "the gradients that are None must be the same in all that are accumulated into one step"
            )
        share = 1.0 / (self.count + 1)
        if self.count == 0:  # whatever the buffer holds, infinity or NaN
            self.present = active
            self.fused.write(request, self._begin)
        else:
            self.fused.write(request, self._move, share=share, keep=1.0 - share)
        self.loss += share * ((0.0 if loss is None else loss) - self.loss)
        self.count += 1
        if self.count < self._n:
            return request.found
        if loss is not None:
            request.options["loss"] = self.loss
        found = self.forward(request)
        self.count, self.loss = 0, 0.0
        return found


def fewer_steps(run, n):
    """Return the run of which only every n-th step is made."""
    counts = {name: getattr(run, name) for name in ("n_steps", "steps_per_epoch")}
    return dataclasses.replace(run, **{k: None if v is None else max(1, v // n) for k, v in counts.items()})
