"""Gradients of the engine against central differences of its own loss, and against numbers worked by hand."""

import numpy as np
import pytest
import scipy.sparse
from reference import loss_cases, own_functions  # noqa: F401  registers activations and losses

from fastopt import SGD
from fastopt.engine import Layout, Trainer
from fastopt.engine.objective import resolve_activations
from fastopt.rules.activations import ACTIVATIONS
from fastopt.rules.losses import LOSSES


def problem(sizes, activation, loss, seed=0):
    """Return a network of this loss with its data.

    One output where the loss is a mean over outputs: for several, the gradient is that of the sum (as
    scikit-learn's), which no difference of losses can show.
    """
    rs = np.random.RandomState(seed)
    n_outputs = 1 if LOSSES[loss].is_mean else 4
    hidden = resolve_activations(activation, len(sizes) - 1)
    layout = Layout([*sizes, n_outputs], [one.learns for one in hidden])
    params = np.zeros(layout.size)
    for array in layout.arrays(params):
        array[...] = rs.uniform(-0.7, 0.7, array.shape)
    X = rs.standard_normal((9, sizes[0]))
    Y = loss_cases.targets(LOSSES[loss], rs, (9, n_outputs))
    names = {"activation": activation, "out_activation": LOSSES[loss].output, "loss": loss}
    trainer = Trainer(layout, dtype=np.float64, **names)
    return layout, trainer, params, X, Y


def differences(loss, layout, params, h=1e-5):
    """Return the central difference along every parameter; the error is of order h**2 = 1e-10."""
    slope = np.zeros_like(params)
    for view, into in zip(layout.arrays(params), layout.arrays(slope), strict=True):
        for at in np.ndindex(view.shape):
            kept = view[at]
            view[at] = kept + h
            up = loss(params)
            view[at] = kept - h
            into[at] = (up - loss(params)) / (2 * h)
            view[at] = kept
    return slope


@pytest.mark.parametrize("hidden", [[], [5], [5, 4], [4, 3, 5]], ids=len)
@pytest.mark.parametrize(
    ("loss", "activation"),
    [(loss, activation) for loss in LOSSES for activation in ("relu", "tanh", "own_silu")]
    + [
        ("log_loss", activation)
        for activation in ACTIVATIONS
        if activation not in ("relu", "tanh", "own_silu")
    ],
)
def test_the_gradient_is_the_slope_of_the_loss(loss, activation, hidden):
    layout, trainer, params, X, Y = problem([4, *hidden], activation, loss)
    weight = np.random.RandomState(1).uniform(0.2, 2, 9)

    def value(p):
        return trainer.loss_and_gradient(p, X, Y, alpha=0.3, sample_weight=weight)[0]

    gradient = trainer.loss_and_gradient(params, X, Y, alpha=0.3, sample_weight=weight)[1]
    np.testing.assert_allclose(gradient, differences(value, layout, params), rtol=1e-6, atol=1e-8)


#: What follows what differs: outputs or slopes kept, products that rectify.
MIXED = [("relu", "gelu", "tanh"), ("silu", "relu", "relu"), ("tanh", "relu", "snake")]


@pytest.mark.parametrize("activation", MIXED)
@pytest.mark.parametrize("kind", ["dense", "mostly_zero", "csr"])
def test_the_gradient_of_layers_with_activations_of_their_own_is_the_slope_of_the_loss(activation, kind):
    layout, trainer, params, X, Y = problem([70, 4, 3, 5], activation, "log_loss")
    if kind != "dense":
        X[np.random.RandomState(3).uniform(size=X.shape) > 0.1] = 0
    X = scipy.sparse.csr_array(X) if kind == "csr" else X

    def value(p):
        return trainer.loss_and_gradient(p, X, Y, alpha=0.3)[0]

    gradient = trainer.loss_and_gradient(params, X, Y, alpha=0.3)[1]
    np.testing.assert_allclose(gradient, differences(value, layout, params), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("activation", "hidden", "message"),
    [
        (("relu", "tanh"), [3], r"activation=\('relu', 'tanh'\) has 2 entries for 1 hidden layers"),
        ((), [3], r"activation=\(\) has 0 entries for 1 hidden layers"),
        (["relu", "swish"], [3, 4], "activation='swish' is not registered"),
    ],
)
def test_activations_that_do_not_fit_the_layers_are_refused(activation, hidden, message):
    with pytest.raises(ValueError, match=message):
        problem([2, *hidden], activation, "log_loss")


