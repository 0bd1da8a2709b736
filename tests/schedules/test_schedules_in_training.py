"""Schedules where they are used: the bound stepper and the flat state of the engine."""

import json
import pickle

import numpy as np
import pytest
from reference.peers import needs_torch, torch
from reference.problems import advance, distance, problem
from sklearn.base import clone
from sklearn.datasets import make_classification

import fastopt
from fastopt import SGD, Adam, AdamW, MLPClassifier
from fastopt.optimizers.base import OPTIMIZERS
from fastopt.schedules import (
    constant,
    cosine,
    exponential,
    function,
    linear,
    multistep,
    onecycle,
    plateau,
    step,
    warmup,
)

X, Y = make_classification(n_samples=100, n_features=6, random_state=0)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 6, "random_state": 0, "batch_size": 20, "tol": 0}


def by_hand(optimizer, changes, params, steps):
    """Step with numbers set before every step: what a schedule must amount to."""
    stepper = optimizer.bind(params)
    for k, grads in enumerate(steps):
        stepper.param_groups[0].update({name: values(k) for name, values in changes.items()})
        stepper.step(grads)
    return params


SCHEDULED = {
    "lr": (Adam(), {"lr": cosine(0.1, 20)}),
    "momentum": (SGD(lr=0.1, nesterov=True, momentum=0.9), {"momentum": linear(0.5, 20, 0.99)}),
    "a beta and decoupled decay": (
        AdamW(),
        {
            "betas": (linear(0.8, 20, 0.95), 0.99),
            "weight_decay": exponential(0.5, 0.9, 1),
            "lr": step(0.1, 7),
        },
    ),
    "coupled decay": (Adam(), {"weight_decay": linear(0.3, 25)}),
    "both betas and eps": (Adam(), {"betas": (constant(0.9), linear(0.9, 9, 0.99)), "eps": constant(1e-3)}),
    "a rule with scalars": (
        fastopt.NAdam(),
        {"lr": cosine(0.1, 20), "betas": (0.9, linear(0.99, 30, 0.999))},
    ),
    "a rule whose state begins with lr": (fastopt.ASGD(), {"lr": linear(0.1, 20, 0.2)}),
}


def numbers(value):
    """Return a function of k for a schedule, or a tuple with some."""
    if isinstance(value, tuple):
        return lambda k: tuple(v(k) if callable(v) else v for v in value)
    return value


@pytest.mark.parametrize("case", SCHEDULED)
def test_a_stepper_does_what_setting_the_values_by_hand_does(case):
    optimizer, changes = SCHEDULED[case]
    params, steps = problem(np.float64, n_steps=80)
    ours = [p.copy() for p in params]
    first = {name: numbers(value)(0) for name, value in changes.items()}
    by_hand(clone(optimizer).set_params(**first), {n: numbers(v) for n, v in changes.items()}, params, steps)
    stepper = clone(optimizer).set_params(**changes).bind(ours)
    for grads in steps:
        stepper.step(grads)
    for a, b in zip(ours, params, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("case", SCHEDULED)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_engines_constants_are_those_of_the_numbers_of_each_step(case, dtype):
    optimizer, changes = SCHEDULED[case]
    ahead = clone(optimizer).set_params(**changes).flat(4, 4, dtype)
    first = {name: numbers(value)(0) for name, value in changes.items()}
    slow = clone(optimizer).set_params(**first).flat(4, 4, dtype)
    rows = ahead.constants(90)
    for k in range(90):
        slow.hyper.update({name: numbers(value)(k) for name, value in changes.items()})
        # A power of an array and one of a number may round differently; float32 rounds it away or doubles it.
        np.testing.assert_allclose(rows[k], slow.constants(1)[0], rtol=4 * np.finfo(dtype).eps)
        slow.advance(1)


def in_schedules(value):
    """Return a hyper-parameter with a constant schedule in place of every finite number."""
    if isinstance(value, tuple):
        return tuple(map(in_schedules, value))
    return constant(value) if type(value) is float and np.isfinite(value) else value


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_number_of_every_optimizer_may_be_a_schedule(name):
    plain = fastopt.get_optimizer(name)
    changes = {name: in_schedules(value) for name, value in plain.get_params(deep=False).items()}
    scheduled = clone(plain).set_params(**changes)
    results = []
    for optimizer in (plain, scheduled):
        params, steps = problem(np.float64, n_steps=5)
        stepper = optimizer.bind(params)
        for grads in steps:
            advance(stepper, optimizer, grads)
        results.append(params)
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
    scheduled.bind([p.copy() for p in params]).load_state_dict(stepper.state_dict())


@pytest.mark.parametrize("case", SCHEDULED)
def test_constants_do_not_depend_on_how_many_steps_are_folded_at_once(case):
    optimizer, changes = SCHEDULED[case]
    optimizer = clone(optimizer).set_params(**changes)
    whole = optimizer.flat(8, 8, np.float64).constants(400)
    pieces, update = [], optimizer.flat(8, 8, np.float64)
    for n_steps in (1, 2, 3, 61, 64, 100, 169):
        pieces.append(update.constants(n_steps).copy())
        update.advance(n_steps)
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


@needs_torch
@pytest.mark.parametrize(
    ("ours", "make"),
    [
        (
            onecycle(0.1, 100),
            lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, 100, cycle_momentum=False),
        ),
        (cosine(0.01, 60, periodic=True), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 60)),
    ],
)
def test_training_ends_where_torch_with_its_scheduler_ends(ours, make):
    params, steps = problem(np.float64)
    tensors = [torch.tensor(p, requires_grad=True) for p in params]
    optimizer = torch.optim.AdamW(tensors, lr=0.01)
    scheduler = make(optimizer)
    stepper = AdamW(lr=ours).bind(params)
    for k, grads in enumerate(steps):
        for tensor, g in zip(tensors, grads, strict=True):
            tensor.grad = torch.tensor(g)
        optimizer.step()
        if k < 99:
            scheduler.step()
        stepper.step(grads)
    # As the parity test without schedules: 100 steps of rounding in float64.
    assert distance(params, [t.detach().numpy() for t in tensors]) < 1e-12


