"""Tensor rules recorded as programs, against the same rules executed step by step."""

import itertools

import numpy as np
import pytest
from reference import numpy_power

import fastopt
from fastopt.optimizers.base import OPTIMIZERS
from fastopt.schedules import cosine
from fastopt.stepping.tracing import TraceError, record

#: Weights and biases of the network of bench's case S1, with an array of one element among them.
SHAPES = ((10, 32), (32, 16), (16, 1), (32,), (16,), (1,))
N_STEPS = 20

#: Rules that add up a row or column of more than 8 numbers, or chunks: NumPy does it in pairs, a program one
#: after the other. All others do the same operations in the same order, the same bits where ``**`` is one
#: function in both.
IN_PAIRS = {"adafactor", "normuon"}
#: Closures with line searches; a stepper around another one, which `fastopt.stepping.mechanic` records.
APART = {"lbfgs", "mechanic"}
#: Without the parts of a group's biases that NumPy would sum otherwise.
ROUNDING = {np.float32: 1e-6, np.float64: 1e-13}


def bound(optimizer, dtype, shapes=SHAPES, order="C"):
    """Return arrays, their gradients, and the stepper: two groups, of which one has no decay."""
    rng = np.random.default_rng(0)
    params = [np.asarray(rng.standard_normal(shape), dtype, order=order) for shape in shapes]
    decay = {"weight_decay": 0.0} if "weight_decay" in optimizer.get_params() else {}
    groups = [{"params": params[:3]}, {"params": params[3:], **decay}]
    return params, [np.zeros_like(p) for p in params], optimizer.bind(groups, n_steps=50)


def program_of(stepper, grads):
    stepper.step(
        grads, **({"loss": 1.0} if stepper.bound.optimizer.needs else {})
    )  # nothing new from here on
    return record(
        lambda loss: step(stepper, grads, loss), stepper.bound.cells(), 1, stepper.bound.cells()[-1]
    )


def step(stepper, grads, loss):
    stepper.step(grads, **({"loss": loss} if stepper.bound.optimizer.needs else {}))


def race(optimizer, dtype, shapes=SHAPES, slices=(12, 8), gradients=None, order="C"):
    """Make steps by program, and one by one; return both lists of arrays, and both states."""
    (params, grads, stepper), (others, other_grads, other) = (
        bound(optimizer, dtype, shapes, order) for _ in range(2)
    )
    program = program_of(stepper, grads)
    step(other, other_grads, 1.0)
    rng = np.random.default_rng(1)
    for n in slices:
        program.load(n)
        for k in range(n):
            for g, h in zip(grads, other_grads, strict=True):
                g[...] = h[...] = rng.standard_normal(g.shape) if gradients is None else gradients(k)
            program.run(1.0 + 0.5**k)
            step(other, other_grads, 1.0 + 0.5**k)
        program.save()
    return params, others, *(numbers_of(one.state_dict()) for one in (stepper, other))


def numbers_of(state):
    """Return all numbers of a state in order, and their types."""
    entries = [value for _, own in sorted(state["state"].items()) for value in own.values()]
    arrays = [np.ravel(value) for value in entries]
    return np.concatenate(arrays or [np.zeros(0)]).astype(np.float64), [type(value) for value in entries]


TENSORWISE = [
    name
    for name, cls in sorted(OPTIMIZERS.items())
    if name not in APART and bound(cls(), np.float64)[2].bound.tensorwise
]


