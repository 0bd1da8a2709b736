"""The CUDA kernels compiled for the CPU: Numba's typing and the accesses' own LLVM code, run by one thread.

The simulator replaces the accesses by Python; the compiled code is elsewhere only read. Here it runs. What
depends on the thread is constant: the first of one.
"""

import types

import numba.extending
import numpy as np
import pytest
from numba import njit
from reference.kernel_cases import random_case, run_kernel

import fastopt
from fastopt.kernels.binding import JIT_OPTIONS, compile_scalar
from fastopt.kernels.cuda import api as cuda
from fastopt.kernels.cuda import elementwise, memory
from fastopt.rules.registry import RULES

pytestmark = pytest.mark.skipif(cuda.SIMULATED, reason="the simulator's accesses are Python")


def module(name, **members):
    made = types.ModuleType(name)
    made.__dict__.update(members)
    return made


@pytest.fixture
def compiled(monkeypatch):
    """Give what compiles a kernel for the CPU."""
    one_thread = module(
        "one_thread",
        grid=njit(lambda n_dimensions: 0),
        gridsize=njit(lambda n_dimensions: 1),
        blockIdx=module("blockIdx", x=0),
        threadIdx=module("threadIdx", x=0),
        blockDim=module("blockDim", x=1),
        gridDim=module("gridDim", x=1),
    )
    monkeypatch.setattr(cuda, "module", lambda: one_thread)
    monkeypatch.setattr(cuda, "intrinsic", numba.extending.intrinsic)
    monkeypatch.setattr(cuda, "inlined", njit(inline="always", **JIT_OPTIONS))
    monkeypatch.setattr(cuda, "device_function", compile_scalar)
    return lambda *arguments: njit(**JIT_OPTIONS)(elementwise.plain_kernel(*arguments)[0])


def aligned(values, shift=0):
    """Return a copy of an array ``shift`` elements from an address that wide accesses take."""
    room = np.zeros(values.size + 16, values.dtype)
    first = -room.ctypes.data % memory.WIDE // values.itemsize + shift
    copy = room[first : first + values.size].reshape(values.shape)
    copy[:] = values
    return copy


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("sgd", np.float32), ("adam", np.float32), ("amsgrad", np.float32), ("adam", np.float64)],
)
def test_the_compiled_accesses_do_what_the_simulated_ones_do(name, dtype, compiled):
    rule = RULES[name]
    kernel = compiled("one", rule, dtype)
    for n, shift in ((1, 0), (4, 0), (31, 0), (32, 0), (32, 1), (1000, 0)):
        w, g, slots, constants = random_case(rule, dtype, n)
        row = np.array([0.7, 0.1, 0.9, *constants], dtype)
        mine = [aligned(w, shift), aligned(g), aligned(slots)]
        at = [a.ctypes.data for a in mine]
        for _ in range(2):
            kernel(*at[:2], at[2] if len(slots) else 0, n if len(slots) else 0, n, tuple(row))
            run_kernel(rule, dtype, w, g, slots, constants, [0, n], row[:3])
        np.testing.assert_array_equal(mine[0], w)
        np.testing.assert_array_equal(mine[2], slots)


def test_the_compiled_list_reads_its_table(compiled):
    rule, dtype, sizes = RULES["adam"], np.float32, (3, elementwise.CHUNK + 5, 2 * elementwise.CHUNK)
    cases = [random_case(rule, dtype, n, seed) for seed, n in enumerate(sizes)]
    row = np.array([0.7, 0.1, 0.9, *cases[0][3]], dtype)
    mine = [[aligned(a) for a in case[:3]] for case in cases]
    spans = [(k, w.ctypes.data, s.ctypes.data, w.size, w.size) for k, (w, _, s) in enumerate(mine)]
    chunks = elementwise.chunk_table(spans, 4)
    assert len(chunks) == 5
    gradients = np.array([g.ctypes.data for _, g, _ in mine])
    compiled("many", rule, dtype)(chunks.ctypes.data, len(chunks), gradients.ctypes.data, tuple(row))
    for (w, g, slots, _), (mine_w, _, mine_slots) in zip(cases, mine, strict=True):
        run_kernel(rule, dtype, w, g, slots, row[3:], [0, len(w)], row[:3])
        np.testing.assert_array_equal(mine_w, w)
        np.testing.assert_array_equal(mine_slots, slots)


def test_the_compiled_plan_reads_its_step_and_its_rows(compiled):
    n, n_decay, step = 64, 36, 2
    state = fastopt.AdamW(lr=0.1, weight_decay=0.5).flat(n, n_decay, np.float32)
    rule = state.rule
    rows, spared = (state.constants(4, decay).copy() for decay in (True, False))
    w, g, slots, _ = random_case(rule, np.float32, n)
    mine, counter = [aligned(a) for a in (w, g, slots)], np.array([step])
    at = [a.ctypes.data for a in (rows, spared, counter)]
    compiled("planned", rule, np.float32)(*(a.ctypes.data for a in mine), n, n_decay, n, *at)
    for lo, hi, row in ((0, n_decay, rows[step]), (n_decay, n, spared[step])):
        part = np.ascontiguousarray(slots[:, lo:hi])
        run_kernel(rule, np.float32, w[lo:hi], g[lo:hi], part, row[3:], [0, hi - lo], row[:3])
        slots[:, lo:hi] = part
    np.testing.assert_array_equal(mine[0], w)
    np.testing.assert_array_equal(mine[2], slots)
