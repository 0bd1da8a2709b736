"""The bound stepper: groups, skipped gradients, scaling, state."""

import copy

import numpy as np
import pytest
from reference.problems import SHAPES, advance, problem

import fastopt
from fastopt import EMA, LBFGS, SGD, Adam, AdamW, Mechanic, NAdam


def run(optimizer, params, steps, **options):
    stepper = optimizer.bind(params, **options)
    for grads in steps:
        advance(stepper, optimizer, grads)
    return stepper


def test_groups_have_their_own_hyper_parameters():
    a, b = np.ones(2), np.ones(2)
    SGD(lr=0.5).bind([{"params": a}, {"params": [b], "lr": 0.25}]).step([np.ones(2), np.ones(2)])
    assert (a[0], b[0]) == (0.5, 0.75)


def test_groups_may_need_different_rules():
    a, b, c = np.zeros(1), np.zeros(1), np.zeros(1)
    groups = [{"params": a}, {"params": b, "momentum": 0.5}, {"params": c, "momentum": 0.5, "nesterov": True}]
    stepper = SGD(lr=1.0).bind(groups)
    for _ in range(2):
        stepper.step([np.ones(1)] * 3)
    assert (a[0], b[0], c[0]) == (-2.0, -2.5, -3.25)


def test_a_group_after_one_of_several_arrays_has_its_own():
    arrays = [np.zeros(n) for n in (5, 3, 2, 4)]
    stepper = SGD(lr=1.0).bind([{"params": arrays[:2]}, {"params": arrays[2:], "lr": 0.5}])
    stepper.step([np.full(len(a), float(i)) for i, a in enumerate(arrays)])
    assert [a[0] for a in arrays] == [0.0, -1.0, -1.0, -1.5]
    assert [g["params"] for g in stepper.state_dict()["param_groups"]] == [[0, 1], [2, 3]]


def test_a_changed_learning_rate_counts_from_the_next_step():
    w = np.zeros(1)
    stepper = SGD(lr=1.0).bind(w)
    stepper.step(np.ones(1))
    stepper.param_groups[0]["lr"] = 0.5
    stepper.step(np.ones(1))
    assert w[0] == -1.5


def test_momentum_switched_on_later_keeps_going():
    w = np.zeros(1)
    stepper = SGD(lr=1.0).bind(w)
    stepper.step(np.ones(1))
    stepper.param_groups[0]["momentum"] = 0.5
    stepper.step(np.ones(1))
    stepper.step(np.ones(1))
    assert w[0] == -1 - 1 - 1.5


@pytest.mark.parametrize(("key", "value"), [("lr", -1.0), ("betas", (0.9, 1.0)), ("lrr", 0.1)])
def test_a_bad_value_in_a_live_group_refuses_the_step_and_changes_nothing(key, value):
    w = np.ones(2)
    stepper = Adam().bind(w)
    stepper.step(np.ones(2))
    kept = w.copy()
    stepper.param_groups[0][key] = value
    with pytest.raises(ValueError, match=key):
        stepper.step(np.ones(2))
    np.testing.assert_array_equal(w, kept)
    assert stepper.state_dict()["state"][0]["step"] == 1


def test_a_misspelled_group_key_is_refused_with_a_suggestion():
    with pytest.raises(ValueError, match="Did you mean 'weight_decay'"):
        AdamW().bind([{"params": np.ones(2), "weight_deacy": 0.1}])


def test_add_param_group_binds_more_arrays_later():
    a, b = np.zeros(1), np.zeros(1)
    stepper = SGD(lr=1.0).bind(a)
    stepper.step([np.ones(1)])
    stepper.add_param_group({"params": b, "lr": 0.5})
    stepper.step([np.ones(1), np.ones(1)])
    assert (a[0], b[0]) == (-2.0, -0.5)
    assert [group["lr"] for group in stepper.param_groups] == [1.0, 0.5]


def test_a_refused_group_leaves_the_stepper_as_it_was():
    w = np.zeros(2)
    stepper = SGD(lr=1.0).bind(w)
    with pytest.raises(ValueError, match="same memory"):
        stepper.add_param_group({"params": w})
    stepper.step([np.ones(2)])
    assert (w == -1).all()


def test_a_none_gradient_skips_its_parameter_and_does_not_count_the_step():
    params, steps = problem(np.float64, n_steps=6)
    alone = [p.copy() for p in params]
    stepper = Adam(lr=0.1).bind(params)
    for i, grads in enumerate(steps):
        stepper.step([g if i % 2 else (None if j == 0 else g) for j, g in enumerate(grads)])
    expected = run(Adam(lr=0.1), alone[0], [grads[0] for grads in steps[1::2]])
    np.testing.assert_array_equal(params[0], alone[0])
    assert stepper.state_dict()["state"][0]["step"] == expected.state_dict()["state"][0]["step"] == 3
    assert stepper.state_dict()["state"][1]["step"] == 6


def test_all_gradients_may_be_none():
    w = np.ones(2)
    stepper = Adam().bind(w)
    stepper.step([None])
    stepper.step([None])
    assert (w == 1).all()
    assert stepper.state_dict()["state"] == {}


def test_a_gradient_that_was_freed_is_not_mistaken_for_a_skipped_one():
    w = np.zeros(2)
    stepper = SGD(lr=1.0).bind(w)
    stepper.step([np.ones(2)])
    stepper.step([None])
    assert (w == -1).all()


