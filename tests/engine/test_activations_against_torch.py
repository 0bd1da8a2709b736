"""The library's activations and their derivatives, compiled, against torch (executed: 2.13.0)."""

import numpy as np
import pytest
from numba import njit

from fastopt.engine.cpu import compilation
from fastopt.kernels.intrinsics import call
from fastopt.rules.activations import ACTIVATIONS

torch = pytest.importorskip("torch")
F = torch.nn.functional

#: Of the PReLU.
SLOPE = 0.3125

PEERS = {
    "identity": torch.clone,
    "relu": F.relu,
    "tanh": torch.tanh,
    "logistic": torch.sigmoid,
    "leaky_relu": F.leaky_relu,
    "prelu": lambda z: F.prelu(z, torch.tensor([SLOPE], dtype=z.dtype)),
    "relu6": F.relu6,
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    # torch's is linear from its threshold of 20 on, where log(1 + e**-20) = 2e-9; 40 is far enough.
    "softplus": lambda z: F.softplus(z, threshold=40.0),
    "softsign": F.softsign,
    "hard_swish": F.hardswish,
    "silu": F.silu,
    "mish": F.mish,
    "gelu": F.gelu,
    "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"),
    "sine": torch.sin,
    "snake": lambda z: z + torch.sin(z) ** 2,
}
#: Numbers at which a torch function overflows although value and derivative are finite.
OVERFLOWS = {"hard_swish": 1e307, "gelu_tanh": 1e150}
#: float64: what the task asks; float32: some rounding errors of values of order 1.
TOLERANCE = {np.float64: 1e-12, np.float32: 4 * float(np.finfo(np.float32).eps)}


@njit
def run(routine, first, second, n, learnt):
    call(routine, (first, second, n, 1, learnt))


def compiled(name, z):
    """Return values and derivatives, from the routines of the forward and the backward pass."""
    activation = ACTIVATIONS[name]
    routines = compilation.activation_routines(activation, z.dtype.name)
    points, a, slopes = z.copy(), np.empty_like(z), np.ones_like(z)
    learnt = np.array([SLOPE], z.dtype)  # read by the PReLU alone
    run(routines["activate"].address, points.ctypes.data, a.ctypes.data, len(z), learnt.ctypes.data)
    if not activation.keeps_input:
        in_place = z.copy()
        run(routines["activate"].address, *[in_place.ctypes.data] * 2, len(z), learnt.ctypes.data)
        np.testing.assert_array_equal(in_place, a)
        points = a
    run(routines["backpropagate"].address, points.ctypes.data, slopes.ctypes.data, len(z), learnt.ctypes.data)
    return a, slopes


def torches(name, z):
    z = torch.tensor(z.astype(np.float64), requires_grad=True)
    value = PEERS[name](z)
    value.sum().backward()
    return value.detach().numpy(), z.grad.numpy()


def test_every_activation_has_its_peer():
    built_in = [name for name, entry in ACTIVATIONS.items() if entry.value.__module__.startswith("fastopt.")]
    assert PEERS.keys() == {*built_in}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", PEERS)
def test_values_and_derivatives_are_torchs(name, dtype):
    ties = [0.0, -0.0, 3.0, -3.0, 6.0]
    tiny = 10.0 ** np.arange(-37, -1)
    large = 10.0 ** np.arange(2, 6)
    grid = np.concatenate([np.linspace(-45, 45, 4001), np.linspace(-4, 4, 4001), ties, tiny, large])
    z = np.concatenate([grid, -grid]).astype(dtype)
    for ours, theirs in zip(compiled(name, z), torches(name, z), strict=True):
        error = np.abs(ours - theirs) / np.maximum(1, np.abs(theirs))
        assert error.max() <= TOLERANCE[dtype], z[error.argmax()]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(PEERS.keys() - {"sine", "snake"}))
def test_nothing_overflows_within(name, dtype):
    most = min(OVERFLOWS.get(name, np.inf), 0.9 * float(np.finfo(dtype).max))  # selu is 1.05 z
    sizes = np.array([1e10, 1e18, 1e30, most] + [1e140] * (dtype == np.float64))
    z = np.concatenate([sizes, -sizes]).astype(dtype)
    for ours, theirs in zip(compiled(name, z), torches(name, z), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)  # of float32: 1 / (1 + |z|) is not 0


@pytest.mark.parametrize("name", OVERFLOWS)
def test_where_torch_overflows_the_limits_are_taken(name):
    most = np.finfo(np.float64).max
    value, derivative = compiled(name, np.array([most, -most]))
    np.testing.assert_array_equal(value, [most, 0])
    np.testing.assert_array_equal(derivative, [1, 0])
    assert not np.isfinite(torches(name, np.array([most, -most]))).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_angles_leave_the_snake_straight(dtype):
    most = np.finfo(dtype).max
    for size in (2.0**60, most):
        value, derivative = compiled("snake", np.array([size, -size], dtype))
        np.testing.assert_array_equal(value, np.array([size, -size], dtype))
        np.testing.assert_array_equal(derivative, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", PEERS)
def test_nan_passes(name, dtype):
    assert np.isnan(compiled(name, np.array([0.5, np.nan, -0.5], dtype))[0]).tolist() == [False, True, False]
