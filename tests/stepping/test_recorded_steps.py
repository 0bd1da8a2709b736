"""Steps by a program against the same ones in Python: the same bits, whatever comes between two steps."""

import gc
import signal
import weakref

import numpy as np
import pytest

import fastopt
from fastopt import SGD, SWA, Adam, Cautious, Clip, Lookahead, MultiSteps, SkipNonFinite
from fastopt.optimizers.base import OPTIMIZERS
from fastopt.schedules import Schedule, constant, cosine, plateau, warmup
from fastopt.stepping import recorded_steps

#: With fewer than eight arrays a program adds up their numbers in the order in which NumPy does.
SHAPES = (6, 4), (4,), (4, 3), (3,)
N_STEPS = 40
FIRST = 5

#: By names: elementwise optimizers in wrappers, tensor rules, rules that call LAPACK, counts and branches.
OPTIMIZERS_HERE = {
    "clip": lambda: Clip(Adam(), norm=0.5, value=0.4),
    "ema of cautious": lambda: fastopt.EMA(Cautious(Adam())),
    "swa of multisteps": lambda: SWA(MultiSteps(fastopt.RMSprop(), n=3), every=2, first=4),
    "lookahead": lambda: Lookahead(SGD(momentum=0.9), k=3),
    "skip": lambda: SkipNonFinite(Adam()),
    "noise": lambda: fastopt.GradientNoise(fastopt.Centralize(Adam())),
    "int8": lambda: fastopt.MaxNorm(Adam(state_dtype="int8"), max_norm=1.0),
    "clip of lamb": lambda: Clip(fastopt.LAMB(), norm=0.5),
    "cautious muon": lambda: Cautious(fastopt.Muon()),
    "scheduled": lambda: Clip(fastopt.LAMB(lr=cosine(0.01)), norm=0.5),
    **{name: OPTIMIZERS[name] for name in ("lamb", "lars", "adafactor", "prodigy", "soap", "momo", "muon")},
}


@pytest.fixture(autouse=True)
def _record_early(monkeypatch):
    monkeypatch.setattr(recorded_steps, "FIRST", FIRST)


class Pair:
    """A stepper that records its steps, and its twin, which never does; `step` compares them."""

    def __init__(self, optimizer, monkeypatch, shapes=SHAPES, like=np.asarray):
        rng = np.random.default_rng(0)
        values = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
        self.like, self.shapes, self.rng = like, shapes, np.random.default_rng(1)
        self.params, self.others = ([like(value.copy()) for value in values] for _ in range(2))
        self.stepper = optimizer().bind(self.params, n_steps=60, steps_per_epoch=2)
        with monkeypatch.context() as patch:
            patch.setattr(recorded_steps, "FIRST", 10**9)
            self.other = optimizer().bind(self.others, n_steps=60, steps_per_epoch=2)
        self.needs_loss = bool(self.stepper.bound.optimizer.needs)

    def gradients(self):
        return [self.like(self.rng.standard_normal(s).astype(np.float32)) for s in self.shapes]

    def step(self, grads=None, **options):
        grads = self.gradients() if grads is None else grads
        if self.needs_loss:
            options["loss"] = 1.0 + self.rng.random()
        self.stepper.step(grads, **options)
        self.other.step(grads, **options)
        self.compare()

    def compare(self):
        for a, b in zip(self.params, self.others, strict=True):
            np.testing.assert_array_equal(a, b)

    def compare_states(self):
        for a, b in zip(*(numbers(one.state_dict()) for one in (self.stepper, self.other)), strict=True):
            np.testing.assert_array_equal(a, b)

    @property
    def is_recorded(self):
        return self.stepper._recorded._program is not None


def numbers(state):
    """Return everything in a state that is a number or an array, in order."""
    if isinstance(state, dict):
        return [one for value in state.values() for one in numbers(value)]
    if isinstance(state, (list, tuple)):
        return [one for value in state for one in numbers(value)]
    return [] if isinstance(state, (str, type(None))) else [np.asarray(state)]


@pytest.mark.parametrize("same", [False, True], ids=["other arrays", "same arrays"])
@pytest.mark.parametrize("name", OPTIMIZERS_HERE)
def test_a_program_makes_the_steps_that_python_makes(name, same, monkeypatch):
    pair = Pair(OPTIMIZERS_HERE[name], monkeypatch)
    grads = pair.gradients()
    for _ in range(N_STEPS):
        for g, new in zip(grads, pair.gradients(), strict=True):
            g[...] = new
        pair.step(grads if same else [g.copy() for g in grads])
    assert pair.is_recorded
    pair.compare_states()


