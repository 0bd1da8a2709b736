"""The compiled update kernels: read in PTX and in machine code, with NVIDIA's compiler and no GPU."""

import re
import warnings

import numpy as np
import pytest
from reference import cuda_code

from fastopt.kernels.cuda import api as cuda
from fastopt.kernels.cuda import elementwise, memory
from fastopt.rules.registry import RULES, Rule

if cuda_code.missing():
    pytest.skip(cuda_code.missing(), allow_module_level=True)

NAMES = cuda_code.built_in()


def own_helper(x):
    return 0.5 * x


def own_function(w, g, first, second, third, lr, mix):
    """A user's rule: a helper, literals, branches and an early return."""
    first = mix * g + 0.75 * first
    if first > 0.0:
        return w - lr * own_helper(first), first, second + abs(g), third
    return w, first, second, max(third, abs(g))


def own_rule(function=own_function, slots=("first", "second", "third")):
    return Rule("own", function, slots, lambda h, t: (), {}, {})


def assert_all_wide(accesses, rule):
    """The weight, the gradient and the slots are read, the weight and the slots written, once in each round.

    NVVM unrolls some of the loops.
    """
    n_rounds = accesses[0] // (2 + len(rule.slots))
    assert n_rounds > 0
    assert accesses == (n_rounds * (2 + len(rule.slots)), n_rounds * (1 + len(rule.slots)))


@pytest.mark.parametrize("capability", cuda_code.CAPABILITIES)
@pytest.mark.parametrize("name", NAMES)
def test_float32_kernels_read_128_bits_at_a_time_and_never_compute_in_double(name, capability):
    text = cuda_code.kernel_ptx("one", name, "float32", capability)
    assert ".f64" not in text
    assert_all_wide(cuda_code.wide_accesses(text), RULES[name])


@pytest.mark.parametrize("form", ["many", "planned"])
@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop_centered_momentum"])
def test_the_other_forms_do_the_same(form, name):
    text = cuda_code.kernel_ptx(form, name, "float32", (9, 0))
    assert ".f64" not in text
    assert_all_wide(cuda_code.wide_accesses(text), RULES[name])


@pytest.mark.parametrize("name", NAMES)
def test_float64_kernels_read_128_bits_at_a_time(name):
    text = cuda_code.kernel_ptx("one", name, "float64", (9, 0))
    assert_all_wide(cuda_code.wide_accesses(text), RULES[name])


def test_a_users_own_rule_compiles_alike():
    rule = own_rule()
    text = cuda_code.ptx("one", rule, np.float32, (8, 0))
    assert ".f64" not in text
    assert_all_wide(cuda_code.wide_accesses(text), rule)
    assert cuda_code.assemble(text, (8, 0))["spilled"] == 0


@pytest.mark.parametrize("capability", cuda_code.SHOWN)
@pytest.mark.parametrize("name", NAMES)
def test_machine_code_keeps_everything_in_registers(name, capability):
    found = cuda_code.machine_code("one", name, "float32", capability)
    assert found["stack"] == found["spilled"] == found["local"] == found["double"] == 0
    assert found["registers"] <= cuda_code.BUDGET
    assert_all_wide((found["wide_loads"], found["wide_stores"]), RULES[name])


@pytest.mark.parametrize("form", ["many", "planned"])
@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop_centered_momentum"])
def test_machine_code_of_the_other_forms_keeps_everything_in_registers(form, name):
    found = cuda_code.machine_code(form, name, "float32", (9, 0))
    assert found["stack"] == found["spilled"] == found["local"] == found["double"] == 0
    assert found["registers"] <= cuda_code.BUDGET


def test_the_table_in_the_documentation_is_what_the_compiler_says():
    assert cuda_code.documented() == cuda_code.table(), "run python tests/reference/cuda_code.py"


def test_a_small_launch_warns_nobody():
    kernel = elementwise.kernel("one", RULES["adam"], np.dtype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cuda.launcher(kernel, 1, elementwise.THREADS, 0)
    with pytest.warns(Warning, match="under-utilization"):  # what Numba says of the same by itself
        kernel[2, elementwise.THREADS, 0]


def test_a_literal_that_is_not_typed_is_caught():
    """What `binding.typed_literals` prevents: planted behind its back, as a global."""
    space = {"half": 0.5}
    exec("def planted(w, g, lr): return w - lr * (half * g)", space)
    text = cuda_code.ptx("one", own_rule(space["planted"], ()), np.float32, (8, 0))
    assert ".f64" in text


def test_accesses_that_are_not_known_to_be_aligned_are_caught():
    rule = RULES["adam"]
    read, write = memory.accesses(np.float32, len(rule.slots), 4, align=4)
    text = cuda_code.ptx("one", rule, np.float32, (9, 0), read_wide=read, write_wide=write)
    assert cuda_code.wide_accesses(text) == (0, 0)


def test_a_kernel_that_needs_too_many_registers_is_caught():
    """Four lanes of twenty slots do not fit the 64 registers that 1,024 threads leave each of them."""
    names = [f"s{k}" for k in range(20)]
    space = {}
    body = ", ".join(f"{name} + {names[k - 1]} * g" for k, name in enumerate(names))
    exec(f"def large(w, g, {', '.join(names)}, lr): return w - lr * g, {body}", space)
    text = cuda_code.ptx("one", own_rule(space["large"], tuple(names)), np.float32, (8, 0))
    found = cuda_code.assemble(
        re.sub(r"\.minnctapersm \d+", "", text.replace(".maxntid 256", ".maxntid 1024")), (8, 0)
    )
    assert found["spilled"] > 0
    assert found["local"] > 0
