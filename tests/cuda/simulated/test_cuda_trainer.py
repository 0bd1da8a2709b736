"""The training engine in the simulator, against the CPU's and plain NumPy.

A simulated thread costs a millisecond, so the problems are tiny; tiles are tiny too, and the products have
whole tiles, cut ones and several slices.
"""

import ctypes
import itertools

import numpy as np
import own_rules  # noqa: F401  registers one
import pytest
import scipy.sparse
from reference import loss_cases, own_functions  # noqa: F401  registers activations and losses
from reference.naive_engine import NaiveTrainer, row_losses

import fastopt
from fastopt import get_optimizer, list_optimizers
from fastopt.engine import Layout, Trainer
from fastopt.engine.cuda import compilation, cublas, kernels
from fastopt.engine.cuda import network as cuda_network
from fastopt.engine.cuda import trainer as cuda_engine
from fastopt.engine.objective import resolve_activations
from fastopt.rules.activations import ACTIVATIONS
from fastopt.rules.losses import LOSSES
from fastopt.stepping.rate_factors import RateFactors

PAIRS = {
    "softmax": ("log_loss", 3),
    "logistic": ("binary_log_loss", 2),
    "identity": ("squared_error", 5),
    "exp": ("poisson", 1),
}
#: Of one step or gradient in float32: sums of a dozen products round to some 1e-7 of their largest.
SINGLE = 2e-6
#: In float64, where the CPU's own exp and log are good to some ulp.
DOUBLE = 1e-12


def problem(sizes, dtype, output="softmax", n=11, seed=0, activation="tanh"):
    rs = np.random.RandomState(seed)
    layout = Layout(sizes, [one.learns for one in resolve_activations(activation, len(sizes) - 2)])
    params = np.zeros(layout.size, dtype)
    for array in layout.arrays(params):
        array[...] = rs.uniform(-0.7, 0.7, array.shape)
    X = rs.standard_normal((n, sizes[0])).astype(dtype)
    Y = rs.poisson(2, (n, sizes[-1])) if output == "exp" else rs.standard_normal((n, sizes[-1]))
    if output in ("softmax", "logistic"):
        Y = np.eye(sizes[-1])[rs.randint(sizes[-1], size=n)]
    return layout, params, X, Y.astype(dtype), rs.uniform(0.2, 2, n).astype(dtype)


def network(output, activation="tanh"):
    return {"activation": activation, "out_activation": output, "loss": PAIRS[output][0]}


def close(actual, expected, tolerance):
    expected = np.asarray(expected, np.float64)
    largest = np.abs(expected).max(initial=1.0)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * largest)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("output", "activation", "hidden"),
    [
        ("softmax", "relu", [4]),
        ("logistic", "tanh", [5, 3]),
        ("identity", "logistic", [6]),
        ("exp", "identity", [2]),
        ("softmax", "tanh", []),
    ],
)
def test_outputs_losses_and_gradients_are_those_of_float64(output, activation, hidden, dtype):
    layout, params, X, Y, weight = problem([3, *hidden, PAIRS[output][1]], dtype, output)
    names = network(output, activation)
    oracle = NaiveTrainer(layout, dtype=np.float64, **names)
    trainer = cuda_engine.Trainer(layout, dtype=dtype, **names)
    tolerance = SINGLE if dtype == np.float32 else DOUBLE
    double = [a.astype(np.float64) for a in (params, X, Y)]
    close(trainer.predict(params, X), oracle.predict(*double[:2]), tolerance)
    given = params.copy()
    for w in (None, weight):
        loss, gradient = trainer.loss_and_gradient(params, X, Y, alpha=0.3, sample_weight=w)
        expected = oracle.loss_and_gradient(
            *double, alpha=0.3, sample_weight=None if w is None else w.astype(np.float64)
        )
        close(loss, expected[0], tolerance)
        close(gradient, expected[1], tolerance)
    np.testing.assert_array_equal(params, given)


