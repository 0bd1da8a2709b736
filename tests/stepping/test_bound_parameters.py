"""What may be bound, under which names, and torch parameters whose memory moves."""

import os
import subprocess
import sys

import numpy as np
import pytest
from reference.peers import needs_torch, torch

import fastopt
from fastopt import EMA, LAMB, SGD, Adam, Cautious, Clip


@pytest.mark.parametrize("make", [set, frozenset, lambda x: [{"params": set(x)}]])
def test_unordered_collections_are_refused(make):
    class Hashable(np.ndarray):
        __hash__ = object.__hash__

    params = [np.ones(n).view(Hashable) for n in (2, 3)]
    with pytest.raises(TypeError, match=r"set has no order.*pass a list"):
        Adam().bind(make(params))


def test_a_dict_of_names_and_arrays_keeps_its_names():
    params = {"W": np.ones((2, 3)), "b": np.ones(3)}
    stepper = Adam().bind(params)
    stepper.step([np.ones((2, 3)), np.ones(3)])
    assert stepper.state_dict()["param_groups"][0]["param_names"] == ["W", "b"]
    assert list(map(id, stepper.param_groups[0]["params"])) == list(map(id, params.values()))
    assert (params["W"] != 1).all()
    with pytest.raises(ValueError, match=r"params\[1\] \('b'\)"):
        stepper.step([np.ones((2, 3)), np.ones(4)])


def test_names_by_group():
    a, b, c = (np.ones(2) for _ in range(3))
    stepper = SGD(lr=1.0).bind([{"params": [("a", a), ("b", b)]}, {"params": {"c": c}, "lr": 0.5}])
    stepper.step([np.ones(2)] * 3)
    assert [g["param_names"] for g in stepper.state_dict()["param_groups"]] == [["a", "b"], ["c"]]
    assert (a[0], b[0], c[0]) == (0.0, 0.0, 0.5)


@needs_torch
def test_named_parameters_give_the_names_that_torch_gives():
    layer = torch.nn.Linear(2, 3)
    ours, theirs = Adam().bind(layer.named_parameters()), torch.optim.Adam(layer.named_parameters())
    names = [state["param_groups"][0]["param_names"] for state in (ours.state_dict(), theirs.state_dict())]
    assert names == [["weight", "bias"]] * 2
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ([("a", np.ones(2)), np.ones(2)], ValueError, "mixes arrays and pairs"),
        ([("a", np.ones(2)), ("a", np.ones(2))], ValueError, r"more than one array called \['a'\]"),
        ({"param": [np.ones(2)], "lr": 0.1}, ValueError, "has no 'params'"),
        ([{"params": [np.ones(2)], "param_names": ["a", "b"]}], ValueError, "2 names for 1 arrays"),
    ],
)
def test_names_that_do_not_fit_are_refused(params, error, message):
    with pytest.raises(error, match=message):
        Adam().bind(params)


def test_a_state_is_matched_by_name_where_both_have_names():
    a, b = np.ones(2), np.ones(2)
    first = SGD(lr=0.1, momentum=0.9).bind({"a": a, "b": b})
    first.step([np.full(2, 1.0), np.full(2, 2.0)])
    second = SGD(lr=0.1, momentum=0.9).bind({"b": b.copy(), "a": a.copy()})
    second.load_state_dict(first.state_dict())
    assert [s["momentum_buffer"][0] for s in second.state_dict()["state"].values()] == [2.0, 1.0]
    other = SGD(lr=0.1, momentum=0.9).bind({"a": a, "c": b})
    with pytest.raises(ValueError, match="'c' is missing; delete 'param_names'"):
        other.load_state_dict(first.state_dict())


