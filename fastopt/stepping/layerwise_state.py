"""Optimizer state for the training engine, for optimizers that need the whole gradient of each layer."""

import copy
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastopt.kernels import recording
from fastopt.persistence import Persistent
from fastopt.schedules import Run
from fastopt.stepping import scheduling
from fastopt.stepping.arrays import check_dtype
from fastopt.stepping.rate_factors import RateFactors, scaled
from fastopt.stepping.step_program import StepProgram, is_foreign
from fastopt.stepping.tracing import Cell, TraceError

if TYPE_CHECKING:
    from fastopt.optimizers.base import Optimizer

#: Attributes that the state of a pickle holds, beside the stepper's ``state_dict`` and what binds it.
_ATTRIBUTES = tuple("optimizer hyper run t pending dtype size n_decay".split())


class LayerwiseState(scheduling.Scheduled, Persistent):
    """An optimizer bound to the layers of one flat vector of parameters, as the training engine uses it.

    For wrappers, and optimizers that need a norm, a matrix or one number for all layers: a `Stepper` on views
    of the vector updates it. The engine follows its step as a `program`, or hands over the gradient of each
    mini-batch to `apply`. Pickles and copies: what it holds then is the stepper's ``state_dict``.

    Attributes
    ----------
    hyper : dict
        Hyper-parameters, numbers or schedules; a changed value counts from the next step.
    run : Run
        What schedules know about the run.
    n_threads : int or None
        As in `Optimizer.bind`, when the layers are bound.
    state : ndarray of shape (0, size)
        There are no flat slots.
    rate_factors : RateFactors or None
        Factors of the learning rate for each layer, whose arrays are then groups of their own.
    """

    optimizer: "Optimizer"
    hyper: dict[str, Any]
    run: Run
    dtype: np.dtype[Any]
    size: int
    n_decay: int
    n_threads: int | None
    state: np.ndarray
    rate_factors: RateFactors | None = None

    _state_names = (*_ATTRIBUTES, "n_groups", "layout", "stepper", "rate_factors")
    _may_lack = ("rate_factors",)

    def __init__(
        self,
        optimizer: "Optimizer",
        size: int,
        n_decay: int,
        dtype: npt.DTypeLike,
        run: Run,
        n_groups: int = 2,
        rate_factors: RateFactors | None = None,
    ):
        self.optimizer, self.run = copy.deepcopy(optimizer), run
        self.hyper = self.optimizer.innermost.get_params(deep=False)
        self.dtype = check_dtype(dtype)
        self.size, self.n_decay = int(size), int(n_decay)
        self._n_groups = n_groups
        self.rate_factors = rate_factors if rate_factors is not None and rate_factors.differ else None
        self.n_threads = None
        self._t, self._pending, self.state = 0, 0.0, np.zeros((0, self.size), self.dtype)
        self._saved = self._layout = None
        self._forget_stepper()

    def _forget_stepper(self):
        self._stepper = self._params = self._gradient = self._views = None
        self._own_gradient = self._program = self._recorded = None
        self._is_training = self._adds_penalty = True

    def __getstate__(self) -> dict[str, Any]:
        saved = {name: getattr(self, name) for name in _ATTRIBUTES}
        if self.rate_factors is not None:
            saved["rate_factors"] = self.rate_factors
        return saved | {"n_groups": self._n_groups, "layout": self._layout, "stepper": self._stepper_state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        own = {"t": "_t", "pending": "_pending"}
        self._pending = 0.0  # which version 1 may lack
        self.__dict__.update({own.get(name, name): state[name] for name in _ATTRIBUTES if name in state})
        # Hyper-parameters that are newer than the pickle have their defaults.
        self.hyper = self.optimizer.innermost.get_params(deep=False) | self.hyper
        self.state = np.zeros((0, self.size), self.dtype)
        self._n_groups, self._layout, self._saved = state["n_groups"], state["layout"], state["stepper"]
        self.rate_factors = state.get("rate_factors")
        self.n_threads = None  # another machine may have fewer
        self._forget_stepper()
        self._adds_penalty = self._pending == 0

    def _check_restored(self) -> None:
        super()._check_restored()
        if not isinstance(self.pending, (int, float)) or self._n_groups not in (1, 2):
            raise ValueError(f"no state has pending={self.pending!r} and {self._n_groups!r} groups")
        if not isinstance(self.rate_factors, (RateFactors, type(None))):
            raise ValueError(f"{self.rate_factors!r} are no factors of the learning rate")
        # What the slots are is checked when they are bound, by load_state_dict.
        if not isinstance(self._saved, (dict, type(None))) or (
            self.t and None in (self._saved, self._layout)
        ):
            raise ValueError(f"{self.optimizer!r} has no state after {self.t} steps")

    def _stepper_state(self):
        self._settle()
        return self._saved if self._stepper is None else self._stepper.state_dict()

    def _settle(self):
        """Take over the numbers that a program has in its registers."""
        if self._program is not None:
            self._program.save()

    @property
    def t(self) -> int:
        """Steps made."""
        self._settle()
        return self._t

    @property
    def pending(self) -> float:
        """Share of the gradients of the next step that has been gathered (`fastopt.MultiSteps`)."""
        self._settle()
        return self._pending

    @property
    def rule(self) -> Any:
        """The rule of a weight matrix under the present hyper-parameters."""
        return self.optimizer.innermost.rule_for(self.hyper, (2, 2))

    def begin(self, run: Run) -> None:
        """Set the run that schedules follow from the next step on."""
        self.run = run
        if self._stepper is not None:
            self._forget_registers()
            self._stepper.begin(run)

    @property
    def takes_penalty(self) -> bool:
        """Whether the next gradient must include the penalty's: once a step, if gradients are accumulated."""
        return self.pending == 0

    def apply(
        self,
        params: np.ndarray,
        gradient: np.ndarray,
        layout: Any,
        loss: float,
        evaluate: Callable[[], float],
        *,
        weight: float = 1.0,
        ends_epoch: bool = False,
    ) -> None:
        """Pass on the gradient of a mini-batch; makes a step unless gradients are being accumulated.

        Parameters
        ----------
        params : ndarray of shape (size,)
            Written.
        gradient : ndarray of shape (size,)
        layout : Layout
            Where the layers lie in both.
        loss : float
            Mean loss at ``params``.
        evaluate : callable
            Writes the gradient at the present ``params`` to ``gradient`` and returns their loss.
        weight : float
            Rows of the mini-batch, or the sum of their weights: how much its gradient counts beside others.
        ends_epoch : bool
            Whether it is the last of its epoch.
        """
        self._forget_registers()
        self._layout = layout
        self._take_hyper(self._bound(params))
        self._take_gradient(gradient)
        self._step(loss, weight, ends_epoch, evaluate)

    def _take_hyper(self, stepper):
        """Set the present hyper-parameters; weight decay spares biases, slopes and the input scale."""
        spared = {k: 0.0 if k.startswith("weight_decay") else v for k, v in self.hyper.items()}
        for group, (are_weights, factor, _) in zip(stepper.param_groups, self._parts, strict=True):
            group.update(scaled(self.hyper if are_weights else spared, factor))

    def _take_gradient(self, gradient):
        if self._gradient is not gradient:  # the same views are known to the stepper
            self._gradient = gradient
            self._views = self._layout.arrays(gradient)

    def _step(self, loss, weight, ends_epoch, evaluate):
        stepper = self._stepper
        known = [loss]  # the first evaluation has been made
        before = stepper.n_steps

        def closure():
            return (known.pop() if known else evaluate()), self._views

        try:
            if stepper.gradients_per_step == 1:
                stepper.step(closure=closure)
            else:
                stepper.step_batch(closure, weight, self.run.epochs_end_steps and ends_epoch)
        finally:  # Ctrl-C is raised when a step is done
            self._t = self._t + (stepper.n_steps - before)
            self._pending = stepper.pending
            self._adds_penalty = self._pending == 0

    def program(self, params: np.ndarray, layout: Any) -> StepProgram | None:
        """Return the next steps as a program for the engine, or None if `apply` has to make them.

        Parameters
        ----------
        params, layout
            As in `apply`.

        Warns
        -----
        UserWarning
            Once for a user's own tensor rule or wrapper that cannot be recorded, with the reason.
        """
        if self.optimizer.innermost.needs == "closure" or not self._is_training:
            return None
        self._layout = layout
        stepper = self._bound(params)
        self._take_hyper(stepper)
        if any(group.is_changed() for group in stepper.bound.groups):
            self._forget_registers()  # first: parameters that have made no step begin anew
            stepper.bound.refresh()
        values = [value for group in stepper.bound.groups for value in group.unscheduled()]
        recorded = id(stepper.bound.table), self.run.epochs_end_steps, values
        if self._recorded != recorded or (self._program is not None and not self._program.fits()):
            self._forget_registers()
            self._program, self._recorded = self._record(stepper), recorded
        return self._program

    def _record(self, stepper):
        if self._own_gradient is None:
            self._own_gradient = np.zeros(self.size, self.dtype)
        self._take_gradient(self._own_gradient)
        own = [Cell(self, name) for name in ("_adds_penalty", "_t", "_pending")]
        stepper.bound.prepare(self._views)
        try:
            cells, progress = [*own, *stepper.cells()], stepper.bound.progress
            foreign, n_arrays = is_foreign(stepper), len(self._views)
            step, self._n_recorded = self._foreign_step if foreign else self._recorded_step, 0
            program = StepProgram(step, 3, cells, progress, foreign, n_arrays)
            program.gradient = self._own_gradient
            return program
        except TraceError as error:
            if is_foreign(stepper):
                _warn(self.optimizer.innermost, error)
            return None
        finally:
            stepper.bound.refold()  # numbers in place of what was recorded

    def _recorded_step(self, loss, weight, ends_epoch):
        self._step(loss, weight, ends_epoch, recording.current().evaluate)

    def _foreign_step(self, *inputs):
        """As `_recorded_step`, of a user's own code; raise TraceError if it changes elements itself.

        Each recording sees other elements: what depends on them is then not the same again, which is noticed.
        """
        params, gradient, shift = self._params, self._own_gradient, self._n_recorded
        kept = params.copy()
        try:
            params += self.dtype.type(shift)
            gradient[:] = shift
            seen = params.tobytes()
            self._recorded_step(*inputs)
            if params.tobytes() != seen or not (gradient == shift).all():
                raise TraceError("weights or gradients are changed by Python; a fastopt.sweep can do that")
        finally:
            params[:] = kept
            gradient[:] = 0
            self._n_recorded = shift + 1

    def _forget_registers(self):
        if self._program is not None:
            self._program.forget()

    def train(self, params: np.ndarray) -> None:
        """Move ``params`` to the point where gradients are evaluated; does nothing for most optimizers."""
        if self.optimizer.moves_weights and self.t:
            self._bound(params).train()
        self._is_training = True

    def eval(self, params: np.ndarray) -> None:
        """Move ``params`` to the point to be evaluated (an average); does nothing for most optimizers."""
        if self.optimizer.moves_weights and self.t:
            self._bound(params).eval()
            self._is_training = False

    def _bound(self, params):
        """Return the stepper for the layers of ``params``, bound again if that is another array."""
        if self._params is not params:
            saved = self._stepper_state()
            self._program = self._recorded = None
            optimizer = self.optimizer
            if optimizer.innermost.get_params(deep=False) != self.hyper:
                optimizer = copy.deepcopy(optimizer)
                optimizer.innermost.set_params(**self.hyper)
            self._parts = self._divided(params)
            groups = [{"params": views} for *_, views in self._parts]
            self._stepper = optimizer.stepper(groups, self.n_threads, self.run)
            if saved is not None:
                self._stepper.load_state_dict(saved)
                self._stepper.begin(self.run)  # which already knows of the steps that were skipped
            self._params = params
        return self._stepper

    def continue_as(self, new: "LayerwiseState") -> "LayerwiseState":
        """Return the state with the hyper-parameters of a ``new`` one, or that if its groups are others."""
        if self.rate_factors != new.rate_factors:
            return new
        self.hyper.update(new.hyper)
        return self

    def _divided(self, params):
        """Return the groups of arrays: whether they are weights, the factor of their rate, and the arrays."""
        layout = self._layout
        if self.rate_factors is not None:
            blocks = layout.weights(params), layout.biases(params), layout.slopes(params)
            return self.rate_factors.arrays(*blocks, layout.scale(params))
        if self._n_groups == 1:
            return [(True, 1.0, layout.arrays(params))]
        return [(True, 1.0, layout.weights(params)), (False, 1.0, layout.vectors(params))]


#: Optimizers for which `_warn` has done so.
_warned = set()


def _warn(optimizer, error):
    kind = type(optimizer)
    if kind not in _warned:
        _warned.add(kind)
        warnings.warn(
            f"each step of {kind.__name__} is made in Python, between mini-batches, as it cannot be recorded "
            f"for the compiled loop: {error}",
            stacklevel=2,
        )
