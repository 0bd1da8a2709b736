"""Subnormal numbers: zeros within compiled loops, and nobody else's business."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest
from llvmlite import ir
from reference.control_register import control_bits, flushing, needs_register

from fastopt import SGD, Adam, MLPClassifier
from fastopt.engine import Layout, Trainer
from fastopt.engine.cpu import thread_count
from fastopt.kernels import subnormals
from fastopt.optimizers import RMSprop

pytestmark = pytest.mark.skipif(not subnormals.HAS_MODE, reason="this processor has no such mode")

#: Elements of a step that runs serially, and of one that runs on all threads.
SIZES = [100, 1_000_000]


def has_subnormals(*arrays):
    return any(((a != 0) & (np.abs(a) < np.finfo(a.dtype).tiny)).any() for a in arrays)


def halves_of_tiny(dtype=np.float32):
    """Return halves of the smallest normal number, which NumPy computes in the calling thread."""
    return np.full(100, np.finfo(dtype).tiny, dtype) / dtype(2)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_step_takes_subnormal_operands_and_results_as_zero(dtype, n):
    tiny = np.finfo(dtype).tiny
    w = np.zeros(n, dtype)
    SGD(lr=0.5).bind(w).step(np.full(n, tiny, dtype))  # the step would be tiny / 2
    np.testing.assert_array_equal(w, 0)
    SGD(lr=8.0).bind(w).step(np.full(n, tiny / 2, dtype))  # the step would be normal
    np.testing.assert_array_equal(w, 0)
    SGD(lr=1.0).bind(w).step(np.full(n, tiny, dtype))
    np.testing.assert_array_equal(w, -tiny)


@needs_register
@pytest.mark.parametrize("n", SIZES)
def test_a_step_restores_the_callers_mode(n):
    w, g = np.ones(n, np.float32), np.ones(n, np.float32)
    stepper = Adam().bind(w)
    before = control_bits()
    stepper.step(g)
    assert control_bits() == before
    assert has_subnormals(halves_of_tiny(), halves_of_tiny(np.float64))
    with flushing():
        own = control_bits()
        stepper.step(g)
        kept, computed = control_bits(), halves_of_tiny()
    assert kept == own != before
    assert not has_subnormals(computed)


def test_threads_of_the_pool_keep_their_own_mode():
    """Another library's parallel loop, after ours and in the same threads."""

    @numba.njit(parallel=True)
    def halve(x):
        for i in numba.prange(x.size):
            x[i] *= np.float32(0.5)

    w, g = np.ones(SIZES[1], np.float32), np.ones(SIZES[1], np.float32)
    stepper = Adam().bind(w)
    for _ in range(5):
        stepper.step(g)
        x = np.full(SIZES[1], np.finfo(np.float32).tiny)
        halve(x)
        assert (x > 0).all()


def test_another_thread_sees_its_own_mode_during_a_step():
    w, g = np.ones(SIZES[1], np.float32), np.ones(SIZES[1], np.float32)
    stepper = Adam().bind(w)
    stepper.step(g)
    with ThreadPoolExecutor(1) as executor:
        steps = executor.submit(lambda: [stepper.step(g) for _ in range(20)])
        seen = [has_subnormals(halves_of_tiny())]
        while not steps.done():
            seen.append(has_subnormals(halves_of_tiny()))
        steps.result()
    assert len(seen) > 1
    assert all(seen)


class AllWorkers:
    """In place of a `thread_count.ThreadChooser`: every batch with as many workers as allowed."""

    def __init__(self, most, flops):
        self.most = most

    def next(self, n_left):
        return self.most, n_left

    def record(self, seconds):
        pass


@needs_register
@pytest.mark.parametrize("optimizer", [RMSprop(lr=0.1), Adam(lr=0.1)], ids=repr)
def test_a_network_behind_dead_inputs_holds_no_subnormal_numbers(optimizer, monkeypatch):
    monkeypatch.setattr(thread_count, "ThreadChooser", AllWorkers)
    layout = Layout([200, 64, 2])
    rs = np.random.RandomState(0)
    X = rs.uniform(size=(256, 200)).astype("f")
    X[:, 100:] = 0
    Y = np.eye(2, dtype="f")[(X[:, :50].sum(1) > X[:, 50:].sum(1)).astype(int)]
    start = rs.uniform(-0.1, 0.1, layout.size).astype("f")
    layout.weights(start)[0][100:] *= np.float32(1e-36)
    results = []
    for n_threads in sorted({1, numba.config.NUMBA_NUM_THREADS}):
        trainer = Trainer(
            layout, activation="relu", out_activation="softmax", loss="log_loss",
            dtype=np.float32, n_threads=n_threads,
        )  # fmt: skip
        params = start.copy()
        update = optimizer.flat(layout.size, layout.n_decay, np.float32)
        before = control_bits()
        for _ in range(20):
            trainer.train(params, X, Y, update, batch_size=64, alpha=1e-4)
            assert control_bits() == before
        _, gradient = trainer.loss_and_gradient(params, X, Y, alpha=1e-4)
        outputs = trainer.predict(params, X)
        assert not has_subnormals(params, update.state, outputs)
        results.append([params.tobytes(), update.state.tobytes(), gradient.tobytes(), outputs.tobytes()])
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_no_probability_becomes_zero(n_classes, dtype):
    """Their logarithms are finite, although each probability here is far below the smallest normal number."""
    X, labels = np.eye(n_classes, dtype=dtype), np.arange(n_classes)
    network = MLPClassifier((), max_iter=1, tol=0).partial_fit(X, labels, classes=labels)
    for array in (*network.coefs_, *network.intercepts_):
        array[...] = 0
    network.coefs_[0][0, 0] = 2000 if n_classes > 2 else -2000  # of two, one probability is 1 less the other
    logarithms = network.predict_log_proba(X)
    assert np.isfinite(logarithms).all()
    np.testing.assert_allclose(logarithms[0].min(), np.log(np.finfo(dtype).tiny), atol=0.5)
    network.coefs_[0][0, 0] = np.nan
    assert np.isnan(network.predict_proba(X)[0]).all()


def test_the_code_for_aarch64_sets_and_restores_its_register():
    """LLVM may know that processor here, although this one is another."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = ir.Module()
    module.triple = "aarch64-unknown-linux-gnu"
    try:
        target = llvm.Target.from_triple(module.triple)
    except RuntimeError:
        pytest.skip("this LLVM compiles for no aarch64")
    register = subnormals.control_register(module.triple)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "probe")
    builder = ir.IRBuilder(function.append_basic_block())
    before = register.read(builder)
    register.write(builder, builder.or_(before, register.bits))
    register.write(builder, before)
    builder.ret_void()
    text = target.create_target_machine().emit_assembly(llvm.parse_assembly(str(module)))
    assert [line.split()[0] for line in re.findall(r"m[rs][rs]\s.*FPCR.*", text)] == ["mrs", "msr", "msr"]
    assert "#0x1000000" in text  # bit 24, FZ


@needs_register
def test_an_interrupted_fit_restores_the_mode(ctrl_c):
    X = np.random.RandomState(0).uniform(size=(500, 20))
    y = (X[:, 0] > 0.5).astype(int)
    before = control_bits()
    timer = threading.Timer(0.3, ctrl_c)
    timer.start()
    with pytest.warns(UserWarning, match="interrupted"):
        MLPClassifier((32,), max_iter=10**6, tol=0, n_iter_no_change=10**6).fit(X, y)
    timer.join()
    assert control_bits() == before
    assert has_subnormals(halves_of_tiny())
