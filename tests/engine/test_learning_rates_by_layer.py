"""The learnt scale of the inputs and a learning rate for each layer, against torch's parameter groups."""

import re

import numpy as np
import pytest
import scipy.sparse

import fastopt
from fastopt.engine import Layout, Member, MemberTrainer, Trainer, make_trainer
from fastopt.engine.cpu.few_rows import FewRows
from fastopt.schedules import coslog4, flat_cos
from fastopt.stepping.dropout import DropoutState
from fastopt.stepping.flat_state import FlatState
from fastopt.stepping.layerwise_state import LayerwiseState
from fastopt.stepping.rate_factors import RateFactors

SIZES = [70, 9, 6, 2]
KINDS = ["dense", "mostly_zero", "csr"]
NETWORK = {"activation": "tanh", "out_activation": "identity", "loss": "squared_error"}
FACTORS = {"weights": "fan_in", "biases": [0.1, 0.2, 0.1], "input_scale": 6.0}


def network(dtype=np.float64, n_threads=None, sizes=SIZES, scales=True):
    """Return a layout, a trainer, and parameters with input scales between 0.5 and 2."""
    rs = np.random.RandomState(2)
    layout = Layout(sizes, scales_inputs=scales)
    params = np.zeros(layout.size, dtype)
    for array in layout.arrays(params):
        array[...] = rs.uniform(-0.5, 0.5, array.shape)
    if scales:
        layout.scale(params)[...] = rs.uniform(0.5, 2.0, sizes[0])
    return layout, Trainer(layout, dtype=dtype, n_threads=n_threads, **NETWORK), params


def data(kind, dtype=np.float64, n_features=SIZES[0]):
    """Return 150 rows with zeros or without, targets and sample weights."""
    rs = np.random.RandomState(3)
    X = rs.standard_normal((150, n_features))
    X = (X * (rs.uniform(size=X.shape) < (1 if kind == "dense" else 0.1))).astype(dtype)
    Y = rs.standard_normal((150, SIZES[-1])).astype(dtype)
    return scipy.sparse.csr_array(X) if kind == "csr" else X, Y, rs.uniform(0.2, 2.0, 150).astype(dtype)


class Torch:
    """The same network in torch: tensors in the order of `Layout.arrays`, transposed as ours are."""

    def __init__(self, layout, params):
        self.torch = pytest.importorskip("torch")
        self.tensors = [self.torch.tensor(a, requires_grad=True) for a in layout.arrays(params)]
        self.n, self.scales = len(layout.shapes), layout.scales_inputs

    def outputs(self, X):
        x = self.torch.from_numpy(X.toarray() if scipy.sparse.issparse(X) else X)
        x = x * self.tensors[-1] if self.scales else x
        for i in range(self.n):
            x = x @ self.tensors[i] + self.tensors[self.n + i]
            x = x if i == self.n - 1 else x.tanh()
        return x

    def backward(self, X, Y, weight, alpha):
        """Add the gradients of our objective: half the squares' sums, as in ``test_slopes``, and penalty."""
        errors = 0.5 * ((self.outputs(X) - self.torch.from_numpy(Y)) ** 2).sum(1)
        w = self.torch.from_numpy(weight)
        squares = sum((t**2).sum() for t in self.tensors[: self.n])
        (((errors * w).sum() + 0.5 * alpha * squares) / w.sum()).backward()

    def groups(self, factors, lr, weight_decay):
        """Return a parameter group for each array, with its own rate; decay spares all but the weights."""
        rates = [*factors.weights, *factors.biases, *[factors.input_scale] * self.scales]
        return [
            {"params": [tensor], "lr": lr * rate, "weight_decay": weight_decay * (i < self.n)}
            for i, (tensor, rate) in enumerate(zip(self.tensors, rates, strict=True))
        ]

    def steps(self, optimizer, X, Y, weight, alpha, n_epochs, batch_size=40):
        for _ in range(n_epochs):
            for at in range(0, X.shape[0], batch_size):
                rows = slice(at, at + batch_size)
                optimizer.zero_grad()
                self.backward(X[rows], Y[rows], weight[rows], alpha)
                optimizer.step()

    def assert_equals(self, layout, params, atol):
        for ours, tensor in zip(layout.arrays(params), self.tensors, strict=True):
            np.testing.assert_allclose(ours, tensor.detach().numpy(), rtol=0, atol=atol)


#: Without a hidden layer, with one output, and with a first layer that BLAS multiplies (more than 4 MiB).
SHAPES = [SIZES, [70, 2], [70, 1], [1100, 500, 2]]


