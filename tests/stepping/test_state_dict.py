"""Loading and saving: what matches in meaning is taken, what does not is named, and any format holds it."""

import copy
import io
import json

import numpy as np
import pytest
from reference.peers import needs_torch, torch

import fastopt
from fastopt import EMA, LAMB, LBFGS, SGD, Adam, AdamW, Lion, Mechanic, MultiSteps, Rprop, ScheduleFreeSGD
from fastopt.schedules import constant, cosine, function, plateau, sequence, warmup

G = np.array([0.5, -1.0, 2.0])


def stepped(optimizer, n_steps=3, dtype=np.float64):
    w = np.ones(3, dtype)
    stepper = optimizer.bind(w)
    for k in range(n_steps):
        stepper.step((k + 1) * G.astype(dtype))
    return w, stepper


def test_keys_that_json_made_strings_are_taken():
    (w, first), (v, second) = stepped(Adam(lr=0.1)), stepped(Adam(lr=0.1), 1)
    saved = first.state_dict()
    saved["state"] = {str(key): value for key, value in saved["state"].items()}
    v[...] = w
    second.load_state_dict(saved)
    for stepper in (first, second):
        stepper.step(G)
    np.testing.assert_array_equal(v, w)


def test_state_of_parameters_that_are_not_there_is_refused():
    _, stepper = stepped(Adam())
    saved = stepper.state_dict()
    saved["state"][7] = saved["state"][0]
    with pytest.raises(ValueError, match=r"state of \[7\], which none of its param_groups names"):
        stepper.load_state_dict(saved)


FOREIGN = [  # optimizer, what the group of another library's has besides, what the message names
    (fastopt.RAdam(), {"rbar": 1999.0}, "'rbar'"),
    (fastopt.LARS(), {"trust_coeff": 0.001, "trust_clip": False}, "'trust_coeff'"),
    (fastopt.AdaBelief(), {"rectify": True}, "'rectify'"),
    (AdamW(), {"decoupled_weight_decay": False}, "decoupled_weight_decay=False"),
]


@pytest.mark.parametrize(("optimizer", "extra", "named"), FOREIGN, ids=lambda x: type(x).__name__)
def test_the_state_of_another_library_is_refused_by_name(optimizer, extra, named):
    _, stepper = stepped(optimizer)
    saved = stepper.state_dict()
    saved["param_groups"][0] |= extra
    before = copy.deepcopy(stepper.state_dict())
    with pytest.raises(ValueError, match=named):
        stepper.load_state_dict(saved)
    assert repr(stepper.state_dict()) == repr(before)


def test_what_torch_says_of_its_own_workings_is_ignored():
    _, stepper = stepped(Adam())
    saved = stepper.state_dict()
    saved["param_groups"][0] |= {"foreach": None, "fused": True, "initial_lr": 0.5, "max_momentum": 0.95}
    stepper.load_state_dict(saved)


@pytest.mark.parametrize("optimizer", [Lion(lr=0.1), SGD(lr=0.1, momentum=0.9), fastopt.Signum(lr=0.1)])
def test_a_missing_step_that_no_constant_depends_on_is_no_matter(optimizer):
    w, stepper = stepped(optimizer)
    v, other = stepped(optimizer, 1)
    saved = stepper.state_dict()
    del saved["state"][0]["step"]
    other.load_state_dict(saved)
    v[...] = w
    for one in (stepper, other):
        one.step(G)
    np.testing.assert_array_equal(v, w)


def test_a_missing_step_that_is_needed_is_named():
    _, stepper = stepped(Adam())
    saved = stepper.state_dict()
    del saved["state"][0]["step"]
    with pytest.raises(ValueError, match="lacks 'step', which 'adam' needs"):
        stepper.load_state_dict(saved)


CORRUPT = [
    (lambda s: s.update(param_groups="x"), "list of dicts"),
    (lambda s: s.update(state=[]), "dict of dicts"),
    (lambda s: s["state"].update({0: None}), r"state\[0\] of a state_dict is a dict"),
    (lambda s: s["state"][0].update(step=float("nan")), "'step'"),
    (lambda s: s["state"][0].update(step=float("inf")), "'step'"),
    (lambda s: s["state"][0].update(step=True), "'step'"),
    (lambda s: s["state"][0].update(step=np.ones(2)), "'step'"),
    (lambda s: s["param_groups"][0].pop("params"), "no list 'params'"),
    (lambda s: s["param_groups"][0].update(lr="fast"), "lr"),
    (lambda s: s["param_groups"][0].update(learning_rate=0.1), "'learning_rate'.*Adam"),
]


@pytest.mark.parametrize(("spoil", "named"), CORRUPT)
def test_a_corrupt_state_is_named_and_changes_nothing(spoil, named):
    _, stepper = stepped(Adam())
    saved, before = stepper.state_dict(), repr(stepper.state_dict())
    spoil(saved)
    with pytest.raises((ValueError, TypeError), match=named):
        stepper.load_state_dict(saved)
    assert repr(stepper.state_dict()) == before