def test_every_call_of_step_counts_whichever_gradients_are_missing():
    a, b = np.zeros(1), np.zeros(1)
    stepper = SGD(lr=multistep(1.0, (1,), 0.5)).bind([a, b])
    stepper.step([np.ones(1), None])
    stepper.step([np.ones(1), np.ones(1)])
    assert (a[0], b[0]) == (-1.5, -0.5)  # b's first step is the run's second


def test_groups_have_their_own_schedules_and_live_ones_may_be_replaced():
    a, b = np.zeros(1), np.zeros(1)
    stepper = SGD(lr=1.0).bind([{"params": a, "lr": step(1.0, 1, 0.5)}, {"params": b}])
    for _ in range(2):
        stepper.step([np.ones(1), np.ones(1)])
    assert (a[0], b[0]) == (-1.5, -2.0)
    assert [group["lr"] for group in stepper.current_values()] == [0.25, 1.0]
    stepper.param_groups[0]["lr"] = 2.0
    stepper.param_groups[1]["lr"] = linear(8.0, 4)
    stepper.step([np.ones(1), np.ones(1)])
    assert (a[0], b[0]) == (-3.5, -6.0)  # the schedule is asked for step 2 of the run
    assert "params" not in stepper.current_values()[0]


def test_bind_tells_schedules_how_long_the_run_is():
    w = np.zeros(1)
    stepper = SGD(lr=linear(1.0) * step(1.0, 1, 0.5, unit="epoch")).bind(w, n_steps=4, steps_per_epoch=2)
    for _ in range(4):
        stepper.step(np.ones(1))
    assert w[0] == -(1 + 0.75 + 0.25 + 0.125)
    with pytest.raises(ValueError, match="needs n_steps"):
        SGD(lr=linear(1.0)).bind(w)


def test_momentum_that_begins_at_zero_has_its_buffer_from_the_start():
    w = np.zeros(1)
    stepper = SGD(lr=1.0, momentum=linear(0.0, 2, 1.0)).bind(w)
    for _ in range(3):
        stepper.step(np.ones(1))
    assert w[0] == -(1 + 1.5 + 2.5)


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        (
            SGD(lr=linear(1.0, 10, -1.0)),
            r"lr must be a finite number >= 0; this is what lr=linear\(value=1.0",
        ),
        (Adam(betas=(0.9, linear(0.9, 10, 1.0))), r"betas must be a number in \[0, 1\); this is what betas="),
        (SGD(lr=function(lambda k: float("nan") if k == 20 else 1.0)), "lr must be a finite number"),
        (SGD(momentum=linear(0.9, 10), nesterov=True), "needs momentum > 0"),
    ],
)
def test_a_schedule_that_leaves_the_range_is_refused_with_its_name(optimizer, words):
    with pytest.raises(ValueError, match=words):
        optimizer.flat(4, 4, np.float64).constants(100)
    with pytest.raises(ValueError, match=words):
        optimizer.bind(np.ones(2))  # which evaluates the first steps


