"""Ctrl-C at any moment of a step: counts, state and arrays are those of whole steps."""

import signal
import sys
import threading

import numpy as np
import pytest

import fastopt
from fastopt import (
    EMA,
    LAMB,
    LBFGS,
    SAM,
    SGD,
    SWA,
    Adam,
    Cautious,
    Clip,
    GradientNoise,
    Lookahead,
    Mechanic,
    MultiSteps,
    Muon,
    SkipNonFinite,
)
from fastopt.kernels.interrupts import HeldInterrupt

pytestmark = pytest.mark.usefixtures("ctrl_c")

PACKAGE = fastopt.__file__.removesuffix("__init__.py")

STEPPERS = [
    EMA(Adam()),
    SWA(Adam(), every=2),
    Lookahead(Adam(), k=2),
    SkipNonFinite(Lookahead(Adam(), k=2)),
    MultiSteps(Adam(), n=2),
    EMA(MultiSteps(Clip(SGD(momentum=0.9), norm=0.1), n=2)),
    GradientNoise(Adam()),
    Cautious(Adam()),
    EMA(SAM(Adam())),
    LAMB(),
    EMA(Muon()),
    Mechanic(),
]


class PressedAt:
    """Press Ctrl-C at moment number ``moment`` of the block.

    At a moment CPython looks for signals: when a Python function starts and when a C function ends.
    """

    def __init__(self, moment):
        self.moment, self.n_moments, self.was_heard = moment, 0, False

    def profile(self, frame, event, argument):
        if event in ("call", "c_return") and frame.f_code.co_filename.startswith(PACKAGE):
            self.n_moments += 1
            if self.n_moments == self.moment:
                signal.raise_signal(signal.SIGINT)

    def __enter__(self):
        self.before = sys.getprofile()
        sys.setprofile(self.profile)
        return self

    def __exit__(self, kind, *_):
        sys.setprofile(self.before)
        self.was_heard = kind is KeyboardInterrupt
        return self.was_heard


def problem(optimizer):
    """Return arrays and their stepper, and a function that makes the step number ``k``, some of them bad."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) for shape in ((3, 4), (5,))]
    gradients = [[rng.normal(size=a.shape) for a in arrays] for _ in range(5)]
    gradients[2][1][0] = np.nan if type(optimizer) is SkipNonFinite else 0.0
    stepper = optimizer.bind(arrays)
    return arrays, stepper, lambda k: stepper.step(closure=lambda: (1.0, gradients[k]))


def snapshot(arrays, stepper):
    return repr([a.tobytes() for a in arrays]) + repr(stepper.state_dict())


@pytest.mark.parametrize("optimizer", STEPPERS, ids=repr)
def test_ctrl_c_at_any_moment_leaves_whole_steps(optimizer):
    arrays, stepper, step = problem(optimizer)
    whole = [snapshot(arrays, stepper)]
    for k in range(4):
        step(k)
        whole.append(snapshot(arrays, stepper))
    with PressedAt(0) as whole_step:
        step(4)
    assert whole_step.n_moments > 30
    n_heard = 0
    for moment in range(1, whole_step.n_moments + 1, 7):
        for offset in (2, 3):  # of two steps one makes an average, or is the last that is accumulated
            arrays, stepper, step = problem(optimizer)
            for k in range(offset):
                step(k)
            with PressedAt(moment + offset) as press:
                step(offset)
            n_heard += press.was_heard
            assert snapshot(arrays, stepper) in whole[offset : offset + 2], (moment, offset)
    assert n_heard > 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("line_search_fn", [None, "strong_wolfe"])
def test_ctrl_c_in_lbfgs_leaves_whole_iterations(line_search_fn):
    def bowl(max_iter):
        w = np.linspace(1.0, 2.0, 6)
        optimizer = LBFGS(lr=0.5, max_iter=max_iter, max_eval=100, line_search_fn=line_search_fn)
        return w, optimizer.bind(w), lambda: (float(np.sum(w**4)), 4 * w**3)

    whole = {}
    for n in range(1, 6):
        w, stepper, closure = bowl(n)
        whole[0] = w.tobytes(), None
        stepper.step(closure=closure)
        whole[stepper._state["n_iter"]] = w.tobytes(), repr(stepper._pairs)
    with PressedAt(0) as whole_step:
        _, stepper, closure = bowl(5)
        stepper.step(closure=closure)
    reached = set()
    for moment in range(1, whole_step.n_moments, 5):
        w, stepper, closure = bowl(5)
        with PressedAt(moment) as press:
            stepper.step(closure=closure)
        n = stepper._state["n_iter"]
        reached.add(n)
        pairs = repr(stepper._pairs) if n else None
        assert (w.tobytes(), pairs) == whole[n], moment
        if press.was_heard and n < 5:
            assert stepper.n_steps == 0
    assert len(reached) > 3


@pytest.mark.parametrize("line_search_fn", [None, "strong_wolfe"])
def test_an_error_in_the_closure_of_lbfgs_undoes_the_iteration(line_search_fn):
    w = np.array([-1.5, 2.0])
    seen = []

    def closure():
        seen.append(w.copy())
        if len(seen) == 3:
            raise ArithmeticError("stop")
        return float(w @ w), 2 * w

    stepper = LBFGS(lr=0.1, max_iter=9, line_search_fn=line_search_fn).bind(w)
    with pytest.raises(ArithmeticError):
        stepper.step(closure=closure)
    assert stepper._state["n_iter"] in (0, 1)
    # the weights are where the state says that the last whole iteration has led
    moved = stepper._state["t"] * stepper._state["d"] if stepper._state["n_iter"] else 0.0
    np.testing.assert_allclose(w, np.array([-1.5, 2.0]) + moved, rtol=1e-15)


def test_ctrl_c_is_heard_after_the_block_and_the_handler_is_back(ctrl_c):
    done = []

    def hold():
        with HeldInterrupt():
            ctrl_c()
            done.append("whole")

    with pytest.raises(KeyboardInterrupt):
        hold()
    assert done == ["whole"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_and_an_ignored_ctrl_c_are_left_alone(ctrl_c):
    def hold():
        with HeldInterrupt():
            handlers.append(signal.getsignal(signal.SIGINT))

    handlers = []
    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hold()
    assert handlers == [signal.default_int_handler, signal.SIG_IGN]
