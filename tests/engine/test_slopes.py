"""Learnt slopes in the engine: the PReLU against torch's `nn.PReLU(num_parameters=n)`; bits; what is spared.

Central differences of every registered activation stand in ``test_engine_gradients.py``.
"""

import re

import numpy as np
import pytest
import scipy.sparse
from reference import own_functions  # noqa: F401  registers activations

import fastopt
from fastopt.engine import Layout, Trainer

SIZES = [70, 7, 6, 5, 2]
REGRESSION = {"out_activation": "identity", "loss": "squared_error"}
#: With hidden layers of the PReLU and others: which have slopes.
MIXED = {
    "prelu": [True] * 3,
    ("prelu", "tanh", "prelu"): [True, False, True],
    ("relu", "relu", "prelu"): [False, False, True],
}


def network(activation, dtype=np.float64, n_threads=None, sizes=SIZES):
    """Return a layout, a trainer, and parameters with slopes between 0 and 0.5."""
    rs = np.random.RandomState(2)
    layout = Layout(sizes, MIXED[activation])
    params = np.zeros(layout.size, dtype)
    for array in layout.arrays(params):
        array[...] = rs.uniform(-0.5, 0.5, array.shape)
    for slopes in layout.slopes(params):
        if slopes is not None:
            np.abs(slopes, out=slopes)
    trainer = Trainer(layout, activation=activation, dtype=dtype, n_threads=n_threads, **REGRESSION)
    return layout, trainer, params


def data(kind, dtype=np.float64):
    """Return 150 rows with zeros or without, targets and sample weights."""
    rs = np.random.RandomState(3)
    X = rs.standard_normal((150, SIZES[0])) * (
        rs.uniform(size=(150, SIZES[0])) < (1 if kind == "dense" else 0.1)
    )
    X, Y = X.astype(dtype), rs.standard_normal((150, SIZES[-1])).astype(dtype)
    return scipy.sparse.csr_array(X) if kind == "csr" else X, Y, rs.uniform(0.2, 2.0, 150).astype(dtype)


def torch_network(torch, layout, params, activation):
    """Return torch's module with these parameters, and their tensors in the order of `Layout.arrays`."""
    names = [activation] * (len(SIZES) - 2) if isinstance(activation, str) else activation
    kinds = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}
    layers = []
    for number, (n_in, n_out) in enumerate(layout.shapes):
        layers.append(torch.nn.Linear(n_in, n_out, dtype=torch.float64))
        if number < len(names):
            prelu = torch.nn.PReLU(num_parameters=n_out, dtype=torch.float64)
            layers.append(prelu if names[number] == "prelu" else kinds[names[number]]())
    linear = [layer for layer in layers if isinstance(layer, torch.nn.Linear)]
    slopes = [layer.weight for layer in layers if isinstance(layer, torch.nn.PReLU)]
    tensors = [layer.weight for layer in linear] + [layer.bias for layer in linear] + slopes
    with torch.no_grad():
        for tensor, array in zip(tensors, layout.arrays(params), strict=True):
            tensor.copy_(torch.from_numpy(array.T.copy()))
    return torch.nn.Sequential(*layers), tensors


def torch_loss(torch, module, tensors, X, Y, weight, alpha):
    """Return our objective: the weighted mean of half the squared errors' sums over outputs, and the penalty.

    The gradient of ours is that of the sum over outputs, as in scikit-learn, whose loss is their mean.
    """
    X = torch.from_numpy(X.toarray() if scipy.sparse.issparse(X) else X)
    errors = 0.5 * ((module(X) - torch.from_numpy(Y)) ** 2).sum(1)
    w = torch.from_numpy(weight)
    squares = sum((t**2).sum() for t in tensors[: len(SIZES) - 1])
    return ((errors * w).sum() + 0.5 * alpha * squares) / w.sum()


@pytest.mark.parametrize("activation", MIXED, ids=str)
@pytest.mark.parametrize("kind", ["dense", "mostly_zero", "csr"])
def test_outputs_and_gradients_are_torchs(activation, kind):
    torch = pytest.importorskip("torch")
    layout, trainer, params = network(activation)
    X, Y, weight = data(kind)
    module, tensors = torch_network(torch, layout, params, activation)
    torch_loss(torch, module, tensors, X, Y, weight, alpha=0.3).backward()
    dense = X.toarray() if kind == "csr" else X
    # Sums of at most 150 terms of order 1 in float64.
    expected = module(torch.from_numpy(dense)).detach().numpy()
    np.testing.assert_allclose(trainer.predict(params, X), expected, rtol=0, atol=1e-12)
    gradient = trainer.loss_and_gradient(params, X, Y, alpha=0.3, sample_weight=weight)[1]
    for ours, tensor in zip(layout.arrays(gradient), tensors, strict=True):
        np.testing.assert_allclose(ours, tensor.grad.numpy().T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["dense", "csr"])