SCHEDULES = {
    "cosine": cosine(0.1, 10),
    "nested": sequence([warmup(constant(0.1), 3), cosine(0.2, 20)], [5]),
    "betas": None,
}


def is_plain(value):
    if isinstance(value, dict):
        return all(type(key) in (str, int) and is_plain(one) for key, one in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return value is None or type(value) in (bool, int, float, str) or (torch and type(value) is torch.Tensor)


@needs_torch
@pytest.mark.parametrize(
    "optimizer",
    [
        Adam(lr=np.float64(0.1)),
        Adam(lr=cosine(0.1, 10), betas=(cosine(0.9, 10), np.float32(0.5))),
        EMA(Adam(lr=0.1), decay=0.5),
        MultiSteps(SGD(lr=0.1), n=2),
        LAMB(lr=np.float32(0.1)),
        fastopt.Prodigy(),
        fastopt.Mechanic(),
    ],
    ids=repr,
)
def test_torch_loads_the_state_of_torch_parameters_without_running_code(optimizer):
    w = torch.ones(2, 3)
    stepper = optimizer.bind(w)
    for _ in range(3):
        stepper.step(torch.full((2, 3), 0.5))
    state = stepper.state_dict()
    assert is_plain(state)
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    v = w.clone()
    other = optimizer.bind(v)
    other.load_state_dict(loaded)
    for one in (stepper, other):
        one.step(torch.full((2, 3), -0.25))
    assert torch.equal(v, w)


@needs_torch
def test_torch_steps_from_a_state_with_a_schedule():
    start = torch.ones(3, dtype=torch.float64)
    ours, theirs = start.clone(), torch.nn.Parameter(start.clone())
    stepper, reference = Adam(lr=cosine(0.1, 10)).bind(ours), torch.optim.Adam([theirs], lr=123.0)
    stepper.step(torch.ones(3, dtype=torch.float64))
    reference.load_state_dict(stepper.state_dict())
    with torch.no_grad():
        theirs.copy_(ours)
    stepper.step(torch.ones(3, dtype=torch.float64))  # at the rate that the state says
    theirs.grad = torch.ones(3, dtype=torch.float64)
    reference.step()
    # Sums and products in another order: a few roundings of numbers near 1.
    torch.testing.assert_close(theirs.detach(), ours, rtol=1e-14, atol=0)


@needs_torch
def test_a_state_of_torch_keeps_the_schedule_of_the_stepper():
    w = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    reference = torch.optim.Adam([w], lr=123.0)
    for _ in range(4):
        w.grad = torch.ones(3, dtype=torch.float64)
        reference.step()
    schedule = cosine(0.1, 10)
    stepper = Adam(lr=schedule).bind(np.ones(3))
    stepper.load_state_dict(reference.state_dict())
    assert stepper.param_groups[0]["lr"] == schedule
    assert stepper.current_values()[0]["lr"] == schedule(4)


def test_a_schedule_is_saved_as_plain_values_and_goes_on():
    schedule = warmup(plateau(0.1, 0.5, 0), 2)
    stepper = SGD(lr=schedule).bind(np.ones(3))
    for _ in range(3):
        stepper.step(G)
    for _ in range(3):
        stepper.observe(1.0)
    saved = json.loads(json.dumps({**stepper.state_dict(), "state": {}}))
    assert saved["param_groups"][0]["lr"] == stepper.current_values()[0]["lr"]
    other = SGD().bind(np.ones(3))
    other.load_state_dict(saved)
    assert other.current_values() == stepper.current_values()
    assert other.param_groups[0]["lr"] == stepper.param_groups[0]["lr"] != schedule


def test_a_function_is_not_saved_and_stays_where_it_is():
    schedule = function(lambda step: 0.5 / (1 + step))
    stepper = SGD(lr=schedule).bind(np.ones(3))
    stepper.step(G)
    saved = stepper.state_dict()
    assert saved["param_groups"][0]["lr"] == 0.25
    assert saved["param_groups"][0]["schedules"] == {}
    stepper.load_state_dict(saved)
    assert stepper.param_groups[0]["lr"] == schedule


def test_a_schedule_that_nobody_knows_is_named():
    _, stepper = stepped(Adam(lr=cosine(0.1, 10)))
    saved = stepper.state_dict()
    saved["param_groups"][0]["schedules"]["lr"]["schedule"] = "cosin"
    with pytest.raises(ValueError, match=r"describes no schedule for 'lr'.*'cosine'"):
        stepper.load_state_dict(saved)


@pytest.mark.parametrize("optimizer", [Adam(), EMA(Adam()), Adam(state_dtype="bfloat16")], ids=repr)
def test_state_of_fortran_ordered_parameters_comes_out_in_c_order(optimizer):
    """safetensors 0.8.0 writes the bytes of an array as if it were C-ordered."""
    rng = np.random.default_rng(0)
    w = np.asfortranarray(rng.normal(size=(4, 3)))
    stepper = optimizer.bind(w)
    stepper.step(np.asfortranarray(rng.normal(size=(4, 3))))
    saved = stepper.state_dict()
    held = [a for a in saved["state"][0].values() if isinstance(a, np.ndarray)]
    held += [a for own in saved.get("wrappers", ()) for a in own["arrays"]]
    assert held
    assert all(a.flags.c_contiguous for a in held)
    v = w.copy(order="F")
    other = optimizer.bind(v)
    other.load_state_dict(saved)
    g = np.asfortranarray(rng.normal(size=(4, 3)))
    for one in (stepper, other):
        one.step(g)
    np.testing.assert_array_equal(v, w)


def test_a_wrappers_corrupt_count_is_named():
    _, stepper = stepped(EMA(Adam()))
    saved = stepper.state_dict()
    saved["wrappers"][0]["count"] = "many"
    before = repr(stepper.state_dict())
    with pytest.raises(ValueError, match="'count'"):
        stepper.load_state_dict(saved)
    with pytest.raises(ValueError, match="is a dict"):
        stepper.load_state_dict(None)
    assert repr(stepper.state_dict()) == before


@needs_torch
def test_a_rate_set_before_the_first_step_is_that_of_the_state_as_in_torch():
    w, v = np.zeros(1), torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    stepper, reference = Rprop().bind(w), torch.optim.Rprop([v])
    for optimizer in (stepper, reference):
        optimizer.param_groups[0]["lr"] = 0.5
    for g in (1.0, 1.0, -1.0):
        stepper.step(np.array([g]))
        v.grad = torch.tensor([g], dtype=torch.float64)
        reference.step()
        assert w[0] == v.item()


BEGINS_WITH_A_VALUE = {  # optimizer, hyper-parameter, values before and after
    "rprop": ("lr", 0.01, 0.5),
    "adagrad": ("initial_accumulator_value", 0.0, 4.0),
    "ftrl": ("initial_accumulator_value", 0.1, 4.0),
    "prodigy": ("d0", 1e-6, 1e-2),
    "dadaptadam": ("d0", 1e-6, 1e-2),
}


@pytest.mark.parametrize("name", BEGINS_WITH_A_VALUE)
def test_every_first_value_is_that_of_the_first_step(name):
    key, old, new = BEGINS_WITH_A_VALUE[name]
    results = []
    for late in (False, True):
        w = np.full(3, 0.5)
        stepper = fastopt.get_optimizer(name, **{key: old if late else new}).bind(w)
        stepper.param_groups[0][key] = new
        for k in range(4):
            stepper.step((k + 1) * G)
        results.append(w)
    np.testing.assert_array_equal(*results)


def test_a_late_gradient_begins_with_the_schedule_of_its_first_step():
    a, b = np.zeros(1), np.zeros(1)
    stepper = Rprop(lr=function(lambda step: 0.1 * (1 + step))).bind([a, b])
    stepper.step([np.ones(1), None])
    stepper.step([np.ones(1), np.ones(1)])
    assert b[0] == -0.2


@pytest.mark.parametrize(
    ("optimizer", "change", "words"),
    [
        (Adam(), lambda s: s["param_groups"][0].update(params=[np.ones(2)]), "among its 'params'"),
        (Adam(), lambda s: s["param_groups"][0].update(schedules=np.ones(2)), "'schedules', not a dict"),
        (Adam(), lambda s: s["param_groups"][0].update(lr=10**400), "lr must be a finite number"),
        (Adam(), lambda s: s["state"][0].update(step=10**400), "not a whole number"),
        (ScheduleFreeSGD(), lambda s: s["param_groups"][0].update(train_mode=np.ones(2)), "train_mode"),
        (EMA(Adam()), lambda s: s.update(wrappers=np.ones(2)), "'wrappers' of the state_dict is a list"),
        (EMA(Adam()), lambda s: s["wrappers"][0].update(arrays=3), "no list of arrays"),
        (EMA(Adam()), lambda s: s["wrappers"][0].update(is_averaged=np.ones(2)), "not True or False"),
        (LBFGS(), lambda s: s["state"][0].pop("d"), r"lacks \['d'\]"),
        (LBFGS(), lambda s: s["state"][0].update(ro=[]), "lists of one length"),
        (Mechanic(), lambda s: s["base"].update(state={}, param_groups=3), "list of dicts"),
    ],
    ids=lambda value: repr(value) if hasattr(value, "bind") else "",
)
def test_a_damaged_state_is_refused_in_words_and_changes_nothing(optimizer, change, words):
    def stepped(n):
        w = np.linspace(1.0, 2.0, 3)
        stepper = optimizer.bind(w)
        for _ in range(n):
            stepper.step(closure=lambda: (float(w @ w), 2 * w))
        return w, stepper

    state = stepped(3)[1].state_dict()
    change(state)
    w, stepper = stepped(2)
    before = w.tobytes(), repr(stepper.state_dict())
    with pytest.raises(ValueError, match=words):
        stepper.load_state_dict(state)
    assert (w.tobytes(), repr(stepper.state_dict())) == before
