"""Wrapped steps that run on each tile of the weights as soon as its gradient is known."""

import _thread
import dataclasses
import threading

import numpy as np
import pytest
import scipy.sparse as sp
from reference import numpy_power

from fastopt import (
    EMA,
    LAMB,
    SAM,
    SGD,
    SWA,
    Adam,
    AdamW,
    Cautious,
    Centralize,
    Clip,
    GradientNoise,
    Lookahead,
    MultiSteps,
    Muon,
    PolyakSGD,
    RMSprop,
    SkipNonFinite,
)
from fastopt.engine import Layout, Trainer
from fastopt.engine.cpu.context import IN_PARTS
from fastopt.engine.cpu.trainer import PROGRAM
from fastopt.engine.cpu.workspace import Workspace
from fastopt.optimizers.wrappers import Wrapper
from fastopt.optimizers.wrappers.base import WrappedStepper
from fastopt.schedules import Run, exponential
from fastopt.stepping import layerwise_state
from fastopt.stepping.fusion_stages import StepRequest
from fastopt.stepping.rate_factors import RateFactors


@dataclasses.dataclass(repr=False)
class Twice(Wrapper):
    """Makes two steps with each gradient."""

    def around(self, optimizer, groups, n_threads, run):
        return TwiceStepper(optimizer.stepper(groups, n_threads, run))


class TwiceStepper(WrappedStepper):
    kind, counts = "steps", ()

    def handle(self, request):
        found = self.forward(request)
        self.forward(StepRequest(request.grads, None, 0.5, request.options))
        return found


@dataclasses.dataclass(repr=False)
class InPython(Wrapper):
    """Looks at a gradient, or changes weights, by Python."""

    what: str = "reads"

    def around(self, optimizer, groups, n_threads, run):
        return InPythonStepper(optimizer.stepper(groups, n_threads, run), self.what)


class InPythonStepper(WrappedStepper):
    kind, counts = "python", ()

    def __init__(self, inner, what):
        super().__init__(inner)
        self._what = what

    def handle(self, request):
        self.fused.accept(request, self.kind)
        if self._what == "reads":
            request.multiply(1.0 / (1.0 + float(abs(request.grads[0]).sum())))
        elif self._what == "looks at weights":
            request.multiply(float(abs(self.fused.params[0].array).max()))
        found = self.forward(request)
        if self._what == "writes":
            for p in self.fused.params:
                p.array *= 0.999
        return found


#: Layers of several tiles, of one, and of one output; the first is a multiple of 256 weights wide.
LAYOUT = Layout([70, 256, 40, 3])
N, ALPHA = 210, 0.1

IN_PARTS_ALWAYS = [
    Clip(SGD(lr=0.1, momentum=0.9), value=0.01),
    Clip(AdamW(lr=0.01, weight_decay=0.1), value=0.01),
    EMA(Adam(lr=0.01), decay=0.5),
    EMA(SGD(lr=0.1), every=3, first=2),
    SWA(Adam(lr=exponential(0.01, 0.9))),
    Lookahead(RMSprop(lr=0.01), k=3),
    MultiSteps(Adam(lr=0.01), n=3),
    MultiSteps(LAMB(lr=0.01), n=2),
    Clip(LAMB(lr=0.01), value=0.01),  # the bounded gradient is what norms are then taken of
    Clip(Muon(lr=0.01), value=0.01),
    GradientNoise(Adam(lr=0.01), eta=0.1),
    Cautious(SGD(lr=0.1, momentum=0.9), scale=False),
    Adam(lr=0.01, state_dtype="bfloat16"),
    EMA(Clip(MultiSteps(AdamW(lr=0.01), n=2), value=0.02), decay=0.9),
    MultiSteps(EMA(Lookahead(SGD(lr=0.1), k=2)), n=2),
]
#: What must first know the whole gradient, or the loss: a norm, a mean, a matrix, a second gradient.
NEVER = [
    Clip(Adam(), norm=1.0),
    EMA(Clip(Adam(), tensor_norm=1.0)),
    SkipNonFinite(Adam()),
    Cautious(Adam()),
    Centralize(Adam()),
    SAM(SGD(lr=0.1)),
    Clip(PolyakSGD(), value=1.0),
    LAMB(),
    Muon(),
    Twice(Adam(lr=0.01)),
    EMA(Twice(Clip(SGD(lr=0.1), value=0.01))),
]
_RUN = Run(n_steps=15, steps_per_epoch=5, epochs_end_steps=True)


