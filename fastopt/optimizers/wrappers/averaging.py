"""Averages of weights: exponential (EMA), stochastic weight averaging (SWA) and Lookahead."""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from fastopt.kernels.interrupts import HeldInterrupt
from fastopt.optimizers.base import Optimizer
from fastopt.optimizers.wrappers.base import WrappedStepper, Wrapper
from fastopt.rules import wrappers as rules
from fastopt.schedules import Run
from fastopt.stepping.fusion_stages import Stage, StepRequest
from fastopt.stepping.recordable import number
from fastopt.stepping.stepper import Stepper


@dataclasses.dataclass(repr=False)
class EMA(Wrapper):
    """Exponential moving average of the weights, which evaluation uses.

    ``average = decay * average + (1 - decay) * weights`` after each step; the first average is a copy. As
    ``torch.optim.swa_utils.AveragedModel`` with ``get_ema_multi_avg_fn(decay)``. A bound stepper has
    ``eval()``, which swaps the average into the arrays, and ``train()``, which swaps the weights of training
    back. Estimators do that themselves: validation, the best weights and the fitted model use the average.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer that makes the steps.
    decay : float
        In [0, 1].
    every : int
        Average after every so many steps.
    first : int
        Steps before the first.

    References
    ----------
    Polyak & Juditsky (1992), "Acceleration of Stochastic Approximation by Averaging".

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import EMA, SGD
    >>> w = np.zeros(1)
    >>> stepper = EMA(SGD(lr=1.0), decay=0.5).bind(w)
    >>> for _ in range(2):
    ...     stepper.step(np.ones(1))
    >>> stepper.eval()
    >>> w
    array([-1.5])
    """

    averages: ClassVar[bool] = True
    takes_closure: ClassVar[bool] = True
    least: ClassVar[dict[str, int]] = {"every": 1, "first": 0}
    shares: ClassVar[tuple[str, ...]] = ("decay",)
    decay: float = 0.999
    every: int = 1
    first: int = 0

    def around(
        self, optimizer: Optimizer, groups: list[dict[str, Any]], n_threads: int | None, run: Run
    ) -> WrappedStepper:
        """Return the averaging stepper around ``optimizer``'s."""
        inner = optimizer.stepper(groups, n_threads, run)
        return AveragingStepper(inner, self.decay, self.every, self.first)


@dataclasses.dataclass(repr=False)
class SWA(Wrapper):
    """Stochastic weight averaging: evaluation uses the mean of the weights (Izmailov et al., 2018).

    As ``torch.optim.swa_utils.AveragedModel``. See `EMA` for ``eval()`` and ``train()``.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer that makes the steps.
    every : int
        Average after every so many steps.
    first : int
        Steps before the first.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SGD, SWA
    >>> w = np.zeros(1)
    >>> stepper = SWA(SGD(lr=1.0)).bind(w)
    >>> for _ in range(3):
    ...     stepper.step(np.ones(1))
    >>> stepper.eval()
    >>> w
    array([-2.])
    """

    averages: ClassVar[bool] = True
    takes_closure: ClassVar[bool] = True
    least: ClassVar[dict[str, int]] = {"every": 1, "first": 0}
    every: int = 1
    first: int = 0

    def around(
        self, optimizer: Optimizer, groups: list[dict[str, Any]], n_threads: int | None, run: Run
    ) -> WrappedStepper:
        """Return the averaging stepper around ``optimizer``'s."""
        return AveragingStepper(optimizer.stepper(groups, n_threads, run), None, self.every, self.first)


