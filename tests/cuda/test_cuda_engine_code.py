"""The compiled kernels of the training engine: read in PTX and in machine code, without a GPU."""

import numpy as np
import pytest
from numba import from_dtype, types
from reference import cuda_code, own_functions  # noqa: F401  registers activations and losses

from fastopt.engine import Layout
from fastopt.engine.cuda import compilation
from fastopt.engine.objective import resolve_functions
from fastopt.kernels.cuda import api as cuda
from fastopt.rules.activations import ACTIVATIONS, Activation
from fastopt.rules.registry import RULES

pytestmark = pytest.mark.skipif(cuda_code.missing() is not None, reason=str(cuda_code.missing()))

PAIRS = [
    ("relu", "softmax", "log_loss"),
    ("tanh", "logistic", "binary_log_loss"),
    ("logistic", "identity", "squared_error"),
    ("identity", "exp", "poisson"),
    ("silu", "identity", "huber"),
    ("relu", "exp", "half_log"),
    ("relu", "softmax", "focal"),
    ("relu", "softplus", "tweedie"),
    ("relu", "identity", "gaussian_nll"),
    ("relu", "identity", "log_cosh"),
    ("prelu", "identity", "squared_error"),
]
TILES = {"small": compilation.SMALL, "large": compilation.LARGE}

#: Registers per thread for which a multiprocessor (65,536) holds two blocks of 256 threads.
BUDGET = 128


def signatures(dtype):
    """Return what the host passes to each kernel: arrays of numbers, integers and arrays of integers."""
    number = from_dtype(np.dtype(dtype))
    kinds = {
        "r": types.Array(number, 1, "C"),
        "R": types.Array(number, 2, "C"),
        "n": types.int64,
        "i": types.Array(types.int64, 1, "C"),
        "I": types.Array(types.int64, 2, "C"),
    }
    arguments = {
        "forward": "rnnnnnrnnrnnriIi",
        "output": "rnnrrnrrrniIi",
        "backward": "rnnnnrnrniIi",
        "update": "rrnRrrrIIriIi",
        "update_slopes": "rrnRrnnnIi",
        "gather": "rnrnniIi",
        "drop": "rnnrnnIRniIi",
        "conclude": "rnnnrnnrn",
        "descend": "rnnrrnn",
        "clear_rest": "rnnnIi",
        "apply": "rrnRrnnrnIi",
    }
    return {name: types.void(*map(kinds.get, letters)) for name, letters in arguments.items()}


def compiled(name, kernel, dtype, tiles, capability):
    """Return the PTX of a kernel that is bound but not compiled."""
    text, _ = cuda.module().compile_ptx(
        kernel, signatures(dtype)[name], device=False, cc=capability, launch_bounds=tiles.bounds
    )
    return text


def network_kernels(dtype, tiles, *names):
    layout = Layout([1, 1, 1], [ACTIVATIONS[names[0]].learns])
    functions = resolve_functions(*names, layout)
    layer = compilation.plain_layer_kernels(dtype, *functions.activations, tiles)
    layer |= compilation.plain_drop_kernel(dtype, tiles)
    return layer | compilation.plain_output_kernels(dtype, functions.output, functions.loss, tiles)


def assert_in_registers(text, capability):
    found = cuda_code.assemble(text, capability)
    assert found["stack"] == found["spilled"] == found["local"] == found["double"] == 0
    assert found["registers"] <= BUDGET


@pytest.mark.parametrize("size", TILES)
@pytest.mark.parametrize(
    ("names", "capability"),
    [(names, (9, 0)) for names in PAIRS] + [(PAIRS[0], other) for other in ((7, 5), (8, 0), (12, 0))],
)
def test_float32_passes_stay_in_registers_and_never_compute_in_double(names, size, capability):
    for name, kernel in network_kernels("float32", TILES[size], *names).items():
        text = compiled(name, kernel, "float32", TILES[size], capability)
        assert ".f64" not in text, name
        assert_in_registers(text, capability)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_stays_in_registers_and_never_computes_in_double(name):
    tiles = compilation.LARGE
    for kernel_name, kernel in compilation.plain_layer_kernels("float32", ACTIVATIONS[name], tiles).items():
        text = compiled(kernel_name, kernel, "float32", tiles, (9, 0))
        # libdevice reduces large angles by the digits of 2 / pi, in local memory, and one product in double.
        if name not in ("sine", "snake"):
            assert_in_registers(text, (9, 0))
            assert ".f64" not in text, kernel_name


@pytest.mark.parametrize("name", cuda_code.built_in())
def test_the_update_of_every_rule_never_computes_in_double(name):
    for kernel_name, kernel in compilation.plain_update_kernels(
        RULES[name], "float32", compilation.SMALL
    ).items():
        assert ".f64" not in compiled(kernel_name, kernel, "float32", compilation.SMALL, (9, 0))


@pytest.mark.parametrize("capability", cuda_code.SHOWN)
@pytest.mark.parametrize("size", TILES)
@pytest.mark.parametrize("rule", [RULES["sgd"], RULES["adam"], compilation.COLLECT], ids=lambda r: r.name)
def test_updates_stay_in_registers(rule, size, capability):
    for name, kernel in compilation.plain_update_kernels(rule, "float32", TILES[size]).items():
        assert_in_registers(compiled(name, kernel, "float32", TILES[size], capability), capability)


def test_float64_compiles():
    tiles = compilation.LARGE
    kernels = network_kernels("float64", tiles, "tanh", "softmax", "log_loss")
    kernels |= compilation.plain_update_kernels(RULES["adam"], "float64", tiles)
    for name, kernel in kernels.items():
        text = compiled(name, kernel, "float64", tiles, (9, 0))
        assert "global.f32" not in text, name
        assert cuda_code.assemble(text, (9, 0))["spilled"] == 0, name


def test_a_literal_that_is_not_typed_is_caught(monkeypatch):
    space = {"third": 1 / 3}  # a half would come back exact and so in single precision
    exec("def planted(z): return third * z", space)
    planted = Activation("planted", space["planted"], space["planted"])
    monkeypatch.setitem(ACTIVATIONS, "planted", planted)
    kernels = network_kernels("float32", compilation.SMALL, "planted", "identity", "squared_error")
    assert ".f64" in compiled("forward", kernels["forward"], "float32", compilation.SMALL, (9, 0))