def problem(dtype, kind="dense", layout=LAYOUT):
    rs = np.random.RandomState(0)
    params = np.zeros(layout.size, dtype)
    for array in layout.arrays(params):
        array[...] = rs.uniform(-1, 1, array.shape) / np.sqrt(array.shape[0] + 1)
    X = rs.standard_normal((N, 70)).astype(dtype)
    if kind != "dense":
        X[rs.uniform(size=X.shape) < 0.85] = 0
    X = sp.csr_matrix(X) if kind == "csr" else X
    return params, X, np.eye(3, dtype=dtype)[rs.randint(3, size=N)]


def make_trainer(dtype=np.float64, n_threads=1, layout=LAYOUT, activation="tanh"):
    return Trainer(
        layout,
        activation=activation,
        out_activation="softmax",
        loss="log_loss",
        dtype=dtype,
        n_threads=n_threads,
    )


def train(optimizer, how="by parts", dtype=np.float64, kind="dense", layout=LAYOUT, n_threads=1, **options):
    """Return parameters after three epochs, the losses, the state, and whether steps were made by parts."""
    params, X, Y = problem(dtype, kind, layout)
    factors = options.pop("factors", None)
    activation = options.pop("activation", "tanh")
    update = optimizer.flat(layout.size, layout.n_decay, dtype, run=_RUN, rate_factors=factors)
    if how == "in Python":
        update.program = lambda params, layout: None
    trainer = make_trainer(dtype, n_threads, layout, activation)
    options = {"batch_size": 50, "alpha": ALPHA} | options
    with pytest.MonkeyPatch.context() as patch:
        if how == "whole":
            patch.setattr(Workspace, "_tiles_begin_at", lambda self, edge: False)
        losses = [trainer.train(params, X, Y, update, **options) for _ in range(3)]
    runner = trainer._runners.get(PROGRAM)
    by_parts = runner is not None and bool(runner.workspace.context["in_parts"][0] == IN_PARTS)
    flat = np.concatenate([array.ravel() for array in layout.arrays(params)])
    return flat, losses, update, by_parts


