"""What wrappers add to a step: stages that are fused with the update, before it or after it.

A wrapper does not loop over arrays itself. It adds a `Stage` to the `StepRequest` that goes down to the
stepper inside: one that changes the gradient, or one that changes weights, or an average of them.
"""

import dataclasses
from typing import Any

import numpy as np

from fastopt.kernels.interrupts import HeldInterrupt
from fastopt.rules import wrappers


@dataclasses.dataclass(eq=False)
class Stage:
    """A sweep that a wrapper adds to a step, with its arrays and constants.

    Parameters
    ----------
    sweep : Sweep
        ``w`` are the weights, ``g`` is the gradient after earlier stages, ``b`` receives it for later stages,
        ``v`` is a copy of the weights kept for a chunk; any other letter is in `arrays`.
    arrays : dict
        Letter to a list of arrays, one for each parameter.
    members : sequence of int, optional
        Indices of the parameters that it applies to; all by default.
    units : dict, optional
        Of a sweep that tells rows from columns: parameter to its rows, its columns, and whether they are
        swapped.
    is_of_step : bool
        Whether it applies only to parameters that take the step; true of any sweep that reads the gradient.

    Attributes
    ----------
    constants : dict
        Of the next run: numbers, or arrays of one element for each parameter.
    scale : float or ndarray
        What the gradient is multiplied by first; likewise.
    head : tuple or None
        In place of `scale` the sign, the coupled decay and the share of the weights that the decoupled one
        keeps, as in `Optimizer.prologue`.
    """

    sweep: object
    arrays: dict = dataclasses.field(default_factory=dict)
    members: object = None
    units: dict = dataclasses.field(default_factory=dict)
    is_of_step: bool = False

    def __post_init__(self):
        self.constants, self.scale, self.head = {}, 1.0, None
        self.is_of_step = self.is_of_step or "g" in self.sweep.operands

    def fill(self, prepared, members):
        """Set the constants of a prepared sweep for some parameters."""
        head = self.head or (self.scale, 0.0, 1.0)
        values = [*head, *[self.constants[name] for name in self.sweep.constants]]
        prepared.fill([v[list(members)] if getattr(v, "ndim", 0) else v for v in values])


class UpdateMask:
    """The stages that mask an update.

    Parameters
    ----------
    fused : FusedStepper
    is_scaled : bool
        Whether the steps kept are divided by the share of elements kept.

    Attributes
    ----------
    set_aside, stage : Stage
        Stages before and after the update, where all are fused into one pass.
    """

    #: Lower bound of the share that steps are divided by.
    _LEAST = 1e-3

    def __init__(self, fused, is_scaled):
        self._fused, self._sizes = fused, np.array([p.array.size for p in fused.params], np.float64)
        self._arrays = {"d": fused.copies()} if is_scaled else {}
        self.set_aside = Stage(wrappers.set_aside, is_of_step=True)
        self.stage = Stage(wrappers.mask_apart if is_scaled else wrappers.mask, self._arrays)
        self._lengthen = Stage(wrappers.lengthen, self._arrays, is_of_step=True) if is_scaled else None
        self._apart = None

    def apart(self):
        """Return the mask as a separate pass, and arrays for new weights, where it expects them, and old."""
        if self._apart is None:
            self._apart = Stage(self.stage.sweep, {**self._arrays, "v": self._fused.copies()})
            self._old = self._fused.copies()
        return self._apart, self._apart.arrays["v"], self._old

    def lengthen(self, counts):
        """Return the stages that scale the steps kept, given how many elements of each array are kept."""
        if self._lengthen is None:
            return []
        shares = counts / np.maximum(self._sizes, 1.0)
        self._lengthen.constants = {"factor": 1.0 / np.maximum(shares, self._LEAST)}
        return [self._lengthen]


@dataclasses.dataclass(eq=False)
class StepRequest:
    """One step, passed down from the outermost wrapper to the stepper inside.

    Attributes
    ----------
    grads : list or None
        None until the closure has been evaluated.
    closure : callable or None
    scale : float or ndarray
        Factor still to be applied to the gradients; one element for each parameter where they differ.
    options : dict
        ``loss`` and ``hessian``, where given.
    found : float or None
        The closure's loss.
    active : tuple of int
        Parameters with a gradient, once the gradients have been accepted.
    before, after : list of Stage
        Stages before the update, in order; stages after it, in reverse order.
    mask : UpdateMask or None
        How the update is masked.
    norms : ndarray or None
        L2 norms of the gradients after the stages so far, if known, but for `factors`; 0 where there is no
        gradient.
    factors : list of float or ndarray
        By what the gradients have been multiplied since.
    weight : float
        Weight of the gradients in a mean with others: the rows of the mini-batch, or their total weight.
    ends_epoch : bool
        Whether accumulated gradients make a step now, even if they are fewer than usual.
    is_made : bool
        Whether the request has led, or will lead, to a step of the optimizer inside.
    interrupt : HeldInterrupt
        Holds Ctrl-C back from the closure's end to the step's.
    """

    grads: object
    closure: object
    scale: object
    options: dict[str, Any]
    found: object = None
    active: object = None
    before: list[Any] = dataclasses.field(default_factory=list)
    after: list[Any] = dataclasses.field(default_factory=list)
    mask: object = None
    norms: object = None
    factors: list[Any] = dataclasses.field(default_factory=list)
    weight: float = 1.0
    ends_epoch: bool = False
    is_made: bool = True
    interrupt: HeldInterrupt = dataclasses.field(default_factory=HeldInterrupt)

    def drop(self) -> None:
        """Cancel the step and the stages after it."""
        self.is_made = False
        self.after.clear()

    def multiply(self, factors: Any) -> None:
        """Multiply all gradients by a number, or each by its own."""
        self.scale = self.scale * factors
        if self.norms is not None:
            self.factors.append(factors)

    def known_norms(self) -> Any:
        """Return `norms`, of the gradients as they are now, or None."""
        while self.factors:
            # A norm that overflowed is not known: that of the product may be finite.
            factors = self.factors.pop(0)
            self.norms = self.norms * factors if np.isfinite(self.norms).all() else None
            if self.norms is None:
                self.factors.clear()
        return self.norms

    def forget_norms(self) -> None:
        """Let `known_norms` return None."""
        self.norms = None
        self.factors.clear()
