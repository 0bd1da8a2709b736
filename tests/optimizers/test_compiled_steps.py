"""Training by a recorded program against the same steps made in Python, between mini-batches.

The reference is `Trainer._train_by_gradient`, which the trainer takes where a state has no program. Steps of
the two are equal to the bit but for norms of several arrays, whose squares are added up one by one in place
of NumPy's order, and for ``**``, ``exp`` and ``log`` of the C library, an ulp from NumPy's.
"""

import contextlib
import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from reference import numpy_power

import fastopt as fo
from fastopt import Adam, Clip, GradientNoise, MultiSteps, SkipNonFinite
from fastopt.engine import Layout, Trainer
from fastopt.engine.cpu import thread_count
from fastopt.optimizers.base import OPTIMIZERS
from fastopt.rules.tensorwise import TENSOR_RULES
from fastopt.schedules import Run, exponential, linear
from fastopt.stepping.layerwise_state import LayerwiseState

LAYOUT, N, BATCH = Layout([6, 9, 5, 2]), 110, 16
N_BATCHES = -(-N // BATCH)
INNER = {
    "adam": fo.AdamW(lr=0.01, weight_decay=0.1),
    "lamb": fo.LAMB(lr=0.01),
    "int8": fo.Adam(lr=0.01, state_dtype="int8"),
    "bfloat16": fo.SGD(lr=0.01, momentum=0.9, state_dtype="bfloat16"),
}
WRAPPERS = {
    "value": lambda inner: Clip(inner, value=0.01),
    "clip": lambda inner: Clip(inner, norm=0.1),
    "tensor_norm": lambda inner: Clip(inner, value=0.1, tensor_norm=0.05, norm=0.1),
    "ema": lambda inner: fo.EMA(inner, 0.8, every=2, first=3),
    "swa": lambda inner: fo.SWA(inner),
    "lookahead": lambda inner: fo.Lookahead(inner, k=3),
    "skip": lambda inner: SkipNonFinite(inner),
    "multi": lambda inner: MultiSteps(inner, 3),
    "cautious": lambda inner: fo.Cautious(inner),
    "unscaled": lambda inner: fo.Cautious(inner, scale=False),
    "centralize": lambda inner: fo.Centralize(inner),
    "adaptive": lambda inner: fo.AdaptiveClip(inner, clipping=0.05),
    "max_norm": lambda inner: fo.EMA(fo.MaxNorm(fo.Lookahead(inner, k=2), 0.5), 0.8),
    "noise": lambda inner: GradientNoise(inner, eta=0.01, seed=3),
    "sam": lambda inner: fo.SAM(inner),
    "asam": lambda inner: fo.ASAM(inner),
    "nested": lambda inner: fo.SAM(fo.EMA(fo.Lookahead(Clip(MultiSteps(inner, 2), norm=1.0)), 0.5)),
}
#: Whose norms are sums over several arrays, or whose numbers are powers.
ROUNDED = {"lamb", "tensor_norm", "clip", "asam", "sam", "nested"}


def problem(kind, dtype=np.float32, n=N):
    rs = np.random.RandomState(0)
    params = np.zeros(LAYOUT.size, dtype)
    for array in LAYOUT.weights(params) + LAYOUT.biases(params):
        array[...] = rs.uniform(-1, 1, array.shape) / np.sqrt(array.shape[0] + 1)
    X = rs.standard_normal((n, 6)).astype(dtype)
    Y = np.stack([np.tanh(2 * X[:, 0]), X[:, 1] * X[:, 2]], axis=1).astype(dtype)
    options = {"batch_size": BATCH, "alpha": 0.1}
    if kind != "dense":
        X[rs.uniform(size=X.shape) < 0.6] = 0
        options |= {"order": rs.permutation(n), "sample_weight": rs.uniform(0, 2, n).astype(dtype)}
        options["sample_weight"][options["order"][:BATCH]] = 0  # a batch without weight
    return params, sp.csr_matrix(X) if kind == "csr" else X, Y, options


class Training:
    """Training of the problem's network, by program or in Python."""

    def __init__(self, optimizer, by_program, kind="dense", dtype=np.float32, n_threads=1, run=None):
        self.params, self.X, self.Y, self.options = problem(kind, dtype)
        run = Run(8 * N_BATCHES, N_BATCHES, epochs_end_steps=True) if run is None else run
        self.update = optimizer.flat(LAYOUT.size, LAYOUT.n_decay, dtype, run)
        self.by_program, self.losses = by_program, []
        self.trainer = Trainer(LAYOUT, activation="tanh", out_activation="identity", loss="squared_error",
                               dtype=dtype, n_threads=n_threads)  # fmt: skip

    def epochs(self, n):
        for _ in range(n):
            self.update.train(self.params)
            with self._way():
                loss = self.trainer.train(self.params, self.X, self.Y, self.update, **self.options)
            self.update.eval(self.params)
            self.losses.append(loss)
        return self

    @contextlib.contextmanager
    def _way(self):
        """Let nothing but the program, or nothing but Python make steps; None: as it may be."""
        if self.by_program is None:
            yield
            return
        name = "apply" if self.by_program else "program"
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("error")
            if self.by_program:
                patch.setattr(LayerwiseState, name, None)
            else:
                patch.setattr(LayerwiseState, name, lambda *args: None)
            yield


def state(value):
    """Return what a state holds as a list of (place, number or array)."""
    found = []

    def walk(place, x):
        if isinstance(x, dict):
            for key in sorted(x, key=str):
                walk(f"{place}.{key}", x[key])
        elif isinstance(x, (list, tuple)):
            for i, one in enumerate(x):
                walk(f"{place}.{i}", one)
        else:
            found.append((place, x))

    saved = value.__getstate__()
    walk("", {name: saved[name] for name in ("t", "pending", "stepper")})
    return found


def assert_same(one, other, rtol=0.0):
    rtol = max(rtol, numpy_power.tolerance(one.params.dtype))
    np.testing.assert_allclose(one.params, other.params, rtol=rtol, atol=rtol)
    # The penalty's squares are added up tile by tile, and not by BLAS over all weights.
    np.testing.assert_allclose(
        one.losses, other.losses, rtol=max(rtol, 1e-6 if one.params.itemsize == 4 else 1e-13)
    )
    first, second = state(one.update), state(other.update)
    assert [place for place, _ in first] == [place for place, _ in second]
    for (place, a), (_, b) in zip(first, second, strict=True):
        assert type(a) is type(b), place
        if isinstance(a, (float, np.ndarray)) and np.asarray(a).dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol, err_msg=place)
        elif isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b, err_msg=place)
        else:
            assert a == b, place


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("name", WRAPPERS)
def test_every_wrapper_steps_as_in_python(name, inner):
    optimizer = WRAPPERS[name](INNER[inner])
    compiled, python = (Training(optimizer, by_program) for by_program in (True, False))
    assert_same(compiled.epochs(3), python.epochs(3), 1e-5 * bool(ROUNDED & {name, inner}))
    # What was saved half way goes on, by the other way, as if nothing had happened.
    again = pickle.loads(pickle.dumps(compiled.update))
    python.update, compiled.update = again, pickle.loads(pickle.dumps(again))
    python.params = compiled.params.copy()
    assert_same(compiled.epochs(2), python.epochs(2), 1e-5 * bool(ROUNDED & {name, inner}))