class AveragingStepper(WrappedStepper):
    """Keeps an average of the weights, which `eval` swaps with the weights and `train` swaps back."""

    kind: ClassVar[str] = "averages"
    counts: ClassVar[tuple[str, ...]] = ("count", "n_averaged", "is_averaged")

    def __init__(self, inner: Stepper | WrappedStepper, decay: float | None, every: int, first: int) -> None:
        super().__init__(inner)
        self._decay, self._every, self._first = decay, every, first
        self.count: int = 0
        self.n_averaged: int = 0
        self.is_averaged: bool = False
        self._averages = self.fused.copies()
        self._move = Stage(rules.average, {"a": self._averages})

    def _kept(self):
        return self._averages

    def handle(self, request: StepRequest) -> float | None:
        """Make a step, then update the average if one is due."""
        if self.is_averaged:
            raise RuntimeError("the weights are their average; call train() before step()")
        since = self.count + 1 - self._first
        # Every branch on a count doubles what is recorded of the step: the first average is no other stage.
        is_due = (not self._first or since > 0) and (self._every == 1 or since % self._every == 0)
        if is_due:
            share = 1.0 / (self.n_averaged + 1)  # the first average is a copy
            if self._decay is not None:
                share = number(np.where(self.n_averaged == 0, share, 1.0 - self._decay))
            self._move.constants = {"share": share, "keep": 1.0 - share}
            request.after.append(self._move)
        found = self.forward(request)
        if request.is_made:
            self.count, self.n_averaged = self.count + 1, self.n_averaged + is_due
        return found

    @property
    def is_training(self) -> bool:
        """Whether the weights are those of training, not their average."""
        return not self.is_averaged and self.inner.is_training

    def eval(self) -> None:
        """Swap the average into the arrays, for evaluation."""
        self.inner.eval()
        self._exchange(True)

    def train(self) -> None:
        """Swap the weights of training back into the arrays."""
        self._exchange(False)
        self.inner.train()

    def _exchange(self, to_average):
        if self.is_averaged == to_average or not self.n_averaged:
            return
        self.fused.follow_storage()
        with HeldInterrupt():
            for other, p in zip(self._averages, self.fused.params, strict=True):
                kept = other.copy()
                other[...] = p.array
                p.array[...] = kept
            self.is_averaged = to_average
            self.fused.mark_changed()


@dataclasses.dataclass(repr=False)
class Lookahead(Wrapper):
    """Every `k` steps: ``slow += alpha * (fast - slow); fast = slow`` (Zhang et al., 2019, algorithm 1).

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer that moves the fast weights.
    k : int
        Steps between two updates of the slow weights.
    alpha : float
        Share of the way to the fast weights that the slow ones move, in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SGD, Lookahead
    >>> w = np.zeros(1)
    >>> stepper = Lookahead(SGD(lr=1.0), k=2).bind(w)
    >>> for _ in range(3):
    ...     stepper.step(np.ones(1))
    >>> w
    array([-2.])
    """

    takes_closure: ClassVar[bool] = True
    least: ClassVar[dict[str, int]] = {"k": 1}
    shares: ClassVar[tuple[str, ...]] = ("alpha",)
    k: int = 5
    alpha: float = 0.5

    def around(
        self, optimizer: Optimizer, groups: list[dict[str, Any]], n_threads: int | None, run: Run
    ) -> WrappedStepper:
        """Return the stepper that keeps slow weights around ``optimizer``'s."""
        return LookaheadStepper(optimizer.stepper(groups, n_threads, run), self.k, self.alpha)


class LookaheadStepper(WrappedStepper):
    """Moves slow weights towards the fast ones every k steps, and resets the fast ones to them."""

    kind: ClassVar[str] = "lookahead"
    counts: ClassVar[tuple[str, ...]] = ("count",)

    def __init__(self, inner: Stepper | WrappedStepper, k: int, alpha: float) -> None:
        super().__init__(inner)
        self._k, self._slow = k, self.fused.copies()
        self.count: int = 0
        self._meet = Stage(rules.meet, {"a": self._slow})
        self._meet.constants = {"share": alpha, "keep": 1.0 - alpha}

    def _kept(self):
        return self._slow

    def handle(self, request: StepRequest) -> float | None:
        """Make a step; every k-th time update the slow weights and reset the fast ones."""
        if (self.count + 1) % self._k == 0:
            request.after.append(self._meet)
        found = self.forward(request)
        self.count += request.is_made
        return found
