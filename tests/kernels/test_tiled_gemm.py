"""Matrix products in tiles: NumPy's answer, on any number of threads with the same bits."""

import numpy as np
import pytest

import fastopt
from fastopt.kernels.tiled_gemm import Products

#: Of one tile and of several, with ragged edges, tall, wide and thin.
SHAPES = ((5, 7, 3), (1, 1, 1), (1, 40, 9), (40, 1, 9), (600, 300, 70), (130, 1100, 33), (513, 257, 1))


def laid(rng, shape, dtype, order):
    return np.asarray(rng.normal(size=shape).astype(dtype), order=order)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("orders", ["CCC", "FCC", "CFC", "CCF", "FFF"])
def test_products_are_those_of_numpy_and_the_threads_change_no_bit(dtype, orders):
    rng = np.random.default_rng(0)
    left = [laid(rng, (m, k), dtype, orders[0]) for m, n, k in SHAPES]
    right = [laid(rng, (k, n), dtype, orders[1]) for m, n, k in SHAPES]
    start = [laid(rng, (m, n), dtype, orders[2]) for m, n, k in SHAPES]
    alpha, beta, shift = rng.normal(size=(3, len(SHAPES)))
    bits = []
    for n_threads in (1, 2):
        out = [np.full_like(c, np.nan) for c in start]
        plain = Products(left, right, out, n_threads)
        plain.run()
        bits.append([c.copy() for c in out])
        scaled = Products(left, right, out, n_threads, start=start)
        scaled.scale(alpha, beta, shift)
        scaled.run()
        bits[-1] += out
    for a, b in zip(*bits, strict=True):
        np.testing.assert_array_equal(a, b)
    # Sums of at most 70 products of order 1, and of what is left when they cancel.
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-12}
    for i, (a, b, c) in enumerate(zip(left, right, start, strict=True)):
        product = np.float64(a) @ np.float64(b)
        np.testing.assert_allclose(bits[0][i], product, **tolerance)
        expected = alpha[i] * product + beta[i] * c + shift[i] * np.eye(*c.shape)
        np.testing.assert_allclose(bits[0][i + len(left)], expected, **tolerance)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("n", [3, 200, 450])
def test_of_a_symmetric_product_both_halves_are_there_and_alike(n, order):
    rng = np.random.default_rng(n)
    a = laid(rng, (n, 60), np.float64, order)
    out = np.asarray(np.eye(n), order=order)
    product = Products([a], [a.T], [out], 2, is_symmetric=True)
    product.scale(alpha=0.5, beta=2.0)
    product.run()
    np.testing.assert_array_equal(out, out.T)
    np.testing.assert_allclose(out, 0.5 * a @ a.T + 2 * np.eye(n), rtol=1e-12, atol=1e-12)  # as above


def test_what_blas_would_misread_is_refused():
    a = np.ones((4, 4))
    with pytest.raises(TypeError, match="float32 and float64 does not go to float64"):
        Products([a.astype(np.float32)], [a], [a.copy()], 1)
    with pytest.raises(ValueError, match="is not contiguous"):
        Products([np.ones((4, 8))[:, ::2]], [a], [a.copy()], 1)


@pytest.mark.parametrize("name", ["muon", "normuon", "soap", "shampoo"])
def test_matrix_optimizers_give_the_same_bits_on_any_number_of_threads(name):
    """Of several tiles, and of a middle between BLAS's block lengths, where its own threads change bits."""
    rng = np.random.default_rng(0)
    shapes = ((450, 130), (130, 300), (3, 3))
    grads = [[rng.normal(size=s).astype(np.float32) for s in shapes] for _ in range(12)]
    ends = []
    for n_threads in (1, 2):
        params = [np.ones(s, np.float32) for s in shapes]
        stepper = fastopt.get_optimizer(name).bind(params, n_threads=n_threads)
        for g in grads if name != "shampoo" else grads[:2]:
            stepper.step(g)
        ends.append(params)
    for a, b in zip(*ends, strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_array_equal(a, b)


def test_groups_may_iterate_differently():
    rng = np.random.default_rng(0)
    grads = [rng.normal(size=(6, 4)) for _ in range(4)]
    together, alone = ([np.zeros((6, 4)) for _ in grads] for _ in range(2))
    groups = [
        {"params": p, "ns_steps": n, "ns_coefficients": (1.5, -0.5, 0.01 * n)} for n, p in enumerate(together)
    ]
    fastopt.Muon(lr=0.1).bind(groups).step(grads)
    for n, (p, g) in enumerate(zip(alone, grads, strict=True)):
        fastopt.Muon(lr=0.1, ns_steps=n, ns_coefficients=(1.5, -0.5, 0.01 * n)).bind(p).step([g])
        np.testing.assert_array_equal(p, together[n])
    # No iteration at all leaves the momentum, scaled to norm 1.
    np.testing.assert_allclose(alone[0], -0.1 * grads[0] / np.linalg.norm(grads[0]), rtol=1e-12)