def test_gradients_that_are_left_over_go_on_after_a_pickle():
    """Seven batches an epoch, four gradients a step; the penalty is part of the first of them alone."""
    trainings = [Training(MultiSteps(INNER["adam"], 4), way, run=Run()) for way in (True, False)]
    for training in trainings:
        for pending in (0.75, 0.5, 0.25):
            training.update = pickle.loads(pickle.dumps(training.epochs(1).update))
            assert training.update.pending == pending
    assert_same(*trainings)


@pytest.mark.parametrize("name", WRAPPERS)
@pytest.mark.parametrize(("kind", "dtype"), [("csr", "float32"), ("weights", "float64")])
def test_sparse_and_weighted_rows_step_as_in_python(name, kind, dtype):
    optimizer = WRAPPERS[name](INNER["adam"])
    one, other = (Training(optimizer, way, kind, np.dtype(dtype)).epochs(3) for way in (True, False))
    rtol = {"float32": 1e-5, "float64": 1e-12}[dtype]
    assert_same(one, other, rtol * (name in ROUNDED))


@pytest.mark.parametrize("name", WRAPPERS)
def test_bits_do_not_depend_on_the_number_of_threads(name, monkeypatch):
    monkeypatch.setattr("fastopt.engine.cpu.trainer._PARALLEL_FLOPS", 1.0)
    monkeypatch.setattr("fastopt.kernels.work_queue.PARALLEL_BYTES", 1)  # kernels are shared, too
    monkeypatch.setattr(
        thread_count.ThreadChooser, "next", lambda chooser, n_left: (max(chooser._cost), n_left)
    )
    monkeypatch.setattr(thread_count.ThreadChooser, "record", lambda chooser, seconds: None)
    optimizer = WRAPPERS[name](INNER["lamb" if name == "clip" else "adam"])
    one, two = (Training(optimizer, True, n_threads=n).epochs(2) for n in (1, 2))
    assert one.losses == two.losses
    assert_same(one, two)


