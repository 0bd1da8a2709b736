"""The bound stepper: an optimizer's state beside the arrays that it updates in place."""

import copy
import weakref
from bisect import bisect_right
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np

from fastopt.kernels import threading_layer, work_queue
from fastopt.kernels.elementwise import update_address
from fastopt.rules.tensorwise import TensorRule
from fastopt.schedules import Run
from fastopt.stepping import arrays
from fastopt.stepping.param_groups import Group, to_list
from fastopt.stepping.parameters import ElementwiseBucket, Param, ParamState, with_current_rule
from fastopt.stepping.scheduling import Progress, observe
from fastopt.stepping.sparse_gradients import Rows
from fastopt.stepping.state_dict import calls, dump, parse
from fastopt.stepping.tensor_rules import TensorRuleBucket, flags


class Stepper:
    """Updates bound arrays in place; made by `Optimizer.bind`.

    One stepper may be used by one Python thread at a time; different steppers may step at once.

    Attributes
    ----------
    param_groups : list of dict
        Hyper-parameters by group, with the arrays under ``'params'``. Live: a changed value is checked and
        counts from the next step. What is a schedule stays one; `current_values` has the numbers.
    """

    _param = Param
    _grad_address = staticmethod(arrays.grad_address)

    def __init__(self, optimizer, groups, n_threads, run):
        self._optimizer, self._progress = copy.deepcopy(optimizer), Progress(run)
        self._n_threads = threading_layer.resolve(n_threads)
        self._groups, self._params, self._elementwise, self._tensorwise = [], [], [], []
        self._is_training = True
        self._fused = None  # in place of the plan: the update between what wrappers do; see `fused`
        self._add(groups)

    @property
    def param_groups(self) -> list[dict]:
        """The live groups, as in ``torch.optim``."""
        return [group.values for group in self._groups]

    def current_values(self) -> list[dict]:
        """Return the hyper-parameters of the next step by group: copies, with numbers for schedules."""
        self._refresh()
        return [{k: v for k, v in group.current().items() if k != "params"} for group in self._groups]

    @property
    def nbytes(self) -> int:
        """Bytes of state, without the parameters."""
        return sum(p.state_nbytes for p in self._params)

    def add_param_group(self, group: dict) -> None:
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
        self._add([dict(group)])

    def _add(self, dicts):
        groups, params = [], []
        for values in dicts:
            index = len(self._groups) + len(groups)
            if "params" not in values:
                raise ValueError(f"param_groups[{index}] has no 'params'; its keys are {list(values)}")
            values["params"] = to_list(values["params"])
            groups.append(Group(self._optimizer, values, index, self._progress))
            first = len(self._params) + len(params)
            params += [self._param(given, first + i, groups[-1]) for i, given in enumerate(values["params"])]
        everything = [*self._params, *params]
        if not everything:
            raise ValueError("params is empty; pass at least one array")
        arrays.check_disjoint(everything)
        fresh = []
        for p in params:
            _, h, rule = p.group.spec(p.array.shape)
            p.allocate(rule, h)
            fresh.append(ParamState(p, rule, 0, rule.first_numbers(h)))
        self._hold([*self._states(), *fresh])
        self._groups += groups
        self._params = everything
        self._index()

    def _states(self):
        """Return what is known of each bound parameter."""
        return [entry for holder in (*self._elementwise, *self._tensorwise) for entry in holder.states()]

    def _hold(self, entries):
        """Put parameters into the buckets in which they are updated together."""
        elementwise, tensorwise = {}, {}
        for one in entries:
            if isinstance(one.rule, TensorRule):
                key = one.rule, flags(one.p.group.spec(one.p.array.shape).values)
                tensorwise.setdefault(key, []).append(one)
            else:
                key = one.p.group.index, one.rule, one.p.array.dtype.name, one.t, one.numbers
                elementwise.setdefault(key, []).append(one)
        self._elementwise = [
            ElementwiseBucket(same[0].p.group, [one.p for one in same], same[0].t, same[0].numbers)
            for same in elementwise.values()
        ]
        self._tensorwise = [TensorRuleBucket(same, self._n_threads) for same in tensorwise.values()]

    def _index(self):
        """Rebuild what depends on which arrays are bound."""
        self._is_scheduled = any(group.scheduled for group in self._groups)
        spans = sorted((p.data, p.data + p.nbytes, p.index) for p in self._params if p.array.size)
        self._starts, self._spans = [s for s, _, _ in spans], spans
        self._table = np.zeros((len(self._params), work_queue.TABLE_COLUMNS), np.int64)
        self._seen, self._guards, self._alive = [], [], []  # the last gradients; see `_remember`
        self._watched = ()  # gradients of other libraries, whose memory may move: (index, address)
        self._absent, self._rows = frozenset(), []
        self._torch = [p.given for p in self._params if arrays.is_torch(p.given)]
        for bucket in self._elementwise:
            self._point(bucket)
        self._make_plan()

    def _point(self, bucket):
        """Write the table rows of a bucket's members."""
        for p in bucket.members:
            row = self._table[p.index]
            kernel = update_address(bucket.rule, p.array.dtype)
            row[:] = kernel, p.data, row[2], p.start, p.stride, arrays.address(bucket.row)

    def _make_plan(self):
        sizes = [0] * len(self._params)
        self._active = [c for c in self._elementwise if c.members[0].index not in self._absent]
        moved = 0
        by_rows = {rows.p.index for rows in self._rows}
        for p in (p for bucket in self._active for p in bucket.members if p.index not in by_rows):
            sizes[p.index] = p.array.size
            # The gradient is read, the weight and the slots are read and written.
            moved += 3 * p.nbytes + 2 * p.state_nbytes
        n_threads = 1
        if moved >= work_queue.PARALLEL_BYTES:
            n_threads = self._n_threads or threading_layer.n_available()
        self._plan = work_queue.Plan(self._table, sizes, n_threads)

    def step(
        self,
        grads: Any = None,
        *,
        closure: Callable[[], tuple] | None = None,
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
            found, grads, loss = self._call(closure, grads, loss)
        elif grads is None:
            raise TypeError("step needs gradients or a closure; pass [None] to skip a single parameter")
        if type(grads) is not list:
            grads = to_list(grads)
        if type(grad_scale) is not float and not isinstance(grad_scale, Real):
            raise TypeError(f"grad_scale must be a number, not {type(grad_scale).__name__}")
        if loss is not None or self._optimizer.needs:
            self._check_loss(loss)
        if not self._is_training:
            raise RuntimeError("the weights are those of evaluation; call train() before step()")
        self._refresh()
        if not self._same(grads):
            self._accept(grads)
        if hessian is not None:
            self._average_hessian(to_list(hessian))
        if self._is_scheduled:
            self._refold()
        for bucket in self._active:
            bucket.fold(grad_scale)
        if self._active:
            (self._fused or self._plan).run()
        for rows in self._rows:
            rows.update(self._table[rows.p.index], self._n_threads or threading_layer.n_available())
        for bucket in self._active:
            bucket.advance()
        for bucket in self._tensorwise:
            bucket.step(self._table, self._absent, grad_scale, loss)
        self._progress.step += 1
        if self._torch:
            arrays.bump_versions(self._torch)
        return found

    def _call(self, closure, grads, loss):
        """Return a closure's loss, its gradients, and the loss if the optimizer wants it."""
        if grads is not None or loss is not None:
            raise TypeError("a closure takes the place of grads and loss: pass one or the other")
        found, grads = closure()
        found = float(found)
        return found, grads, found if self._optimizer.needs else None

    def begin(self, run: Run) -> None:
        """Let schedules go by another `fastopt.schedules.Run` from the next step on."""
        self._progress.run = run

    def observe(self, metric: float, *, greater_is_better: bool = False) -> None:
        """Tell schedules the loss or score of the epoch that has ended; `fastopt.schedules.plateau` reacts.

        Parameters
        ----------
        metric : float
            The loss, or with ``greater_is_better`` a score.
        """
        for group in self._groups:
            group.values.update(observe(group.values, metric, greater_is_better))

    def _check_loss(self, loss):
        name = type(self._optimizer).__name__
        if self._optimizer.needs != "loss":
            raise TypeError(f"{name} takes no loss: leave out loss={loss!r}")
        if isinstance(loss, bool) or not isinstance(loss, Real):
            raise TypeError(f"{name} needs the loss at the present weights: step(grads, loss=...), a number")

    def _average_hessian(self, hessian):
        """Let the estimates enter the averages of parameters that take this step."""
        if not self._optimizer.takes_hessian:
            raise TypeError(f"{type(self._optimizer).__name__} takes no hessian: leave it out")
        if len(hessian) != len(self._params):
            raise ValueError(
                f"{len(hessian)} Hessian diagonals for {len(self._params)} parameters; "
                "pass one for each, or None"
            )
        found = []
        for p, given in zip(self._params, hessian, strict=True):
            if given is not None and p.index not in self._absent:
                name = f"hessian[{p.index}]"
                array = arrays.view(given, name)
                arrays.check_grad(array, p.array, name, p.name)
                found.append((p, array.ravel(arrays.order_of(p.array))))
        for p, estimate in found:
            average = p.slots[p.group.optimizer.rule(p.group.values).slots.index("hessian")]
            average += average.dtype.type(1.0 - p.group.current()["betas"][1]) * (estimate - average)

    def eval(self) -> None:
        """Move the weights to where they are to be evaluated, for schedule-free methods; else do nothing."""
        self._switch(False)

    def train(self) -> None:
        """Move the weights back to where gradients are taken, for schedule-free methods; else do nothing."""
        self._switch(True)

    def _switch(self, to_training):
        if self._optimizer.has_modes and to_training != self._is_training:
            for p, rule, t, _ in self._states():
                slot, *weights = self._optimizer.evaluation(p.group.current())
                if t:
                    w, z = p.array.ravel("K"), p.slots[rule.slots.index(slot)]
                    w += w.dtype.type(weights[to_training]) * (z - w)
            self._is_training = to_training
            if self._torch:
                arrays.bump_versions(self._torch)

    def _same(self, grads):
        """Tell whether these are the very gradients of the last step, at the same addresses."""
        if not self._alive or list(map(id, grads)) != self._seen:
            return False
        return not self._watched or all(grads[i].data_ptr() == data for i, data in self._watched)

    def _accept(self, grads):
        """Check new gradients and point the table at them; change nothing if one is refused."""
        if len(grads) != len(self._params):
            raise ValueError(
                f"{len(grads)} gradients for {len(self._params)} parameters; pass one for each, or None"
            )
        found, absent, watched, rows = [], set(), [], []
        for p, gradient in zip(self._params, grads, strict=True):
            if gradient is None:
                absent.add(p.index)
                found.append(0)
                continue
            if type(gradient) is tuple and self._optimizer.takes_rows:
                rows.append(Rows(p, gradient, f"grads[{p.index}]"))
                found.append(0)
                continue
            found.append(self._check_grad(p, gradient))
            if type(gradient) is not np.ndarray and arrays.is_torch(gradient):
                watched.append((p.index, found[-1]))
        self._table[:, 2] = found
        before, self._rows = {r.p.index for r in self._rows}, rows
        if absent != self._absent:
            self._absent = frozenset(absent)
            self._split()
            self._make_plan()
        elif before != {r.p.index for r in rows}:
            self._make_plan()
        self._watched = tuple(watched)
        self._remember(grads)

    def _remember(self, grads):
        """Note which gradients were accepted, by their identities, for as long as they all live."""
        alive = [True]

        def forget(_):
            alive.clear()

        try:
            self._guards = [weakref.ref(g, forget) for g in grads if g is not None]
        except TypeError:  # an object without weak references is checked again at every step
            alive.clear()
        self._seen, self._alive = list(map(id, grads)), alive

    def _check_grad(self, p, gradient):
        data = self._grad_address(gradient, p.index, p)
        before = bisect_right(self._starts, data) - 1
        for start, end, index in self._spans[max(before, 0) : before + 2]:
            if start < data + p.nbytes and data < end:
                raise ValueError(
                    f"grads[{p.index}] overlaps {self._params[index].name}, which the step changes"
                )
        return data

    def _split(self):
        """Split buckets of which only a part has gradients, so that each counts its own steps."""
        buckets = []
        for bucket in self._elementwise:
            parts = [p for p in bucket.members if p.index in self._absent]
            rest = [p for p in bucket.members if p.index not in self._absent]
            if parts and rest:
                for members in (rest, parts):
                    buckets.append(ElementwiseBucket(bucket.group, members, bucket.t, bucket.scalars))
                    self._point(buckets[-1])
            else:
                buckets.append(bucket)
        self._elementwise = buckets

    def _refresh(self):
        """Take over hyper-parameters that were changed in `param_groups`, all or none."""
        for group in self._groups:
            if group.is_changed():
                break
        else:
            return
        changed = [group for group in self._groups if group.is_changed()]
        for group in changed:
            group.check(group.values)
        for group in changed:
            group.refresh()
        entries = [with_current_rule(entry) for entry in self._states()]
        if any(holder.is_outdated() for holder in (*self._elementwise, *self._tensorwise)):
            self._hold(entries)
            self._index()
        self._is_scheduled = any(group.scheduled for group in self._groups)
        self._refold()

    def _refold(self):
        """Take over the groups' present numbers."""
        for holder in (*self._elementwise, *self._tensorwise):
            holder.refresh()

    def state_dict(self) -> dict:
        """Return a copy of the state, in torch's layout.

        Returns
        -------
        dict
            ``{'state': {i: {'step': t, slot: array, ...}}, 'param_groups': [{..., 'params': [i, ...]}]}``.
            Arrays have the parameter's shape, if not a factor's, and dtype; for torch parameters they are
            torch tensors, so that ``torch.optim`` can load them. A parameter that never stepped has no state.
            Groups of schedule-free methods say in ``train_mode`` which weights belong to the state. With
            schedules, ``'step'`` beside ``'state'`` counts the calls of `step`, by which they go.
        """
        saved = dump(self._groups, (*self._elementwise, *self._tensorwise))
        if self._optimizer.has_modes:
            for group in saved["param_groups"]:
                group["train_mode"] = self._is_training
        if self._is_scheduled:
            saved["step"] = self._progress.step
        return saved

    def load_state_dict(self, state_dict: dict) -> None:
        """Take over a copy of a state, from `state_dict` or from the same optimizer of ``torch.optim``.

        Restores the groups' hyper-parameters too; keys that only torch has (``foreach``, ...) are ignored.

        Parameters
        ----------
        state_dict : dict
            In the layout of `state_dict`. Matched by order, as in torch.

        Raises
        ------
        ValueError, TypeError
            If groups, shapes, slots or dtypes differ. Nothing is cast, and nothing changed then.
        """
        members = [[p for p in self._params if p.group is group] for group in self._groups]
        parsed = parse(self._groups, members, state_dict)
        self._progress.step = calls(state_dict, parsed)
        entries = []
        for group, (values, loaded) in zip(self._groups, parsed, strict=True):
            group.values.update(values)
            group.refresh()
            for entry, slots in loaded:
                _, h, _ = group.spec(entry.p.array.shape)
                entry.p.allocate(entry.rule, h, slots)
                entries.append(entry)
        if self._optimizer.has_modes:
            self._is_training = bool(state_dict["param_groups"][0].get("train_mode", True))
        self._hold(entries)
        self._index()

    def __reduce__(self):
        raise TypeError("a stepper is bound to arrays in memory and does not pickle; save its state_dict()")
