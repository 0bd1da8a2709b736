"""Dropout in the training engine, against NumPy with the same masks, and torch with masks by hand."""

import numpy as np
import pytest
import scipy.sparse
from reference.naive_engine import NaiveTrainer, dropout_masks
from test_engine_against_naive import assert_close, problem

from fastopt import LAMB, LBFGS, SAM, SGD, Adam, Clip, MultiSteps
from fastopt.engine import Layout, Trainer
from fastopt.engine.cpu import several_epochs
from fastopt.schedules import linear
from fastopt.stepping.dropout import DropoutState

RATES = (0.2, 0.5, 0.1, 0.3)
BATCH = 67  # whose rows times units are no multiple of the 32 elements that the loop works on at once


def state(layout, rates=RATES):
    return DropoutState(rates[: len(layout.shapes)], seed=7)


def trained(trainer, layout, params, X, Y, optimizer, dropout, n_epochs=3, **options):
    """Return parameters and losses after some epochs."""
    params = params.copy()
    update = optimizer.flat(layout.size, layout.n_decay, params.dtype)
    options = {"batch_size": BATCH, "alpha": 0.01, **options}
    losses = [trainer.train(params, X, Y, update, dropout=dropout, **options) for _ in range(n_epochs)]
    return params, losses


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["dense", "mostly_zero", "csr"])
@pytest.mark.parametrize(("size", "activation"), [("odd", "relu"), ("odd", "tanh"), ("wide", "relu")])
def test_the_engine_trains_as_numpy_with_the_same_masks(size, activation, kind, dtype):
    """With weights, of which a batch has none, in an order of its own; tolerances of `assert_close`."""
    density = 1.0 if kind == "dense" else 0.1
    layout, network, params, X, Y = problem(size, "softmax", dtype, density=density, activation=activation)
    X = scipy.sparse.csr_array(X) if kind == "csr" else X
    rs = np.random.RandomState(1)
    options = {"order": rs.permutation(150), "sample_weight": rs.uniform(0.5, 2, 150).astype(dtype)}
    options["sample_weight"][options["order"][:BATCH]] = 0
    found, expected = (
        trained(
            cls(layout, **network), layout, params, X, Y, SGD(lr=0.05, momentum=0.9), state(layout), **options
        )
        for cls in (Trainer, NaiveTrainer)
    )
    assert_close(found[0], expected[0], dtype)
    assert_close(found[1], expected[1], dtype)


def test_rows_as_they_are_and_inputs_alone_or_hidden_layers_alone():
    layout, network, params, X, Y = problem("odd", "identity", np.float64)
    before = X.copy()
    for rates in ((0.3, 0.0, 0.0, 0.0), (0.0, 0.0, 0.4, 0.0), (0.0, linear(0.5, 9, 0.0), 0.0, 0.2)):
        found, expected = (
            trained(cls(layout, **network), layout, params, X, Y, Adam(lr=0.01), state(layout, rates))
            for cls in (Trainer, NaiveTrainer)
        )
        assert_close(found[0], expected[0], np.float64)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("kind", ["dense", "csr"])
def test_bits_do_not_depend_on_threads(kind):
    layout, network, params, X, Y = problem("wide", "softmax", np.float32, density=0.1)
    X = scipy.sparse.csr_array(X) if kind == "csr" else X
    one, two = (
        trained(Trainer(layout, n_threads=n, **network), layout, params, X, Y, Adam(), state(layout), 4)
        for n in (1, 2)
    )
    np.testing.assert_array_equal(one[0], two[0])


@pytest.mark.parametrize("optimizer", [SAM(SGD(lr=0.1)), Clip(SGD(lr=0.1), norm=0.1), LBFGS(max_iter=1)])
def test_all_evaluations_of_a_step_have_the_same_masks(optimizer):
    """By the program of the optimizer or through Python, against the stepper with NumPy's gradients."""
    layout, network, params, X, Y = problem("small", "softmax", np.float64)
    found, _ = trained(Trainer(layout, **network), layout, params, X, Y, optimizer, state(layout), 2)
    naive, dropout, expected = NaiveTrainer(layout, **network), state(layout), params.copy()
    stepper = optimizer.bind(layout.weights(expected) + layout.biases(expected))
    for start in [0, BATCH, 2 * BATCH] * 2:
        rows = slice(start, min(start + BATCH, 150))
        masks = dropout_masks(dropout, layout, rows.stop - start, np.float64)

        def evaluate(rows=rows, masks=masks):
            loss, g = naive.loss_and_gradient(expected, X[rows], Y[rows], alpha=0.01, masks=masks)
            return loss, layout.weights(g) + layout.biases(g)

        stepper.step(closure=evaluate)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)  # a few steps of float64 roundings


@pytest.mark.parametrize("optimizer", [Adam(), MultiSteps(Adam(), 2), LAMB()])
def test_several_epochs_at_once_are_those_one_by_one(optimizer):
    layout, network, params, X, Y = problem("small", "softmax", np.float32)
    expected, losses = trained(Trainer(layout, **network), layout, params, X, Y, optimizer, state(layout), 5)
    update, dropout, found = optimizer.flat(layout.size, layout.n_decay, np.float32), state(layout), []
    patience = several_epochs.Patience(np.inf, 0.0, np.inf, 0)
    trainer, params = Trainer(layout, **network), params.copy()
    while len(found) < 5:
        several_epochs.train_epochs(
            trainer, params, X, Y, update, batch_size=BATCH, alpha=0.01, order=None, sample_weight=None,
            random_state=None, n_epochs=5 - len(found), patience=patience, losses=found, ends=[],
            dropout=dropout,
        )  # fmt: skip
    np.testing.assert_array_equal(params, expected)
    np.testing.assert_allclose(np.array(found) * 150, losses, rtol=1e-12)
    assert dropout.t == 15


