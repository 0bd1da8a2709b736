"""Update kernels in the simulator against the CPU's: the same arithmetic, so the same bits."""

import inspect
import itertools
import math
import types as python_types

import numpy as np
import pytest
from reference.kernel_cases import BUILT_IN, random_case, run_kernel

import fastopt
from fastopt.kernels.cuda import api as cuda
from fastopt.kernels.cuda import elementwise, elementwise_loops, memory
from fastopt.rules.registry import RULES

GUARD = 16  # elements around every array that no kernel may touch; a multiple of every alignment
CANARY = 77.0


def halved(x):
    return 0.5 * x


@fastopt.register("own_rule", slots=("first", "second", "third"), constants=lambda h, t: (h["lr"], 0.25))
def own_rule(w, g, first, second, third, lr, mix):
    """A user's rule: a helper, literals, branches and early returns."""
    first = mix * g + 0.75 * first
    if first > 0.0:
        return w - lr * halved(first), first, math.sqrt(second + abs(g)), third
    return w, first, second, max(third, abs(g))


ALL = [*BUILT_IN, "own_rule"]


class Memory:
    """An array in simulated CUDA memory between two guards, ``shift`` elements from an aligned address."""

    def __init__(self, values, shift=0):
        values = np.asarray(values)
        room = np.full(values.size + 2 * GUARD + 4, CANARY, values.dtype)
        self.device, address = cuda.to_device(room)
        self.first = GUARD + shift + -address % memory.WIDE // values.itemsize
        self.size, self.itemsize = values.size, values.itemsize
        self.address = address + self.first * values.itemsize
        room[self.first : self.first + values.size] = values.ravel()
        self.device.copy_to_device(room)

    def read(self):
        room = self.device.copy_to_host()
        last = self.first + self.size
        assert (room[: self.first] == CANARY).all(), "memory before the array was written"
        assert (room[last:] == CANARY).all(), "memory after the array was written"
        return room[self.first : last]


def on_device(w, g, slots, shifts=(0, 0, 0)):
    return [Memory(values, shift) for values, shift in zip((w, g, slots), shifts, strict=True)]


def arguments(w, g, s, n_slots):
    """Return the leading arguments of the kernels; the slots lie without padding."""
    return w.address, g.address, s.address if n_slots else 0, w.size if n_slots else 0


def launch_one(rule, dtype, w, g, slots, row, shifts=(0, 0, 0), **changes):
    kernel = cuda.kernel(elementwise.plain_kernel("one", rule, dtype, **changes)[0], elementwise.THREADS)
    arrays = on_device(w, g, slots, shifts)
    for _ in range(3):
        kernel[2, 4, 0](*arguments(*arrays, len(rule.slots)), w.size, tuple(row))
    return arrays[0].read(), arrays[2].read().reshape(slots.shape)


def on_cpu(rule, dtype, w, g, slots, row):
    for _ in range(3):
        run_kernel(rule, dtype, w, g, slots, row[3:], [0, len(w)], row[:3])
    return w, slots


def row_of(rule, dtype, constants, prologue=(0.7, 0.1, 0.9)):
    return np.array([*prologue, *constants], dtype)


def check_one(name, dtype, n, shifts=(0, 0, 0), **changes):
    rule = RULES[name]
    w, g, slots, constants = random_case(rule, dtype, n)
    row = row_of(rule, dtype, constants)
    actual = launch_one(rule, dtype, w, g, slots, row, shifts, **changes)
    expected = on_cpu(rule, dtype, w.copy(), g, slots.copy(), row)
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 3, 4, 5, 31, 1003])
def test_one_array_is_updated_as_on_the_cpu(name, dtype, n):
    check_one(name, dtype, n)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shifts", list(itertools.product((0, 1), (0, 2), (0, 3))))
@pytest.mark.parametrize("n", [30, 32])
def test_memory_of_any_alignment_is_updated_as_on_the_cpu(dtype, shifts, n):
    # The slots lie n elements apart: with 30 the second one alone is not aligned.
    check_one("adam", dtype, n, shifts)


