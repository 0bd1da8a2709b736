"""The loop over batches with an optimizer's program, here written by hand: no tracer, no optimizer."""

import numpy as np
import pytest
import scipy.sparse as sp

from fastopt import SGD
from fastopt.engine import Layout, Trainer
from fastopt.engine.cpu import thread_count
from fastopt.kernels import tape, work_queue
from fastopt.kernels.elementwise import update_address
from fastopt.kernels.tape import Op

LAYOUT, N = Layout([70, 90, 40, 3]), 130
LR = 0.01
ALPHA = 0.1


class HandWritten:
    """Gradient descent as a program: one kernel over all weights, and what ``extra`` rows do before it."""

    edge = 0

    def __init__(self, layout, dtype, extra=(), call=None, n_threads=2):
        self.gradient, self.t, self.called = np.zeros(layout.size, dtype), 0, []
        self._call, self._extra, self._n_threads, self._dtype = call, list(extra), n_threads, dtype
        self._registers, self._header = np.zeros(16), np.zeros(tape.HEADER, np.int64)
        self._registers[3] = 1.0  # each batch takes a penalty
        self.header, self.penalty_at = self._header.ctypes.data, self._registers.ctypes.data + 3 * 8

    def program(self, params, layout):
        self._params = params
        rule = SGD().rule(SGD().get_params(deep=False))
        self._row = np.array([1, 0, 1, LR], self._dtype)
        table = np.array(
            [
                [
                    update_address(rule, self._dtype),
                    params.ctypes.data,
                    self.gradient.ctypes.data,
                    0,
                    0,
                    self._row.ctypes.data,
                ]
            ],
            np.int64,
        )
        self._queue = work_queue.KernelQueue.over(table, [layout.size], self._n_threads)
        routine, arguments, n_tasks = self._queue._serial
        run = [Op.RUN, 1, routine, arguments, n_tasks, self._n_threads, 0, 0]
        self._code = np.array([*self._extra, run, [Op.END] + [0] * 7], np.int64)
        self._header[[tape.CODE, tape.REGISTERS]] = self._code.ctypes.data, self._registers.ctypes.data
        return self

    def feed(self, n_steps):
        return n_steps

    @property
    def is_waiting(self):
        return self._header[tape.KIND] == Op.YIELD

    def call(self):
        self.called.append(self._registers[:3].copy())
        self._call(self)


class ByGradient:
    """The same in Python: what `Trainer` does without a program."""

    t, takes_penalty = 0, True

    def __init__(self):
        self.losses = []

    def apply(self, params, gradient, layout, loss, evaluate, *, weight, ends_epoch):
        self.losses.append((loss, weight, float(ends_epoch)))
        params -= gradient.dtype.type(LR) * gradient


def problem(dtype, kind):
    rs = np.random.RandomState(0)
    params = np.zeros(LAYOUT.size, dtype)
    for array in LAYOUT.weights(params) + LAYOUT.biases(params):
        array[...] = rs.uniform(-1, 1, array.shape) / np.sqrt(array.shape[0] + 1)
    X = rs.standard_normal((N, 70)).astype(dtype)
    if kind != "dense":
        X[rs.uniform(size=X.shape) < 0.85] = 0
    X = sp.csr_matrix(X) if kind == "csr" else X
    return params, X, np.eye(3, dtype=dtype)[rs.randint(3, size=N)], rs.permutation(N)


def train(update, dtype=np.float32, kind="dense", n_threads=1, weights=False, epochs=2):
    params, X, Y, order = problem(dtype, kind)
    trainer = Trainer(LAYOUT, activation="tanh", out_activation="softmax", loss="log_loss", dtype=dtype,
                      n_threads=n_threads)  # fmt: skip
    options = {"batch_size": 50, "alpha": ALPHA, "order": order}
    if weights:
        options["sample_weight"] = np.linspace(0, 2, N).astype(dtype)
        options["sample_weight"][order[50:100]] = 0  # a batch without weight
    losses = [trainer.train(params, X, Y, update, **options) for _ in range(epochs)]
    return params, losses