@pytest.mark.parametrize("sizes", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_with_an_input_scale_are_torchs(kind, sizes):
    layout, trainer, params = network(sizes=sizes)
    layout.weights(params)[0][...] /= np.sqrt(sizes[0])
    X, Y, weight = data(kind, n_features=sizes[0])
    Y = np.ascontiguousarray(Y[:, : sizes[-1]])
    theirs = Torch(layout, params)
    theirs.backward(X, Y, weight, alpha=0.3)
    expected = theirs.outputs(X).detach().numpy()
    # Sums of at most 1,100 terms of order 1 in float64.
    np.testing.assert_allclose(trainer.predict(params, X), expected, rtol=0, atol=1e-12)
    outputs, loss = trainer.evaluate(params, X, Y, sample_weight=weight)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-12)
    own = np.average(0.5 * ((expected - Y) ** 2).mean(axis=1), weights=weight)
    assert loss == pytest.approx(own, abs=1e-12)
    gradient = trainer.loss_and_gradient(params, X, Y, alpha=0.3, sample_weight=weight)[1]
    for ours, tensor in zip(layout.arrays(gradient), theirs.tensors, strict=True):
        np.testing.assert_allclose(ours, tensor.grad.numpy(), rtol=0, atol=1e-12)


def test_slopes_and_scale_stand_side_by_side():
    """Central differences with steps of 1e-5: errors of 1e-10 times third derivatives, and rounding."""
    layout = Layout(SIZES, [True, True], scales_inputs=True)
    rs = np.random.RandomState(2)
    params = np.zeros(layout.size)
    for array in layout.arrays(params):
        array[...] = rs.uniform(0.1, 0.5, array.shape) * rs.choice([-1.0, 1.0], array.shape)
    trainer = Trainer(layout, dtype=np.float64, **NETWORK | {"activation": "prelu"})
    X, Y, _ = data("mostly_zero")

    def objective(flat):  # its gradient is that of the sum over outputs
        return Y.shape[1] * trainer.loss_and_gradient(flat, X, Y, alpha=0.0)[0]

    gradient = trainer.loss_and_gradient(params, X, Y, alpha=0.0)[1]
    for at in [*range(layout.scale_at, layout.scale_at + 5), *layout.slopes_at[:2], *layout.weights_at]:
        step = np.zeros(layout.size)
        step[at] = 1e-5
        slope = (objective(params + step) - objective(params - step)) / 2e-5
        assert gradient[at] == pytest.approx(slope, rel=1e-5, abs=1e-8)
    assert trainer.loss_and_gradient(params, X, Y, alpha=0.0)[1][layout.scale_at :].any()


def test_dropout_of_the_inputs_is_before_the_scale_for_dense_and_sparse_rows():
    found = []
    for kind in ("mostly_zero", "csr"):
        layout, trainer, params = network()
        X, Y, _ = data(kind)
        update = fastopt.SGD(lr=0.1).flat(layout.size, layout.n_decay, np.float64)
        trainer.train(
            params, X, Y, update, batch_size=40, alpha=0.0, dropout=DropoutState((0.3, 0.2, 0.0), seed=1)
        )
        found.append(params)
    # The same masks (`DropoutState`); sums in another order.
    np.testing.assert_allclose(*found, rtol=0, atol=1e-13)
    without = network()[2]
    assert (layout.scale(found[0]) != layout.scale(without)).all()


def test_the_gradient_of_several_batches_is_their_sum():
    _, trainer, params = network()
    for kind in KINDS:
        X, Y, _ = data(kind)
        many = scipy.sparse.vstack([X] * 20, format="csr") if kind == "csr" else np.vstack([X] * 20)
        few = trainer.loss_and_gradient(params, X, Y, alpha=0.0)[1]
        # 3,000 rows go through in three batches of 1,024; float64 sums of as many terms.
        np.testing.assert_allclose(
            trainer.loss_and_gradient(params, many, np.vstack([Y] * 20), alpha=0.0)[1], few, atol=1e-13
        )


def test_a_few_rows_are_predicted_with_the_scale():
    layout, trainer, params = network(sizes=[20, 9, 2])
    few, X = FewRows(trainer), data("dense", n_features=20)[0][:5]
    assert few.can_take(5)
    np.testing.assert_array_equal(few.predict(params, X), trainer.predict(params, X))
    layout.scale(params)[...] = 1.0
    plain = Layout([20, 9, 2])
    same = Trainer(plain, dtype=np.float64, **NETWORK).predict(params[: plain.size], X)
    np.testing.assert_array_equal(few.predict(params, X), same)


