"""The bound stepper: holds an optimizer's state and updates arrays in place."""

from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fastopt.kernels.interrupts import HeldInterrupt
from fastopt.schedules import Run
from fastopt.stepping import arrays
from fastopt.stepping.attributes import KnownAttributes
from fastopt.stepping.bound_parameters import BoundParameters
from fastopt.stepping.param_groups import to_group, to_list
from fastopt.stepping.recordable import number
from fastopt.stepping.recorded_steps import RecordedSteps
from fastopt.stepping.scheduling import observe
from fastopt.stepping.state_dict import calls, dump, parse
from fastopt.stepping.tracing import Cell

if TYPE_CHECKING:
    from fastopt.optimizers.base import Optimizer


class Stepper(KnownAttributes):
    """Updates bound arrays in place; made by `Optimizer.bind`.

    One stepper may be used by one Python thread at a time; different steppers may step at once.

    Attributes
    ----------
    param_groups : list of dict
        Hyper-parameters by group, with the arrays under ``'params'``. Live: a changed value is checked and
        counts from the next step. What is a schedule stays one; `current_values` has the numbers.
    bound : BoundParameters
        Internal: the arrays, their state and the kernels' tables.
    """

    _bound_parameters = BoundParameters
    #: For `MultiSteps`: gradients that make a step, and the share of the next step's that has been gathered.
    gradients_per_step: int = 1
    pending: float = 0.0
    bound: Any

    def __init__(self, optimizer: "Optimizer", groups: list[dict[str, Any]], n_threads: int | None, run: Run):
        self.bound = self._bound_parameters(optimizer, n_threads, run)
        self._is_training, self._recorded = True, RecordedSteps()
        self.bound.add(groups)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The live groups, as in ``torch.optim``."""
        return [group.values for group in self.bound.groups]

    def current_values(self) -> list[dict[str, Any]]:
        """Return the hyper-parameters of the next step by group: copies, with numbers for schedules."""
        self.bound.refresh()
        return [{k: v for k, v in group.current().items() if k != "params"} for group in self.bound.groups]

    @property
    def nbytes(self) -> int:
        """Bytes of state, without the parameters."""
        return sum(p.state_nbytes for p in self.bound.params)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Bind more arrays, with their own hyper-parameters.

        Parameters
        ----------
        group : dict
            ``{'params': array or list of arrays, 'lr': ..., ...}``; the optimizer gives what it leaves out.

        Raises
        ------
        TypeError, ValueError
            As `Optimizer.bind`; the stepper is then unchanged.
        """
        if not isinstance(group, dict):
            raise TypeError(f"a parameter group is a dict with 'params', not {type(group).__name__}")
        self.bound.add([to_group(group)])

    def step(
        self,
        grads: Any = None,
        *,
        closure: Callable[[], tuple[Any, Any]] | None = None,
        grad_scale: float = 1.0,
        loss: float | None = None,
        hessian: Any = None,
    ) -> float | None:
        """Apply one update in place.

        Parameters
        ----------
        grads : array or list of arrays
            One gradient for each parameter, in the order in which they were bound, all groups in one list;
            the same shape, dtype and memory order. Not written. ``None`` skips its parameter, which then
            does not count the step. `SparseAdam` takes a tuple ``(indices, values)`` of some rows, too.
        closure : callable, optional
            In place of ``grads`` and ``loss``: ``closure()`` returns ``(loss, grads)`` at the present
            weights. Every optimizer takes one, and `LBFGS` nothing else.
        grad_scale : float
            Multiplies the gradients (for example 1 / loss scale, or a clipping factor).
        loss : float, optional
            The loss at the present weights, for optimizers that need it (`PolyakSGD`, `MoMo`), and for no
            other.
        hessian : array or list of arrays, optional
            Estimates of the Hessian's diagonal at the present weights, for `SophiaG`: like ``grads``, not
            written.

        Returns
        -------
        float or None
            The closure's loss.

        Raises
        ------
        TypeError, ValueError
            If a gradient does not fit its parameter or a changed hyper-parameter is out of range. Nothing
            is changed then.
        RuntimeError
            If the weights are those of evaluation (`eval`).
        """
        found = None
        if closure is not None:
            refuse_both(grads, loss)
            found, grads, loss = evaluate(closure, self.bound.optimizer)
        elif grads is None:
            raise TypeError("step needs gradients or a closure; pass [None] to skip a single parameter")
        elif (
            self.bound.tensorwise
            and type(self) is Stepper
            and hessian is None
            and self._recorded.make(self, grads, grad_scale, loss)
        ):
            return None
        self.update(grads, grad_scale, loss, hessian)
        return found

    def update(
        self,
        grads: Any,
        grad_scale: float = 1.0,
        loss: float | None = None,
        hessian: Any = None,
        run: Callable[[], None] | None = None,
    ) -> None:
        """Apply one update in place: `step` without a closure. Internal.

        Parameters
        ----------
        grads, grad_scale, loss, hessian
            As in `step`.
        run : callable, optional
            Runs the kernels of the active buckets, whose constants are those of this step, in place of
            the work queue: how `FusedStepper` runs them between the stages of wrappers.
        """
        bound = self.bound
        if type(grads) is not list:
            grads = to_list(grads)
        if type(grad_scale) is not float:
            grad_scale = real_number(grad_scale, "grad_scale")
        if loss is not None or bound.optimizer.needs:
            self._check_loss(loss)
        if not self._is_training:
            raise RuntimeError("the weights are those of evaluation; call train() before step()")
        bound.accept(grads)
        if hessian is not None:
            self._average_hessian(to_list(hessian))
        if bound.is_scheduled:
            bound.refold()
        active, tensorwise, rows = bound.active, bound.tensorwise, bound.gradients.rows
        for bucket in active:
            bucket.fold(grad_scale)
        if tensorwise:  # a step of few parameters takes as long as some such tests
            for bucket in tensorwise:
                bucket.prepare(bound.gradients.absent)
        interrupt = None
        if tensorwise or rows:  # several passes over the arrays
            interrupt = HeldInterrupt()
            interrupt.hold()
        try:
            # Counted first: Ctrl-C is heard when the kernels return, and finds count and arrays at one step.
            for bucket in active:
                bucket.advance()
            bound.progress.step += 1
            if active:
                (run or bound.work.run)()
            for some in rows:
                some.update(bound.table[some.p.index], bound.most_threads())
            if tensorwise:
                for bucket in tensorwise:
                    bucket.step(bound.table, grad_scale, loss)
            if bound.has_torch:
                bound.mark_changed()
        finally:
            if interrupt is not None:
                interrupt.release()

    @property
    def is_training(self) -> bool:
        """Whether the weights are those of training (`train`), not of evaluation (`eval`)."""
        return self._is_training

    @property
    def n_steps(self) -> int:
        """Number of steps made, which schedules count."""
        return self.bound.progress.step

    def begin(self, run: Run) -> None:
        """Set the `fastopt.schedules.Run` that schedules follow from the next step on."""
        self.bound.progress.run = run

    def skip(self, n_steps: float) -> None:
        """Let schedules' epochs end as if ``n_steps`` more steps had been made (`fastopt.SkipNonFinite`)."""
        self.begin(self.bound.progress.run.skipped(n_steps))

    def observe(self, metric: float, *, greater_is_better: bool = False) -> None:
        """Pass the loss or score of an epoch to schedules; `fastopt.schedules.plateau` reacts to it.

        Parameters
        ----------
        metric : float
            The loss, or with ``greater_is_better`` a score.
        """
        for group in self.bound.groups:
            group.values.update(observe(group.values, metric, greater_is_better))

    def cells(self) -> list[Cell]:
        """Return the `fastopt.stepping.tracing.Cell` of each number that a step changes."""
        return self.bound.cells()

    def _check_loss(self, loss):
        name = type(self.bound.optimizer).__name__
        if self.bound.optimizer.needs != "loss":
            raise TypeError(f"{name} takes no loss: leave out loss={loss!r}")
        if isinstance(loss, bool) or not isinstance(loss, Real):
            raise TypeError(f"{name} needs the loss at the present weights: step(grads, loss=...), a number")
        real_number(loss, "loss")

    def _average_hessian(self, hessian):
        """Update the averages of the Hessian's diagonal, of parameters that take this step."""
        if not self.bound.optimizer.takes_hessian:
            raise TypeError(f"{type(self.bound.optimizer).__name__} takes no hessian: leave it out")
        if len(hessian) != len(self.bound.params):
            raise ValueError(
                f"{len(hessian)} Hessian diagonals for {len(self.bound.params)} parameters; "
                "pass one for each, or None"
            )
        found = []
        for p, given in zip(self.bound.params, hessian, strict=True):
            if given is not None and p.index not in self.bound.gradients.absent:
                name = f"hessian[{p.index}]"
                array = arrays.view(np.asarray(given) if isinstance(given, np.generic) else given, name)
                arrays.check_grad(array, p.array, name, p.name)
                found.append((p, array.ravel(arrays.order_of(p.array))))
        for p, estimate in found:
            average = p.slots[p.group.optimizer.rule(p.group.values).slots.index("hessian")]
            average += average.dtype.type(1.0 - p.group.current()["betas"][1]) * (estimate - average)

    def eval(self) -> None:
        """Move the weights to the point to be evaluated, for schedule-free methods; else do nothing."""
        self._switch(False)

    def train(self) -> None:
        """Move the weights back to where gradients are evaluated, after `eval`; else do nothing."""
        self._switch(True)

    def _switch(self, to_training):
        self.bound.follow_storage()
        if self.bound.optimizer.has_modes and to_training != self._is_training:
            with HeldInterrupt():
                for p, rule, t, _ in self.bound.states():
                    slot, *weights = self.bound.optimizer.evaluation(p.group.current())
                    if t:
                        w, z = p.array.ravel("K"), p.slots[rule.slots.index(slot)]
                        w += w.dtype.type(weights[to_training]) * (z - w)
                self._is_training = to_training
                self.bound.mark_changed()

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state, in torch's layout.

        Returns
        -------
        dict
            ``{'state': {i: {'step': t, slot: array, ...}}, 'param_groups': [{..., 'params': [i, ...]}]}``.
            Arrays have the parameter's shape, if not a factor's, and dtype; for torch parameters they are
            torch tensors, so that ``torch.optim`` can load them. All in C order; everything else is numbers,
            strings, lists and tuples. A parameter that never stepped has no state.
            Groups of schedule-free methods say in ``train_mode`` which weights belong to the state. With
            schedules, ``'step'`` beside ``'state'`` counts the calls of `step`, by which they go; a group has
            the number of the next step, and a description under ``'schedules'``. Names stand under
            ``'param_names'``.
        """
        saved = dump(self.bound.groups, self.bound.states())
        if self.bound.optimizer.has_modes:
            for group in saved["param_groups"]:
                group["train_mode"] = self._is_training
        if self.bound.is_scheduled:
            saved["step"] = self.bound.progress.step
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a copy of a state, from `state_dict` or from the same optimizer of ``torch.optim``.

        Restores the groups' hyper-parameters too; keys that say how torch works (``foreach``, ...) are
        ignored. A schedule of this stepper stays where the state describes none, as one of torch does not.

        Parameters
        ----------
        state_dict : dict
            In the layout of `state_dict`. Matched by order, as in torch, or by name where both have names.

        Raises
        ------
        ValueError, TypeError
            If groups, keys, names, shapes, slots or dtypes differ. Nothing is cast, and nothing changed then.
        """
        members = [[p for p in self.bound.params if p.group is group] for group in self.bound.groups]
        parsed = parse(self.bound.groups, members, state_dict)
        is_training = state_dict["param_groups"][0].get("train_mode", True)
        if not isinstance(is_training, (bool, np.bool_)):
            raise ValueError(f"'train_mode' in the state_dict is {is_training!r}, not True or False")
        self.bound.progress.step = calls(state_dict, parsed)
        entries = []
        for group, (values, loaded) in zip(self.bound.groups, parsed, strict=True):
            group.values.update(values)
            group.refresh()
            for entry, slots in loaded:
                _, h, _ = group.spec(entry.p.array.shape)
                entry.p.allocate(entry.rule, h, slots)
                entries.append(entry)
        if self.bound.optimizer.has_modes:
            self._is_training = bool(is_training)
        self.bound.hold(entries)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a stepper is bound to arrays in memory and does not pickle; save its state_dict()")


def refuse_both(grads, loss):
    """Raise TypeError if gradients or a loss are given beside a closure."""
    if grads is not None or loss is not None:
        raise TypeError("a closure takes the place of grads and loss: pass one or the other")


def real_number(value, name):
    """Return an argument as `recordable.number` does, or raise TypeError or ValueError."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    try:
        return number(value)
    except OverflowError:
        raise ValueError(f"{name} must be a number in the range of float64") from None


def call(closure):
    """Evaluate a closure; return its loss as a float, and its gradients."""
    found = closure()
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        raise TypeError(f"a closure returns (loss, gradients), not {type(found).__name__}")
    loss, grads = found
    try:
        return number(loss), grads
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"a closure returns its loss first, a number, not {type(loss).__name__}") from None


def evaluate(closure, optimizer):
    """Evaluate a closure; return its loss, its gradients, and the loss again if the optimizer needs it."""
    loss, grads = call(closure)
    return loss, grads, loss if optimizer.needs else None