def test_grad_scale_multiplies_the_gradients_before_the_decay():
    a, b = np.ones(5), np.ones(5)
    g = np.arange(5.0)
    SGD(lr=0.1, weight_decay=0.5).bind(a).step(g, grad_scale=0.25)
    SGD(lr=0.1, weight_decay=0.5).bind(b).step(0.25 * g)
    np.testing.assert_array_equal(a, b)


def test_grad_scale_must_be_a_number():
    with pytest.raises(TypeError, match="grad_scale must be a number, not str"):
        SGD().bind(np.ones(2)).step(np.ones(2), grad_scale="2")


@pytest.mark.parametrize("name", sorted(fastopt.list_optimizers()))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_saved_state_goes_on_with_the_same_bits(name, dtype):
    params, steps = problem(dtype, n_steps=12)
    optimizer = fastopt.get_optimizer(name)
    stepper = run(optimizer, params, steps[:6])
    saved, copies = copy.deepcopy(stepper.state_dict()), [p.copy() for p in params]
    restored = fastopt.get_optimizer(name, lr=0.5).bind(copies)
    restored.load_state_dict(saved)
    for grads in steps[6:]:
        advance(stepper, optimizer, grads)
        advance(restored, optimizer, grads)
    for actual, expected in zip(copies, params, strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_a_state_dict_is_a_copy():
    w = np.ones(3)
    stepper = run(Adam(), w, [np.ones(3)])
    saved = stepper.state_dict()["state"][0]["exp_avg"]
    before = saved.copy()
    stepper.step(np.ones(3))
    np.testing.assert_array_equal(saved, before)


def break_state(key, value):
    def change(state):
        state["state"][0][key] = value

    return change


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (break_state("exp_avg", np.ones(3, np.float32)), TypeError, "never cast"),
        (break_state("exp_avg", np.ones(4)), ValueError, r"shape \(4,\)"),
        (break_state("exp_avg_sq", None), ValueError, "lacks"),
        (break_state("momentum_buffer", np.ones(3)), ValueError, "momentum_buffer"),
        (break_state("step", -1), ValueError, "step"),
        (lambda state: state["param_groups"].append({"params": []}), ValueError, "2 parameter groups"),
        (lambda state: state["param_groups"][0].update(params=[0, 1]), ValueError, "2 parameters"),
        (lambda state: state["param_groups"][0].update(lr=-1.0), ValueError, "lr"),
        (lambda state: state.pop("state"), ValueError, "a state_dict is"),
    ],
)
def test_a_bad_state_is_refused_and_changes_nothing(change, error, words):
    w = np.ones(3)
    stepper = run(Adam(), w, [np.ones(3)])
    kept = stepper.state_dict()
    state = stepper.state_dict()
    change(state)
    with pytest.raises(error, match=words):
        stepper.load_state_dict(state)
    np.testing.assert_array_equal(stepper.state_dict()["state"][0]["exp_avg"], kept["state"][0]["exp_avg"])


def test_nbytes_counts_the_state_only():
    params = [np.ones(shape, np.float32) for shape in SHAPES]
    assert Adam().bind(params).nbytes == 2 * 4 * sum(p.size for p in params)


def test_a_stepper_refuses_to_pickle_and_says_what_to_save():
    with pytest.raises(TypeError, match=r"state_dict\(\)"):
        copy.deepcopy(SGD().bind(np.ones(2)))


def test_nan_and_infinity_go_through():
    w = np.array([1.0, 1.0, 1.0])
    Adam().bind(w).step([np.array([np.nan, np.inf, 1.0])])
    assert np.isnan(w[:2]).all()
    assert np.isfinite(w[2])


def test_a_scalar_of_the_state_follows_each_parameter():
    """NAdam's product of momenta must not advance for a skipped parameter."""
    a, b = np.ones(2), np.ones(2)
    stepper = NAdam().bind([a, b])
    stepper.step([np.ones(2), None])
    stepper.step([np.ones(2), np.ones(2)])
    state = stepper.state_dict()["state"]
    fresh = run(NAdam(), np.ones(2), [np.ones(2)]).state_dict()["state"][0]
    assert state[1]["mu_product"] == fresh["mu_product"] != state[0]["mu_product"]


@pytest.mark.parametrize("name", sorted(fastopt.list_optimizers()))
def test_a_moment_never_stays_subnormal(name):
    w = np.zeros(40, np.float32)
    optimizer = fastopt.get_optimizer(name)
    stepper = run(optimizer, w, [np.full(40, 1e-3, np.float32)])
    for _ in range(1500):
        advance(stepper, optimizer, [np.zeros(40, np.float32)])
    for slot in stepper.state_dict()["state"][0].values():
        if isinstance(slot, np.ndarray):
            assert ((slot == 0) | (np.abs(slot) >= np.finfo(np.float32).tiny)).all()


@pytest.mark.parametrize("optimizer", [Adam(), EMA(Adam()), LBFGS(), Mechanic()], ids=repr)
def test_an_attribute_that_would_do_nothing_is_refused(optimizer):
    stepper = optimizer.bind(np.zeros(3))
    with pytest.raises(AttributeError, match=r"stepper\.param_groups\[0\]\['lr'\] = \.\.\."):
        stepper.lr = 0.1
    with pytest.raises(AttributeError, match=r"no attribute 'momentun' that can be set$"):
        stepper.momentun = 0.1
