"""The compiled engine against the NumPy one (`naive_engine`), over every branch that it may take.

Sizes choose the branch: layers too small for a BLAS call, and wide ones; batches of one block of rows and of
several; one worker and several; dense rows, rows that are mostly zeros, and CSR.
"""

import numpy as np
import pytest
import scipy.sparse
from reference.naive_engine import NaiveTrainer

from fastopt import SGD, Adam, AdamW, Lion
from fastopt.engine import Layout, Trainer

SIZES = {
    "tiny": (3, [4]),
    "linear": (5, []),
    "one_unit": (7, [1, 1]),
    "small": (10, [32, 16]),
    "odd": (67, [33, 17, 5]),
    "wide": (70, [260, 130]),
}
OUTPUTS = {
    "softmax": ("log_loss", 4),
    "logistic": ("binary_log_loss", 3),
    "identity": ("squared_error", 2),
    "exp": ("poisson", 2),
}
# Rounding: a few hundred sums of a few hundred terms.
RTOL = {np.float32: 3e-4, np.float64: 1e-10}


def targets(rs, n, output, n_outputs):
    if output == "softmax":
        return np.eye(n_outputs)[rs.randint(n_outputs, size=n)]
    if output == "logistic":
        return rs.randint(2, size=(n, n_outputs)).astype(float)
    return rs.standard_normal((n, n_outputs)) if output == "identity" else rs.poisson(1.5, (n, n_outputs))


def problem(size, output, dtype, n=150, density=1.0, activation="tanh"):
    rs = np.random.RandomState(7)
    n_features, hidden = SIZES[size]
    loss, n_outputs = OUTPUTS[output]
    layout = Layout([n_features, *hidden, n_outputs])
    network = {"activation": activation, "out_activation": output, "loss": loss, "dtype": dtype}
    params = np.zeros(layout.size, dtype)
    for array in layout.weights(params) + layout.biases(params):
        array[...] = rs.uniform(-1, 1, array.shape) / np.sqrt(array.shape[0] + 1)
    X = rs.standard_normal((n, n_features)).astype(dtype)
    X[rs.uniform(size=X.shape) > density] = 0
    return layout, network, params, X, np.ascontiguousarray(targets(rs, n, output, n_outputs), dtype=dtype)


def assert_close(actual, expected, dtype, scale=1.0):
    atol = scale * RTOL[dtype] * max(np.abs(expected).max(initial=0), 1e-3)
    np.testing.assert_allclose(actual, expected, rtol=RTOL[dtype] * scale, atol=atol)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "logistic"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_every_activation_and_loss_trains_alike(output, activation, dtype):
    layout, network, params, X, Y = problem("small", output, dtype, activation=activation)
    compare_training(layout, network, params, X, Y, SGD(lr=0.02, momentum=0.9), dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["dense", "mostly_zero", "csr"])
@pytest.mark.parametrize("size", SIZES)
def test_every_size_and_kind_of_input_trains_alike(size, kind, dtype):
    layout, network, params, X, Y = problem(size, "softmax", dtype, density=1.0 if kind == "dense" else 0.1)
    X = scipy.sparse.csr_array(X) if kind == "csr" else X
    compare_training(layout, network, params, X, Y, SGD(lr=0.05, momentum=0.9, nesterov=True), dtype)


@pytest.mark.parametrize(
    "optimizer", [Adam(lr=0.01), AdamW(lr=0.01, weight_decay=0.1), Lion(lr=1e-3), SGD(lr=0.1)]
)
def test_every_number_of_slots_trains_alike(optimizer):
    layout, network, params, X, Y = problem("odd", "identity", np.float64)
    compare_training(layout, network, params, X, Y, optimizer, np.float64)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 150, 1000])
def test_every_batch_size_trains_alike(batch_size):
    layout, network, params, X, Y = problem("small", "logistic", np.float64)
    compare_training(layout, network, params, X, Y, SGD(lr=0.01), np.float64, batch_size=batch_size)


def compare_training(layout, network, params, X, Y, optimizer, dtype, batch_size=40):
    rs = np.random.RandomState(1)
    n = X.shape[0]
    cases = [
        {},
        {"order": rs.permutation(n)[: n - 13]},
        {"sample_weight": rs.uniform(0.1, 2, n).astype(dtype), "order": rs.permutation(n)},
    ]
    for case in cases:
        results = []
        for trainer in (Trainer(layout, **network), NaiveTrainer(layout, **network)):
            mine, update = params.copy(), optimizer.flat(layout.size, layout.n_decay, dtype)
            losses = [
                trainer.train(mine, X, Y, update, batch_size=batch_size, alpha=0.05, **case) for _ in range(2)
            ]
            results.append((mine, losses, update.state, trainer.predict(mine, X), update.t))
        ours, naive = results
        assert ours[4] == naive[4]
        assert_close(ours[1], naive[1], dtype)
        assert_close(ours[0] - params, naive[0] - params, dtype, scale=10)
        assert_close(ours[2], naive[2], dtype, scale=10)
        assert_close(ours[3], naive[3], dtype, scale=10)