@pytest.mark.parametrize("density", [0.1, 1.0])
def test_the_gradient_of_a_sparse_first_layer_is_the_slope_of_the_loss(density):
    layout, trainer, params, X, Y = problem([80, 3], "tanh", "log_loss")
    X[np.random.RandomState(3).uniform(size=X.shape) > density] = 0
    for data in (X, scipy.sparse.csr_array(X)):
        gradient = trainer.loss_and_gradient(params, data, Y, alpha=0.0)[1]
        slope = differences(
            lambda p, data=data: trainer.loss_and_gradient(p, data, Y, alpha=0.0)[0], layout, params
        )
        np.testing.assert_allclose(gradient, slope, rtol=1e-6, atol=1e-8)


@pytest.fixture
def by_hand():
    """3 inputs, 2 rectified units, 1 output: x = (1, 2, -1), target 4.

    Hidden sums (1 + 1 + 1, -1 + 1 - 2 + 1) = (3, -1), so outputs (3, 0) and 2 * 3 + 0.5 = 6.5. The loss is
    2.5**2 / 2 = 3.125, the output's delta 2.5, the hidden deltas (2 * 2.5, 0).
    """
    layout = Layout([3, 2, 1])
    params = np.zeros(layout.size)
    layout.weights(params)[0][...] = [[1, -1], [0.5, 0.5], [-1, 2]]
    layout.weights(params)[1][...] = [[2], [-1]]
    layout.biases(params)[0][...] = [0, 1]
    layout.biases(params)[1][...] = 0.5
    return layout, params, np.array([[1.0, 2.0, -1.0]]), np.array([[4.0]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_network_worked_by_hand(by_hand, dtype):
    layout, params, X, Y = by_hand
    trainer = Trainer(layout, activation="relu", out_activation="identity", loss="squared_error", dtype=dtype)
    params, X, Y = params.astype(dtype), X.astype(dtype), Y.astype(dtype)
    assert trainer.predict(params, X).item() == 6.5
    loss, gradient = trainer.loss_and_gradient(params, X, Y, alpha=0.0)
    assert loss == 3.125
    np.testing.assert_array_equal(layout.weights(gradient)[0], [[5, 0], [10, 0], [-5, 0]])
    np.testing.assert_array_equal(layout.weights(gradient)[1], [[7.5], [0]])
    np.testing.assert_array_equal(layout.biases(gradient)[0], [5, 0])
    np.testing.assert_array_equal(layout.biases(gradient)[1], [2.5])


def test_one_step_worked_by_hand_with_the_penalty(by_hand):
    layout, params, X, Y = by_hand
    trainer = Trainer(
        layout, activation="relu", out_activation="identity", loss="squared_error", dtype=np.float64
    )
    update = SGD(lr=0.25).flat(layout.size, layout.n_decay, np.float64)
    loss = trainer.train(params, X, Y, update, batch_size=1, alpha=2.0)
    # Squares of the weights: 1 + 1 + 0.25 + 0.25 + 1 + 4 + 4 + 1 = 12.5; the penalty is alpha / 2 of it.
    assert loss == 3.125 + 12.5
    # w - 0.25 * (gradient + 2 w) = w / 2 - gradient / 4; biases are not penalised.
    np.testing.assert_array_equal(
        layout.weights(params)[0], [[0.5 - 1.25, -0.5], [0.25 - 2.5, 0.25], [-0.5 + 1.25, 1]]
    )
    np.testing.assert_array_equal(layout.weights(params)[1], [[1 - 1.875], [-0.5]])
    np.testing.assert_array_equal(layout.biases(params)[0], [-1.25, 1])
    np.testing.assert_array_equal(layout.biases(params)[1], [0.5 - 0.625])
    assert update.t == 1