@pytest.mark.parametrize("scales", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_twenty_steps_of_adamw_with_a_rate_for_each_layer_are_torchs(kind, scales):
    layout, trainer, params = network(scales=scales)
    X, Y, weight = data(kind)
    theirs = Torch(layout, params)
    factors = RateFactors.of_layers(layout.layer_sizes, **FACTORS)
    optimizer = theirs.torch.optim.AdamW(theirs.groups(factors, 0.01, 0.5), betas=(0.9, 0.95))
    theirs.steps(optimizer, X, Y, weight, 0.3, n_epochs=5)
    own = fastopt.AdamW(lr=0.01, betas=(0.9, 0.95), weight_decay=0.5)
    update = own.flat(layout.size, layout.n_decay, np.float64, rate_factors=factors)
    assert isinstance(update, FlatState)
    before = params.copy()
    for _ in range(5):  # epochs of four batches, the last of them shorter
        trainer.train(params, X, Y, update, batch_size=40, alpha=0.3, sample_weight=weight)
    assert update.t == 20
    # Twenty steps of 0.01, each of which divides a rounded gradient by its own size.
    theirs.assert_equals(layout, params, atol=1e-10)
    assert all((a != b).any() for a, b in zip(layout.arrays(params), layout.arrays(before), strict=True))


def test_a_scheduled_rate_and_decay_follow_the_factors_as_torchs_groups_do():
    """RealMLP's: the rate in waves, decay constant, then a cosine; torch's groups are set step by step."""
    layout, trainer, params = network()
    X, Y, weight = data("dense")
    theirs = Torch(layout, params)
    factors = RateFactors.of_layers(layout.layer_sizes, **FACTORS)
    groups = theirs.groups(factors, 1.0, 1.0)
    optimizer = theirs.torch.optim.AdamW(groups, betas=(0.9, 0.95))
    relative = [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
    lr, decay = coslog4(0.04, 20, cycles=2), flat_cos(0.5, 20)
    for step in range(20):
        for group, (factor, decays) in zip(optimizer.param_groups, relative, strict=True):
            group.update(lr=factor * lr(step), weight_decay=decays * decay(step))
        rows = slice(step % 4 * 40, step % 4 * 40 + 40)
        optimizer.zero_grad()
        theirs.backward(X[rows], Y[rows], weight[rows], 0.3)
        optimizer.step()
    own = fastopt.AdamW(lr=lr, betas=(0.9, 0.95), weight_decay=decay)
    update = own.flat(layout.size, layout.n_decay, np.float64, rate_factors=factors)
    for _ in range(5):
        trainer.train(params, X, Y, update, batch_size=40, alpha=0.3, sample_weight=weight)
    theirs.assert_equals(layout, params, atol=1e-10)  # as above


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "optimizer", [fastopt.AdamW(lr=0.01), fastopt.Clip(fastopt.Adam(), norm=0.1)], ids=str
)
def test_members_train_with_scale_and_factors_as_one_network_does(optimizer, kind):
    layout, _, params = network()
    X, Y, weight = data(kind)
    factors = RateFactors.of_layers(layout.layer_sizes, **FACTORS)
    order, rest = np.arange(110), np.arange(110, 150)
    updates = [
        optimizer.flat(layout.size, layout.n_decay, np.float64, rate_factors=factors) for _ in range(3)
    ]
    expected, losses = params.copy(), []
    trainer, validation = (Trainer(layout, dtype=np.float64, n_threads=1, **NETWORK) for _ in range(2))
    for _ in range(4):
        trainer.train(expected, X, Y, updates[0], batch_size=40, alpha=0.1, order=order, sample_weight=weight)
        losses.append(validation.evaluate(expected, X[rest], Y[rest], sample_weight=weight[rest])[1])
    members = [
        Member(
            params.copy(), update, X, Y, order.copy(), None, sample_weight=weight, held_out=rest, Y_val=Y
        )
        for update in updates[1:]
    ]  # fmt: skip
    MemberTrainer(layout, dtype=np.float64, **NETWORK).train(members, n_epochs=4, batch_size=40, alpha=0.1)
    for member in members:
        np.testing.assert_array_equal(member.params, expected)
        assert member.validation_losses == losses


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [
        (fastopt.Clip(fastopt.AdamW(lr=0.01, weight_decay=0.5), norm=0.1), "AdamW"),
        (fastopt.EMA(fastopt.SGD(lr=0.1)), "SGD"),
    ],
)
def test_wrappers_have_the_rates_as_groups_of_their_own(optimizer, name):
    """Twenty steps with torch's optimizer of that name and its own clipping."""
    layout, trainer, params = network()
    X, Y, weight = data("dense")
    theirs = Torch(layout, params)
    factors, own = RateFactors.of_layers(layout.layer_sizes, **FACTORS), optimizer.innermost
    groups = theirs.groups(factors, own.lr, getattr(own, "weight_decay", 0.0))
    stepper = getattr(theirs.torch.optim, name)(groups)
    clips = isinstance(optimizer, fastopt.Clip)
    for _ in range(5):
        for at in range(0, 150, 40):
            rows = slice(at, at + 40)
            stepper.zero_grad()
            theirs.backward(X[rows], Y[rows], weight[rows], 0.3)
            if clips:
                theirs.torch.nn.utils.clip_grad_norm_(theirs.tensors, 0.1)
            stepper.step()
    update = optimizer.flat(layout.size, layout.n_decay, np.float64, rate_factors=factors)
    assert isinstance(update, LayerwiseState)
    for _ in range(5):
        trainer.train(params, X, Y, update, batch_size=40, alpha=0.3, sample_weight=weight)
    # As above; torch's clipping adds 1e-6 to the norm of 0.1, in twenty steps of 0.06 at most.
    theirs.assert_equals(layout, params, atol=1e-5 if clips else 1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("optimizer", [fastopt.AdamW(weight_decay=0.1), fastopt.EMA(fastopt.Adam())], ids=str)
def test_bits_do_not_depend_on_the_number_of_threads(optimizer, kind, dtype):
    sizes, bits = [300, 96, 40, 2], set()
    X, Y, weight = data(kind, dtype, 300)
    factors = RateFactors.of_layers(sizes, **FACTORS)
    for n_threads in (1, 2):
        layout, trainer, params = network(dtype, n_threads, sizes)
        update = optimizer.flat(layout.size, layout.n_decay, dtype, rate_factors=factors)
        for _ in range(2):
            trainer.train(params, X, Y, update, batch_size=64, alpha=0.1, sample_weight=weight)
        bits.add(params.tobytes())
    assert len(bits) == 1
    assert np.isfinite(params).all()


def test_a_diverged_network_leaves_nothing_in_the_buffers():
    """A scale that is not finite times a sparse gradient's zeros must not stay where the next fit looks."""
    layout, trainer, params = network()
    X, Y, _ = data("csr")
    lost = params.copy()
    layout.scale(lost)[:] = np.nan
    results = []
    for broken in (True, False):
        if broken:
            trainer.loss_and_gradient(lost, X, Y, alpha=0.0)
            update = fastopt.SGD(lr=0.1).flat(layout.size, layout.n_decay, np.float64)
            trainer.train(lost, X, Y, update, batch_size=150, alpha=0.0)
        else:
            trainer = network()[1]
        mine, update = params.copy(), fastopt.SGD(lr=0.1).flat(layout.size, layout.n_decay, np.float64)
        trainer.train(mine, X, Y, update, batch_size=150, alpha=0.0)
        results.append(mine)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("factors", [RateFactors((0.5,), (1.0,)), RateFactors((0.5,) * 3, (1.0,))], ids=str)
def test_factors_of_another_network_are_refused(factors):
    layout, trainer, params = network()
    X, Y, _ = data("dense")
    update = fastopt.AdamW().flat(layout.size, layout.n_decay, np.float64, rate_factors=factors)
    with pytest.raises(ValueError, match=r"is not for the 3 layers of Layout\(\[70, 9, 6, 2\]"):
        trainer.train(params, X, Y, update, batch_size=40, alpha=0.0)
    update = fastopt.AdamW().flat(layout.size, layout.n_decay, np.float64)
    trainer.train(params, X, Y, update, batch_size=40, alpha=0.0)  # the trainer is as it was
    assert np.isfinite(params).all()


def test_factors_of_one_change_no_bit():
    bits = set()
    for factors in (None, RateFactors.of_layers(SIZES)):
        layout, trainer, params = network()
        X, Y, _ = data("dense")
        update = fastopt.AdamW().flat(layout.size, layout.n_decay, np.float64, rate_factors=factors)
        assert update.rate_factors is None
        trainer.train(params, X, Y, update, batch_size=40, alpha=0.0)
        bits.add(params.tobytes())
    assert len(bits) == 1


def test_one_workspace_serves_optimizers_with_factors_and_without():
    """The kept trainer of an estimator: constants of the last fit's groups must not be used."""
    layout, trainer, params = network()
    X, Y, _ = data("dense")
    factors = RateFactors.of_layers(layout.layer_sizes, **FACTORS)
    found = []
    for own in (trainer, None):
        for given in (None, factors, None):
            mine, used = params.copy(), own or network()[1]
            update = fastopt.AdamW().flat(layout.size, layout.n_decay, np.float64, rate_factors=given)
            used.train(mine, X, Y, update, batch_size=40, alpha=0.0)
            found.append(mine.tobytes())
    assert found[:3] == found[3:]
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize("name", ["nadam", "schedulefreeadamw", "asgd", "adamw"])
def test_scalars_and_schedules_of_a_group_are_those_of_an_optimizer_with_that_rate(name):
    """Constants of each group against those of the optimizer with the rate multiplied."""
    factors = RateFactors((0.5, 0.25), (1.0, 0.1))
    lr = fastopt.schedules.cosine(0.01, 50)
    update = fastopt.get_optimizer(name, lr=lr).flat(64, 32, np.float64, rate_factors=factors)
    width = 3 + update.rule.n_constants
    found = []
    for n in (7, 20):
        found.append(update.constants(n).reshape(n, -1, width))
        update.advance(n)
    assert factors.groups == (0.5, 0.25, 1.0, 0.1)
    for number, factor in enumerate(factors.groups):
        one = fastopt.get_optimizer(name, lr=factor * lr).flat(64, 32, np.float64)
        for rows in found:
            np.testing.assert_array_equal(rows[:, number], one.constants(len(rows)))
            one.advance(len(rows))


@pytest.mark.parametrize("name", ["muon", "normuon", "shampoo", "lamb"])
def test_first_steps_of_whole_matrices_are_in_proportion_to_the_factors(name):
    layout, trainer, params = network()
    X, Y, _ = data("dense")
    factors = RateFactors((0.5, 2.0, 0.0), (1.0, 0.25, 3.0), input_scale=0.5)
    optimizer, steps = fastopt.get_optimizer(name, weight_decay=0.0), []
    for given in (None, factors):
        after = params.copy()
        update = fastopt.Clip(optimizer, value=10.0).flat(
            layout.size, layout.n_decay, np.float64, rate_factors=given
        )
        trainer.train(after, X, Y, update, batch_size=150, alpha=0.0)
        steps.append(layout.arrays(after - params))
    for plain, scaled, factor in zip(*steps, [*factors.weights, *factors.biases, 0.5], strict=True):
        assert plain.any()
        np.testing.assert_allclose(scaled, factor * plain, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": [1.0, 2.0]}, "has 2 numbers for 3 layers"),
        ({"weights": "fan_out"}, "'fan_in'"),
        ({"biases": -1.0}, "biases must be finite and at least 0, not -1.0"),
        ({"input_scale": np.nan}, "input_scale must be finite and at least 0, not nan"),
        ({"biases": [1.0, None, 1.0]}, "biases must be numbers, not NoneType"),
        ({"slopes": True}, "slopes must be numbers, not bool"),
    ],
)
def test_factors_that_are_none_are_refused(arguments, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        RateFactors.of_layers(SIZES, **arguments)


def test_step_sizes_that_only_begin_at_the_rate_take_no_factors():
    factors = RateFactors.of_layers(SIZES, weights="fan_in")
    with pytest.raises(ValueError, match="only begins at lr"):
        fastopt.Rprop().flat(64, 32, np.float64, rate_factors=factors)


def test_the_engine_on_a_gpu_refuses_an_input_scale():
    layout = Layout(SIZES, scales_inputs=True)
    with pytest.raises(ValueError, match="no learnt scale of the inputs; train with device='cpu'"):
        make_trainer(device="cuda:0", layout=layout, dtype=np.float64, **NETWORK)


@pytest.mark.parametrize("optimizer", [fastopt.LBFGS(), fastopt.Clip(fastopt.LBFGS(), norm=1.0)], ids=str)
def test_optimizers_without_a_rate_for_each_layer_refuse_factors(optimizer):
    factors = RateFactors.of_layers(SIZES, weights="fan_in")
    with pytest.raises((TypeError, ValueError)) as caught:
        optimizer.flat(64, 32, np.float64, rate_factors=factors)
    if not isinstance(optimizer, fastopt.Clip):
        assert "along one direction" in str(caught.value)
