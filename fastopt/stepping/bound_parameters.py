"""Bound arrays with their state, and the table of addresses and constants that the kernels read."""

import copy

import numpy as np

from fastopt.kernels import recording, threading_layer, work_queue
from fastopt.kernels.elementwise import update_address
from fastopt.rules.tensorwise import TensorRule
from fastopt.schedules import Run
from fastopt.stepping import arrays
from fastopt.stepping.gradients import Gradients
from fastopt.stepping.param_groups import Group
from fastopt.stepping.parameters import (
    ElementwiseBucket,
    Param,
    ParamState,
    begins_with_values,
    begun_anew,
    with_current_rule,
)
from fastopt.stepping.scheduling import Progress
from fastopt.stepping.tensor_rules import TensorRuleBucket, flags
from fastopt.stepping.tracing import Cell, TraceError


class BoundParameters:
    """The arrays of a stepper, by group and by bucket; what `Stepper` and `FusedStepper` share.

    A bucket holds parameters that are updated together: an `ElementwiseBucket` those that share one row of
    kernel constants, a `TensorRuleBucket` those that one tensor rule takes.

    Parameters
    ----------
    optimizer : Optimizer
    n_threads : int or None
        As in `Optimizer.bind`.
    run : Run

    Attributes
    ----------
    progress : Progress
        Completed calls of ``step``.
    groups : list of Group
    params : list of Param
        In the order in which they were bound.
    elementwise : list of ElementwiseBucket
    tensorwise : list of TensorRuleBucket
    active : list of ElementwiseBucket
        Those of `elementwise` that take the next step.
    gradients : Gradients
    has_torch : bool
        Whether a parameter is a torch tensor.
    work : WorkQueue or LaunchQueue
        Its ``run()`` runs the update kernels of `active`.
    table : ndarray of int64, shape (n_params, TABLE_COLUMNS)
        Arguments of the update kernels; see `fastopt.kernels.work_queue`.
    is_scheduled : bool
        Whether a hyper-parameter is a schedule.
    """

    make_param = Param

    def __init__(self, optimizer, n_threads: int | None, run: Run):
        self.optimizer, self.progress = copy.deepcopy(optimizer), Progress(run)
        self.n_threads = threading_layer.resolve(n_threads)
        self.groups, self.params, self.elementwise, self.tensorwise = [], [], [], []

    def add(self, dicts: list[dict]) -> None:
        """Bind the arrays of more groups; see `Stepper.add_param_group`."""
        groups, params = [], []
        for values in dicts:
            index = len(self.groups) + len(groups)
            if "params" not in values:
                raise ValueError(f"param_groups[{index}] has no 'params'; its keys are {list(values)}")
            groups.append(Group(self.optimizer, values, index, self.progress))
            first = len(self.params) + len(params)
            params += [
                self.make_param(given, first + i, groups[-1], _called(groups[-1], first, i))
                for i, given in enumerate(values["params"])
            ]
        everything = [*self.params, *params]
        if not everything:
            raise ValueError("params is empty; pass at least one array")
        arrays.check_disjoint(everything)
        fresh = []
        for p in params:
            _, h, rule = p.group.spec(p.array.shape)
            p.allocate(rule, h)
            fresh.append(ParamState(p, rule, 0, rule.first_numbers(h)))
        states = [*self.states(), *fresh]
        self.groups += groups
        self.params = everything
        self.hold(states)

    @property
    def buckets(self) -> list:
        """All buckets, elementwise and tensor-wise."""
        return [*self.elementwise, *self.tensorwise]

    def states(self) -> list[ParamState]:
        """Return the `ParamState` of each parameter."""
        return [state for bucket in self.buckets for state in bucket.states()]

    def cells(self) -> list[Cell]:
        """Return the cells of all numbers that a step changes; the last one counts the steps."""
        return [*(cell for bucket in self.buckets for cell in bucket.cells()), Cell(self.progress, "step")]

    def hold(self, states: list[ParamState]) -> None:
        """Sort all parameters into buckets, and rebuild the table and the work queue."""
        elementwise, tensorwise = {}, {}
        for one in states:
            if isinstance(one.rule, TensorRule):
                key = one.rule, flags(one.p.group.spec(one.p.array.shape).values)
                tensorwise.setdefault(key, []).append(one)
            else:
                key = one.p.group.index, one.rule, one.p.array.dtype.name, one.t, one.numbers
                elementwise.setdefault(key, []).append(one)
        self.elementwise = [
            ElementwiseBucket(same[0].p.group, [one.p for one in same], same[0].t, same[0].numbers)
            for same in elementwise.values()
        ]
        self.tensorwise = [TensorRuleBucket(same, self.n_threads) for same in tensorwise.values()]
        self._index()

    def _index(self):
        """Rebuild the table and the work queue."""
        self.is_scheduled = any(group.scheduled for group in self.groups)
        self.table = np.zeros((len(self.params), work_queue.TABLE_COLUMNS), np.int64)
        takes_rows = self.optimizer.takes_rows
        self.gradients = Gradients(self.params, self.table[:, 2], takes_rows, self._grad_address)
        self._torch = [p for p in self.params if arrays.is_torch(p.given)]
        self._tensors, self.has_torch = [p.given for p in self._torch], bool(self._torch)
        self._may_begin_anew = any(begins_with_values(bucket.rule) for bucket in self.buckets)
        for bucket in self.elementwise:
            self._point(bucket)
        self._plan()

    _grad_address = staticmethod(arrays.grad_address)

    def _point(self, bucket):
        """Write the table rows (addresses, sizes) of a bucket's members."""
        for p in bucket.members:
            row = self.table[p.index]
            kernel = update_address(bucket.rule, p.array.dtype)
            row[:] = kernel, p.data, row[2], p.start, p.stride, arrays.address(bucket.row)

    def _plan(self):
        """Determine which buckets take the next step, and queue the work on their parameters."""
        absent = self.gradients.absent
        self.active = [bucket for bucket in self.elementwise if bucket.members[0].index not in absent]
        self._queue_work()

    def _queue_work(self):
        sizes, moved = [0] * len(self.params), 0
        by_rows = {rows.p.index for rows in self.gradients.rows}
        for p in (p for bucket in self.active for p in bucket.members if p.index not in by_rows):
            sizes[p.index] = p.array.size
            # The gradient is read, the weight and the slots are read and written.
            moved += 3 * p.nbytes + 2 * p.state_nbytes
        is_parallel = moved >= work_queue.PARALLEL_BYTES
        n_threads = self.most_threads() if is_parallel else 1
        edge = max((p.edge for p in self.params), default=1)
        self.work = work_queue.KernelQueue.over(self.table, sizes, n_threads, edge)

    def most_threads(self) -> int:
        """Return the largest number of threads that a step may use now."""
        return self.n_threads or threading_layer.n_available()

    def accept(self, grads: list) -> None:
        """Apply changed hyper-parameters, and check the gradients of the next step.

        Raises
        ------
        TypeError, ValueError
            If a hyper-parameter is out of its range or a gradient does not fit; nothing is changed then.
        """
        if recording.recorders and (recorder := recording.current()) is not None:
            self._record_accept(recorder, grads)
            return
        if self._torch:
            self.follow_storage()
        self.refresh()
        if self.is_scheduled and self._may_begin_anew:
            self._begin_anew(self.states())
        if not self.gradients.are_those_accepted(grads) and self.gradients.accept(grads):
            self._split()
            self._plan()

    def prepare(self, grads: list) -> None:
        """Do what comes before a step with these gradients, of all parameters, for the first time."""
        self.accept(grads)
        for bucket in self.tensorwise:
            bucket.prepare(self.gradients.absent)

    def _record_accept(self, recorder, grads):
        """Note down that the addresses of these gradients are to be stored."""
        if not self.gradients.are_those_accepted(grads) and self.gradients.accept(grads):
            raise TraceError("some parameters have no gradient in a part of the steps")
        column = self.table[:, 2]
        recorder.store(column, column.copy())
        recorder.forgets(self.gradients)

    def _split(self):
        """Split buckets of which only some parameters have gradients: each part counts its own steps."""
        buckets, absent = [], self.gradients.absent
        for bucket in self.elementwise:
            without = [p for p in bucket.members if p.index in absent]
            rest = [p for p in bucket.members if p.index not in absent]
            if without and rest:
                for members in (rest, without):
                    buckets.append(ElementwiseBucket(bucket.group, members, bucket.t, bucket.scalars))
                    self._point(buckets[-1])
            else:
                buckets.append(bucket)
        self.elementwise = buckets

    def refresh(self) -> bool:
        """Check and apply hyper-parameters that were changed in ``param_groups``, all or none.

        Returns
        -------
        bool
            Whether one was.
        """
        for group in self.groups:
            if group.is_changed():
                break
        else:
            return False
        changed = [group for group in self.groups if group.is_changed()]
        for group in changed:
            group.check(group.values)
        for group in changed:
            group.refresh()
        states = [with_current_rule(state) for state in self.states()]
        if any(bucket.is_outdated() for bucket in self.buckets):
            self.hold(states)
        if self._may_begin_anew:
            self._begin_anew(states)
        self.is_scheduled = any(group.scheduled for group in self.groups)
        self.refold()
        return True

    def _begin_anew(self, states):
        """Reset parameters that have not stepped yet to first values by the present hyper-parameters."""
        new = [begun_anew(state) for state in states]
        if any(a is not b for a, b in zip(new, states, strict=True)):
            self.hold(new)

    def follow_storage(self) -> None:
        """Update torch parameters where their data is now: ``p.data = ...`` may have moved it.

        Raises
        ------
        TypeError, ValueError
            If their dtype or shape has changed, too; nothing is changed then.
        """
        for p in self._torch:
            if p.given.data_ptr() != p.data and p.array.size:
                break
        else:
            return
        old = [p.array for p in self._torch]
        new = [p.reopen() for p in self._torch]
        for p, array in zip(self._torch, new, strict=True):
            p.take(array)
        try:
            arrays.check_disjoint(self.params)
        except ValueError:
            for p, array in zip(self._torch, old, strict=True):
                p.take(array)
            raise
        self.hold(self.states())

    def refold(self) -> None:
        """Recompute the constants from the groups' present values, including schedules."""
        for bucket in self.buckets:
            bucket.refresh()

    def mark_changed(self) -> None:
        """Increase the version counters of torch parameters, for torch's autograd."""
        if self._tensors:
            arrays.bump_versions(self._tensors)


def _called(group, first, i):
    """Return the name of a group's array ``i`` in messages."""
    name = f" ({group.names[i]!r})" if group.names else ""
    return f"params[{first + i}]{name}"