def trains_as_on_the_cpu(dtype, activation, loss, sizes=(3, 5, 4, 2)):
    """Compare gradients, a training and predictions of the two devices."""
    names = {"activation": activation, "out_activation": LOSSES[loss].output, "loss": loss}
    layout, params, X, _, weight = problem(list(sizes), dtype, activation=activation)
    Y = loss_cases.targets(LOSSES[loss], np.random.RandomState(3), (len(X), sizes[-1])).astype(dtype)
    runs = []
    for trainer_class in (cuda_engine.Trainer, Trainer):
        trainer, mine = trainer_class(layout, dtype=dtype, **names), params.copy()
        update = fastopt.SGD(lr=0.05, momentum=0.9).flat(layout.size, layout.n_decay, dtype)
        value, gradient = trainer.loss_and_gradient(mine, X, Y, alpha=0.1, sample_weight=weight)
        losses = [
            trainer.train(mine, X, Y, update, batch_size=4, alpha=0.05, sample_weight=w)
            for w in (weight, None)
        ]
        runs.append([value, gradient, losses, mine, trainer.predict(mine, X)])
    for actual, expected in zip(*runs, strict=True):
        # Six steps carry on what a gradient rounds.
        close(actual, expected, 10 * (SINGLE if dtype == np.float32 else DOUBLE))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_registered_activation_trains_as_on_the_cpu(name, dtype):
    trains_as_on_the_cpu(dtype, name, "squared_error")


@pytest.mark.parametrize("activations", [("prelu", "tanh"), ("relu", "prelu")])
def test_layers_with_slopes_and_without_train_as_on_the_cpu(activations):
    trains_as_on_the_cpu(np.float64, activations, "squared_error")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("names", [("gelu", "relu"), ("tanh", "snake"), ("silu", "gelu")])
def test_layers_with_activations_of_their_own_train_as_on_the_cpu(names, dtype):
    trains_as_on_the_cpu(dtype, names, "squared_error")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_every_registered_loss_trains_as_on_the_cpu(name, dtype):
    trains_as_on_the_cpu(dtype, "tanh", name)


@pytest.mark.parametrize("activation", ["silu", "prelu"])
@pytest.mark.parametrize("n_wide", [1, 3])
def test_pre_activations_are_kept_where_cublas_forms_the_products(n_wide, activation, monkeypatch):
    flops = sorted(2.0 * 4 * n * m for n, m in itertools.pairwise((3, 5, 4, 2)))
    monkeypatch.setattr(cublas, "find", lambda: cublas.Blas(FakeBlas()))
    monkeypatch.setattr(cublas, "MIN_FLOPS", flops[-n_wide])
    trains_as_on_the_cpu(np.float64, activation, "huber")


@pytest.mark.parametrize("tiles", ["SMALL", "LARGE"])
@pytest.mark.parametrize(("n", "sizes"), [(4, [3, 4, 4]), (5, [1, 1, 1]), (13, [7, 13, 2])])
def test_tiles_that_fit_and_tiles_that_do_not(n, sizes, tiles, monkeypatch):
    monkeypatch.setattr(cuda_network, "_choose_tiles", lambda *_: getattr(compilation, tiles))
    layout, params, X, Y, _ = problem(sizes, np.float64, "identity", n)
    oracle = NaiveTrainer(layout, dtype=np.float64, **network("identity"))
    gradient = cuda_engine.Trainer(layout, dtype=np.float64, **network("identity")).loss_and_gradient(
        params, X, Y, alpha=0.1
    )[1]
    close(gradient, oracle.loss_and_gradient(params, X, Y, alpha=0.1)[1], DOUBLE)


def short_sum(sums, left, right, y, x):
    for k in range(DEPTH - 1):  # noqa: F821  bound by compilation
        for u in range(MICRO):  # noqa: F821
            for v in range(MICRO):  # noqa: F821
                sums[u, v] += left[k, y + u * BLOCK] * right[k, x + v * BLOCK]  # noqa: F821


def test_a_sum_one_short_of_its_slice_is_seen(monkeypatch):
    for cached in (compilation.layer_kernels, compilation.output_kernels, compilation.update_kernels):
        monkeypatch.setattr(compilation, cached.__name__, cached.__wrapped__)
    short_sum.__name__ = "accumulate"
    monkeypatch.setattr(kernels, "accumulate", short_sum)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        test_tiles_that_fit_and_tiles_that_do_not(13, [7, 13, 2], "SMALL", monkeypatch)


def trained(trainer_class, optimizer, dtype, epochs=1, settings=None, output="softmax", **options):
    layout, params, X, Y, weight = problem([3, 4, PAIRS[output][1]], dtype, output)
    trainer = trainer_class(layout, dtype=dtype, **network(output), **(settings or {}))
    update = optimizer.flat(layout.size, layout.n_decay, dtype)
    options = {"batch_size": 4, "alpha": 0.05, "sample_weight": weight} | options
    losses = [trainer.train(params, X, Y, update, **options) for _ in range(epochs)]
    return params, losses, update


