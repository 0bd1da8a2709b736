"""What all wrappers share: the class of hyper-parameters and the stepper around a stepper."""

import dataclasses
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, ClassVar, NoReturn

import numpy as np
import numpy.typing as npt

from fastopt._parameters import plain
from fastopt.optimizers.base import Optimizer
from fastopt.rules.ranges import Range
from fastopt.schedules import Run
from fastopt.stepping import scheduling
from fastopt.stepping.fusion import FusedStepper
from fastopt.stepping.fusion_stages import StepRequest
from fastopt.stepping.layerwise_state import LayerwiseState
from fastopt.stepping.state_dict import export, whole_number
from fastopt.stepping.stepper import Stepper


@dataclasses.dataclass(repr=False)
class Wrapper(Optimizer):
    """Base of the wrappers: an optimizer inside, whose hyper-parameters are those of the groups.

    Wrappers nest, and what they do to gradients and weights is done chunk by chunk in the optimizer's own
    pass over memory, if that updates each weight by itself. The training engine hands over the gradient of
    each mini-batch, which takes longer than the update inside the backward pass of an optimizer alone.
    """

    maximize: ClassVar[bool] = False  # that of the optimizer inside counts
    #: Allowed whole numbers: parameter to the least.
    least: ClassVar[dict[str, int]] = {}
    #: Allowed shares.
    shares: ClassVar[tuple[str, ...]] = ()
    #: Parameter to the test of a number and what is allowed, as in `fastopt.rules.ranges`.
    limits: ClassVar[dict[str, Range]] = {}
    #: Whether it works with optimizers whose steps take a closure, and no gradients.
    takes_closure: ClassVar[bool] = False

    optimizer: Optimizer

    @property
    def innermost(self) -> Optimizer:
        """The optimizer inside, however deep."""
        return self.optimizer.innermost

    def inner_run(self, run: Run) -> Run:
        """Return the run as the schedules of the optimizer inside count it."""
        return self.optimizer.inner_run(run)

    def check_own(self) -> None:
        """Raise TypeError or ValueError if a parameter of the wrapper is not acceptable."""
        name = type(self).__name__
        if not isinstance(self.optimizer, Optimizer):
            raise TypeError(f"{name} wraps an optimizer such as Adam(), not {type(self.optimizer).__name__}")
        for parameter, least in self.least.items():
            value = getattr(self, parameter)
            if isinstance(value, bool) or not isinstance(value, Real) or value != int(value) or value < least:
                raise ValueError(f"{name}({parameter}={value!r}): must be a whole number >= {least}")
        for parameter in self.shares:
            value = getattr(self, parameter)
            if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= 1:
                raise ValueError(f"{name}({parameter}={value!r}): must be a number in [0, 1]")
        for parameter, (test, allowed) in self.limits.items():
            value = getattr(self, parameter)
            if isinstance(value, bool) or not isinstance(value, Real) or not test(value):
                raise ValueError(f"{name}({parameter}={value!r}): {parameter} must be {allowed}")
        if isinstance(self.optimizer, Wrapper):
            self.optimizer.check_own()
        taker = _closure_taker(self.optimizer)
        if taker is not None and not self.takes_closure:
            inside = type(taker).__name__
            hint = f": put {inside} around {name}" if isinstance(taker, Wrapper) else ""
            raise TypeError(f"{name} works on gradients, but {inside} takes a closure{hint}")

    def stepper(self, groups: list[dict[str, Any]], n_threads: int | None, run: Run) -> Any:
        """Return the stepper for groups of arrays; see `bind`."""
        self.check_own()
        return self.around(self.optimizer, groups, n_threads, run)

    def flat(self, size: int, n_decay: int, dtype: npt.DTypeLike, run: Run | None = None) -> LayerwiseState:
        """Return the state for one flat vector of parameters; see `Optimizer.flat`."""
        self.check_own()
        innermost, run = self.innermost, run or Run()
        innermost.check(scheduling.at_step(innermost, innermost.get_params(deep=False), run, 0))
        n_groups = 1 if innermost.needs == "closure" else 2  # L-BFGS has one direction for all
        return LayerwiseState(self, size, n_decay, dtype, run, n_groups)


def _closure_taker(optimizer):
    """Return what takes nothing but a closure, of an optimizer and those inside; None if there is none."""
    while optimizer.needs != "closure":
        if not isinstance(optimizer, Wrapper):
            return None
        optimizer = optimizer.optimizer
    return optimizer