def test_gradients_are_torchs_with_the_same_masks():
    """torch 2.13.0, executed: a network with masks by hand; float64 roundings of one gradient."""
    torch = pytest.importorskip("torch")
    for name in ("relu", "tanh", "logistic"):
        layout, network, params, X, Y = problem("small", "identity", np.float64, activation=name)
        masks = dropout_masks(state(layout), layout, len(X), np.float64)
        # One step of gradient descent at the rate 1 tells the gradient.
        found, _ = trained(
            Trainer(layout, **network),
            layout,
            params,
            X,
            Y,
            SGD(lr=1.0),
            state(layout),
            1,
            batch_size=150,
            alpha=0.0,
        )
        weights = [torch.tensor(a, requires_grad=True) for a in layout.weights(params)]
        biases = [torch.tensor(a, requires_grad=True) for a in layout.biases(params)]
        h, function = torch.tensor(X), {"logistic": torch.sigmoid}.get(name) or getattr(torch, name)
        for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
            z = (h * torch.tensor(masks[i])) @ w + b
            h = function(z) if i < len(weights) - 1 else z
        # scikit-learn's half mean over outputs, whose gradient leaves out the mean (`naive_engine`).
        (0.5 * ((h - torch.tensor(Y)) ** 2).sum() / len(X)).backward()
        expected = np.zeros_like(params)
        for into, tensor in zip(
            layout.weights(expected) + layout.biases(expected), weights + biases, strict=True
        ):
            into[...] = tensor.grad.numpy()
        np.testing.assert_allclose(params - found, expected, rtol=1e-12, atol=1e-13)


def test_slopes_learn_from_the_units_that_are_kept():
    """torch 2.13.0, executed: ``prelu`` with masks by hand, one step of gradient descent at the rate 1."""
    torch = pytest.importorskip("torch")
    layout, rs = Layout([6, 7, 2], [True]), np.random.RandomState(0)
    params = np.zeros(layout.size)
    for array in layout.weights(params) + layout.biases(params) + layout.slopes(params)[:1]:
        array[...] = rs.uniform(-1, 1, array.shape)
    X, Y = rs.standard_normal((20, 6)), rs.standard_normal((20, 2))
    network = {"activation": "prelu", "out_activation": "identity", "loss": "squared_error"}
    masks = dropout_masks(state(layout), layout, 20, np.float64)
    found, _ = trained(
        Trainer(layout, dtype=np.float64, **network),
        layout, params, X, Y, SGD(lr=1.0), state(layout), 1, batch_size=20, alpha=0.0,
    )  # fmt: skip
    w, b = (
        [torch.tensor(a, requires_grad=True) for a in arrays]
        for arrays in (layout.weights(params), layout.biases(params))
    )
    slopes = torch.tensor(layout.slopes(params)[0], requires_grad=True)
    h = torch.nn.functional.prelu((torch.tensor(X * masks[0])) @ w[0] + b[0], slopes)
    p = (h * torch.tensor(masks[1])) @ w[1] + b[1]
    (0.5 * ((p - torch.tensor(Y)) ** 2).sum() / 20).backward()
    expected = slopes.grad.numpy()
    np.testing.assert_allclose(layout.slopes(params - found)[0], expected, rtol=1e-12, atol=1e-13)


def test_a_dropped_layer_is_in_the_mean_over_masks_what_it_was():
    """Of 4,000 masks, the mean of a linear layer's inputs: within five standard errors of the undropped ones.

    The weights' gradient of a linear model at a fixed target is linear in the dropped inputs.
    """
    layout, n, rate = Layout([40, 1]), 4000, 0.25
    network = {"activation": "identity", "out_activation": "identity", "loss": "squared_error"}
    trainer, dropout = Trainer(layout, dtype=np.float64, **network), DropoutState([rate], seed=3)
    X, target = np.linspace(1, 2, 40)[None], np.full((1, 1), -1.0)
    total = np.zeros(40)
    for _ in range(n):
        params = np.zeros(layout.size)  # the output is 0, so the gradient is the dropped input
        update = SGD(lr=1.0).flat(layout.size, layout.n_decay, np.float64)
        trainer.train(params, X, target, update, batch_size=1, alpha=0.0, dropout=dropout)
        total -= layout.weights(params)[0][:, 0]
    error = X[0] * np.sqrt(rate / (1 - rate) / n)
    assert (np.abs(total / n - X[0]) < 5 * error).all()


def test_prediction_loss_and_gradient_know_no_dropout():
    layout, network, params, X, Y = problem("small", "softmax", np.float64)
    trainer, plain = (Trainer(layout, **network) for _ in range(2))
    trained(trainer, layout, params, X, Y, SGD(lr=0.1), state(layout), 1)
    np.testing.assert_array_equal(trainer.predict(params, X), plain.predict(params, X))
    for found, expected in zip(
        trainer.loss_and_gradient(params, X, Y, alpha=0.1),
        plain.loss_and_gradient(params, X, Y, alpha=0.1),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)
    a, b = (trained(t, layout, params, X, Y, SGD(lr=0.1), None, 1)[0] for t in (trainer, plain))
    np.testing.assert_array_equal(a, b)


def test_rates_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"dropout=1.0 must be in \[0, 1\)"):
        DropoutState([0.0, 1.0], 0)
    with pytest.raises(TypeError, match="dropout='a' must be a number in"):
        DropoutState(["a"], 0)
    late = DropoutState([linear(0.0, 10, 2.0)], 0)
    with pytest.raises(ValueError, match=r"must be in \[0, 1\); it gives 1.0"):
        late.rows(10)