# On mini-batches L-BFGS makes 0.1 of a start that is 1e-16 away, on the CPU as well.
@pytest.mark.parametrize("name", sorted({*list_optimizers()} - {"lbfgs"}))
def test_every_optimizer_trains_as_on_the_cpu(name):
    order = np.random.RandomState(1).permutation(11)
    runs = [
        trained(trainer, get_optimizer(name), np.float64, order=order)
        for trainer in (cuda_engine.Trainer, Trainer)
    ]
    (params, losses, update), (expected, their_losses, their_update) = runs
    # Three steps; a rule that divides by a tiny moment multiplies what rounding makes of it.
    close(params, expected, 1e-9)
    close(losses, their_losses, 1e-9)
    close(update.state, their_update.state, 1e-9)
    assert update.t == their_update.t == 3


class Whole:
    """An optimizer that needs whole gradients: descent along the gradient divided by its norm."""

    takes_penalty = True

    def __init__(self):
        self.losses = []

    def apply(self, params, gradient, layout, loss, evaluate, *, weight=1.0, ends_epoch=False):
        assert evaluate is None or evaluate() == loss  # at the same weights, into the same gradient
        params -= 0.1 * gradient / np.sqrt((gradient**2).sum())
        self.losses.append(loss)


@pytest.mark.parametrize("output", ["softmax", "identity"])
@pytest.mark.parametrize("data_bytes", [None, 1])
def test_an_optimizer_that_needs_whole_gradients_steps_on_the_host(data_bytes, output):
    layout, params, X, Y, weight = problem([3, 4, PAIRS[output][1]], np.float64, output)
    weight[4:8] = 0  # a batch that weighs nothing
    runs = []
    for trainer in (
        cuda_engine.Trainer(layout, dtype=np.float64, data_bytes=data_bytes, **network(output)),
        NaiveByGradient(layout, dtype=np.float64, **network(output)),
    ):
        mine, update = params.copy(), Whole()
        loss = trainer.train(mine, X, Y, update, batch_size=4, alpha=0.1, sample_weight=weight)
        runs.append((mine, loss, update.losses))
    for actual, expected in zip(*runs, strict=True):
        close(actual, expected, DOUBLE)


class NaiveByGradient(NaiveTrainer):
    def train(self, params, X, Y, update, *, batch_size, alpha, sample_weight):
        total = 0.0
        for start in range(0, len(X), batch_size):
            rows = slice(start, start + batch_size)
            if sample_weight[rows].sum():
                loss, gradient = self.loss_and_gradient(
                    params, X[rows], Y[rows], alpha=alpha, sample_weight=sample_weight[rows]
                )
                update.apply(params, gradient, self.layout, loss, None)
                total += loss * len(X[rows])
        return total


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("data_bytes", [None, 1, 200])
def test_data_that_do_not_fit_stream_in_blocks_and_give_the_same_bits(data_bytes, dtype):
    adamw = fastopt.AdamW(lr=0.05, weight_decay=0.1)
    orders = [None, np.random.RandomState(2).permutation(11)[:9]]
    for order in orders:
        expected = trained(cuda_engine.Trainer, adamw, dtype, 2, order=order)
        streamed = trained(cuda_engine.Trainer, adamw, dtype, 2, {"data_bytes": data_bytes}, order=order)
        np.testing.assert_array_equal(streamed[0], expected[0])
        np.testing.assert_array_equal(streamed[2].state, expected[2].state)
        assert streamed[1] == expected[1]


def test_prediction_streams_as_well():
    layout, params, X, _, _ = problem([3, 4, 3], np.float64, n=30)
    names = network("softmax")
    expected = Trainer(layout, dtype=np.float64, **names).predict(params, X)
    for data_bytes in (None, 1):
        trainer = cuda_engine.Trainer(layout, dtype=np.float64, data_bytes=data_bytes, **names)
        for data in (X, scipy.sparse.csr_matrix(X)):
            close(trainer.predict(params, data), expected, DOUBLE)


@pytest.mark.parametrize("output", PAIRS)
def test_an_evaluation_is_the_cpus(output):
    layout, params, X, Y, weight = problem([3, 4, PAIRS[output][1]], np.float64, output, n=30)
    names = network(output)
    cpu = Trainer(layout, dtype=np.float64, **names)
    for data_bytes, weights in ((None, weight), (1, weight), (None, None)):
        trainer = cuda_engine.Trainer(layout, dtype=np.float64, data_bytes=data_bytes, **names)
        outputs, loss = trainer.evaluate(params, X, Y, sample_weight=weights)
        expected = cpu.evaluate(params, X, Y, sample_weight=weights)
        close(outputs, expected[0], DOUBLE)
        close(loss, expected[1], DOUBLE)


