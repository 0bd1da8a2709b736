"""What rules compute without calls, so that loops vectorise: a cube root, and Gaussian noise."""

import functools

import numpy as np
import pytest
from numba import njit
from scipy import special, stats

from fastopt.kernels.binding import JIT_OPTIONS, compile_scalar
from fastopt.rules.online import _cube_root
from fastopt.rules.randomness import gaussian, keys, mix

DTYPES = [np.float32, np.float64]


@functools.cache
def drawn(dtype, n=2_000_000):
    """Return numbers of one key, and their places' bits by NumPy."""
    draw, key = compile_scalar(gaussian, dtype), np.uint32(keys(3, 1, 4))

    @njit(**JIT_OPTIONS)
    def fill(out):
        for i in range(out.shape[0]):
            out[i] = draw(key, i)

    out = np.zeros(n, dtype)
    fill(out)
    with np.errstate(over="ignore"):
        bits = mix(mix(np.arange(n, dtype=np.uint32) ^ key) + key)
    return out, bits


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_noise_is_the_normal_quantile_of_its_bits(dtype):
    out, bits = drawn(dtype)
    half = -special.ndtri(((bits % np.uint32(2**31)) + 0.5) / 2.0**32)
    expected = np.where(bits >= 2**31, half, -half)
    np.testing.assert_allclose(
        out, expected, rtol=0, atol=2e-6 if dtype == np.float32 else 1e-7
    )  # as documented


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_noise_passes_for_gaussian(dtype):
    out = drawn(dtype)[0].astype(np.float64)
    # One key, so a fixed answer: a sample of this size that is Gaussian is refused once in a thousand.
    assert stats.kstest(out, "norm").pvalue > 1e-3
    assert abs(stats.skew(out)) < 5 * np.sqrt(6 / out.size)
    assert abs(stats.kurtosis(out)) < 5 * np.sqrt(24 / out.size)


@pytest.mark.parametrize("side", [-1, 1])
def test_both_tails_have_what_they_should_beyond_four_deviations(side):
    out = side * drawn(np.float32)[0]
    expected = special.ndtr(-4.0) * out.size
    assert abs((out > 4).sum() - expected) < 5 * np.sqrt(expected)
    assert out.max() > 4.5  # of 2 million, seven


@pytest.mark.parametrize("bits", [0, 2**31 - 1, 2**31, 2**32 - 1])
def test_the_farthest_and_the_nearest_bits_have_finite_quantiles(bits, monkeypatch):
    monkeypatch.setattr("fastopt.rules.randomness.mix", lambda x: np.uint32(bits))
    expected = -special.ndtri((bits % 2**31 + 0.5) / 2**32) * (1 if bits >= 2**31 else -1)
    assert gaussian(np.uint32(0), 0) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_cube_root_is_right_to_a_few_roundings(dtype):
    root = compile_scalar(_cube_root, dtype, JIT_OPTIONS)  # to be called from Python
    powers = np.random.default_rng(0).uniform(-37, 38, 2000) * (1.0 if dtype == np.float32 else 1.75)
    x = (10.0**powers).astype(dtype)
    actual = np.array([root(one) for one in x])
    # Two products and the last step of the iteration.
    np.testing.assert_allclose(actual, np.cbrt(np.float64(x)), rtol=4 * np.finfo(dtype).eps)
    assert root(dtype(0)) == 0
    assert root(dtype(np.inf)) == np.inf
    assert np.isnan(root(dtype(np.nan)))
    assert root(np.finfo(dtype).tiny) < 1e-12
