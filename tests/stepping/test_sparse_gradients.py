"""SparseAdam: gradients of some rows, against torch; and what is refused."""

import numpy as np
import pytest
from reference.problems import distance

import fastopt


def row_steps(dtype, shape, n_steps=30, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(n_steps):
        rows = rng.integers(shape[0], size=rng.integers(0, 6))  # repeated rows, and none at all
        yield rows, rng.normal(size=(len(rows), *shape[1:])).astype(dtype)


@pytest.mark.parametrize("shape", [(12, 3), (12,), (12, 2, 2)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kwargs", [{}, {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "maximize": True}])
def test_the_rows_are_those_of_torch(shape, dtype, kwargs):
    torch = pytest.importorskip("torch")
    w = np.random.default_rng(1).normal(size=shape).astype(dtype)
    tensor = torch.tensor(w)
    reference = torch.optim.SparseAdam([tensor], **kwargs)
    stepper = fastopt.SparseAdam(**kwargs).bind(w)
    for rows, values in row_steps(dtype, shape):
        tensor.grad = torch.sparse_coo_tensor(rows[None], torch.tensor(values), shape)
        reference.step()
        stepper.step([(rows, values)])
    # float64: roundings of 30 steps. float32: the project's promise.
    tolerance = 1e-12 if dtype is np.float64 else 2e-6
    assert distance([w], [tensor]) <= tolerance
    ours, theirs = stepper.state_dict()["state"][0], reference.state_dict()["state"][0]
    assert ours["step"] == theirs["step"] == 30
    for key in ("exp_avg", "exp_avg_sq"):
        assert distance([ours[key]], [theirs[key]]) <= tolerance
    copy = w.copy()
    loaded = fastopt.SparseAdam().bind(copy)
    loaded.load_state_dict(reference.state_dict())
    rows, values = next(row_steps(dtype, shape, seed=5))
    loaded.step([(rows, values)])
    stepper.step([(rows, values)])
    assert distance([copy], [w]) <= tolerance


def test_dense_rows_and_none_may_be_mixed_and_the_bits_do_not_depend_on_threads():
    results = []
    for n_threads in (1, None):
        params = [np.ones((3000, 50)), np.ones((4, 5)), np.ones((4, 5))]
        stepper = fastopt.SparseAdam(lr=0.1).bind(params, n_threads=n_threads)
        for rows, values in row_steps(np.float64, (3000, 50), 3):
            stepper.step([(rows, values), np.ones((4, 5)), None])
            stepper.step([None, (np.array([0, 2]), np.ones((2, 5))), np.ones((4, 5))])
        results.append(params)
        assert [stepper.state_dict()["state"][i]["step"] for i in range(3)] == [3, 6, 3]
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
    alone = np.ones((4, 5))
    dense = fastopt.SparseAdam(lr=0.1).bind(alone)
    for _ in range(3):
        dense.step([np.ones((4, 5))])
    np.testing.assert_array_equal(results[0][2], alone)


@pytest.mark.parametrize(
    ("gradient", "error", "words"),
    [
        ((np.array([0, 4]), np.ones((2, 3))), ValueError, "rows from 0 to 4, but .* has those from 0 to 3"),
        ((np.array([-1]), np.ones((1, 3))), ValueError, "rows from -1"),
        ((np.array([0.0]), np.ones((1, 3))), TypeError, "1-D array of integers"),
        ((np.array([[0]]), np.ones((1, 3))), TypeError, "1-D array of integers"),
        ((np.array([0]), np.ones((1, 2))), ValueError, r"shape \(1, 2\)"),
        ((np.array([0]), np.ones((1, 3), np.float32)), TypeError, "dtype float32"),
        ((np.array([0]), np.ones((1, 6))[:, ::2]), ValueError, "C-contiguous"),
        ((np.array([0]),), ValueError, "tuple of 1"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_change_nothing(gradient, error, words):
    w = np.ones((4, 3))
    stepper = fastopt.SparseAdam().bind(w)
    with pytest.raises(error, match=words):
        stepper.step([gradient])
    assert (w == 1).all()
    assert stepper.state_dict()["state"] == {}


def test_rows_of_a_parameter_in_fortran_order_are_refused():
    w = np.asfortranarray(np.ones((4, 3)))
    with pytest.raises(ValueError, match="none that lie together"):
        fastopt.SparseAdam().bind(w).step([(np.array([0]), np.ones((1, 3)))])


def test_other_optimizers_take_whole_gradients():
    with pytest.raises(TypeError, match="is tuple, not an array"):
        fastopt.Adam().bind(np.ones((4, 3))).step([(np.array([0]), np.ones((1, 3)))])
