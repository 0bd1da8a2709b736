"""The stepper of Mechanic, which scales the steps of a base optimizer."""

from collections.abc import Mapping

import numpy as np

from fastopt.kernels.interrupts import HeldInterrupt
from fastopt.stepping.arrays import order_of
from fastopt.stepping.recordable import copy_arrays
from fastopt.stepping.state_dict import export
from fastopt.stepping.stepper import Stepper, evaluate, refuse_both


class MechanicStepper(Stepper):
    """A `Stepper` around a base optimizer that updates copies of the weights; made by `Mechanic.bind`."""

    def __init__(self, optimizer, groups, n_threads, run):
        super().__init__(optimizer, groups, n_threads, run)
        self._bind_base()

    def _bind_base(self):
        """Bind the base optimizer to the slots that hold the copies."""
        self._copies = [p.slots[1].reshape(p.array.shape, order=order_of(p.array)) for p in self.bound.params]
        self._base_name = self.bound.groups[0].values["base"]
        groups = [
            {"params": [self._copies[p.index] for p in self.bound.params if p.group is group]}
            for group in self.bound.groups
        ]
        bound = self.bound
        self._base = bound.optimizer.make_base(self._base_name).stepper(
            groups, bound.n_threads, bound.progress.run
        )

    @property
    def nbytes(self):
        """Bytes of state, including the base optimizer's."""
        return super().nbytes + self._base.nbytes

    def add_param_group(self, group):
        """Bind more arrays; see `Stepper.add_param_group`."""
        saved = self._base.state_dict()
        super().add_param_group(group)
        self._bind_base()
        saved["param_groups"].append(self._base.state_dict()["param_groups"][-1])
        self._base.load_state_dict(saved)

    def cells(self):
        """Return the cells of all numbers that a step changes; see `Stepper.cells`."""
        return [*super().cells(), *self._base.cells()]

    def begin(self, run):
        """Set the run that schedules follow; see `Stepper.begin`."""
        super().begin(run)
        self._base.begin(run)

    def step(self, grads=None, *, closure=None, grad_scale=1.0, loss=None, hessian=None):
        """Apply one update in place; see `Stepper.step`."""
        found = None
        if closure is not None:
            refuse_both(grads, loss)
            found, grads, loss = evaluate(closure, self.bound.optimizer)
        if loss is not None or hessian is not None or grads is None:
            raise TypeError("Mechanic needs gradients or a closure, and takes no loss and no hessian")
        if any(group["base"] != self._base_name for group in self.param_groups):
            raise ValueError(f"the base is {self._base_name!r} for all groups, and cannot be changed")
        self.bound.refresh()
        self._pass_on()
        with HeldInterrupt():
            copy_arrays(self._copies, [p.array for p in self.bound.params])
            self._base.step(grads, grad_scale=grad_scale)
            super().step(grads, grad_scale=grad_scale)
        return found

    def _pass_on(self):
        """Set the hyper-parameters that the other optimizer has from here."""
        for group, mine in zip(self._base.param_groups, self.param_groups, strict=True):
            group.update({name: mine[name] for name in ("lr", "maximize")})

    def state_dict(self):
        """Return a copy of the state as `Stepper.state_dict` does, with the other optimizer's as ``base``."""
        self._pass_on()
        self._base.bound.refresh()  # which steps that were made by a program have not done
        base = self._base.state_dict()  # of arrays beside the user's
        for i, own in base["state"].items():
            given = self.bound.params[i].given
            own.update({k: export(v, given) for k, v in own.items() if isinstance(v, np.ndarray)})
        return super().state_dict() | {"base": base}

    def load_state_dict(self, state_dict):
        """Load a copy of a state; see `Stepper.load_state_dict`."""
        if not isinstance(state_dict, Mapping) or "base" not in state_dict:
            raise ValueError("a state_dict of Mechanic has the other optimizer's state as 'base'")
        before = self.state_dict()
        try:
            self._load(state_dict)
        except (TypeError, ValueError):
            self._load(before)  # the base's part has been refused when the rest was loaded
            raise

    def _load(self, state_dict):
        super().load_state_dict(state_dict)
        self._bind_base()
        self._base.load_state_dict(state_dict["base"])