class WrappedStepper:
    """A stepper that does something before or after each step of another, and is used like it.

    What it does not define is that of the stepper inside: ``param_groups``, ``observe``, ...
    """

    kind: ClassVar[str]
    #: Attributes that belong to the state.
    counts: ClassVar[tuple[str, ...]] = ()

    def __init__(self, inner: "Stepper | WrappedStepper"):
        self.inner: Stepper | WrappedStepper = inner
        self.fused: Any = inner.fused if isinstance(inner, WrappedStepper) else FusedStepper(inner)

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # not yet made, as in copying
            raise AttributeError(name)
        return getattr(self.inner, name)

    @property
    def nbytes(self) -> int:
        """Bytes of state, without the parameters."""
        return self.inner.nbytes + sum(a.nbytes for a in self._kept())

    def _kept(self) -> tuple[np.ndarray, ...]:
        """Return the arrays that belong to the state."""
        return ()

    def add_param_group(self, group: dict[str, Any]) -> NoReturn:
        """Refuse: what is kept beside the arrays has begun with those that were bound."""
        raise TypeError(f"arrays cannot be added to a stepper of {self.kind}; bind all of them together")

    def step(
        self,
        grads: Any = None,
        *,
        closure: Callable[[], tuple[Any, Any]] | None = None,
        grad_scale: float = 1.0,
        loss: float | None = None,
        hessian: Any = None,
    ) -> float | None:
        """Make one step, with what the wrappers do before and after it; arguments as `Stepper.step`."""
        options = {"loss": loss, "hessian": hessian}
        return self._carry_out(self.fused.request(grads, closure, grad_scale, options, self.kind))

    def step_batch(self, closure: Callable[[], tuple[Any, Any]], weight: float, ends_epoch: bool) -> Any:
        """Make one step as `step`, for the training engine.

        Parameters
        ----------
        closure : callable
        weight : float
            That of the mini-batch, for `MultiSteps`.
        ends_epoch : bool
            Whether `MultiSteps` makes the step with however many gradients it has.
        """
        request = self.fused.request(None, closure, 1.0, {}, self.kind)
        request.weight, request.ends_epoch = weight, ends_epoch
        return self._carry_out(request)

    def _carry_out(self, request):
        found = self.handle(request)
        self.fused.finish(request)
        return found

    def handle(self, request: StepRequest) -> float | None:
        """Carry out a `fastopt.stepping.fusion_stages.StepRequest`; return its closure's loss."""
        self.prepare(request)
        return self.forward(request)

    def prepare(self, request: StepRequest) -> None:
        """Add what is to be done to a request."""

    def forward(self, request: StepRequest) -> float | None:
        """Hand a request to the stepper inside; return the loss that its closure found."""
        inner = self.inner
        return inner.handle(request) if isinstance(inner, WrappedStepper) else self.fused.step(request)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the stepper inside, and under ``'wrappers'`` what is kept around it."""
        state = self.inner.state_dict()
        own = {"kind": self.kind, **{name: plain(getattr(self, name)) for name in self.counts}}
        own["arrays"] = [export(a, p.given) for a, p in zip(self._kept(), self.fused.params, strict=False)]
        return state | {"wrappers": [*state.get("wrappers", ()), own]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a copy of a state from `state_dict`; nothing changes if it does not fit."""
        if not isinstance(state_dict, Mapping):
            raise ValueError(f"a state_dict is a dict, not {type(state_dict).__name__}")
        *others, own = state_dict.get("wrappers") or [{}]
        self._check_own(own)
        self.inner.load_state_dict({**state_dict, "wrappers": others})
        for name in self.counts:
            setattr(self, name, self._count(own, name))
        for mine, saved in zip(self._kept(), own["arrays"], strict=True):
            mine[...] = saved

    def _check_own(self, own):
        kind = own.get("kind", "none") if isinstance(own, Mapping) else own
        if kind != self.kind:
            raise ValueError(f"the state_dict is not of {self.kind} but of {kind!r}")
        missing = [name for name in self.counts if name not in own]
        if missing:
            raise ValueError(f"the state_dict of {self.kind} lacks {missing}")
        for name in self.counts:
            self._count(own, name)
        mine = [(a.shape, a.dtype) for a in self._kept()]
        theirs = [(a.shape, a.dtype) for a in map(np.asarray, own.get("arrays", ()))]
        if mine != theirs:
            raise ValueError(f"the state_dict of {self.kind} has arrays {theirs}, not {mine}")

    def _count(self, own, name):
        """Return a saved count in the type of the present one, or raise ValueError."""
        present, saved = getattr(self, name), own[name]
        if isinstance(present, (tuple, list)) and isinstance(saved, (tuple, list)):
            return tuple(whole_number(i, name) for i in saved)
        if isinstance(present, bool) and saved in (False, True):
            return bool(saved)
        if isinstance(present, float) and isinstance(saved, Real):
            return float(saved)
        return whole_number(saved, f"{name!r} in the state_dict of {self.kind}")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a stepper is bound to arrays in memory and does not pickle; save its state_dict()")