@pytest.mark.parametrize("name", ["clip", "multi", "cautious", "sam", "skip"])
@pytest.mark.parametrize("inner", ["adam", "lamb", "mechanic"])
def test_schedules_under_wrappers_step_as_in_python(name, inner):
    kind = {"adam": fo.AdamW, "lamb": fo.LAMB, "mechanic": fo.Mechanic}[inner]
    values = {"lr": linear(0.02, 3, unit="epoch"), "weight_decay": exponential(0.1, 0.9, every=2)}
    optimizer = WRAPPERS[name](kind(**values))
    for run in (None, Run(8 * N_BATCHES, N_BATCHES)):
        one, other = (Training(optimizer, way, run=run).epochs(4) for way in (True, False))
        assert_same(one, other, 1e-5)


def test_steps_with_gradients_that_are_not_finite_are_skipped_as_in_python():
    schedule = linear(0.02, 3, unit="epoch")
    for run in (None, Run(8 * N_BATCHES, N_BATCHES)):  # in partial_fit schedules count skipped steps, too
        trainings = [Training(SkipNonFinite(Adam(lr=schedule)), way, run=run) for way in (True, False)]
        for training in trainings:
            training.X[[3, 40, 41, 100]] = np.nan
            training.X[70] = 1e30  # its squares overflow, and it is finite
            training.epochs(3)
        assert_same(*trainings)
        skipped = dict(state(trainings[0].update))[".stepper.wrappers.0.n_skipped"]
        assert skipped >= 9


@pytest.mark.parametrize("inner", [lambda o: MultiSteps(o, 3), SkipNonFinite, lambda o: o])
def test_noise_goes_on_through_mini_batches_that_make_no_step(inner):
    """Its numbers are computed ahead, for 64 mini-batches at first, of which only some make a step."""
    optimizer = GradientNoise(inner(Adam(lr=0.01)), eta=0.01, seed=3)
    one, other = (Training(optimizer, way) for way in (True, False))
    for training in (one, other):
        training.X[::40] = np.nan if inner is SkipNonFinite else 1.0
    assert_same(one.epochs(24), other.epochs(24))


def test_hyper_parameters_may_change_between_epochs():
    # The slots of AdaGrad and the numbers of Prodigy begin with values of hyper-parameters.
    for inner in (INNER["adam"], INNER["lamb"], fo.Adagrad(initial_accumulator_value=0.1), fo.Prodigy()):
        trainings = [Training(Clip(inner, norm=0.1), way) for way in (True, False)]
        for training in trainings:
            for lr in (0.01, 0.002, 0.002, 0.03):
                training.update.hyper["lr"] = lr
                training.epochs(1)
        assert_same(*trainings, 1e-5)


def test_rules_may_change_between_epochs():
    trainings = [Training(Clip(fo.Adam(lr=0.01, weight_decay=0.1), norm=0.1), way) for way in (True, False)]
    for training in trainings:
        for flags in ({}, {"amsgrad": True}, {"maximize": True}, {"maximize": False, "lr": 0.002}):
            training.update.hyper.update(flags)
            training.epochs(2)
    assert_same(*trainings, 1e-5)


def test_an_evaluated_average_is_not_trained():
    training = Training(fo.EMA(Adam(lr=0.01), 0.5), True).epochs(1)
    training.by_program = False
    training.update.eval(training.params)
    with pytest.raises(RuntimeError, match="call train"):
        training.trainer.train(training.params, training.X, training.Y, training.update, **training.options)