def test_gradients_of_torch_lie_elsewhere_at_each_step(monkeypatch):
    torch = pytest.importorskip("torch")
    pair = Pair(OPTIMIZERS_HERE["clip of lamb"], monkeypatch, like=torch.as_tensor)
    kept = []
    for _ in range(N_STEPS):
        kept.append(pair.gradients())  # alive, so that the next ones lie elsewhere
        pair.step(kept[-1])
    assert pair.is_recorded
    version = pair.params[0]._version
    pair.step()
    assert pair.params[0]._version > version


@pytest.mark.parametrize("name", ["clip", "clip of lamb", "soap"])
def test_what_comes_between_two_steps_counts_from_the_next(name, monkeypatch):
    """Each of these must be noticed: the program holds numbers that they change."""
    pair = Pair(OPTIMIZERS_HERE[name], monkeypatch)

    def set_lr():
        for one in (pair.stepper, pair.other):
            one.param_groups[0]["lr"] = 0.5 * one.param_groups[0]["lr"]

    def resume():
        for one in (pair.stepper, pair.other):
            one.load_state_dict(one.state_dict())

    def schedule():
        for one in (pair.stepper, pair.other):
            one.param_groups[0]["lr"] = plateau(0.01, factor=0.5, patience=0)

    def observe():
        for one in (pair.stepper, pair.other):
            one.observe(1.0)

    def closure():
        grads = pair.gradients()
        for one in (pair.stepper, pair.other):
            one.step(closure=lambda: (1.0, grads))

    between = [
        set_lr,
        resume,
        lambda: pair.step([None, *pair.gradients()[1:]]),
        lambda: pair.step(grad_scale=0.5),
        closure,
        schedule,
        observe,
        observe,
    ]
    made = []
    for act in between:
        for _ in range(3 * FIRST):  # long enough that the program is not put off for having been useless
            pair.step()
        made.append(pair.is_recorded)
        act()
        pair.step()
    assert all(made)
    pair.compare_states()


def test_a_count_that_is_set_is_not_overwritten(monkeypatch):
    pair = Pair(OPTIMIZERS_HERE["skip"], monkeypatch)
    for k in range(20):
        grads = pair.gradients()
        if k % 4 == 0:
            grads[1][0] = np.inf
        pair.step(grads)
        assert pair.stepper.n_skipped == pair.other.n_skipped
        if k == 15:
            assert pair.is_recorded
            assert pair.stepper.n_skipped == 4
            pair.stepper.n_skipped = pair.other.n_skipped = 0
    assert pair.stepper.n_skipped == 1
    assert type(pair.stepper.n_skipped) is int


def test_epochs_of_schedules_end_later_after_skipped_steps(monkeypatch):
    """A program that calls Python in the midst of a step, which changes what schedules give."""

    def optimizer():
        return SkipNonFinite(Clip(fastopt.LAMB(lr=warmup(constant(0.1), 10, unit="epoch")), norm=1.0))

    pair = Pair(optimizer, monkeypatch)
    for k in range(N_STEPS):
        grads = pair.gradients()
        if k % 7 == 6:
            grads[0][0, 0] = np.nan
        pair.step(grads)
        assert pair.stepper.current_values() == pair.other.current_values()
    assert pair.is_recorded


