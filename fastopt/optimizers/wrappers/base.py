"""Base classes of the wrappers: the hyper-parameter object, and the stepper around another stepper."""

import dataclasses
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, ClassVar, NoReturn

import numpy as np
import numpy.typing as npt

from fastopt._parameters import plain
from fastopt.optimizers.base import Optimizer
from fastopt.optimizers.validation import passes
from fastopt.rules.ranges import Range
from fastopt.schedules import Run
from fastopt.stepping import scheduling
from fastopt.stepping.arrays import view
from fastopt.stepping.attributes import KnownAttributes
from fastopt.stepping.fusion import FusedStepper
from fastopt.stepping.fusion_stages import StepRequest
from fastopt.stepping.layerwise_state import LayerwiseState
from fastopt.stepping.rate_factors import RateFactors, check_rates
from fastopt.stepping.recorded_steps import RecordedSteps
from fastopt.stepping.state_dict import export, real, whole_number
from fastopt.stepping.stepper import Stepper
from fastopt.stepping.tracing import Cell


@dataclasses.dataclass(repr=False)
class Wrapper(Optimizer):
    """Base of the wrappers: an optimizer around another one, whose hyper-parameters the groups hold.

    Wrappers nest. What they do to gradients and weights is fused into the optimizer's own pass over memory,
    chunk by chunk, if the optimizer is elementwise.
    """

    maximize: ClassVar[bool] = False  # the wrapped optimizer has its own
    #: Parameters that are whole numbers, with the smallest value allowed.
    least: ClassVar[dict[str, int]] = {}
    #: Parameters that are numbers in [0, 1].
    shares: ClassVar[tuple[str, ...]] = ()
    #: Ranges of further parameters, as in `fastopt.rules.ranges`.
    limits: ClassVar[dict[str, Range]] = {}
    #: Whether it can wrap optimizers whose steps need a closure.
    takes_closure: ClassVar[bool] = False
    #: Whether evaluation uses averages of the weights.
    averages: ClassVar[bool] = False

    optimizer: Optimizer

    @property
    def innermost(self) -> Optimizer:
        """The optimizer inside all wrappers."""
        return self.optimizer.innermost

    @property
    def moves_weights(self) -> bool:
        """Whether evaluation may use other weights than training."""
        return self.averages or self.optimizer.moves_weights

    def inner_run(self, run: Run) -> Run:
        """Return the run with its steps counted as the innermost optimizer makes them."""
        return self.optimizer.inner_run(run)

    def check_own(self) -> None:
        """Raise TypeError or ValueError if a parameter of the wrapper is invalid."""
        name = type(self).__name__
        if not isinstance(self.optimizer, Optimizer):
            raise TypeError(f"{name} wraps an optimizer such as Adam(), not {type(self.optimizer).__name__}")
        for parameter, least in self.least.items():
            value = getattr(self, parameter)
            if not _is_number(value) or not passes(lambda x, least=least: x >= least and x == int(x), value):
                raise ValueError(f"{name}({parameter}={value!r}): must be a whole number >= {least}")
        for parameter in self.shares:
            value = getattr(self, parameter)
            if not _is_number(value) or not 0 <= value <= 1:
                raise ValueError(f"{name}({parameter}={value!r}): must be a number in [0, 1]")
        for parameter, (test, allowed) in self.limits.items():
            value = getattr(self, parameter)
            if not _is_number(value) or not passes(test, value):
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

    def flat(
        self,
        size: int,
        n_decay: int,
        dtype: npt.DTypeLike,
        run: Run | None = None,
        rate_factors: RateFactors | None = None,
    ) -> LayerwiseState:
        """Return the state for one flat vector of parameters; see `Optimizer.flat`."""
        self.check_own()
        innermost, run = self.innermost, run or Run()
        check_rates(innermost, rate_factors)
        innermost.check(scheduling.at_step(innermost, innermost.get_params(deep=False), run, 0))
        n_groups = 1 if innermost.needs == "closure" else 2  # L-BFGS has one direction for all
        return LayerwiseState(self, size, n_decay, dtype, run, n_groups, rate_factors)


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool)


def _closure_taker(optimizer):
    """Return the first of an optimizer and those inside that needs a closure, or None."""
    while optimizer.needs != "closure":
        if not isinstance(optimizer, Wrapper):
            return None
        optimizer = optimizer.optimizer
    return optimizer


