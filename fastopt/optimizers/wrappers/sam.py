"""Sharpness-aware minimization: the gradient is taken at the point of highest loss nearby."""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from fastopt.optimizers.base import Optimizer
from fastopt.optimizers.wrappers.base import WrappedStepper, Wrapper
from fastopt.rules import wrappers as rules
from fastopt.rules.ranges import AT_LEAST_0, Range
from fastopt.schedules import Run
from fastopt.stepping.fusion_stages import Stage, StepRequest
from fastopt.stepping.param_groups import to_list
from fastopt.stepping.recordable import copy_arrays, number
from fastopt.stepping.stepper import Stepper


@dataclasses.dataclass(repr=False)
class SAM(Wrapper):
    """Sharpness-aware minimization: a step along the gradient at ``w + rho * g / (norm(g) + 1e-12)``.

    A step evaluates its closure twice: at the weights, and at the perturbed weights, ``rho`` uphill along the
    gradient. The weights are then restored, bit for bit, and the optimizer inside steps with the second
    gradient, and with the second loss if it needs one. The norm is that of all gradients together. Wrappers
    that change gradients belong inside, and change the second one: ``SAM(Clip(Adam(), norm=1.0))``. In an
    estimator both gradients are those of the mini-batch, including the penalty.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer that makes the steps; any.
    rho : float
        Norm of the perturbation.

    References
    ----------
    Foret et al. (2021), "Sharpness-Aware Minimization for Efficiently Improving Generalization", algorithm 1;
    with the 1e-12 of the implementations.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SAM, SGD
    >>> w = np.array([3.0])
    >>> stepper = SAM(SGD(lr=0.5), rho=1.0).bind(w)
    >>> stepper.step(closure=lambda: (0.5 * float(w @ w), [w.copy()]))  # the loss at 3; the gradient at 4
    4.5
    >>> w
    array([1.])
    """

    needs: ClassVar[str | None] = "closure"
    takes_closure: ClassVar[bool] = True
    limits: ClassVar[dict[str, Range]] = {"rho": AT_LEAST_0}
    rho: float = 0.05

    def around(
        self, optimizer: Optimizer, groups: list[dict[str, Any]], n_threads: int | None, run: Run
    ) -> WrappedStepper:
        """Return the SAM stepper around ``optimizer``'s."""
        return SAMStepper(optimizer.stepper(groups, n_threads, run), self.rho)


@dataclasses.dataclass(repr=False)
class ASAM(SAM):
    """Adaptive SAM: the perturbation of each weight grows with its magnitude.

    With ``t = abs(w) + eta`` the perturbation is ``rho * t ** 2 * g / (norm(t * g) + 1e-16)``, so that the
    method is invariant to scaling one layer's weights up and the next layer's down. Arrays with fewer than
    two axes (biases) have ``t = 1``, as in the authors' code.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer that makes the steps; any.
    rho : float
        Norm of the perturbation, relative to ``t``.
    eta : float
        Added to the magnitudes, so that weights near 0 are perturbed, too.
    biases : bool
        Whether ``t = abs(w) + eta`` also for arrays with fewer than two axes.

    References
    ----------
    Kwon et al. (2021), "ASAM: Adaptive Sharpness-Aware Minimization for Scale-Invariant Learning of Deep
    Neural Networks", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import ASAM, SGD
    >>> w = np.array([[3.0]])
    >>> stepper = ASAM(SGD(lr=0.5), rho=0.5, eta=0.0).bind(w)
    >>> stepper.step(closure=lambda: (0.5 * float(w[0, 0] ** 2), [w.copy()]))  # the gradient at 4.5
    4.5
    >>> w
    array([[0.75]])
    """

    limits: ClassVar[dict[str, Range]] = {"rho": AT_LEAST_0, "eta": AT_LEAST_0}
    rho: float = 0.5
    eta: float = 0.01
    biases: bool = False

    def check_own(self) -> None:
        """Check ``biases``, too."""
        super().check_own()
        if not isinstance(self.biases, bool):
            raise TypeError(f"ASAM(biases={self.biases!r}): biases must be True or False")

    def around(
        self, optimizer: Optimizer, groups: list[dict[str, Any]], n_threads: int | None, run: Run
    ) -> WrappedStepper:
        """Return the SAM stepper around ``optimizer``'s."""
        inner = optimizer.stepper(groups, n_threads, run)
        return SAMStepper(inner, self.rho, self.eta, 0 if self.biases else 2)


class SAMStepper(WrappedStepper):
    """Steps with the gradient at perturbed weights.

    Parameters
    ----------
    inner : Stepper or WrappedStepper
    rho : float
    eta : float, optional
        As in `ASAM`; None for `SAM`.
    n_axes : int
        Arrays with at least so many axes are perturbed in proportion to their weights, if ``eta`` is given.
    """

    kind: ClassVar[str] = "sharpness-aware minimisation"

    def __init__(
        self, inner: Stepper | WrappedStepper, rho: float, eta: float | None = None, n_axes: int = 0
    ) -> None:
        super().__init__(inner)
        params = self.fused.params
        adapts = np.array([eta is not None and p.array.ndim >= n_axes for p in params])
        self._size = {"share": adapts.astype(float), "offset": np.where(adapts, eta or 0.0, 1.0)}
        self._rho, self._least = rho, 1e-12 if eta is None else 1e-16
        self._square, self._ascend = Stage(rules.ascent_square), Stage(rules.ascend)
        self._here = self.fused.copies()

    def handle(self, request: StepRequest) -> float | None:
        """Make a step with the gradient at the perturbed weights; return the loss before that."""
        if request.closure is None:
            raise TypeError(
                f"{self.kind} evaluates two gradients: step(closure=f), with f() returning (loss, grads)"
            )
        here, closure = [], request.closure

        def uphill():
            loss, grads = closure()
            here.append(number(loss))
            return self._uphill(to_list(grads), closure, request.scale)

        request.closure = uphill
        self.forward(request)
        return here[0]

    def _uphill(self, grads, closure, scale):
        fused = self.fused
        inner = fused.request(grads, None, scale, {}, self.kind)
        with inner.interrupt:
            fused.accept(inner, self.kind)
            sign = np.array([-1.0 if p.group.current().get("maximize") else 1.0 for p in fused.params])
            inner.scale = scale * sign
            norm = np.sqrt(fused.reduce(inner, self._square, **self._size).sum())
            weights = [p.array for p in fused.params]
            copy_arrays(self._here, weights)
            try:
                fused.apply(inner, self._ascend, factor=self._rho / (norm + self._least), **self._size)
                inner.interrupt.release()  # the closure may take long
                return closure()
            finally:
                try:
                    inner.interrupt.hold()
                finally:
                    copy_arrays(weights, self._here)
                    fused.mark_changed()
