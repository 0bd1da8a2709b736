"""Wrappers around an optimizer: against torch's functions, or loops written out here."""

import pickle

import numpy as np
import pytest
from reference.peers import needs_torch, torch
from reference.problems import distance, problem
from reference.wrapped import WRAPPED
from sklearn.base import clone
from sklearn.datasets import make_classification

import fastopt
from fastopt import (
    EMA,
    SGD,
    SWA,
    Adam,
    AdaptiveClip,
    Cautious,
    Centralize,
    Clip,
    Lookahead,
    MLPClassifier,
    MultiSteps,
    SkipNonFinite,
)
from fastopt.schedules import linear, step

theirs = torch and torch.optim.swa_utils

X, Y = make_classification(n_samples=100, n_features=6, random_state=0)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 5, "random_state": 0, "batch_size": 20, "tol": 0}

# As the parity tests of single optimizers: float64 roundings of 30 steps.
ROUNDING = 1e-12


def torch_run(params, steps, before=lambda tensors: None, after=lambda model: None, accumulate=1):
    """Train with torch's Adam at 0.1; ``before`` may change the gradients, ``after`` sees the weights."""
    model = torch.nn.Module()
    model.params = torch.nn.ParameterList([torch.nn.Parameter(torch.tensor(p)) for p in params])
    tensors = list(model.params)
    optimizer = torch.optim.Adam(tensors, lr=0.1)
    for k, grads in enumerate(steps):
        for tensor, g in zip(tensors, grads, strict=True):
            g = torch.tensor(g) / accumulate
            tensor.grad = g if k % accumulate == 0 else tensor.grad + g
        if k % accumulate == accumulate - 1:
            before(tensors)
            optimizer.step()
            after(model)
    return [t.detach().numpy() for t in tensors]


def run(optimizer, params, steps):
    stepper = optimizer.bind(params)
    for grads in steps:
        stepper.step(grads)
    return stepper


@needs_torch
@pytest.mark.parametrize(
    ("make", "averager"),
    [
        (
            lambda o: EMA(o, decay=0.9),
            lambda m: theirs.AveragedModel(m, multi_avg_fn=theirs.get_ema_multi_avg_fn(0.9)),
        ),
        (SWA, lambda m: theirs.AveragedModel(m)),
    ],
    ids=["EMA", "SWA"],
)
def test_averages_are_torchs(make, averager):
    params, steps = problem(np.float64, n_steps=30)
    averaged = []

    def after(model):
        averaged[:] = averaged or [averager(model)]
        averaged[0].update_parameters(model)

    fast = torch_run(params, steps, after=after)
    stepper = run(make(Adam(lr=0.1)), params, steps)
    assert distance(params, fast) < ROUNDING
    stepper.eval()
    assert distance(params, [p.detach().numpy() for p in averaged[0].module.params]) < ROUNDING
    with pytest.raises(RuntimeError, match=r"call train\(\)"):
        stepper.step(steps[0])
    stepper.train()
    assert distance(params, fast) < ROUNDING


def test_averaging_may_begin_late_and_be_rare():
    params, steps = problem(np.float64, n_steps=9)
    mean, weights = [p.copy() for p in params], [p.copy() for p in params]
    plain = SGD(lr=0.1).bind(weights)
    seen = []
    for k, grads in enumerate(steps, 1):
        plain.step(grads)
        if k in (5, 7, 9):
            seen.append([w.copy() for w in weights])
    mean = [np.mean(same, axis=0) for same in zip(*seen, strict=True)]
    stepper = run(SWA(SGD(lr=0.1), every=2, first=3), params, steps)
    stepper.eval()
    assert distance(params, mean) < ROUNDING


CLIPS = {
    "norm": (Clip(Adam(lr=0.1), norm=3.0), lambda ts: torch.nn.utils.clip_grad_norm_(ts, 3.0)),
    "value": (Clip(Adam(lr=0.1), value=0.3), lambda ts: torch.nn.utils.clip_grad_value_(ts, 0.3)),
    "tensor_norm": (
        Clip(Adam(lr=0.1), tensor_norm=1.5),
        lambda ts: [torch.nn.utils.clip_grad_norm_([t], 1.5) for t in ts],
    ),
    "all": (
        Clip(Adam(lr=0.1), norm=2.0, value=0.3, tensor_norm=1.5),
        lambda ts: [
            torch.nn.utils.clip_grad_value_(ts, 0.3),
            *(torch.nn.utils.clip_grad_norm_([t], 1.5) for t in ts),
            torch.nn.utils.clip_grad_norm_(ts, 2.0),
        ],
    ),
}