class WrappedStepper(KnownAttributes):
    """Base of the wrappers' steppers: acts before or after each step of the stepper inside.

    Other attributes are those of the stepper inside: ``param_groups``, ``observe``, ...
    """

    kind: ClassVar[str]
    inner: "Stepper | WrappedStepper"
    fused: Any
    bound: Any

    def __init__(self, inner: "Stepper | WrappedStepper"):
        self.inner, self.bound = inner, inner.bound
        self.fused = inner.fused if isinstance(inner, WrappedStepper) else FusedStepper(inner)
        self._recorded = RecordedSteps() if self.fused.is_recordable else None

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # not yet made, as in copying
            raise AttributeError(name)
        return getattr(self.inner, name)

    @property
    def is_training(self) -> bool:
        """Whether the weights are those of training, not of evaluation."""
        return self.inner.is_training

    @property
    def nbytes(self) -> int:
        """Bytes of state, without the parameters."""
        return self.inner.nbytes + sum(a.nbytes for a in self._kept())

    def _kept(self) -> tuple[np.ndarray, ...]:
        """Return the arrays of the wrapper's own state."""
        return ()

    def cells(self) -> list[Cell]:
        """Return the `fastopt.stepping.tracing.Cell` of each number that a step changes."""
        numbers = [name for name in self.counts if type(getattr(self, name)) in (int, float)]
        return [*(Cell(self, name) for name in numbers), *self.inner.cells()]

    def add_param_group(self, group: dict[str, Any]) -> NoReturn:
        """Raise TypeError: a wrapper's own state covers the arrays bound at first."""
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
        """Make one step, with what the wrappers add before and after it; arguments as in `Stepper.step`."""
        recorded = self._recorded if closure is None and hessian is None else None
        if recorded is not None and recorded.make(self, grads, grad_scale, loss):
            return None
        options = {"loss": loss, "hessian": hessian}
        return self._carry_out(self.fused.request(grads, closure, grad_scale, options, self.kind))

    def step_batch(self, closure: Callable[[], tuple[Any, Any]], weight: float, ends_epoch: bool) -> Any:
        """Make one step for a mini-batch of the training engine.

        Parameters
        ----------
        closure : callable
            As in `step`.
        weight : float
            Weight of the mini-batch in the mean of `MultiSteps`: its number of rows, or their total weight.
        ends_epoch : bool
            Whether `MultiSteps` makes a step now, even with fewer than ``n`` gradients.
        """
        request = self.fused.request(None, closure, 1.0, {}, self.kind)
        request.weight, request.ends_epoch = weight, ends_epoch
        return self._carry_out(request)

    def _carry_out(self, request):
        try:
            found = self.handle(request)
            self.fused.finish(request)
        finally:
            request.interrupt.release()
        return found

    def handle(self, request: StepRequest) -> float | None:
        """Carry out a `fastopt.stepping.fusion_stages.StepRequest`; return the closure's loss, if any."""
        self.prepare(request)
        return self.forward(request)

    def prepare(self, request: StepRequest) -> None:
        """Add this wrapper's stages to a request; what most wrappers override."""

    def forward(self, request: StepRequest) -> float | None:
        """Pass a request on to the stepper inside; return the closure's loss, if any."""
        inner = self.inner
        return inner.handle(request) if isinstance(inner, WrappedStepper) else self.fused.step(request)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the stepper inside, with the wrappers' own state under ``'wrappers'``."""
        state = self.inner.state_dict()
        own = {"kind": self.kind, **{name: plain(getattr(self, name)) for name in self.counts}}
        own["arrays"] = [export(a, p.given) for a, p in zip(self._kept(), self.fused.params, strict=False)]
        return state | {"wrappers": [*state.get("wrappers", ()), own]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a copy of a state from `state_dict`; nothing changes if it does not fit."""
        if not isinstance(state_dict, Mapping):
            raise ValueError(f"a state_dict is a dict, not {type(state_dict).__name__}")
        saved = state_dict.get("wrappers", ())
        if not isinstance(saved, (list, tuple)):
            raise ValueError(f"'wrappers' of the state_dict is a list of dicts, not {type(saved).__name__}")
        *others, own = saved or [{}]
        self._check_own(own)
        self.inner.load_state_dict({**state_dict, "wrappers": others})
        for name in self.counts:
            setattr(self, name, self._count(own, name))
        for mine, saved in zip(self._kept(), own.get("arrays", ()), strict=True):
            mine[...] = saved

    def _check_own(self, own):
        kind = own.get("kind", "none") if isinstance(own, Mapping) else own
        if not isinstance(kind, str) or not isinstance(own, Mapping) or kind != self.kind:
            raise ValueError(f"the state_dict is not of {self.kind} but of {kind!r}")
        missing = [name for name in self.counts if name not in own]
        if missing:
            raise ValueError(f"the state_dict of {self.kind} lacks {missing}")
        for name in self.counts:
            self._count(own, name)
        mine = [(a.shape, a.dtype) for a in self._kept()]
        saved = own.get("arrays", ())
        if not isinstance(saved, (list, tuple)):
            raise ValueError(f"the state_dict of {self.kind} has no list of arrays")
        theirs = [(a.shape, a.dtype) for a in (view(a, f"arrays[{i}]") for i, a in enumerate(saved))]
        if mine != theirs:
            raise ValueError(f"the state_dict of {self.kind} has arrays {theirs}, not {mine}")

    def _count(self, own, name):
        """Return a saved count in the type of the present one, or raise ValueError."""
        present, saved = getattr(self, name), own[name]
        what = f"{name!r} in the state_dict of {self.kind}"
        if isinstance(present, (tuple, list)) and isinstance(saved, (tuple, list)):
            return tuple(whole_number(i, what) for i in saved)
        if isinstance(present, bool):
            if isinstance(saved, (bool, np.bool_)):
                return bool(saved)
            raise ValueError(f"{what} is {saved!r}, not True or False")
        return real(saved, what) if isinstance(present, float) else whole_number(saved, what)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a stepper is bound to arrays in memory and does not pickle; save its state_dict()")
