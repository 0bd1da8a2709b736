"""The oracle itself: its gradients against finite differences, its losses against scikit-learn's."""

import numpy as np
import pytest
import scipy.sparse
from reference.naive_engine import NaiveTrainer
from sklearn.neural_network._base import LOSS_FUNCTIONS

from fastopt.engine import Layout

# Each loss with the output activation it is canonical for, and targets of its kind.
PAIRS = {
    "softmax": ("log_loss", lambda rs, shape: np.eye(shape[1])[rs.randint(shape[1], size=shape[0])]),
    "logistic": ("binary_log_loss", lambda rs, shape: rs.randint(2, size=shape).astype(float)),
    "identity": ("squared_error", lambda rs, shape: rs.standard_normal(shape)),
    "exp": ("poisson", lambda rs, shape: rs.poisson(2.0, shape).astype(float)),
}


def problem(output, activation="tanh", n_outputs=3, seed=0):
    rs = np.random.RandomState(seed)
    loss, draw = PAIRS[output]
    layout = Layout([5, 4, 6, n_outputs])
    trainer = NaiveTrainer(layout, activation=activation, out_activation=output, loss=loss, dtype=np.float64)
    params = np.zeros(layout.size)
    for array in layout.weights(params) + layout.biases(params):
        array[...] = rs.uniform(-0.7, 0.7, array.shape)
    return (
        layout,
        trainer,
        params,
        rs.standard_normal((9, 5)),
        draw(rs, (9, n_outputs)),
        rs.uniform(0.2, 2, 9),
    )


def central_differences(f, params, step=1e-6):
    slopes = np.zeros_like(params)
    for i in range(params.size):
        up, down = params.copy(), params.copy()
        up[i] += step
        down[i] -= step
        slopes[i] = (f(up) - f(down)) / (2 * step)
    return slopes


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("output", PAIRS)
def test_the_gradient_is_the_slope_of_the_loss(output, activation, weighted):
    # One output for squared error: with more, scikit-learn's gradient is that of the sum, its loss the mean.
    n_outputs = 1 if output == "identity" else 3
    _, trainer, params, X, Y, weight = problem(output, activation, n_outputs)
    extra = {"alpha": 0.3, "sample_weight": weight if weighted else None}
    _, gradient = trainer.loss_and_gradient(params, X, Y, **extra)
    slopes = central_differences(lambda p: trainer.loss_and_gradient(p, X, Y, **extra)[0], params)
    np.testing.assert_allclose(gradient, slopes, atol=1e-8)  # central differences at 1e-6: error near 1e-9


@pytest.mark.parametrize("output", PAIRS)
def test_the_loss_is_scikit_learns(output):
    _, trainer, params, X, Y, weight = problem(output)
    expected = LOSS_FUNCTIONS[PAIRS[output][0]](Y, trainer.predict(params, X), weight)
    actual, _ = trainer.loss_and_gradient(params, X, Y, sample_weight=weight)
    assert actual == pytest.approx(expected, rel=1e-13)  # the same few operations in another order


def test_squared_error_has_the_gradient_of_the_sum_over_outputs():
    _, trainer, params, X, Y, _ = problem("identity", n_outputs=3)
    _, gradient = trainer.loss_and_gradient(params, X, Y)
    slopes = central_differences(lambda p: trainer.loss_and_gradient(p, X, Y)[0], params)
    np.testing.assert_allclose(gradient, 3 * slopes, atol=1e-8)


def test_sparse_rows_give_what_dense_rows_give():
    _, trainer, params, X, Y, _ = problem("softmax")
    X[np.abs(X) < 0.8] = 0
    dense = trainer.loss_and_gradient(params, X, Y, alpha=0.1)
    sparse = trainer.loss_and_gradient(params, scipy.sparse.csr_array(X), Y, alpha=0.1)
    assert sparse[0] == pytest.approx(dense[0], rel=1e-14)
    np.testing.assert_allclose(sparse[1], dense[1], rtol=1e-12, atol=1e-15)  # another order of summation