class Interrupted(Exception):
    """Takes the place of Ctrl-C."""


def test_what_is_raised_between_slices_leaves_numbers_and_arrays_at_the_same_step(monkeypatch):
    monkeypatch.setattr("fastopt.engine.cpu.batch_runner._SLICE_FLOPS", 1)  # a slice is a batch
    training = Training(MultiSteps(Clip(GradientNoise(Adam(lr=0.01)), norm=0.1), 2), True).epochs(1)
    run, left = fo.engine.cpu.batch_runner.BatchRunner.run_program, [3]

    def interrupted(*arguments):
        run(*arguments)
        left[0] -= 1
        if not left[0]:
            raise Interrupted

    with monkeypatch.context() as patch, contextlib.suppress(Interrupted):
        patch.setattr(fo.engine.cpu.batch_runner.BatchRunner, "run_program", interrupted)
        training.epochs(1)
    again = Training(training.update.optimizer, False)
    again.epochs(1)
    again.X, again.Y = again.X[: 3 * BATCH], again.Y[: 3 * BATCH]
    again.update.begin(Run(8 * N_BATCHES, N_BATCHES))  # what is left over makes no step
    again.epochs(1)
    again.losses.pop()
    assert_same(training, again, 1e-5)
    assert training.update.pending == 0.5


#: Optimizers that make their steps in Python, and why.
IN_PYTHON = {"lbfgs": "each step searches along a line, by closures"}


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_no_optimizer_returns_to_python_between_mini_batches(name, monkeypatch):
    """However many batches, compiled code is entered once for an epoch, and seldom again by SOAP."""
    optimizer = OPTIMIZERS[name]()
    if name in IN_PYTHON:
        update = LayerwiseState(optimizer, LAYOUT.size, LAYOUT.n_decay, "float32", Run())
        assert update.program(np.zeros(LAYOUT.size, "f"), LAYOUT) is None
        return
    params, X, Y, options = problem("dense", n=40 * BATCH)
    update = optimizer.flat(LAYOUT.size, LAYOUT.n_decay, np.float32, Run(400, 40))
    trainer = Trainer(LAYOUT, activation="tanh", out_activation="identity", loss="squared_error",
                      dtype=np.float32, n_threads=1)  # fmt: skip
    run, n_runs = fo.engine.cpu.trainer.compilation.run, []
    monkeypatch.setattr("fastopt.engine.cpu.trainer.compilation.run", lambda *a: n_runs.append(run(*a)))
    monkeypatch.setattr(LayerwiseState, "apply", None)
    trainer.train(params, X, Y, update, **options)
    n_calls = CALLS.get(name, 0)
    assert len(n_runs) == 1 + n_calls
    assert update.t == 40


#: Optimizers whose programs call LAPACK through Python, and how often in 40 steps: at each, or every tenth.
CALLS = {"shampoo": 41, "soap": 4}


@pytest.fixture
def normalized():
    """Register a user's tensor rule; it divides by the norm of each gradient, by ``root``."""

    def make(root):
        @fo.sweep(sums=1)
        def square(g):
            return g * g

        @fo.sweep("w")
        def descend(w, g, *, step):
            return w - step * g

        @fo.tensor_rule("normalized", defaults={"lr": 0.1})
        def normalized(x, h):
            (squares,) = x.sweep(square)
            x.sweep(descend, step=h["lr"] / root(squares))

        return fo.get_optimizer("normalized", lr=0.01)

    yield make
    del TENSOR_RULES["normalized"], OPTIMIZERS["normalized"]


def test_a_users_tensor_rule_is_recorded(normalized):
    optimizer = normalized(np.sqrt)
    assert_same(Training(optimizer, True).epochs(2), Training(optimizer, False).epochs(2))


def test_a_users_rule_that_cannot_be_recorded_steps_in_python_and_says_so_once(normalized):
    optimizer = normalized(lambda squares: np.array([float(x) ** 0.5 for x in squares]))
    expected = Training(optimizer, False).epochs(2)
    trainings = [Training(optimizer, None) for _ in range(2)]
    with pytest.warns(UserWarning, match=r"normalized is made in Python.*needs a number.*float\(\)"):
        trainings[0].epochs(2)
    trainings[1].epochs(2)  # without a warning, which would be an error
    for training in trainings:
        assert_same(training, expected)
