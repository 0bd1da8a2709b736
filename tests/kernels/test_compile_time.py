"""What keeps first fits short: no machine code that nobody calls, and no garbage collection meanwhile."""

import ctypes
import gc
import operator
import subprocess
import sys

import numpy as np
import pytest
from numba import njit, types
from numba.core.registry import cpu_target
from numba.extending import overload

from fastopt import _collection
from fastopt.kernels import compilers
from fastopt.kernels.binding import bind, compile_c, compile_scalar
from fastopt.kernels.compilers import INNER_OPTIONS
from fastopt.kernels.intrinsics import vector


@njit(**INNER_OPTIONS)
def double(x):
    return 2.0 * x


@njit(**INNER_OPTIONS)
def halves(x):
    if x < 0.0:
        raise ValueError("negative")
    return double(x) / 4.0


@njit
def total(x):
    sum_ = 0.0
    for i in range(x.shape[0]):
        sum_ += halves(x[i])
    return sum_


def test_inner_functions_compute_within_others_and_have_no_machine_code():
    assert total(np.array([1.0, 2.0, 5.0])) == 4.0
    with pytest.raises(ValueError, match="negative"):
        total(np.array([-1.0]))
    for function in (halves, double):
        (result,) = function.overloads.values()
        # The engine that holds all machine code knows the callers by name, and not these.
        assert not result.target_context.codegen()._engine.is_symbol_defined(result.fndesc.llvm_func_name)
    (result,) = total.overloads.values()
    assert result.target_context.codegen()._engine.is_symbol_defined(result.fndesc.llvm_func_name)


@njit(**INNER_OPTIONS)
def by_a_closure(x, powers):
    def power(n):
        return x**n

    return sum([power(n) for n in range(powers)])


@njit(**INNER_OPTIONS)
def of_arrays(x, y):
    return (2.0 * x + y).sum()


@njit
def both(x, y):
    return by_a_closure(2.0, 4), of_arrays(x, y)


def test_inner_functions_may_have_closures_comprehensions_and_expressions_of_arrays():
    # The passes that serve these are left out of functions that have none.
    assert both(np.ones(3), np.arange(3.0)) == (15.0, 9.0)
    (result,) = of_arrays.overloads.values()
    times = result.metadata["pipeline_times"]["nopython"]
    assert any("rewrites" in name and "nopython_rewrites" in name for name in times)
    (result,) = double.overloads.values()
    assert not any("nopython_rewrites" in name for name in result.metadata["pipeline_times"]["nopython"])


def describe(x):
    raise NotImplementedError("in compiled code only")


def test_what_an_operator_returns_is_asked_once_and_later_overloads_are_seen():
    context = compilers._remembering(cpu_target.typing_context)
    add = context.resolve_value_type(operator.add)
    arguments = types.int64, types.float64
    answer = add.get_call_type(context, arguments, {})
    assert answer.return_type == types.float64
    assert context.resolve_function_type(operator.add, arguments, {}) is answer

    overload(describe)(lambda x: (lambda x: 1) if isinstance(x, types.Integer) else None)
    first = njit(**INNER_OPTIONS)(lambda x: describe(x))
    assert njit(lambda: first(3))() == 1
    overload(describe)(lambda x: (lambda x: 2.5) if isinstance(x, types.Float) else None)
    second = njit(**INNER_OPTIONS)(lambda x: describe(x) + describe(7))
    assert njit(lambda: second(3.0))() == 3.5


def longest(x):
    return np.cumsum(np.full(3, x)).max()  # a user's function may make arrays


def write_longest(address):
    out = vector(address, np.float64, 1)
    out[0] = longest(out[0])


def test_functions_that_make_arrays_may_be_called_where_references_are_not_counted():
    called = compile_scalar(longest, np.float64)
    names = {"vector": vector, "np": np, "longest": called}
    compiled = compile_c(types.void(types.int64), bind(write_longest, write_longest, **names))
    value = np.array([2.0])
    ctypes.CFUNCTYPE(None, ctypes.c_int64)(compiled.address)(value.ctypes.data)
    assert value[0] == 6.0


def test_collection_resumes_after_a_pause_unless_it_was_off():
    assert gc.isenabled()
    with _collection.paused():
        with _collection.paused():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), _collection.paused():
        raise ZeroDivisionError
    assert gc.isenabled()
    gc.disable()
    try:
        with _collection.paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_importing_and_fitting_leaves_the_collector_on():
    code = (
        "import gc; from fastopt import MLPClassifier; assert gc.isenabled();"
        "MLPClassifier((2,), max_iter=1).fit([[0.0], [1.0]], [0, 1]); assert gc.isenabled()"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True)