@needs_torch
@pytest.mark.parametrize("case", CLIPS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clipping_is_torchs(case, dtype):
    optimizer, before = CLIPS[case]
    params, steps = problem(dtype, n_steps=30)
    expected = torch_run(params, steps, before=before)
    kept = [[g.copy() for g in grads] for grads in steps]
    run(optimizer, params, steps)
    # float32: the norm is summed in another order, and Adam divides by small roots.
    assert distance(params, expected) < (ROUNDING if dtype == np.float64 else 1e-4)
    for grads, before in zip(steps, kept, strict=True):
        for g, b in zip(grads, before, strict=True):
            np.testing.assert_array_equal(g, b)  # gradients are never written


def test_the_norm_is_that_of_all_groups_and_of_the_scaled_gradients():
    a, b = np.zeros(1), np.zeros(1)
    stepper = Clip(SGD(lr=1.0), norm=1.0).bind([{"params": a}, {"params": b, "lr": 2.0}])
    stepper.step([np.array([6.0]), np.array([8.0])], grad_scale=0.5)
    np.testing.assert_allclose([a[0], b[0]], [-0.6, -1.6], rtol=1e-6)  # torch's 1e-6 beside a norm of 5
    stepper.step([None, np.array([0.5])])  # within bounds
    assert b[0] == pytest.approx(-2.6)


def test_not_a_number_is_not_clipped_away():
    w = np.zeros(2)
    Clip(SGD(lr=1.0), value=1.0).bind(w).step(np.array([np.nan, -9.0]))
    np.testing.assert_array_equal(w, [np.nan, 1.0])


@needs_torch
def test_accumulated_gradients_make_torchs_steps():
    params, steps = problem(np.float64, n_steps=30)
    expected = torch_run(params, steps, accumulate=3)
    run(MultiSteps(Adam(lr=0.1), n=3), params, steps)
    assert distance(params, expected) < ROUNDING


def test_an_infinite_gradient_does_not_outlive_its_step():
    w = np.zeros(1)
    stepper = MultiSteps(SkipNonFinite(SGD(lr=1.0)), n=2).bind(w)
    for g in (np.inf, 1.0, 1.0, 3.0):
        stepper.step(np.array([g]))
    assert w[0] == -2.0
    assert stepper.n_skipped == 1


@pytest.mark.parametrize(("dtype", "large"), [(np.float32, 1e30), (np.float64, 1e200)])
def test_a_gradient_whose_square_overflows_is_finite(dtype, large):
    w = np.zeros(2, dtype)
    stepper = SkipNonFinite(SGD(lr=1.0)).bind(w)
    stepper.step(np.array([large, 1.0], dtype))
    np.testing.assert_array_equal(w, np.array([-large, -1.0], dtype))
    stepper.step(np.array([large, 1.0], dtype), grad_scale=large)  # which makes it infinite
    assert stepper.n_skipped == 1


@needs_torch
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [1e25, np.inf, np.nan])
@pytest.mark.parametrize("options", [{"norm": 1.0}, {"tensor_norm": 1.0}, {"tensor_norm": 1.0, "norm": 1.0}])
def test_clipping_by_a_norm_that_is_not_finite_is_that_of_torch(value, options):
    """And silent. torch 2.13: 1e25 in float32 has an infinite norm, so all gradients become 0."""
    params = [np.ones((2, 3), np.float32), np.ones(3, np.float32)]
    grads = [np.full_like(p, 0.5) for p in params]
    grads[0][0, 0] = value
    tensors = [torch.tensor(p) for p in params]
    for tensor, g in zip(tensors, grads, strict=True):
        tensor.grad = torch.tensor(g)
    if "tensor_norm" in options:
        for tensor in tensors:
            torch.nn.utils.clip_grad_norm_([tensor], 1.0)
    if "norm" in options:
        torch.nn.utils.clip_grad_norm_(tensors, 1.0)
    torch.optim.SGD(tensors, lr=1.0).step()
    Clip(SGD(lr=1.0), **options).bind(params).step(grads)
    for p, tensor in zip(params, tensors, strict=True):
        np.testing.assert_allclose(p, tensor.numpy(), rtol=1e-6)  # a few roundings of float32


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [1e25, np.inf, np.nan, None])
@pytest.mark.parametrize("wrapper", [AdaptiveClip, Centralize, Cautious, EMA, fastopt.SAM, fastopt.ASAM])
def test_overflow_warns_of_nothing_and_stays_in_its_array(wrapper, value):
    """None stands for an array without elements. SAM has one norm for all arrays, which spreads NaN."""
    w, other = np.ones((0 if value is None else 2, 3), np.float32), np.ones(3, np.float32)
    g = np.full_like(w, 0.5)
    g[:1, :1] = value
    stepper, grads = wrapper(SGD(lr=0.5)).bind([w, other]), [g, np.ones(3, np.float32)]
    if wrapper.needs:
        stepper.step(closure=lambda: (1.0, grads))
    else:
        stepper.step(grads)
    if wrapper.needs and value is not None and not np.isfinite(value):
        assert np.isnan(w[0, 0]) or np.isinf(w[0, 0])  # the second gradient
    else:
        assert np.isfinite(other).all()
        assert (other < 1.0).all()