@pytest.mark.parametrize("solver", ["adam", "lamb"])
@pytest.mark.parametrize("data_bytes", [None, 1])
def test_training_stops_when_time_is_over(solver, data_bytes, monkeypatch):
    layout, params, X, Y, _ = problem([3, 4, 3], np.float64)
    monkeypatch.setattr(cuda_network, "_SLICE_FLOPS", 1)
    results = []
    for kind, settings in ((cuda_engine.Trainer, {"data_bytes": data_bytes}), (Trainer, {})):
        mine = params.copy()
        update = get_optimizer(solver).flat(layout.size, layout.n_decay, np.float64)
        trainer = kind(layout, dtype=np.float64, **network("softmax"), **settings)
        order = np.array([5, 2, 7] if kind is Trainer else [5, 2, 7, 1, 0, 9, 8])
        loss = trainer.train(mine, X, Y, update, batch_size=3, alpha=0.1, order=order, until=0.0)
        assert trainer.n_visited == 3
        results.append((mine, loss))
    close(results[0][0], results[1][0], DOUBLE)
    close(results[0][1], results[1][1], DOUBLE)


def test_kept_data_are_not_moved_again_and_others_are(monkeypatch):
    layout, params, X, _, _ = problem([3, 4, 3], np.float64)
    trainer = cuda_engine.Trainer(layout, dtype=np.float64, **network("softmax"))
    first = trainer.predict(params, X, keep=True)
    X *= 2  # against the promise, to see what is on the device
    np.testing.assert_array_equal(trainer.predict(params, X), first)
    assert np.abs(trainer.predict(params, X) - first).max() > 0.01


def test_a_batch_that_weighs_nothing_teaches_nothing():
    weight = np.ones(11)
    weight[4:8] = 0
    adam = fastopt.Adam(lr=0.05)
    runs = [trained(t, adam, np.float64, sample_weight=weight) for t in (cuda_engine.Trainer, Trainer)]
    close(runs[0][0], runs[1][0], 1e-10)
    close(runs[0][1], runs[1][1], 1e-10)
    assert runs[0][2].t == runs[1][2].t == 3


def test_tables_longer_than_the_device_keeps_are_sent_in_parts(monkeypatch):
    expected = trained(cuda_engine.Trainer, fastopt.NAdam(lr=0.05), np.float64, batch_size=2)
    monkeypatch.setattr(cuda_network, "MAX_BATCHES", 2)
    parts = trained(cuda_engine.Trainer, fastopt.NAdam(lr=0.05), np.float64, batch_size=2)
    np.testing.assert_array_equal(parts[0], expected[0])
    assert parts[1] == expected[1]


def test_ctrl_c_leaves_the_host_with_the_steps_that_were_taken(monkeypatch):
    real = cuda_network.Network.run

    def interrupted(self, n_batches):
        real(self, 2)
        raise KeyboardInterrupt

    monkeypatch.setattr(cuda_network.Network, "run", interrupted)
    layout, params, X, Y, _ = problem([3, 4, 3], np.float64)
    update = fastopt.Adam(lr=0.05).flat(layout.size, layout.n_decay, np.float64)
    trainer = cuda_engine.Trainer(layout, dtype=np.float64, **network("softmax"))
    with pytest.raises(KeyboardInterrupt):
        trainer.train(params, X, Y, update, batch_size=4, alpha=0.0)
    assert update.t == 2
    layout, expected, X, Y, _ = problem([3, 4, 3], np.float64)
    their = fastopt.Adam(lr=0.05).flat(layout.size, layout.n_decay, np.float64)
    Trainer(layout, dtype=np.float64, **network("softmax")).train(
        expected, X, Y, their, batch_size=4, alpha=0.0, order=np.arange(8)
    )
    close(params, expected, 1e-10)
    close(update.state, their.state, 1e-10)


