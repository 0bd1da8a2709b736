"""The bound stepper: an optimizer's state beside the arrays that it updates in place."""

import copy
import weakref
from bisect import bisect_right
from numbers import Real

import numpy as np

from fastopt.kernels import drive, threads
from fastopt.kernels.cpu import update_address
from fastopt.optimizers import arrays
from fastopt.optimizers.groups import Group, as_list, listed
from fastopt.optimizers.scheduling import Progress, observe
from fastopt.optimizers.states import calls, dump, parse

_LINE = 64  # bytes; slots start on a cache line


class Param:
    """One bound array: the user's object, its memory as an ndarray, and its slots."""

    __slots__ = ("array", "data", "given", "guard", "index", "name", "nbytes", "slots", "start")

    def __init__(self, given, index, name):
        self.given, self.index, self.name = given, index, name
        self.array = arrays.view(given, name)
        arrays.check_param(self.array, name)
        self.data, self.nbytes = arrays.address(self.array), self.array.nbytes
        # NumPy refuses to resize (and so to move) an array that has a weak reference.
        self.guard = weakref.ref(self.array)
        self.slots = self.start = None

    def allocate(self, rule, h, kept=()):
        """Make the slots of ``rule``, with their first values; ``kept`` maps names to values to keep."""
        itemsize, size = self.array.itemsize, self.array.size
        stride = -(-size * itemsize // _LINE) * _LINE // itemsize
        memory = np.zeros(len(rule.slots) * stride + _LINE // itemsize, self.array.dtype)
        offset = -arrays.address(memory) % _LINE // itemsize
        self.slots = memory[offset : offset + len(rule.slots) * stride].reshape(len(rule.slots), stride)
        self.start = arrays.address(memory) + offset * itemsize
        for name, row in zip(rule.slots, self.slots, strict=True):
            if name in kept:
                row[:size] = kept[name]
            elif name in rule.initial:
                row[:size] = rule.first(h, rule.initial, name)


class Cohort:
    """Parameters of one group and dtype that took the same steps, so they share one row of constants."""

    __slots__ = ("group", "members", "next_scalars", "row", "scalars", "t")

    def __init__(self, group, members, t, scalars):
        self.group, self.members, self.t, self.scalars = group, members, t, scalars
        self.make_row()

    def make_row(self):
        """Allocate the row of constants that the rule needs."""
        self.row = np.empty(3 + self.group.rule.n_constants, self.members[0].array.dtype)

    def fold(self, grad_scale):
        """Write the constants of the next step, without taking it."""
        group = self.group
        if group.scheduled:
            h = group.current()
            sign, l2, keep = group.optimizer.prologue(h)
        else:
            h = group.values
            sign, l2, keep = group.prologue
        constants, self.next_scalars = group.rule.fold(h, self.t + 1, self.scalars)
        self.row[:] = (sign * grad_scale, l2, keep, *constants)

    def advance(self):
        """Count the step that was folded."""
        self.t += 1
        self.scalars = self.next_scalars


class Stepper:
    """Updates bound arrays in place; made by `Optimizer.bind`.

    One stepper may be used by one Python thread at a time; different steppers may step at once.

    Attributes
    ----------
    param_groups : list of dict
        Hyper-parameters by group, with the arrays under ``'params'``. Live: a changed value is checked and
        counts from the next step. What is a schedule stays one; `current_values` has the numbers.
    """

    def __init__(self, optimizer, params, n_threads, run):
        self._optimizer, self._progress = copy.deepcopy(optimizer), Progress(run)
        self._n_threads = threads.resolve(n_threads)
        self._groups, self._params, self._cohorts = [], [], []
        self._add(as_list(params))

    @property
    def param_groups(self):
        """The live groups, as in ``torch.optim``."""
        return [group.values for group in self._groups]

    def current_values(self):
        """Return the hyper-parameters of the next step by group: copies, with numbers for schedules."""
        self._refresh()
        return [{k: v for k, v in group.current().items() if k != "params"} for group in self._groups]

    @property
    def nbytes(self):
        """Bytes of state, without the parameters."""
        return sum(p.nbytes * len(p.slots) for p in self._params)

    def add_param_group(self, group):
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
            values["params"] = listed(values["params"])
            groups.append(Group(self._optimizer, values, index, self._progress))
            first = len(self._params) + len(params)
            named = [(g, first + i, f"params[{first + i}]") for i, g in enumerate(values["params"])]
            params.append([Param(*one) for one in named])
        everything = [*self._params, *(p for members in params for p in members)]
        if not everything:
            raise ValueError("params is empty; pass at least one array")
        arrays.check_disjoint([p.array for p in everything], [p.name for p in everything])
        for group, members in zip(groups, params, strict=True):
            for param in members:
                param.allocate(group.rule, group.current())
            self._groups.append(group)
            self._cohorts += _cohorts(group, [_Fresh(p, group) for p in members])
        self._params = everything
        self._index()

    def _index(self):
        """Rebuild what depends on which arrays are bound."""
        spans = sorted((p.data, p.data + p.nbytes, p.index) for p in self._params if p.array.size)
        self._starts, self._spans = [s for s, _, _ in spans], spans
        self._table = np.zeros((len(self._params), drive.TABLE_COLUMNS), np.int64)
        self._seen, self._guards, self._alive = [], [], []  # the last gradients; see `_remember`
        self._watched = ()  # gradients of other libraries, whose memory may move: (index, address)
        self._absent = frozenset()
        self._torch = [p.given for p in self._params if arrays.is_torch(p.given)]
        for cohort in self._cohorts:
            self._point(cohort)
        self._make_plan()

    def _point(self, cohort):
        """Write the table rows of a cohort's members."""
        for p in cohort.members:
            row = self._table[p.index]
            kernel = update_address(cohort.group.rule, p.array.dtype)
            stride = p.slots.shape[1] if len(p.slots) else 0
            row[:] = kernel, p.data, row[2], p.start, stride, arrays.address(cohort.row)

    def _make_plan(self):
        sizes = [0 if p.index in self._absent else p.array.size for p in self._params]
        # The gradient is read, the weight and the slots are read and written.
        moved = sum(
            n * p.array.itemsize * (3 + 2 * len(p.slots)) for n, p in zip(sizes, self._params, strict=True)
        )
        n_threads = 1
        if moved >= drive.PARALLEL_BYTES:
            n_threads = self._n_threads or threads.n_available()
        self._plan = drive.Plan(self._table, sizes, n_threads)
        self._active = [c for c in self._cohorts if c.members[0].index not in self._absent]

    def step(self, grads, *, grad_scale=1.0):
        """Apply one update in place.

        Parameters
        ----------
        grads : array or list of arrays
            One gradient for each parameter, in the order in which they were bound, all groups in one list;
            the same shape, dtype and memory order. Not written. ``None`` skips its parameter, which then
            does not count the step.
        grad_scale : float
            Multiplies the gradients (for example 1 / loss scale, or a clipping factor).

        Raises
        ------
        TypeError, ValueError
            If a gradient does not fit its parameter or a changed hyper-parameter is out of range. Nothing
            is changed then.
        """
        if type(grads) is not list:
            grads = listed(grads)
        if not self._same(grads):
            self._accept(grads)
        if type(grad_scale) is not float and not isinstance(grad_scale, Real):
            raise TypeError(f"grad_scale must be a number, not {type(grad_scale).__name__}")
        self._refresh()
        for cohort in self._active:
            cohort.fold(grad_scale)
        self._plan.run()
        for cohort in self._active:
            cohort.advance()
        self._progress.step += 1
        if self._torch:
            arrays.bump_versions(self._torch)

    def observe(self, metric, *, greater_is_better=False):
        """Tell schedules the loss or score of the epoch that has ended; `fastopt.schedules.plateau` reacts.

        Parameters
        ----------
        metric : float
            The loss, or with ``greater_is_better`` a score.
        """
        for group in self._groups:
            group.values.update(observe(group.values, metric, greater_is_better))

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
        found, absent, watched = [], set(), []
        for p, gradient in zip(self._params, grads, strict=True):
            if gradient is None:
                absent.add(p.index)
                found.append(0)
                continue
            found.append(self._check_grad(p, gradient))
            if type(gradient) is not np.ndarray and arrays.is_torch(gradient):
                watched.append((p.index, found[-1]))
        self._table[:, 2] = found
        if absent != self._absent:
            self._absent = frozenset(absent)
            self._split()
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
        data = arrays.grad_address(gradient, p.index, p)
        before = bisect_right(self._starts, data) - 1
        for start, end, index in self._spans[max(before, 0) : before + 2]:
            if start < data + p.nbytes and data < end:
                raise ValueError(
                    f"grads[{p.index}] overlaps {self._params[index].name}, which the step changes"
                )
        return data

    def _split(self):
        """Split cohorts of which only a part has gradients, so that each counts its own steps."""
        cohorts = []
        for cohort in self._cohorts:
            parts = [p for p in cohort.members if p.index in self._absent]
            rest = [p for p in cohort.members if p.index not in self._absent]
            if parts and rest:
                for members in (rest, parts):
                    cohorts.append(Cohort(cohort.group, members, cohort.t, cohort.scalars))
                    self._point(cohorts[-1])
            else:
                cohorts.append(cohort)
        self._cohorts = cohorts

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
            old = group.rule
            group.refresh()
            if group.rule is not old:
                self._change_rule(group, old)

    def _change_rule(self, group, old):
        """Follow a group whose new values need another rule; slots that both have are kept."""
        for cohort in self._cohorts:
            if cohort.group is group:
                for p in cohort.members:
                    kept = dict(zip(old.slots, p.slots[:, : p.array.size].copy(), strict=True))
                    p.allocate(group.rule, group.current(), kept)
                cohort.make_row()
                self._point(cohort)

    def state_dict(self):
        """Return a copy of the state, in torch's layout.

        Returns
        -------
        dict
            ``{'state': {i: {'step': t, slot: array, ...}}, 'param_groups': [{..., 'params': [i, ...]}]}``.
            Arrays have the parameter's shape and dtype; for torch parameters they are torch tensors, so
            that ``torch.optim`` can load them. A parameter that never stepped has no state. With schedules,
            ``'step'`` beside ``'state'`` counts the calls of `step`, by which they go.
        """
        state = dump(self._groups, self._cohorts)
        if any(group.scheduled for group in self._groups):
            state["step"] = self._progress.step
        return state

    def load_state_dict(self, state_dict):
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
        members = [[] for _ in self._groups]
        for cohort in self._cohorts:
            members[cohort.group.index] += cohort.members
        members = [sorted(group, key=lambda p: p.index) for group in members]
        parsed = parse(self._groups, members, state_dict)
        self._progress.step = calls(state_dict, parsed)
        cohorts = []
        for group, (values, rule, loaded) in zip(self._groups, parsed, strict=True):
            group.values.update(values)
            group.refresh()
            for one in loaded:
                one.p.allocate(rule, group.current(), one.slots)
            cohorts += _cohorts(group, loaded)
        self._cohorts = cohorts
        self._index()

    def __reduce__(self):
        raise TypeError("a stepper is bound to arrays in memory and does not pickle; save its state_dict()")


class _Fresh:
    """A parameter that has not stepped."""

    def __init__(self, p, group):
        rule, h = group.rule, group.current()
        self.p, self.t = p, 0
        self.scalars = tuple(rule.first(h, rule.scalars, name) for name in rule.scalars)


def _cohorts(group, members):
    """Return the cohorts of a group: one for each dtype and step."""
    found = {}
    for one in members:
        found.setdefault((one.p.array.dtype.name, one.t, one.scalars), []).append(one.p)
    return [Cohort(group, same, t, scalars) for (_, t, scalars), same in found.items()]