def test_schedules_count_the_steps_that_are_made():
    w = np.zeros(1)
    optimizer = MultiSteps(SGD(lr=linear(1.0) * step(1.0, 1, 0.5, unit="epoch")), n=2)
    stepper = optimizer.bind(w, n_steps=8, steps_per_epoch=4)
    for _ in range(8):
        stepper.step(np.ones(1))
    assert w[0] == -(1 + 0.75 + 0.25 + 0.125)


def test_what_is_accumulated_must_be_of_the_same_parameters():
    stepper = MultiSteps(SGD(), n=2).bind([np.zeros(1), np.zeros(1)])
    stepper.step([np.ones(1), None])
    with pytest.raises(ValueError, match="None must be the same"):
        stepper.step([np.ones(1), np.ones(1)])


def test_lookahead_is_algorithm_one():
    params, steps = problem(np.float64, n_steps=20)
    slow, fast = [p.copy() for p in params], [p.copy() for p in params]
    buffers = [np.zeros_like(p) for p in params]
    for k, grads in enumerate(steps, 1):
        for w, b, g in zip(fast, buffers, grads, strict=True):
            b[...] = 0.9 * b + g
            w -= 0.1 * b
        if k % 3 == 0:
            for w, s in zip(fast, slow, strict=True):
                s += 0.4 * (w - s)
                w[...] = s
    run(WRAPPED["Lookahead"], params, steps)
    assert distance(params, fast) < ROUNDING


def test_averages_go_with_an_optimizer_that_takes_a_closure():
    """L-BFGS with one iteration a step is gradient descent at first, whose average is known."""
    w = np.array([1.0])
    stepper = SWA(fastopt.LBFGS(lr=0.5, max_iter=1)).bind(w)
    seen = []
    for _ in range(3):
        stepper.step(closure=lambda: (0.5 * float(w @ w), [w.copy()]))
        seen.append(w.copy())
    stepper.eval()
    np.testing.assert_allclose(w, np.mean(seen, axis=0), rtol=1e-14)