class FakeBlas:
    """cuBLAS as its manual describes it, by NumPy: column-major matrices at raw addresses."""

    def __init__(self):
        self.calls = []

    def cublasCreate_v2(self, handle):
        return 0

    def cublasSetStream_v2(self, handle, stream):
        return 0

    def cublasSetWorkspace_v2(self, handle, workspace, size):
        return 0

    def cublasSgemm_v2(self, *arguments):
        return self.gemm(np.float32, *arguments)

    def cublasDgemm_v2(self, *arguments):
        return self.gemm(np.float64, *arguments)

    def gemm(self, dtype, handle, op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
        def matrix(address, rows, columns, leading):
            size = columns * leading * np.dtype(dtype).itemsize
            memory = (ctypes.c_char * size).from_address(address.value)
            return np.frombuffer(memory, dtype).reshape(columns, leading).T[:rows]

        a = matrix(a, k, m, lda).T if op_a else matrix(a, m, k, lda)
        b = matrix(b, n, k, ldb).T if op_b else matrix(b, k, n, ldb)
        assert (alpha._obj.value, beta._obj.value) == (1, 0)
        matrix(c, m, n, ldc)[:] = a @ b
        self.calls.append((m, n, k))
        return 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_wide", [1, 2, 3])
def test_layers_whose_products_cublas_forms(n_wide, dtype, monkeypatch):
    sizes, batch_size = [5, 7, 6, 3], 4
    flops = sorted(2.0 * batch_size * n * m for n, m in itertools.pairwise(sizes))
    layout, params, X, Y, weight = problem(sizes, dtype)
    given = {"batch_size": batch_size, "alpha": 0.05, "sample_weight": weight}
    adamw = fastopt.AdamW(lr=0.05, weight_decay=0.1)
    runs, library = [], FakeBlas()
    for find in (lambda: None, lambda: cublas.Blas(library)):
        monkeypatch.setattr(cublas, "find", find)
        monkeypatch.setattr(cublas, "MIN_FLOPS", flops[-n_wide])
        mine, update = params.copy(), adamw.flat(layout.size, layout.n_decay, dtype)
        trainer = cuda_engine.Trainer(layout, dtype=dtype, **network("softmax"))
        # Eleven rows: the last batch is short of the one that cuBLAS is given.
        loss = trainer.train(mine, X, Y, update, order=np.arange(11)[::-1].copy(), **given)
        runs.append((mine, loss, update.state, trainer.predict(mine, X[:4])))
    # In each of three batches forward and weights of every wide layer, and back through those above the first
    # (the widest layer is the second, then comes the first); then one prediction.
    n_back = {1: 1, 2: 1, 3: 2}[n_wide]
    assert len(library.calls) == 3 * (2 * n_wide + n_back) + n_wide
    for first, second in zip(*runs, strict=True):
        close(second, first, SINGLE if dtype == np.float32 else DOUBLE)


def test_what_would_be_misread_is_refused():
    layout, params, X, Y, _ = problem([3, 4, 3], np.float64)
    trainer = cuda_engine.Trainer(layout, dtype=np.float64, **network("softmax"))
    with pytest.raises(ValueError, match="X must be a C-contiguous array of float64"):
        trainer.predict(params, X.astype(np.float32))
    with pytest.raises(ValueError, match="Y must be"):
        trainer.loss_and_gradient(params, X, Y[:, :2], alpha=0.0)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_losses_are_those_of_the_formulas_at_the_ends_of_their_range():
    # Certain and wrong: probabilities of 0 and 1 are clipped, as scikit-learn does.
    layout = Layout([1, 2])
    params = np.zeros(layout.size)
    layout.weights(params)[0][...] = [[1000.0, -1000.0]]
    X, Y = np.array([[1.0], [-1.0]]), np.array([[0.0, 1.0], [0.0, 1.0]])
    for output in ("softmax", "logistic"):
        trainer = cuda_engine.Trainer(layout, dtype=np.float64, **network(output))
        loss, _ = trainer.loss_and_gradient(params, X, Y, alpha=0.0)
        outputs = np.array([[1.0, 0.0], [0.0, 1.0]])
        assert loss == pytest.approx(row_losses(PAIRS[output][0], Y, outputs).mean(), rel=1e-12)


def test_a_learning_rate_for_each_layer_is_refused_and_by_whole_gradients_is_the_cpus():
    layout, params, X, Y, _ = problem([3, 4, 3], np.float64)
    factors = RateFactors.of_layers(layout.layer_sizes, weights="fan_in", biases=0.1)
    trainer = cuda_engine.Trainer(layout, dtype=np.float64, **network("softmax"))
    own = {"dtype": np.float64, "rate_factors": factors}
    before = params.copy()
    with pytest.raises(ValueError, match="no learning rate for each layer; train with device='cpu'"):
        trainer.train(
            params, X, Y, fastopt.Adam().flat(layout.size, layout.n_decay, **own), batch_size=4, alpha=0.0
        )
    np.testing.assert_array_equal(params, before)
    found = []
    for one in (trainer, Trainer(layout, dtype=np.float64, **network("softmax"))):
        mine = params.copy()
        update = fastopt.Clip(fastopt.Adam(lr=0.1), norm=1.0).flat(layout.size, layout.n_decay, **own)
        one.train(mine, X, Y, update, batch_size=4, alpha=0.1)
        found.append(mine)
    close(found[0], found[1], DOUBLE)