def test_every_tensor_rule_is_tried():
    assert len(TENSORWISE) >= 17, TENSORWISE


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", TENSORWISE)
def test_a_program_makes_the_same_steps(name, dtype):
    params, others, state, other_state = race(fastopt.get_optimizer(name), dtype)
    tolerance = max(ROUNDING[dtype] * (name in IN_PAIRS), numpy_power.tolerance(dtype))
    for a, b in zip(params, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(state[0], other_state[0], rtol=tolerance, atol=tolerance)
    assert state[1] == other_state[1]


@pytest.mark.parametrize("name", ["lamb", "muon", "noisysgd"])
def test_schedules_are_computed_ahead(name):
    optimizer = fastopt.get_optimizer(name, lr=cosine(0.1))
    params, others, *_ = race(optimizer, np.float64)
    tolerance = numpy_power.tolerance(np.float64)
    for a, b in zip(params, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", TENSORWISE)
def test_gradients_of_zero_and_of_nothing_finite_take_the_same_way(name):
    params, others, *_ = race(
        fastopt.get_optimizer(name),
        np.float64,
        slices=(6,),
        gradients=[0.0, 0.0, 1.0, np.nan, 1.0, np.inf].__getitem__,
    )
    for a, b in zip(params, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("name", ["lamb", "adafactor", "sm3"])
def test_arrays_of_several_chunks_in_either_order(name, order):
    """Arrays of up to 13 chunks, which NumPy adds up in pairs from 9 on."""
    shapes = ((300, 700), (7, 1100), (3, 4), (500,), (9,), (2,))
    params, others, *_ = race(fastopt.get_optimizer(name), np.float64, shapes, (3,), order=order)
    for a, b in zip(params, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_tensors_that_begin_apart_have_registers_of_their_own():
    params, grads, stepper = bound(fastopt.LAMB(), np.float64)
    others, other_grads, other = bound(fastopt.LAMB(), np.float64)
    for one, of in ((stepper, grads), (other, other_grads)):
        one.step([None, *of[1:]])
    program = program_of(stepper, grads)
    step(other, other_grads, 1.0)
    program.load(5)
    for k in range(5):
        for g, h in zip(grads, other_grads, strict=True):
            g[...] = h[...] = k - 1.5
        program.run(1.0)
        step(other, other_grads, 1.0)
    program.save()
    assert [stepper.state_dict()["state"][i]["step"] for i in range(6)] == [6, 7, 7, 7, 7, 7]
    tolerance = numpy_power.tolerance(np.float64)
    for a, b in zip(params, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


counter = itertools.count()


@pytest.fixture
def own_rule():
    """Return a function that registers a tensor rule under a name of its own and returns its optimizer."""

    def register(function, **options):
        name = f"recorded_{next(counter)}"
        fastopt.tensor_rule(name, defaults={"lr": 0.1}, **options)(function)
        return fastopt.get_optimizer(name)

    return register


@fastopt.sweep("m", sums=1)
def _average(g, m, *, d):
    m = m + d * (g - m)
    return m, m * m


@fastopt.sweep("w")
def _move(w, m, *, lr):
    return w - lr * m


def test_a_users_own_rule_is_recorded(own_rule):
    def own(x, h):
        (squares,) = x.sweep(_average, d=np.where(x.t == 1, 1.0, 0.1))
        largest = x.shared["largest"] = np.maximum(x.shared["largest"], squares.max())
        if largest > 100.0:
            return
        halved = x.call(lambda total: x.arrays("m")[0][:1] + total, squares.sum(), shape=(1,))
        x.sweep(_move, lr=h["lr"] / (1.0 + np.sqrt(squares)) * np.exp(-np.abs(halved[0])))

    optimizer = own_rule(own, slots={"m": "average"}, shared={"largest": 0.0})
    params, others, state, other_state = race(optimizer, np.float64)
    for a, b in zip(params, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-15)  # exp is the C library's
    np.testing.assert_array_equal(state[0], other_state[0])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            lambda x, sums: float(sums[0].sum()),
            "needs a number where a value is known only when the step runs",
        ),
        (lambda x, sums: x.arrays("m")[0] * 2.0, "use them inside x.call or x.prepared"),
        (lambda x, sums: np.linalg.svd(sums), "np.svd is not recorded"),
        (lambda x, sums: x.sweep(_move, lr=next(counter)), "did something else when it was recorded again"),
    ],
)
def test_a_rule_that_cannot_be_recorded_says_why(own_rule, body, reason):
    def own(x, h):
        body(x, x.sweep(_average, d=1.0))

    params, grads, stepper = bound(own_rule(own, slots={"m": "average"}), np.float64)
    before = [p.copy() for p in params]
    with pytest.raises(TraceError, match=reason):
        record(lambda: stepper.step(grads), stepper.bound.cells())
    assert stepper.n_steps == 0
    for a, b in zip(params, before, strict=True):
        np.testing.assert_array_equal(a, b)