@pytest.mark.parametrize(
    "optimizer", [SGD(lr=0.1), LAMB(lr=0.1, weight_decay=0.0), Clip(SGD(lr=0.1), norm=100.0)]
)
def test_a_parameter_without_axes_takes_its_own_gradient(optimizer):
    w, v = np.array(5.0), np.full(1, 5.0)
    zero, one = optimizer.bind(w), optimizer.bind(v)
    for _ in range(2):
        assert type(2 * w) is np.float64  # what NumPy makes of arrays without axes
        zero.step(2 * w)
        one.step(2 * v)
    assert w == v[0] != 5.0
    with pytest.raises(TypeError, match="float32"):
        zero.step(np.float32(1.0))


WRAPPED = {
    "plain": SGD(lr=1.0, momentum=0.5),
    "adam": Adam(lr=0.1),
    "tensor rule": LAMB(lr=0.1),
    "fused": EMA(Clip(SGD(lr=1.0), norm=0.5), decay=0.5),
    "masked": Cautious(Adam(lr=0.1)),
    "modes": fastopt.ScheduleFreeSGD(lr=1.0),
}


@needs_torch
@pytest.mark.parametrize("case", WRAPPED)
def test_training_goes_on_where_a_parameter_has_moved(case):
    """torch 2.13's optimizers hold the parameter, not its memory, so ``p.data = ...`` does not stop them."""
    g = torch.tensor([0.5, -1.0, 2.0])
    moved, still = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    steppers = [WRAPPED[case].bind(p) for p in (moved, still)]
    for k in range(4):
        if k == 2:
            moved.data = moved.data.clone()
        for stepper in steppers:
            stepper.step(g)
    assert torch.equal(moved, still)
    assert not torch.equal(still, torch.ones(3))
    moved.data = moved.data.clone()
    for stepper in steppers:
        stepper.eval()
    assert torch.equal(moved, still)


@needs_torch
@pytest.mark.parametrize(
    ("move", "error", "message"),
    [
        (lambda p: p.double(), TypeError, r"params\[0\] was bound as float32 and is float64 now"),
        (lambda p: p[:2].clone(), ValueError, r"params\[0\] was bound with shape \(3,\)"),
        (lambda p: torch.ones(6)[::2], ValueError, r"params\[0\] is strided"),
    ],
)
def test_a_parameter_that_has_become_another_is_refused(move, error, message):
    p = torch.nn.Parameter(torch.ones(3))
    stepper = Adam().bind(p)
    stepper.step(torch.ones(3))
    p.data = move(p.data)
    with pytest.raises(error, match=message):
        stepper.step(torch.ones(3))
    assert stepper.state_dict()["state"][0]["step"] == 1


@needs_torch
def test_two_parameters_that_have_become_one_are_refused():
    p, q = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    stepper = SGD(lr=1.0).bind([p, q])
    q.data = p.data
    with pytest.raises(ValueError, match=r"params\[1\] is the same memory as params\[0\]"):
        stepper.step([torch.ones(3)] * 2)
    q.data = torch.zeros(3)
    stepper.step([torch.ones(3)] * 2)
    assert torch.equal(q, -torch.ones(3))


def test_an_interrupt_at_the_end_of_the_kernels_finds_count_and_arrays_at_one_step():
    w = np.zeros(3)
    stepper = Adam(lr=0.1).bind(w)
    stepper.step(np.ones(3))

    class Interrupted:
        def __init__(self, work):
            self.run_all = work.run

        def run(self):
            self.run_all()
            raise KeyboardInterrupt

    whole = stepper.bound.work
    stepper.bound.work = Interrupted(whole)
    with pytest.raises(KeyboardInterrupt):
        stepper.step(np.ones(3))
    stepper.bound.work = whole
    assert w[0] == pytest.approx(-0.2)
    assert stepper.state_dict()["state"][0]["step"] == 2


def test_without_the_compiler_a_sentence_says_so():
    code = """
import numpy as np, fastopt
try:
    fastopt.Adam().bind(np.ones(2)).step(np.ones(2))
except RuntimeError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "NUMBA_DISABLE_JIT=1 has switched Numba's compiler off; unset it" in done.stdout, done.stderr
