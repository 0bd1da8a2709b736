"""Predictions of a few rows: the bits of `Trainer.predict`, which other tests compare with NumPy."""

import numpy as np
import pytest

from fastopt import MLPClassifier, MLPRegressor, register_activation
from fastopt.engine import Layout, Trainer
from fastopt.engine.cpu.few_rows import MAX_ROWS, FewRows


def square(z):
    return z * z


def square_derivative(z):
    return 2.0 * z


NETWORKS = {
    "regression": ([5, 7, 3, 1], "relu", "identity", "squared_error"),
    "classes": ([63, 20, 4], "tanh", "softmax", "log_loss"),
    "pre-activations are kept": ([4, 6, 2], "square", "identity", "squared_error"),
    "no hidden layer": ([3, 2], "relu", "logistic", "binary_log_loss"),
    "products in BLAS": ([40, 150, 30, 2], "logistic", "identity", "squared_error"),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NETWORKS)
def test_bits_are_those_of_the_trainer(name, dtype):
    sizes, activation, out_activation, loss = NETWORKS[name]
    if activation == "square":
        register_activation("square", square, square_derivative, derivative_from="input")
    layout, rng = Layout(sizes), np.random.default_rng(0)
    functions = {"activation": activation, "out_activation": out_activation, "loss": loss, "dtype": dtype}
    few, trainer = FewRows(Trainer(layout, **functions)), Trainer(layout, **functions)
    for n_rows in (1, 2, 33, MAX_ROWS):
        X = rng.standard_normal((n_rows, sizes[0])).astype(dtype)
        params = rng.standard_normal(layout.size).astype(dtype)  # each time at another address
        X.flags.writeable = params.flags.writeable = False
        assert few.can_take(n_rows)
        np.testing.assert_array_equal(few.predict(params, X), trainer.predict(params, X))
    assert not few.can_take(0)
    assert not few.can_take(MAX_ROWS + 1)


@pytest.mark.parametrize("sizes", [[64, 4, 1], [60, 2000, 600, 1]])
def test_rows_that_may_be_sparse_and_wide_networks_are_left_to_the_trainer(sizes):
    functions = {"activation": "relu", "out_activation": "identity", "loss": "squared_error"}
    assert not FewRows(Trainer(Layout(sizes), **functions, dtype=np.float32)).can_take(1)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_take_it_for_few_rows(kind, monkeypatch):
    X = np.random.default_rng(0).standard_normal((200, 6))
    network = kind(hidden_layer_sizes=(8,), max_iter=3, random_state=0).fit(X, X[:, 0] > 0)
    expected = network.predict(X)
    monkeypatch.setattr(Trainer, "predict", None)
    for first, last in ((0, 1), (1, 65), (7, 40)):
        np.testing.assert_allclose(network.predict(X[first:last]), expected[first:last], rtol=1e-12)
    with pytest.raises(TypeError):
        network.predict(X)