def test_a_step_that_is_not_finite_changes_nothing_and_is_counted():
    params, steps = problem(np.float64, n_steps=4)
    expected = [p.copy() for p in params]
    bad = [g.copy() for g in steps[0]]
    bad[1][5] = np.inf
    run(Adam(lr=0.1), expected, steps)
    stepper = run(WRAPPED["SkipNonFinite"], params, [*steps[:2], bad, *steps[2:]])
    for a, b in zip(params, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert stepper.state_dict()["state"][0]["step"] == 4
    assert stepper.n_skipped == 1


@pytest.mark.parametrize("name", WRAPPED)
def test_a_state_dict_goes_on_where_it_was_saved(name):
    params, steps = problem(np.float64, n_steps=20)
    start = [p.copy() for p in params]
    whole = run(WRAPPED[name], params, steps)
    half = run(WRAPPED[name], start, steps[:11])
    again = WRAPPED[name].bind(start)
    again.load_state_dict(pickle.loads(pickle.dumps(half.state_dict())))
    for grads in steps[11:]:
        again.step(grads)
    for one in (whole, again):
        one.eval()
    for a, b in zip(start, params, strict=True):
        np.testing.assert_array_equal(a, b)
    assert again.nbytes == whole.nbytes


def test_a_state_of_other_wrappers_is_refused_and_changes_nothing():
    stepper = EMA(Adam()).bind(np.ones(3))
    stepper.step(np.ones(3))
    kept = stepper.state_dict()
    bare, other = Adam().bind(np.ones(3)), Lookahead(Adam()).bind(np.ones(3))
    for state in (bare.state_dict(), other.state_dict()):
        with pytest.raises(ValueError, match="not of averages"):
            stepper.load_state_dict(state)
    with pytest.raises(ValueError, match="has arrays"):
        stepper.load_state_dict(EMA(Adam()).bind(np.ones(4)).state_dict())
    (now,), (before,) = (state["wrappers"] for state in (stepper.state_dict(), kept))
    np.testing.assert_array_equal(now["arrays"], before["arrays"])


@pytest.mark.parametrize("name", WRAPPED)
def test_the_bits_do_not_depend_on_the_number_of_threads(name):
    results = []
    for n_threads in (1, 2):
        params, steps = problem(np.float32, n_steps=6, shapes=((700, 300), (67,), (3, 1), ()))
        stepper = WRAPPED[name].bind(params, n_threads=n_threads)
        for grads in steps:
            stepper.step(grads)
        stepper.eval()
        results.append(params)
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


@needs_torch
def test_groups_memory_orders_and_torch_tensors():
    tensor = torch.zeros(4, dtype=torch.float64)
    fortran = np.asfortranarray(np.zeros((3, 2)))
    stepper = EMA(SGD(lr=1.0), decay=0.5).bind([{"params": tensor}, {"params": fortran, "lr": 0.5}])
    gradient = np.asfortranarray(np.arange(6.0).reshape(3, 2))
    for _ in range(2):
        stepper.step([torch.ones(4, dtype=torch.float64), gradient])
    stepper.eval()
    np.testing.assert_array_equal(tensor.numpy(), np.full(4, -1.5))
    np.testing.assert_array_equal(fortran, -0.75 * gradient)
    stepper.param_groups[0]["lr"] = 0.0
    stepper.train()
    np.testing.assert_array_equal(tensor.numpy(), np.full(4, -2.0))
    with pytest.raises(TypeError, match="cannot be added"):
        stepper.add_param_group({"params": np.ones(2)})


@pytest.mark.parametrize("name", WRAPPED)
def test_a_closure_gives_what_its_gradients_give(name):
    params, steps = problem(np.float64, n_steps=9)
    ours = [p.copy() for p in params]
    run(WRAPPED[name], params, steps)
    stepper = WRAPPED[name].bind(ours)
    for k, grads in enumerate(steps):
        assert stepper.step(closure=lambda k=k, grads=grads: (k, grads)) == k
    for a, b in zip(ours, params, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make", [lambda o: Clip(o, norm=1.0), MultiSteps, SkipNonFinite])
def test_rows_of_gradients_are_refused_where_all_are_needed(make):
    stepper = make(fastopt.SparseAdam()).bind(np.ones((4, 2)))
    with pytest.raises(TypeError, match="needs whole gradients"):
        stepper.step([(np.array([1]), np.ones((1, 2)))])


@pytest.mark.parametrize("name", WRAPPED)
def test_a_wrapper_is_a_value(name):
    wrapper = WRAPPED[name]
    assert eval(repr(wrapper), vars(fastopt) | vars(fastopt.schedules)) == wrapper
    assert clone(wrapper) == wrapper == pickle.loads(pickle.dumps(wrapper))
    assert any(name.endswith("optimizer__lr") for name in wrapper.get_params())
    with pytest.raises(TypeError, match="maximize"):
        type(wrapper)(Adam(), maximize=True)


@pytest.mark.parametrize(
    ("wrapper", "error", "words"),
    [
        (EMA(Adam(), decay=1.5), ValueError, r"EMA\(decay=1.5\): must be a number in \[0, 1\]"),
        (EMA(Adam(), every=0), ValueError, r"EMA\(every=0\): must be a whole number >= 1"),
        (Lookahead(Adam(), k=2.5), ValueError, "must be a whole number"),
        (MultiSteps(Adam(), n=0), ValueError, "must be a whole number >= 1"),
        (Clip(Adam(), norm=0.0), ValueError, "norm must be a finite number > 0"),
        (EMA("adam"), TypeError, "wraps an optimizer such as"),
        (EMA(SWA(Adam(), every=0)), ValueError, "SWA"),
        (EMA(Adam(lr=-1.0)), ValueError, "lr must be"),
        (Clip(fastopt.LBFGS(), norm=1.0), TypeError, "Clip works on gradients, but LBFGS takes a closure"),
    ],
)
def test_a_value_out_of_range_is_refused_by_bind_and_by_fit(wrapper, error, words):
    with pytest.raises(error, match=words):
        wrapper.bind(np.ones(2))
    with pytest.raises(error, match=words):
        MLPClassifier(solver=wrapper, **SMALL).fit(X, Y)