def test_twenty_steps_of_adam_are_torchs(kind):
    torch = pytest.importorskip("torch")
    layout, trainer, params = network("prelu")
    X, Y, weight = data(kind)
    module, tensors = torch_network(torch, layout, params, "prelu")
    theirs = torch.optim.Adam(tensors, lr=0.01)
    update = fastopt.Adam(lr=0.01).flat(layout.size, layout.n_decay, np.float64)
    for _ in range(5):  # epochs of four batches, the last of them shorter
        trainer.train(params, X, Y, update, batch_size=40, alpha=0.3, sample_weight=weight)
        for at in range(0, 150, 40):
            rows = slice(at, at + 40)
            theirs.zero_grad()
            torch_loss(torch, module, tensors, X[rows], Y[rows], weight[rows], alpha=0.3).backward()
            theirs.step()
    assert update.t == 20
    for ours, tensor in zip(layout.arrays(params), tensors, strict=True):
        # Twenty steps of 0.01, each of which divides a rounded gradient by its own size.
        np.testing.assert_allclose(ours, tensor.detach().numpy().T, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", MIXED, ids=str)
@pytest.mark.parametrize(
    "optimizer", [fastopt.AdamW(weight_decay=0.1), fastopt.SAM(fastopt.SGD(lr=1e-4)), fastopt.Muon()]
)
def test_bits_do_not_depend_on_the_number_of_threads(optimizer, activation, dtype):
    sizes, (_, Y, weight), bits = [300, 96, 40, 24, 2], data("dense", dtype), set()
    X = np.random.RandomState(5).standard_normal((150, 300)).astype(dtype)
    for n_threads in (1, 2):
        layout, trainer, params = network(activation, dtype, n_threads, sizes)
        update = optimizer.flat(layout.size, layout.n_decay, dtype)
        for _ in range(2):
            trainer.train(params, X, Y, update, batch_size=64, alpha=0.1, sample_weight=weight)
        bits.add(params.tobytes())
    assert len(bits) == 1
    assert np.isfinite(params).all()


def test_decay_and_penalty_spare_slopes():
    layout, trainer, params = network("prelu")
    X, Y, _ = data("dense")
    for optimizer in (fastopt.AdamW(weight_decay=0.5), fastopt.SGD(lr=0.1), fastopt.Lion(weight_decay=0.5)):
        moved = []
        for decays in (False, True):
            mine = params.copy()
            own = optimizer if decays else type(optimizer)(lr=optimizer.lr)
            update = own.flat(layout.size, layout.n_decay, np.float64)
            trainer.train(mine, X, Y, update, batch_size=150, alpha=1.0 if decays else 0.0)  # one step
            moved.append(mine)
        for plain, decayed in zip(*map(layout.slopes, moved), strict=True):
            np.testing.assert_array_equal(plain, decayed)
        assert (moved[0][: layout.n_decay] != moved[1][: layout.n_decay]).any()


def test_slopes_of_zero_and_one_are_the_relu_and_the_identity():
    X, Y, _ = data("dense")
    for slope, other in ((0.0, "relu"), (1.0, "identity")):
        layout, trainer, params = network("prelu")
        for slopes in layout.slopes(params):
            slopes[...] = slope
        plain = Layout(SIZES)
        theirs, same = Trainer(plain, activation=other, dtype=np.float64, **REGRESSION), params[: plain.size]
        np.testing.assert_array_equal(trainer.predict(params, X), theirs.predict(same, X))
        mine = trainer.loss_and_gradient(params, X, Y, alpha=0.1)[1][: plain.size]
        np.testing.assert_array_equal(mine, theirs.loss_and_gradient(same, X, Y, alpha=0.1)[1])


def test_a_layout_with_other_slopes_than_the_activations_learn_is_refused():
    for layout, activation in (
        (Layout([3, 2, 1]), "prelu"),
        (Layout([3, 2, 1], [True]), "relu"),
        (Layout([3, 2, 2, 1], [True, False]), ("relu", "prelu")),
    ):
        with pytest.raises(ValueError, match=re.escape(f"activation={activation!r}")):
            Trainer(layout, activation=activation, dtype=np.float64, **REGRESSION)