@pytest.mark.parametrize("name", ["sgd", "adam", "amsgrad"])
def test_values_that_decay_to_nothing_become_zero_as_on_the_cpu(name):
    rule, dtype = RULES[name], np.float32
    w, g, slots, constants = random_case(rule, dtype, 13)
    slots[:] = 1e-33
    g[:] = 0
    row = row_of(rule, dtype, constants)
    actual = launch_one(rule, dtype, w, g, slots, row)
    expected = on_cpu(rule, dtype, w.copy(), g, slots.copy(), row)
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["sgd", "lion", "adam", "amsgrad"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_list_of_arrays_is_updated_in_one_launch(name, dtype):
    rule = RULES[name]
    sizes = (1, 3, elementwise.CHUNK, 4, elementwise.CHUNK + 5, 31, 3 * elementwise.CHUNK)
    cases = [random_case(rule, dtype, n, seed) for seed, n in enumerate(sizes)]
    row = row_of(rule, dtype, cases[0][3])
    arrays = [on_device(w, g, s, (k % 2, k % 3, 0)) for k, (w, g, s, _) in enumerate(cases)]
    n_slots = len(rule.slots)
    spans = []
    for k, (w, g, s) in enumerate(arrays):
        w, _, s, stride = arguments(w, g, s, n_slots)
        spans.append((k, w, s, stride, sizes[k]))
    chunks = elementwise.chunk_table(spans, np.dtype(dtype).itemsize)
    assert len(chunks) == 5 + 2 + 3
    _, table = kept = cuda.to_device(chunks)
    _, gradients = also_kept = cuda.to_device(np.array([g.address for _, g, _ in arrays]))
    kernel = elementwise.kernel("many", rule, np.dtype(dtype))
    for _ in range(3):
        kernel[3, 4, 0](table, len(chunks), gradients, tuple(row))
    del kept, also_kept
    for (w, g, s, _), (w_memory, _, s_memory) in zip(cases, arrays, strict=True):
        expected = on_cpu(rule, dtype, w, g, s, row)
        np.testing.assert_array_equal(w_memory.read(), expected[0])
        np.testing.assert_array_equal(s_memory.read().reshape(s.shape), expected[1])


@pytest.mark.parametrize("n_decay", [0, 4, 5, 8, 31, 32])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_planned_launch_follows_its_step_and_spares_what_lies_behind_the_boundary(n_decay, dtype):
    optimizer, n, n_steps = fastopt.AdamW(lr=0.1, weight_decay=0.5), 32, 4
    state = optimizer.flat(n, n_decay, dtype)
    rule = state.rule
    rows, spared = (state.constants(n_steps, decay).copy() for decay in (True, False))
    assert (rows != spared).any()
    w, g, slots, _ = random_case(rule, dtype, n)
    arrays = on_device(w, g, slots)
    device = [cuda.to_device(a) for a in (rows, spared, np.zeros(1, np.int64))]
    kernel = elementwise.kernel("planned", rule, np.dtype(dtype))
    for step in range(n_steps):
        device[2][0].copy_to_device(np.array([step]))
        kernel[2, 4, 0](*arguments(*arrays, 2), n_decay, n, *(address for _, address in device))
    for step in range(n_steps):
        for lo, hi, row in ((0, n_decay, rows[step]), (n_decay, n, spared[step])):
            part = np.ascontiguousarray(slots[:, lo:hi])
            run_kernel(rule, dtype, w[lo:hi], g[lo:hi], part, row[3:], [0, hi - lo], row[:3])
            slots[:, lo:hi] = part
    np.testing.assert_array_equal(arrays[0].read(), w)
    np.testing.assert_array_equal(arrays[2].read().reshape(slots.shape), slots)


def changed(template, old, new):
    """Return a template with a fault planted in its source."""
    source = inspect.getsource(template)
    assert old in source
    space = {}
    exec(source.replace(old, new), space)
    return python_types.FunctionType(space[template.__name__].__code__, {}, template.__name__)


@pytest.mark.parametrize("n", [1, 5, 31])
def test_a_tail_that_is_one_short_is_caught(n):
    with pytest.raises(AssertionError, match="not equal"):
        check_one(
            "adam",
            np.float32,
            n,
            grid_stride=changed(elementwise_loops.grid_stride, "while i < n:", "while i < n - 1:"),
        )


def test_a_tail_that_is_one_too_long_is_caught():
    with pytest.raises(AssertionError, match="after the array was written"):
        check_one(
            "adam",
            np.float32,
            31,
            grid_stride=changed(elementwise_loops.grid_stride, "while i < n:", "while i < n + 1:"),
        )


@pytest.mark.parametrize("shifts", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_an_address_that_is_not_looked_at_is_caught(shifts):
    forgotten = "wgs"[shifts.index(1)]
    grid_stride = changed(
        elementwise_loops.grid_stride, "(w | g | s |", f"({' | '.join(x for x in 'wgs' if x != forgotten)} |"
    )
    with pytest.raises(ValueError, match="misaligned"):
        check_one("adam", np.float32, 32, shifts, grid_stride=grid_stride)