def test_a_resumed_run_gives_the_bits_of_one_that_was_not_interrupted(monkeypatch):
    """With 20 arrays, whose squares a program and NumPy add up in different orders."""
    shapes = [(4, 3)] * 20

    def run(interrupted):
        rng = np.random.default_rng(0)
        params = [rng.standard_normal(s).astype(np.float32) for s in shapes]
        stepper = Clip(Adam(), norm=0.1).bind(params)
        for k in range(3 * FIRST):
            if interrupted and k % 4 == 3:
                state, stepper = stepper.state_dict(), Clip(Adam(), norm=0.1).bind(params)
                stepper.load_state_dict(state)
            stepper.step([rng.standard_normal(s).astype(np.float32) for s in shapes])
        return params

    for a, b in zip(run(False), run(True), strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_that_are_absent_from_a_part_of_a_mean_are_refused(monkeypatch):
    """A program that is recorded just then may not take over what the mean began with."""
    stepper = MultiSteps(SGD(), n=2).bind([np.zeros(1), np.zeros(1)])
    for _ in range(2 * FIRST - 2):  # of which every other makes a step
        stepper.step([np.ones(1), np.ones(1)])
    stepper.step([np.ones(1), None])
    stepper.step([np.ones(1), None])
    stepper.step([np.ones(1), None])
    for _ in range(2):
        with pytest.raises(ValueError, match="None must be the same"):
            stepper.step([np.ones(1), np.ones(1)])


def test_learning_rates_set_at_each_step_are_not_recorded_each_time(monkeypatch):
    pair = Pair(OPTIMIZERS_HERE["clip of lamb"], monkeypatch)
    made = []
    record = recorded_steps.RecordedSteps._record
    monkeypatch.setattr(
        recorded_steps.RecordedSteps, "_record", lambda *args: made.append(1) or record(*args)
    )
    for k in range(16 * FIRST):
        for one in (pair.stepper, pair.other):
            one.param_groups[0]["lr"] = 0.01 / (k + 1)
        pair.step()
    assert 2 <= len(made) <= 5  # the pauses double


def test_averaged_weights_make_no_step(monkeypatch):
    pair = Pair(OPTIMIZERS_HERE["ema of cautious"], monkeypatch)
    for _ in range(12):
        pair.step()
    for one in (pair.stepper, pair.other):
        one.eval()
        with pytest.raises(RuntimeError, match="call train"):
            one.step(pair.gradients())
    pair.compare()
    for one in (pair.stepper, pair.other):
        one.train()
    pair.step()


def test_gradients_that_do_not_fit_change_nothing(monkeypatch):
    pair = Pair(OPTIMIZERS_HERE["clip of lamb"], monkeypatch)
    for _ in range(12):
        pair.step()
    assert pair.is_recorded
    for wrong, error in (([np.zeros(3)], ValueError), ([1, 2, 3, 4], TypeError), (None, TypeError)):
        with pytest.raises(error):
            pair.stepper.step(wrong)
    pair.stepper.param_groups[0]["lr"] = -1.0
    with pytest.raises(ValueError, match="lr"):
        pair.stepper.step(pair.gradients())
    pair.stepper.param_groups[0]["lr"] = pair.other.param_groups[0]["lr"]
    pair.step()
    pair.compare_states()


def test_one_gradient_for_two_parameters_is_read_by_both(monkeypatch):
    pair = Pair(OPTIMIZERS_HERE["clip of lamb"], monkeypatch, shapes=((3, 2), (3, 2)))
    for k in range(20):
        grads = pair.gradients()
        pair.step([grads[0], grads[0]] if k < 10 else grads)
    assert pair.is_recorded


def test_a_schedule_out_of_range_is_refused_when_its_step_comes(monkeypatch):
    class Falling(Schedule):
        def values(self, clock):
            return 0.01 - 0.0001 * clock.steps

    pair = Pair(lambda: Clip(Adam(lr=Falling()), norm=1.0), monkeypatch)
    made = []

    def go_on(stepper):
        while True:
            stepper.step(pair.gradients())
            made.append(pair.is_recorded)

    for one in (pair.stepper, pair.other):
        with pytest.raises(ValueError, match=r"lr=-.*Falling"):
            go_on(one)
        assert 64 <= one.n_steps <= 100  # 64 steps are evaluated at once
    assert any(made)


def test_a_wrapper_of_ones_own_runs_at_each_step():
    """What it does beside the step is none of the program's business, and may not be left out."""

    class Counting(fastopt.optimizers.wrappers.clipping.ClipStepper):
        def prepare(self, request):
            calls.append(1)
            super().prepare(request)

    calls = []
    inner = fastopt.LAMB().bind([np.ones(3)])
    stepper = Counting(inner, None, None, 1.0)
    for _ in range(20):
        stepper.step([np.ones(3)])
    assert len(calls) == 20


@pytest.mark.parametrize("name", ["clip", "ema of cautious"])
def test_a_stepper_and_its_state_are_freed_at_once(name, monkeypatch):
    pair = Pair(OPTIMIZERS_HERE[name], monkeypatch)
    for _ in range(12):
        pair.step()
    assert pair.is_recorded
    gone = weakref.ref(pair.stepper.bound.params[0].slots[0])
    gc.collect()
    gc.disable()
    try:
        pair.stepper = None
        assert gone() is None
    finally:
        gc.enable()


def test_ctrl_c_is_heard_after_the_step(monkeypatch):
    pair = Pair(OPTIMIZERS_HERE["skip"], monkeypatch)
    for _ in range(12):
        pair.step()
    run = recorded_steps.StepProgram.run

    def interrupted(program, *inputs):
        signal.raise_signal(signal.SIGINT)
        return run(program, *inputs)

    grads = pair.gradients()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(recorded_steps.StepProgram, "run", interrupted)
            with pytest.raises(KeyboardInterrupt):
                pair.stepper.step(grads)
    finally:
        signal.signal(signal.SIGINT, before)
    pair.other.step(grads)
    pair.compare()
    pair.compare_states()
