"""Bound arrays with their slots, and buckets of arrays that share constants."""

import math
import struct
import weakref
from typing import NamedTuple

import numpy as np

from fastopt.kernels import recording
from fastopt.kernels.quantized_state import LINE, first_codes
from fastopt.rules.quantized_state import BLOCK, Reduced
from fastopt.stepping import arrays, scheduling
from fastopt.stepping.tracing import Cell


class ParamState(NamedTuple):
    """A parameter with its rule, its number of steps, and the state that is one number."""

    p: "Param"
    rule: object
    t: int
    numbers: tuple


class Param:
    """One bound array: the user's object, its memory as an ndarray, and its slots."""

    __slots__ = (
        "array", "data", "given", "group", "guard", "index", "name", "nbytes", "slots", "start", "stride"
    )  # fmt: skip

    def __init__(self, given, index, group, name):
        self.given, self.index, self.group, self.name = given, index, group, name
        self.slots = self.start = self.stride = None
        self.take(self.open())

    def open(self):
        """Return the user's array as an ndarray, after checking that it can be updated."""
        array = arrays.view(self.given, self.name)
        arrays.check_param(array, self.name)
        return array

    def take(self, array):
        """Update the array in this memory from now on."""
        self.array, self.data, self.nbytes = array, arrays.address(array), array.nbytes
        # NumPy refuses to resize (and so to move) an array that has a weak reference.
        self.guard = weakref.ref(array)

    @property
    def edge(self) -> int:
        """What the size of a part must be a multiple of: a block of 8-bit codes shares a scale."""
        return BLOCK if any(slot.itemsize == 1 for slot in self.slots) else 1

    def reopen(self):
        """Return the user's array in the memory to which it has moved; raise if the state no longer fits."""
        array = self.open()
        if array.dtype != self.array.dtype:
            raise TypeError(
                f"{self.name} was bound as {self.array.dtype} and is {array.dtype} now; state is never cast: "
                "bind the arrays anew"
            )
        if array.shape != self.array.shape or arrays.order_of(array) != arrays.order_of(self.array):
            raise ValueError(
                f"{self.name} was bound with shape {self.array.shape} and strides {self.array.strides} and "
                f"has {array.shape} and {array.strides} now; bind the arrays anew"
            )
        return array

    def allocate(self, rule, h, kept=()):
        """Allocate the slots of ``rule`` with their first values; ``kept`` holds values to copy instead."""
        dtypes = [np.dtype(rule.slot_dtype(name, self.array.dtype)) for name in rule.slots]
        sizes = [math.prod(rule.slot_shape(name, self.array.shape)) for name in rule.slots]
        strides = [-(-size * d.itemsize // LINE) * LINE for size, d in zip(sizes, dtypes, strict=True)]
        memory = np.zeros(sum(strides) + LINE, np.uint8)
        offset = -arrays.address(memory) % LINE
        self.start, self.slots = arrays.address(memory) + offset, []
        # The same for all slots of an elementwise rule, but for the scales that follow its 8-bit codes.
        self.stride = strides[0] // dtypes[0].itemsize if strides else 0
        for name, size, dtype, stride in zip(rule.slots, sizes, dtypes, strides, strict=True):
            row = memory[offset : offset + size * dtype.itemsize].view(dtype)
            if name in kept:
                row[:] = kept[name]
            elif rule.initial:
                row[:] = _first(rule, h, name)
            self.slots.append(row)
            offset += stride

    def begin_anew(self, rule, h):
        """Reset the slots whose first value is a hyper-parameter to its present value."""
        for name, row in zip(rule.slots, self.slots, strict=True):
            if isinstance(rule.initial.get(name), str):
                row[:] = _first(rule, h, name)

    def read(self):
        """Return copies of the slots, in CPU memory."""
        return [row.copy() for row in self.slots]

    #: Give what a saved state holds as an ndarray; raise as `arrays.view`.
    open_saved = staticmethod(arrays.view)

    @property
    def state_nbytes(self):
        """Bytes of the slots."""
        return sum(row.nbytes for row in self.slots)


def _first(rule, h, name):
    """Return the first value of a slot."""
    if not isinstance(rule, Reduced):
        return rule.first(h, rule.initial, name)
    return first_codes(rule, name, rule.first(h, rule.initial, rule.moment(name)))


class ElementwiseBucket:
    """Parameters of one group, dtype and number of steps, which share one row of constants."""

    __slots__ = (
        "_memory", "_pack", "_prologue", "_values", "group", "members", "next_scalars", "row", "rule",
        "scalars", "t",
    )  # fmt: skip

    def __init__(self, group, members, t, scalars):
        self.group, self.members, self.t, self.scalars = group, members, t, scalars
        self.refresh()
        self.row = np.empty(3 + self.rule.n_constants, self.members[0].array.dtype)
        # Writes numbers there, rounded to its dtype, in half the time of an assignment to the array.
        self._memory = memoryview(self.row)
        self._pack = struct.Struct(f"{len(self.row)}{self.row.dtype.char}").pack_into

    def cells(self):
        """Return the `fastopt.stepping.tracing.Cell` of each number that a step changes."""
        return [Cell(self, "t"), *(Cell(self, "scalars", i) for i in range(len(self.scalars)))]

    def refresh(self):
        """Apply the group's present hyper-parameters."""
        if recording.current() is not None:
            return  # `_ahead` looks them up
        cls, self._values, self.rule = self._spec
        self._prologue = cls.prologue(self._values)

    @property
    def _spec(self):
        return self.group.spec(self.members[0].array.shape)

    def is_outdated(self):
        """Tell whether the group's present values need another rule."""
        return self._spec.rule is not self.rule

    def states(self):
        """Yield the `ParamState` of each parameter."""
        for p in self.members:
            yield ParamState(p, self.rule, self.t, self.scalars)

    def fold(self, grad_scale):
        """Compute the constants of the next step, without counting it."""
        if recording.recorders and (recorder := recording.current()) is not None:
            self._record(recorder, grad_scale)
            return
        sign, l2, keep = self._prologue
        constants, self.next_scalars = self.rule.fold(self._values, self.t + 1, self.scalars)
        self._pack(self._memory, 0, sign * grad_scale, l2, keep, *constants)

    def _record(self, recorder, grad_scale):
        """Note down that the next step's constants are to be stored."""
        n = len(self.row)
        numbers = recorder.feed(self, self._ahead, (n + len(self.scalars),))
        recorder.store(self.row[:1], numbers[0] * grad_scale)
        recorder.store(self.row[1:], numbers[1:n])
        self.next_scalars = tuple(numbers[n:])

    def _ahead(self, n_steps):
        """Return the constants, and the scalars after it, of each of the next steps."""
        group, shape = self.group, self.members[0].array.shape
        done = group.progress.step
        steps = np.arange(done, done + n_steps)
        h = scheduling.evaluate(group.optimizer, group.values, group.progress.run, steps)
        cls, h = group.optimizer.for_shape(h, shape)
        return scheduling.fold_ahead(cls, self.rule, h, self.t, n_steps, self.scalars)

    def advance(self):
        """Count the step that was folded."""
        self.t += 1
        self.scalars = self.next_scalars


def with_current_rule(state: ParamState) -> ParamState:
    """Return a state under the rule for its group's present values, keeping slots that both rules have."""
    _, h, rule = state.p.group.spec(state.p.array.shape)
    if rule is state.rule:
        return state
    state.p.allocate(rule, h, dict(zip(state.rule.slots, state.p.read(), strict=True)))
    kept = rule.numbers == state.rule.numbers
    return state._replace(rule=rule, numbers=state.numbers if kept else rule.first_numbers(h))


def begins_with_values(rule) -> bool:
    """Tell whether a slot's or number's first value is a hyper-parameter."""
    first = [rule.initial, rule.scalars, getattr(rule, "shared", {})]
    return any(isinstance(value, str) for values in first for value in values.values())


def begun_anew(state: ParamState) -> ParamState:
    """Return the state of a parameter that has not stepped, with first values by its group's present ones."""
    if state.t or not begins_with_values(state.rule):
        return state
    _, h, rule = state.p.group.spec(state.p.array.shape)
    state.p.begin_anew(rule, h)
    return state._replace(numbers=rule.first_numbers(h))