def same_state(a, b):
    """Tell whether two states are equal, to the bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_state(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same_state, a, b))
    return np.array_equal(a, b)


@pytest.fixture(params=[1, 2])
def n_threads(request, monkeypatch):
    """That number of workers, also for so little work."""
    monkeypatch.setattr("fastopt.engine.cpu.trainer._PARALLEL_FLOPS", 1.0)
    return request.param


@pytest.mark.parametrize("optimizer", IN_PARTS_ALWAYS, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_by_parts_are_those_of_whole_gradients_to_the_bit(optimizer, dtype, n_threads):
    dtype = np.dtype(dtype)
    expected, losses, reference, was_by_parts = train(optimizer, "whole", dtype, n_threads=n_threads)
    got, mine, update, by_parts = train(optimizer, "by parts", dtype, n_threads=n_threads)
    assert by_parts
    assert not was_by_parts
    np.testing.assert_array_equal(got, expected)
    assert mine == losses
    assert same_state(update.__getstate__()["stepper"], reference.__getstate__()["stepper"])
    assert (update.t, update.pending) == (reference.t, reference.pending)


@pytest.mark.parametrize("optimizer", IN_PARTS_ALWAYS, ids=repr)
def test_steps_by_parts_are_those_in_python(optimizer):
    expected, losses, reference, _ = train(optimizer, "in Python")
    got, mine, update, _ = train(optimizer)
    # One ulp of a moment's correction becomes more where Muon makes the columns of a matrix orthogonal.
    np.testing.assert_allclose(got, expected, rtol=0, atol=numpy_power.tolerance(np.float64))
    np.testing.assert_allclose(mine, losses, rtol=max(1e-13, numpy_power.tolerance(np.float64)))
    assert (update.t, update.pending) == (reference.t, reference.pending)


@pytest.mark.parametrize("optimizer", NEVER, ids=repr)
def test_what_needs_the_whole_gradient_gets_it(optimizer):
    got, _, _, by_parts = train(optimizer)
    assert not by_parts
    expected = train(optimizer, "in Python")[0]
    np.testing.assert_allclose(got, expected, rtol=0, atol=numpy_power.tolerance(np.float64))


@pytest.mark.parametrize("what", ["reads", "looks at weights", "writes"])
def test_a_users_wrapper_that_handles_elements_in_python_steps_there_and_says_so(what, monkeypatch):
    monkeypatch.setattr(layerwise_state, "_warned", set())
    optimizer = EMA(InPython(Adam(lr=0.01), what))
    expected = train(optimizer, "in Python")[0]
    with pytest.warns(UserWarning, match="is made in Python, between mini-batches"):
        got, *_, by_parts = train(optimizer)
    assert not by_parts
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("kind", ["dense", "compressed", "csr"])
@pytest.mark.parametrize("special", ["weights", "factors", "slopes", "scale"])
def test_all_kinds_of_inputs_and_of_parameters(kind, special, n_threads):
    options = {"kind": kind, "n_threads": n_threads}
    if special == "weights":
        options["sample_weight"] = np.linspace(0, 2, N)
        options["sample_weight"][50:100] = 0  # a batch without weight
    elif special == "factors":
        options["factors"] = RateFactors((1.0, 0.5, 2.0), (0.1, 1.0, 0.0))
    elif special == "slopes":
        options |= {"layout": Layout(LAYOUT.layer_sizes, [True, True]), "activation": "prelu"}
    elif kind == "dense":
        options["layout"] = Layout(LAYOUT.layer_sizes, scales_inputs=True)
    for optimizer in (EMA(Clip(Adam(lr=0.01), value=0.01)), MultiSteps(GradientNoise(SGD(lr=0.1)), n=2)):
        got, _, _, by_parts = train(optimizer, **options)
        assert by_parts
        np.testing.assert_array_equal(got, train(optimizer, "whole", **options)[0])


def test_tiles_share_no_block_of_8_bit_state():
    optimizer = Clip(Adam(lr=0.01, state_dtype="int8"), value=0.01)
    small = Layout([70, 20, 3])  # one tile for each layer
    for layout, expected in ((LAYOUT, True), (Layout([70, 250, 40, 3]), False), (small, True)):
        got, _, _, by_parts = train(optimizer, layout=layout)
        assert by_parts == expected, layout
        np.testing.assert_array_equal(got, train(optimizer, "whole", layout=layout)[0])


def test_a_program_by_parts_and_whole_ones_take_turns_on_the_same_buffers():
    params, X, Y = problem(np.float64)
    by_turns, other = make_trainer(), params.copy()
    optimizers = [EMA(Adam(lr=0.01)), Clip(Adam(lr=0.01), norm=0.1), Adam(lr=0.01), Lookahead(Adam(lr=0.01))]
    mine, theirs = (
        [o.flat(LAYOUT.size, LAYOUT.n_decay, np.float64, run=_RUN) for o in optimizers] for _ in range(2)
    )
    for _ in range(3):
        for a, b in zip(mine, theirs, strict=True):
            by_turns.train(params, X, Y, a, batch_size=50, alpha=ALPHA)
            make_trainer().train(other, X, Y, b, batch_size=50, alpha=ALPHA)
            np.testing.assert_array_equal(by_turns.predict(params, X), make_trainer().predict(other, X))
    np.testing.assert_array_equal(params, other)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_leaves_no_step_part_way(n_threads):
    params, X, Y = problem(np.float64)
    optimizer, start = EMA(Clip(Adam(lr=0.01), value=0.01), decay=0.9), params.copy()
    order = np.random.RandomState(1).randint(N, size=40_000_000)
    update, again = (optimizer.flat(LAYOUT.size, LAYOUT.n_decay, np.float64, run=_RUN) for _ in range(2))
    trainer = make_trainer(n_threads=n_threads)
    trainer.train(
        params.copy(),
        X,
        Y,
        optimizer.flat(LAYOUT.size, LAYOUT.n_decay, np.float64, run=_RUN),
        batch_size=50,
        alpha=ALPHA,
    )  # compiled before the clock runs
    timer = threading.Timer(0.2, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        trainer.train(params, X, Y, update, batch_size=50, alpha=ALPHA, order=order)
    assert 0 < update.t < 800_000
    trainer.train(start, X, Y, again, batch_size=50, alpha=ALPHA, order=order[: 50 * update.t])
    np.testing.assert_array_equal(params, start)
    assert same_state(update.__getstate__()["stepper"], again.__getstate__()["stepper"])
