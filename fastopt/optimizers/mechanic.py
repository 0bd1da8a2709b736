"""Mechanic: any optimizer, with a learned factor of its steps."""

from typing import ClassVar

from fastopt.optimizers import checks
from fastopt.optimizers.arrays import order_of
from fastopt.optimizers.base import Optimizer, get_optimizer, optimizer
from fastopt.optimizers.device_stepper import refuse_on_gpu
from fastopt.optimizers.stepper import Stepper
from fastopt.rules import parameter_free as _rules  # noqa: F401  registers the rule


@optimizer("mechanic")
class Mechanic(Optimizer):
    """Another optimizer whose steps are added up and scaled by a factor that is learned.

    As ``optax.contrib.mechanize``, for six discounts.

    Parameters
    ----------
    lr : float
        The other optimizer's learning rate; its size does not matter, its schedule does.
    base : str
        Name of the other optimizer, which has its own defaults; one that needs nothing but gradients.
    weight_decay : float
        Draws towards 0 the weights that the factor is learned from, in proportion to the gradient.
    eps : float
        Keeps divisions from 0.
    s_init : float
        First value of the factor for each discount.
    maximize : bool
        Ascend instead of descend.

    References
    ----------
    Cutkosky, Defazio & Mehta (2023), "Mechanic: A Learning Rate Tuner", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import Mechanic
    >>> w = np.array([3.0, -4.0])
    >>> stepper = Mechanic(base="sgd", lr=0.1).bind(w)
    >>> for _ in range(300):
    ...     stepper.step([w - 1.0])
    >>> bool(np.abs(w - 1.0).max() < 0.5)
    True
    """

    ranges: ClassVar[dict] = {"s_init": checks.ABOVE_0, "eps": checks.ABOVE_0}
    lr: float = 1.0
    base: str = "adamw"
    weight_decay: float = 1e-2
    eps: float = 1e-8
    s_init: float = 1e-6

    @classmethod
    def prologue(cls, h):
        """Return what kernels apply first: the sign alone."""
        return super().prologue(h)[0], 0.0, 1.0

    @classmethod
    def check(cls, h):
        """Check the values, and that the base needs nothing but gradients."""
        super().check(h)
        inner = get_optimizer(h["base"])
        if inner.needs or inner.has_modes or isinstance(inner, cls):
            raise ValueError(
                f"Mechanic(base={h['base']!r}): base must be the name of an optimizer that needs nothing but "
                "gradients and has no evaluation mode, such as 'adamw' or 'sgd'"
            )

    def stepper(self, groups, n_threads, run):
        """Return the stepper for groups of arrays; see `Optimizer.bind`."""
        refuse_on_gpu(self, groups)
        return MechanicStepper(self, groups, n_threads, run)


class MechanicStepper(Stepper):
    """A `Stepper` that lets another one move copies of the weights first; made by `Mechanic.bind`."""

    def __init__(self, optimizer, groups, n_threads, run):
        super().__init__(optimizer, groups, n_threads, run)
        self._bind_base()

    def _bind_base(self):
        """Bind the other optimizer to the slots that hold the copies."""
        self._copies = [p.slots[1].reshape(p.array.shape, order=order_of(p.array)) for p in self._params]
        self._base_name = self._groups[0].values["base"]
        groups = [
            {"params": [self._copies[p.index] for p in self._params if p.group is group]}
            for group in self._groups
        ]
        self._base = get_optimizer(self._base_name).stepper(groups, self._n_threads, self._progress.run)

    @property
    def nbytes(self):
        """Bytes of state, the other optimizer's included."""
        return super().nbytes + self._base.nbytes

    def add_param_group(self, group):
        """Bind more arrays; see `Stepper.add_param_group`."""
        saved = self._base.state_dict()
        super().add_param_group(group)
        self._bind_base()
        saved["param_groups"].append(self._base.state_dict()["param_groups"][-1])
        self._base.load_state_dict(saved)

    def step(self, grads=None, *, closure=None, grad_scale=1.0, loss=None, hessian=None):
        """Apply one update in place; see `Stepper.step`."""
        found = None
        if closure is not None:
            found, grads, loss = self._call(closure, grads, loss)
        if loss is not None or hessian is not None or grads is None:
            raise TypeError("Mechanic needs gradients or a closure, and takes no loss and no hessian")
        if any(group["base"] != self._base_name for group in self.param_groups):
            raise ValueError(f"the base is {self._base_name!r} for all groups, and cannot be changed")
        self._refresh()
        for group, mine in zip(self._base.param_groups, self.param_groups, strict=True):
            group.update({name: mine[name] for name in ("lr", "maximize")})
        for p, copy in zip(self._params, self._copies, strict=True):
            copy[...] = p.array
        self._base.step(grads, grad_scale=grad_scale)
        super().step(grads, grad_scale=grad_scale)
        return found

    def state_dict(self):
        """Return a copy of the state as `Stepper.state_dict` does, with the other optimizer's as ``base``."""
        return super().state_dict() | {"base": self._base.state_dict()}

    def load_state_dict(self, state_dict):
        """Take over a copy of a state; see `Stepper.load_state_dict`."""
        if not isinstance(state_dict, dict) or "base" not in state_dict:
            raise ValueError("a state_dict of Mechanic has the other optimizer's state as 'base'")
        super().load_state_dict(state_dict)
        self._bind_base()
        self._base.load_state_dict(state_dict["base"])