@pytest.fixture(params=[1, 2])
def n_threads(request, monkeypatch):
    """That number of workers, all the time."""

    class Fixed:
        def __init__(self, most, flops):
            self._most = most

        def next(self, n_left):
            return self._most, n_left

        def record(self, seconds):
            pass

    monkeypatch.setattr(thread_count, "ThreadChooser", Fixed)
    monkeypatch.setattr(thread_count, "_choosers", type(thread_count._choosers)(64))
    monkeypatch.setattr("fastopt.engine.cpu.trainer._PARALLEL_FLOPS", 1.0)
    return request.param


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["dense", "compressed", "csr"])
@pytest.mark.parametrize("weights", [False, True])
def test_a_program_steps_as_python_does_bit_for_bit(dtype, kind, weights, n_threads):
    reference = ByGradient()
    expected, losses = train(reference, np.dtype(dtype), kind, n_threads, weights)
    got, mine = train(HandWritten(LAYOUT, np.dtype(dtype)), np.dtype(dtype), kind, n_threads, weights)
    np.testing.assert_array_equal(got, expected)
    # The penalty's squares are added up tile by tile, and not by BLAS over all weights.
    np.testing.assert_allclose(mine, losses, rtol=1e-6 if dtype == "float32" else 1e-13)


def test_python_is_called_within_a_batch_with_its_loss_weight_and_place_in_the_epoch(n_threads):
    def shrink(program):
        program._params *= np.float32(0.5)

    program = HandWritten(LAYOUT, np.float32, [[Op.YIELD] + [0] * 7], shrink)
    got, _ = train(program, n_threads=n_threads, weights=True)

    class Shrinking(ByGradient):
        def apply(self, params, gradient, layout, loss, evaluate, **rest):
            params *= np.float32(0.5)
            super().apply(params, gradient, layout, loss, evaluate, **rest)

    reference = Shrinking()
    expected, _ = train(reference, n_threads=n_threads, weights=True)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_allclose(program.called, reference.losses, rtol=1e-6)
    assert [ends for _, _, ends in program.called] == [0, 1, 0, 1]


def test_a_program_evaluates_the_batch_again_at_changed_weights(n_threads):
    """Halve the weights, take the gradient there, and step from there."""
    rows = [[Op.YIELD] + [0] * 7, [Op.EVALUATE, 1, 5, 0, 0, 0, 0, 0]]
    seen = []

    def halve(program):
        program._params *= np.float32(0.5)
        seen.append(program._registers[5])

    class Twice(ByGradient):
        def apply(self, params, gradient, layout, loss, evaluate, **rest):
            params *= np.float32(0.5)
            seconds.append(evaluate())
            super().apply(params, gradient, layout, loss, evaluate, **rest)

    seconds = []
    got, _ = train(HandWritten(LAYOUT, np.float32, rows, halve), n_threads=n_threads, kind="csr")
    expected, _ = train(Twice(), n_threads=n_threads, kind="csr")
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_allclose(seen[1:], seconds[:-1], rtol=1e-6)  # what the last batch's second one gave


def test_what_follows_on_the_same_buffers_runs_no_program():
    params, X, Y, _ = problem(np.float32, "dense")
    options = {"activation": "tanh", "out_activation": "softmax", "loss": "log_loss", "dtype": np.float32}
    trainer, other = (Trainer(LAYOUT, **options) for _ in range(2))
    program = HandWritten(LAYOUT, np.float32)
    trainer.train(params, X, Y, program, batch_size=N, alpha=ALPHA)
    before = params.copy()
    np.testing.assert_array_equal(trainer.predict(params, X), other.predict(params, X))
    loss, gradient = trainer.loss_and_gradient(params, X, Y, alpha=ALPHA)
    expected, same = other.loss_and_gradient(params, X, Y, alpha=ALPHA)
    assert loss == expected
    np.testing.assert_array_equal(gradient, same)
    np.testing.assert_array_equal(params, before)
