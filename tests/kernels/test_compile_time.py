"""What keeps first fits short: no machine code that nobody calls, and no garbage collection meanwhile."""

import gc
import subprocess
import sys

import numpy as np
import pytest
from numba import njit

from fastopt import _collection
from fastopt.kernels.inner_functions import INNER_OPTIONS


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
