"""Optimizer state for one flat vector of parameters, as the training engine uses it."""

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastopt.kernels import aligned_memory
from fastopt.kernels.elementwise import update_address
from fastopt.persistence import Persistent
from fastopt.schedules import Run
from fastopt.stepping import scheduling
from fastopt.stepping.arrays import check_dtype
from fastopt.stepping.rate_factors import RateFactors, scaled

if TYPE_CHECKING:
    from fastopt.optimizers.base import Optimizer

#: Steps whose constants are folded at once: at first, and at the most.
_STEPS_AHEAD = 64, 1024


class FlatState(scheduling.Scheduled, Persistent):
    """An optimizer bound to one flat vector of parameters: all weights, then all biases.

    The engine asks for the constants of many steps at once and calls the update kernel by its address, so
    that no Python runs between mini-batches. Made by `Optimizer.flat`. Pickles and copies: it holds arrays
    and numbers, never compiled code.

    Attributes
    ----------
    hyper : dict
        Hyper-parameters, numbers or schedules; a changed value counts from the next step.
    run : Run
        What schedules know about the run.
    t : int
        Steps taken.
    state : ndarray of shape (n_slots, size)
        The slots, in the order of ``rule.slots``. Written by the kernel.
    scalars : tuple of float
        State that is one number, for rules that declare ``scalars``; those of one group after another.
    rate_factors : RateFactors or None
        Factors of the learning rate for parts of the vector; None where all have the same rate.
    is_training : bool
        Whether the parameters are those of training (`train`) or of evaluation (`eval`).
    """

    optimizer: "Optimizer"
    hyper: dict[str, Any]
    run: Run
    t: int
    dtype: np.dtype[Any]
    size: int
    n_decay: int
    state: np.ndarray
    scalars: tuple[float, ...]
    is_training: bool
    rate_factors: RateFactors | None = None

    _state_names = (
        *"optimizer hyper run t dtype size n_decay state scalars is_training".split(),
        "rate_factors",
    )
    _may_lack = ("rate_factors",)

    def __init__(
        self,
        optimizer: "Optimizer",
        size: int,
        n_decay: int,
        dtype: npt.DTypeLike,
        run: Run,
        rate_factors: RateFactors | None = None,
    ):
        self.optimizer = copy.deepcopy(optimizer)
        self.hyper = self.optimizer.get_params(deep=False)
        self.run, self.t = run, 0
        first = self.values()
        self.dtype = check_dtype(dtype)
        self.size, self.n_decay = int(size), int(n_decay)
        rule = self.rule
        self.state = aligned_memory.zeros((len(rule.slots), self.size), self.dtype)
        for name, row in zip(rule.slots, self.state, strict=True):
            row[:] = rule.first(first, rule.initial, name)
        self.rate_factors = rate_factors if rate_factors is not None and rate_factors.differ else None
        by_group = [scaled(first, factor) for factor in self._groups]
        self.scalars = tuple(rule.first(h, rule.scalars, name) for h in by_group for name in rule.scalars)
        self.is_training = True
        self._table = self._kernel = None

    def __getstate__(self) -> dict[str, Any]:
        state = {name: getattr(self, name) for name in self._state_names}
        if self.rate_factors is None:
            del state["rate_factors"]  # earlier versions read it, too
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.hyper = self.optimizer.get_params(deep=False) | self.hyper  # what is newer than the pickle
        self._table = self._kernel = None

    def _check_restored(self) -> None:
        super()._check_restored()
        rule = self.rule
        shape = len(rule.slots), self.size
        if not isinstance(self.state, np.ndarray) or (self.state.shape, self.state.dtype) != (
            shape,
            self.dtype,
        ):
            raise ValueError(f"the state of {self.optimizer!r} is no array of {self.dtype} and shape {shape}")
        if not isinstance(self.rate_factors, (RateFactors, type(None))):
            raise ValueError(f"{self.rate_factors!r} are no factors of the learning rate")
        if len(self.scalars) != len(rule.scalars) * len(self._groups) or not all(
            isinstance(one, float) for one in self.scalars
        ):
            raise ValueError(
                f"{self.optimizer!r} keeps {len(rule.scalars)} numbers a group, not {self.scalars!r}"
            )

    @property
    def rule(self) -> Any:
        """The scalar rule for the present hyper-parameters."""
        return self.optimizer.rule(self.hyper)

    @property
    def address(self) -> int:
        """Address of the update kernel (`fastopt.kernels.elementwise`); compiles it on first use."""
        rule = self.rule
        if self._kernel is None or self._kernel[0] is not rule:
            self._kernel = rule, update_address(rule, self.dtype)
        return self._kernel[1]

    def begin(self, run: Run) -> None:
        """Set the run that schedules follow from the next step on."""
        if run != self.run:
            self.run = run
            if scheduling.scheduled(self.hyper):
                self._table = None

    def constants(self, n_steps: int, decay: bool = True) -> np.ndarray:
        """Return the kernel constants of the next steps, without counting these as taken.

        Parameters
        ----------
        n_steps : int
            How many steps.
        decay : bool
            False for elements from ``n_decay`` on, which weight decay spares.

        Returns
        -------
        ndarray of shape (n_steps, n_groups * (3 + n_constants))
            Row ``i`` belongs to step ``t + 1 + i``; in it stand the constants of one group after another, in
            the order of ``rate_factors.groups``. Without these there is one.
        """
        if not decay or self.scalars:
            return self._fold(n_steps, decay)[0]
        # Folded for many steps ahead, because an epoch of a small network is over in fewer than that takes.
        if self._table is None or self._table[0] != self.hyper or not self.t <= self._table_end - n_steps:
            known = 0 if self._table is None else len(self._table[2])
            first, most = _STEPS_AHEAD
            ahead = max(n_steps, first, min(2 * known, most))
            self._table = (dict(self.hyper), self.t, self._fold(ahead, decay)[0])
        first = self.t - self._table[1]
        return self._table[2][first : first + n_steps]

    @property
    def _table_end(self):
        return self._table[1] + len(self._table[2])

    def advance(self, n_steps: int) -> None:
        """Count ``n_steps`` as taken."""
        if self.scalars:
            self.scalars = self._fold(n_steps, True)[1]
        self.t += n_steps

    def train(self, params: np.ndarray) -> None:
        """Move ``params`` to the point where gradients are evaluated; does nothing for most optimizers."""
        self._switch(params, True)

    def eval(self, params: np.ndarray) -> None:
        """Move ``params`` to the point to be evaluated (an average); does nothing for most optimizers."""
        self._switch(params, False)

    def _switch(self, params, to_training):
        if self.optimizer.has_modes and self.t and self.is_training != to_training:
            slot, *weights = self.optimizer.evaluation(self.values())
            z = self.state[self.rule.slots.index(slot)]
            params += params.dtype.type(weights[to_training]) * (z - params)
            self.is_training = to_training

    def _fold(self, n_steps, decay):
        steps = np.arange(self.t, self.t + n_steps)
        h = scheduling.evaluate(self.optimizer, self.hyper, self.run, steps)
        if not decay:
            h = h | {"weight_decay": 0.0}
        rule, groups = self.rule, self._groups
        width, n = 3 + rule.n_constants, len(rule.scalars)
        constants = np.empty((n_steps, len(groups), width), self.dtype)
        scalars = ()
        for number, factor in enumerate(groups):
            before = self.scalars[number * n : (number + 1) * n]
            own = scaled(h, factor)
            rows = scheduling.fold_ahead(self.optimizer, rule, own, self.t, n_steps, before)
            constants[:, number] = rows[:, :width]
            scalars += tuple(rows[-1, width:].tolist()) if n_steps else before
        return constants.reshape(n_steps, -1), scalars

    def continue_as(self, new: "FlatState") -> "FlatState":
        """Return the state, with the hyper-parameters and the factors of a ``new`` one."""
        self.hyper.update(new.hyper)
        if self.rate_factors != new.rate_factors:
            n = len(self.rule.scalars)
            self.rate_factors, self._table = new.rate_factors, None
            self.scalars = self.scalars[:n] * len(self._groups)
        return self

    @property
    def _groups(self):
        """The factors of the learning rate that differ."""
        return (1.0,) if self.rate_factors is None else self.rate_factors.groups