@pytest.mark.parametrize("kind", ["dense", "mostly_zero", "csr"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("output", OUTPUTS)
def test_the_loss_and_gradient_of_all_rows_are_the_same(output, size, kind):
    dense = kind == "dense"
    layout, network, params, X, Y = problem(size, output, np.float64, n=1300, density=1.0 if dense else 0.1)
    X = scipy.sparse.csr_array(X) if kind == "csr" else X
    weight = np.random.RandomState(2).uniform(0.1, 2, 1300)
    for sample_weight in (None, weight):
        loss, gradient = Trainer(layout, **network).loss_and_gradient(
            params, X, Y, alpha=0.3, sample_weight=sample_weight
        )
        expected, slope = NaiveTrainer(layout, **network).loss_and_gradient(
            params, X, Y, alpha=0.3, sample_weight=sample_weight
        )
        assert loss == pytest.approx(expected, rel=1e-12)
        assert_close(gradient, slope, np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 1024, 2500])
@pytest.mark.parametrize("output", OUTPUTS)
def test_any_number_of_rows_is_predicted_alike(output, n, dtype):
    layout, network, params, X, _ = problem("odd", output, dtype, n=n)
    assert_close(
        Trainer(layout, **network).predict(params, X),
        NaiveTrainer(layout, **network).predict(params, X),
        dtype,
    )


def test_a_batch_without_weight_is_skipped():
    layout, network, params, X, Y = problem("small", "softmax", np.float64)
    weight = np.ones(150)
    weight[40:80] = 0
    compare = []
    for trainer in (Trainer(layout, **network), NaiveTrainer(layout, **network)):
        mine, update = params.copy(), SGD(lr=0.1, momentum=0.9).flat(layout.size, layout.n_decay, np.float64)
        loss = trainer.train(mine, X, Y, update, batch_size=40, alpha=0.1, sample_weight=weight)
        compare.append((mine, loss, update.t))
    assert_close(compare[0][0], compare[1][0], np.float64)
    assert compare[0][1] == pytest.approx(compare[1][1], rel=1e-12)
    assert compare[0][2] == compare[1][2] == 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_give_scikit_learns_clipped_losses(dtype):
    for output in ("softmax", "logistic"):
        layout, network, params, X, Y = problem("linear", output, dtype, n=20)
        params *= dtype(1e4)  # probabilities of exactly 0 and 1
        loss, gradient = Trainer(layout, **network).loss_and_gradient(params, X, Y, alpha=0.0)
        expected, slope = NaiveTrainer(layout, **network).loss_and_gradient(params, X, Y, alpha=0.0)
        assert np.isfinite(loss)
        assert loss == pytest.approx(expected, rel=1e-5 if dtype == np.float32 else 1e-10)
        assert_close(gradient, slope, dtype)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_reach_the_loss(value):
    layout, network, params, X, Y = problem("small", "identity", np.float64, activation="relu")
    X[3, 2] = value
    loss, _ = Trainer(layout, **network).loss_and_gradient(params, X, Y, alpha=0.0)
    assert not np.isfinite(loss)


@pytest.mark.parametrize("kind", ["dense", "csr"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_two_threads_compute_the_bits_of_one(dtype, kind):
    layout, network, params, X, Y = problem("wide", "softmax", dtype, n=700, density=0.5)
    X = scipy.sparse.csr_array(X) if kind == "csr" else X
    results = []
    for n_threads in (1, 2, 2):
        mine, update = params.copy(), Adam(lr=0.01).flat(layout.size, layout.n_decay, dtype)
        trainer = Trainer(layout, n_threads=n_threads, **network)
        losses = [trainer.train(mine, X, Y, update, batch_size=256, alpha=0.1) for _ in range(3)]
        results.append((mine, losses, trainer.loss_and_gradient(mine, X, Y, alpha=0.1)[1]))
    for mine, losses, gradient in results[1:]:
        np.testing.assert_array_equal(mine, results[0][0])
        np.testing.assert_array_equal(gradient, results[0][2])
        assert losses == results[0][1]