def test_a_switch_cannot_be_a_schedule():
    with pytest.raises(TypeError, match="amsgrad must be True or False, not float"):
        Adam(amsgrad=constant(1.0)).bind(np.ones(2))


def test_a_state_dict_carries_the_schedules_and_where_they_are():
    params, steps = problem(np.float64, n_steps=40)
    start = [p.copy() for p in params]
    optimizer = Adam(lr=warmup(plateau(0.1, 0.5, 0), 10), betas=(linear(0.8, 30, 0.9), 0.99))

    def epoch(stepper, which):
        for grads in which:
            stepper.step(grads)
        stepper.observe(1.0)

    whole = optimizer.bind(params)
    for first in range(0, 40, 10):
        epoch(whole, steps[first : first + 10])
    half = optimizer.bind(start)
    epoch(half, steps[:10])
    epoch(half, steps[10:20])
    saved = pickle.loads(pickle.dumps(half.state_dict()))
    again = optimizer.bind(start)
    again.load_state_dict(saved)
    epoch(again, steps[20:30])
    epoch(again, steps[30:])
    for a, b in zip(start, params, strict=True):
        np.testing.assert_array_equal(a, b)
    assert whole.current_values()[0]["lr"] == again.current_values()[0]["lr"] == 0.1 * 0.5**3


@pytest.mark.parametrize("name", ["muon", "normuon"])
def test_a_schedule_is_loaded_for_arrays_that_a_fallback_updates(name):
    optimizer = fastopt.get_optimizer(name, lr=cosine(0.1, 5))
    arrays, grads = [np.eye(3), np.ones(3)], [np.ones((3, 3)), np.ones(3)]
    stepper = optimizer.bind(arrays)
    stepper.step(grads)
    copies = [array.copy() for array in arrays]
    again = optimizer.bind(copies)
    again.load_state_dict(stepper.state_dict())
    for one in (stepper, again):
        one.step(grads)
    np.testing.assert_array_equal(copies[1], arrays[1])


def test_a_state_without_schedules_is_torchs_and_nothing_more():
    stepper = Adam().bind(np.ones(2))
    stepper.step(np.ones(2))
    state = stepper.state_dict()
    assert set(state) == {"state", "param_groups"}
    json.dumps(state["param_groups"])


def test_a_refused_load_leaves_the_schedules_step():
    stepper = SGD(lr=step(1.0, 1, 0.5)).bind(np.ones(2))
    stepper.step(np.ones(2))
    state = stepper.state_dict()
    for bad in ("x", -1, 1.5):
        with pytest.raises(ValueError, match="step"):
            stepper.load_state_dict(state | {"step": bad})
    assert stepper.current_values()[0]["lr"] == 0.5


LAYERWISE = {
    "norms": fastopt.LAMB(lr=0.01),
    "matrices": fastopt.Muon(lr=0.02),
    "one number for all": fastopt.Prodigy(),
    "two modes": fastopt.ScheduleFreeAdamW(lr=0.01),
    "factors": fastopt.Adafactor(lr=0.02),
}


@pytest.mark.parametrize("case", LAYERWISE)
def test_rules_over_whole_tensors_do_what_setting_lr_by_hand_does(case):
    optimizer, schedule = LAYERWISE[case], cosine(0.1, 12)
    params, steps = problem(np.float64, n_steps=15)
    ours = [p.copy() for p in params]
    by_hand(clone(optimizer).set_params(lr=schedule(0)), {"lr": schedule}, params, steps)
    stepper = clone(optimizer).set_params(lr=schedule).bind(ours)
    for grads in steps:
        stepper.step(grads)
    for a, b in zip(ours, params, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("case", LAYERWISE)
def test_rules_over_whole_tensors_follow_a_schedule_in_the_estimator(case):
    """One step an epoch, so that training by hand can set a rate for each."""
    settings = SMALL | {"batch_size": 100, "shuffle": False}
    solver = clone(LAYERWISE[case])
    ours = MLPClassifier(solver=clone(solver).set_params(lr=linear(0.1)), **settings).fit(X, Y)
    theirs = MLPClassifier(solver=solver, **settings | {"max_iter": 1})
    theirs.set_params(warm_start=True, reset_optimizer=False)
    curve = []
    for rate in linear(0.1)(np.arange(6), n_steps=6):
        theirs.set_params(solver__lr=float(rate))
        curve.append(theirs.fit(X, Y).loss_)
    np.testing.assert_allclose(ours.loss_curve_, curve, rtol=1e-12)
    again = pickle.loads(pickle.dumps(ours))
    assert again._optimizer.learning_rate == ours._optimizer.learning_rate == 0.0
