"""Wrappers that change gradients: centralization, and noise."""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from fastopt.optimizers.base import Optimizer
from fastopt.optimizers.wrappers.base import WrappedStepper, Wrapper
from fastopt.optimizers.wrappers.units import check_layout, of_units, units_of
from fastopt.rules import wrappers as rules
from fastopt.rules.randomness import keys
from fastopt.rules.ranges import AT_LEAST_0, WHOLE, Range
from fastopt.schedules import Run
from fastopt.stepping.fusion_stages import Stage, StepRequest
from fastopt.stepping.recordable import assign, by_count
from fastopt.stepping.stepper import Stepper
from fastopt.stepping.tracing import Cell


@dataclasses.dataclass(repr=False)
class Centralize(Wrapper):
    """Subtracts from each gradient its mean over each unit (gradient centralization, Yong et al., 2020).

    A unit is all weights that lead to one output. Arrays with fewer than two axes are not changed. The means
    take one more pass over the gradients.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer that makes the steps.
    layout : {'io', 'oi'}
        Whether the outputs are the last axis, as here and in Keras, or the first, as in torch and in
        ``optax.centralize``.

    References
    ----------
    Yong et al. (2020), "Gradient Centralization: A New Optimization Technique for Deep Neural Networks",
    equation 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SGD, Centralize
    >>> w = np.zeros((2, 2))
    >>> Centralize(SGD(lr=1.0)).bind(w).step(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> w
    array([[ 1.,  0.],
           [-1.,  0.]])
    """

    layout: str = "io"

    def check_own(self) -> None:
        """Check ``layout``, too."""
        super().check_own()
        check_layout(self)

    def around(
        self, optimizer: Optimizer, groups: list[dict[str, Any]], n_threads: int | None, run: Run
    ) -> WrappedStepper:
        """Return the stepper that centralizes gradients around ``optimizer``'s."""
        return CentralizeStepper(optimizer.stepper(groups, n_threads, run), self.layout)


class CentralizeStepper(WrappedStepper):
    """Subtracts from each gradient its mean over each unit."""

    kind: ClassVar[str] = "centralisation"

    def __init__(self, inner: Stepper | WrappedStepper, layout: str | None) -> None:
        super().__init__(inner)
        units = units_of(self.fused.params, layout)
        self._means = of_units(self.fused, units)
        self._sum = Stage(rules.column_sum, {}, [*units], units)
        self._center = Stage(rules.center, {"m": self._means}, [*units], units)
        self._per_unit = {i: columns if is_row else rows for i, (rows, columns, is_row) in units.items()}

    def prepare(self, request: StepRequest) -> None:
        """Centralize the gradients."""
        self.fused.accept(request, self.kind)
        sums = self.fused.reduce(request, self._sum)
        for i, (sums_of_units,) in sums.items():
            assign(self._means[i], sums_of_units / max(self._per_unit[i], 1))
        if sums:
            self.fused.add(request, self._center)


@dataclasses.dataclass(repr=False)
class GradientNoise(Wrapper):
    """Adds Gaussian noise of variance ``eta / (1 + t) ** gamma`` to the gradients, with ``t = 0`` at first.

    The noise is a function of `seed`, the step, the parameter's index and the element's position in memory
    only, so it is the same for any number of threads, and up to rounding in float32 and float64.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer that makes the steps.
    eta : float
        Variance at the first step. The paper uses 0.01, 0.3 and 1.
    gamma : float
        Exponent of the decay.
    seed : int
        Seed of the noise, below 2 ** 32.

    References
    ----------
    Neelakantan et al. (2015), "Adding Gradient Noise Improves Learning for Very Deep Networks", equation 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SGD, GradientNoise
    >>> a, b = np.zeros(1000), np.zeros(1000)
    >>> GradientNoise(SGD(lr=1.0), eta=0.25).bind(a).step([np.ones(1000)])
    >>> GradientNoise(SGD(lr=1.0), eta=0.25).bind(b).step([np.ones(1000)])
    >>> bool((a == b).all()), bool(abs(a.mean() + 1.0) < 0.05), bool(abs(a.std() - 0.5) < 0.05)
    (True, True, True)
    """

    limits: ClassVar[dict[str, Range]] = {
        "eta": AT_LEAST_0,
        "gamma": AT_LEAST_0,
        "seed": (lambda x: WHOLE[0](x) and x < 2**32, "a whole number in [0, 2 ** 32)"),
    }
    eta: float = 0.01
    gamma: float = 0.55
    seed: int = 0

    def around(
        self, optimizer: Optimizer, groups: list[dict[str, Any]], n_threads: int | None, run: Run
    ) -> WrappedStepper:
        """Return the stepper that adds noise around ``optimizer``'s."""
        return GradientNoiseStepper(
            optimizer.stepper(groups, n_threads, run), self.eta, self.gamma, self.seed
        )


class GradientNoiseStepper(WrappedStepper):
    """Adds Gaussian noise to the gradients of each step."""

    kind: ClassVar[str] = "noise"
    counts: ClassVar[tuple[str, ...]] = ("count",)

    def __init__(self, inner: Stepper | WrappedStepper, eta: float, gamma: float, seed: int) -> None:
        super().__init__(inner)
        self._eta, self._gamma, self._seed = eta, gamma, seed
        self.count: int = 0
        self._add = Stage(rules.add_noise)

    def _ahead(self, n):
        """Return each parameter's key, in two halves, and the deviation, for the next gradients."""
        counts = np.arange(self.count, self.count + n)[:, None]
        key = keys(self._seed, counts, np.arange(len(self.fused.params)))
        deviation = np.sqrt(self._eta / (1.0 + counts) ** self._gamma)
        # Constants are cast to the array's dtype: a float32 holds half of the key exactly, not all of it.
        return np.stack([key >> 16, key & 0xFFFF, np.broadcast_to(deviation, key.shape)], axis=1)

    def handle(self, request: StepRequest) -> float | None:
        """Add noise to the gradients, then make a step with them."""
        self.fused.accept(request, self.kind)
        high, low, deviation = by_count(self._ahead, Cell(self, "count"), (3, len(self.fused.params)))
        self.fused.add(request, self._add, high=high, low=low, deviation=deviation)
        found = self.forward(request)
        self.count += 1
        return found
