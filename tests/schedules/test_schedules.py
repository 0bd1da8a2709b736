"""Schedules as functions: against torch, and against what other libraries gave when they were executed."""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from reference.peers import needs_torch, torch

from fastopt.schedules import (
    constant,
    cosine,
    cosine_restarts,
    coslog4,
    cyclic,
    exponential,
    flat_cos,
    function,
    inverse_time,
    linear,
    multistep,
    onecycle,
    piecewise,
    polynomial,
    rex,
    sequence,
    step,
    warmup,
    wsd,
)

theirs = torch and torch.optim.lr_scheduler

# torch multiplies from step to step where we take powers: some 60 roundings of 1e-16 each.
TORCH = {"rtol": 1e-12, "atol": 1e-15}
# The same formula in another order of operations, some of which (1 - x near the end) cancel.
ROUNDING = {"rtol": 1e-13, "atol": 1e-16}
SINGLE = {"rtol": 5e-7, "atol": 1e-8}


def torch_values(make, n, name="lr"):
    """Return what a torch scheduler gives at each of n steps, from a learning rate of 0.1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    values = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates its own SequentialLR's way to step
        scheduler = make(optimizer)
        for _ in range(n):
            values.append(optimizer.param_groups[0][name])
            optimizer.step()
            if len(values) < n:
                scheduler.step()
    return np.array(values)


LIKE_TORCH = {
    "ConstantLR": (piecewise((0.1 / 3, 0.1), (5,)), lambda o: theirs.ConstantLR(o)),
    "LambdaLR": (function(lambda k: 1 / (1 + k), 0.1), lambda o: theirs.LambdaLR(o, lambda k: 1 / (1 + k))),
    "StepLR": (step(0.1, 7, 0.3), lambda o: theirs.StepLR(o, 7, 0.3)),
    "MultiStepLR": (multistep(0.1, (3, 10, 11), 0.5), lambda o: theirs.MultiStepLR(o, [3, 10, 11], 0.5)),
    "ExponentialLR": (exponential(0.1, 0.97, 1), lambda o: theirs.ExponentialLR(o, 0.97)),
    "LinearLR": (linear(0.1 / 3, 5, 0.1), lambda o: theirs.LinearLR(o)),
    "PolynomialLR": (polynomial(0.1, 20, power=1.7), lambda o: theirs.PolynomialLR(o, 20, 1.7)),
    "CosineAnnealingLR": (
        cosine(0.1, 20, 0.01, periodic=True),
        lambda o: theirs.CosineAnnealingLR(o, 20, 0.01),
    ),
    "CosineAnnealingWarmRestarts": (
        cosine_restarts(0.1, 5, 2, 0.01),
        lambda o: theirs.CosineAnnealingWarmRestarts(o, 5, 2, 0.01),
    ),
    "restarts of equal length": (
        cosine_restarts(0.1, 7),
        lambda o: theirs.CosineAnnealingWarmRestarts(o, 7),
    ),
    "MultiStepLR, repeated": (
        multistep(0.1, (0, 10, 10, 20), 0.5),
        lambda o: theirs.MultiStepLR(o, [0, 10, 10, 20], 0.5),
    ),
    "OneCycleLR": (onecycle(0.5, 60), lambda o: theirs.OneCycleLR(o, 0.5, 60)),
    "OneCycleLR, linear": (
        onecycle(0.5, 60, 0.21, 0.5 / 10, 0.5 / 1000, form="linear"),
        lambda o: theirs.OneCycleLR(
            o, 0.5, 60, pct_start=0.21, anneal_strategy="linear", div_factor=10, final_div_factor=100
        ),
    ),
    "OneCycleLR, three phases": (
        onecycle(0.5, 60, descent=0.6),
        lambda o: theirs.OneCycleLR(o, 0.5, 60, three_phase=True),
    ),
    "CyclicLR": (cyclic(0.01, 0.2, 7, 4), lambda o: theirs.CyclicLR(o, 0.01, 0.2, 7, 4)),
    "CyclicLR, triangular2": (
        cyclic(0.01, 0.2, 7, form="triangular2"),
        lambda o: theirs.CyclicLR(o, 0.01, 0.2, 7, mode="triangular2"),
    ),
    "CyclicLR, exp_range": (
        cyclic(0.01, 0.2, 7, form="exp_range", factor=0.98),
        lambda o: theirs.CyclicLR(o, 0.01, 0.2, 7, mode="exp_range", gamma=0.98),
    ),
    "SequentialLR": (
        sequence((linear(0.05, 6, 0.1), exponential(0.1, 0.9, 1), step(0.1, 10)), (6, 20)),
        lambda o: theirs.SequentialLR(
            o, [theirs.LinearLR(o, 0.5, 1, 6), theirs.ExponentialLR(o, 0.9), theirs.StepLR(o, 10)], [6, 20]
        ),
    ),
    "SequentialLR, a part of no length": (
        sequence((constant(0.05), constant(0.02), constant(0.01)), (4, 4)),
        lambda o: theirs.SequentialLR(o, [theirs.ConstantLR(o, f, 99) for f in (0.5, 0.2, 0.1)], [4, 4]),
    ),
    "ChainedScheduler": (
        linear(0.5, 6, 1.0) * exponential(0.1, 0.9, 1),
        lambda o: theirs.ChainedScheduler([theirs.LinearLR(o, 0.5, 1, 6), theirs.ExponentialLR(o, 0.9)]),
    ),
}


@needs_torch
@pytest.mark.parametrize("name", LIKE_TORCH)
def test_values_are_those_of_torch(name):
    ours, make = LIKE_TORCH[name]
    np.testing.assert_allclose(ours(np.arange(60)), torch_values(make, 60), **TORCH)


@needs_torch
@pytest.mark.parametrize(
    ("ours", "make"),
    [
        (onecycle(0.85, 60, start=0.95, end=0.95), lambda o: theirs.OneCycleLR(o, 0.5, 60)),
        (cyclic(0.9, 0.8, 7), lambda o: theirs.CyclicLR(o, 0.01, 0.2, 7)),
    ],
)
def test_momentum_cycles_the_other_way_as_in_torch(ours, make):
    np.testing.assert_allclose(ours(np.arange(60)), torch_values(make, 60, "momentum"), **TORCH)


@needs_torch
@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("n", range(1, 8))
def test_one_cycle_of_a_few_steps_is_torchs(n, three_phase):
    ours = onecycle(0.5, n, descent=0.6 if three_phase else None)(np.arange(n))
    given = torch_values(lambda o: theirs.OneCycleLR(o, 0.5, n, three_phase=three_phase), n)
    np.testing.assert_allclose(ours, given, **TORCH)


def test_one_cycle_that_turns_at_its_first_step_begins_at_the_peak():
    """torch 2.13 divides by zero there: ``OneCycleLR(optimizer, 1.0, 10, pct_start=0.1)``."""
    assert onecycle(1.0, 10, 0.1)(0) == 1.0


@needs_torch
def test_a_product_is_torchs_chain_of_all_schedulers_that_multiply():
    ours = (
        linear(0.5, 6, 1.0)
        * exponential(0.1, 0.9, 1)
        * step(1.0, 7, 0.5)
        * multistep(1.0, (3, 9), 0.5)
        * polynomial(1.0, 40, power=1.7)
        * piecewise((0.5, 1.0), (5,))
        * cosine(1.0, 30)
    )

    def make(optimizer):
        chained = (
            theirs.LinearLR(optimizer, 0.5, 1, 6),
            theirs.ExponentialLR(optimizer, 0.9),
            theirs.StepLR(optimizer, 7, 0.5),
            theirs.MultiStepLR(optimizer, [3, 9], 0.5),
            theirs.PolynomialLR(optimizer, 40, 1.7),
            theirs.ConstantLR(optimizer, 0.5, 5),
            theirs.CosineAnnealingLR(optimizer, 30),
        )
        return theirs.ChainedScheduler(chained)

    np.testing.assert_allclose(ours(np.arange(31)), torch_values(make, 31), **TORCH)


@needs_torch
@pytest.mark.parametrize(
    "make",
    [
        lambda o: theirs.LambdaLR(o, lambda k: 1 / (1 + k)),
        lambda o: theirs.OneCycleLR(o, 0.5, 60),
        lambda o: theirs.CyclicLR(o, 0.01, 0.2, 7),
        lambda o: theirs.CosineAnnealingWarmRestarts(o, 5),
    ],
)
def test_other_schedulers_of_torch_undo_what_came_before_them_in_a_chain(make):
    def chained(optimizer):
        return theirs.ChainedScheduler([theirs.ExponentialLR(optimizer, 0.9), make(optimizer)])

    # From the second step on: a CyclicLR in a chain leaves the first one alone.
    np.testing.assert_array_equal(torch_values(chained, 40)[1:], torch_values(make, 40)[1:])


@needs_torch
@pytest.mark.parametrize("eta_min", [0.0, 0.01])
def test_chained_schedulers_are_a_product_only_where_each_of_them_multiplies(eta_min):
    """torch's cosine multiplies up to ``T_max`` without ``eta_min``; after it, or with it, it adds."""

    def make(optimizer):
        cosine_ = theirs.CosineAnnealingLR(optimizer, 20, eta_min)
        return theirs.ChainedScheduler([cosine_, theirs.ExponentialLR(optimizer, 0.9)])

    ours = (cosine(0.1, 20, eta_min, periodic=True) * exponential(1.0, 0.9, 1))(np.arange(30))
    distance = np.abs(ours - torch_values(make, 30))
    assert distance[21:].max() > 1e-3
    assert (distance[:21].max() < 1e-15) == (eta_min == 0.0)


# What the other libraries gave when `peer_values.py` executed them, by its names.

PEERS = json.loads(Path(__file__).with_name("peer_values.json").read_text())

LIKE_PEERS = {
    "optax exponential": exponential(0.1, 0.5, 9, end=0.01),
    "optax exponential, staircase": exponential(0.1, 0.5, 9, staircase=True, end=0.01),
    "optax exponential, growing": exponential(0.1, 1.5, 9, end=0.7),
    "optax constant": constant(0.1),
    "optax linear": linear(0.1, 30, 0.02),
    "optax polynomial": polynomial(0.1, 30, 0.01, 1.7),
    "optax cosine": cosine(0.1, 40, 0.02),
    "optax warm-up and cosine": warmup(cosine(0.1, 40 - 10, 0.01), 10),
    "optax one cycle": onecycle(0.5, 47, 0.29, points="optax"),
    "optax one cycle, linear": onecycle(0.5, 47, descent=0.85, form="linear", points="optax"),
    "optax one cycle of 3 steps": onecycle(0.5, 3, points="optax"),
    "optax one cycle of 1 step": onecycle(0.5, 1, points="optax"),
    "optax piecewise": piecewise((1.0, 0.5, 0.1), (5, 20)),
    "optax piecewise, linear": piecewise((1.0, 0.5, 0.1), (5, 20), "linear"),
    "optax piecewise, cosine": piecewise((1.0, 0.5, 0.1), (5, 20), "cosine"),
    "optax joined": sequence((linear(0.05, 6, 0.1), constant(0.1), linear(0.1, 9)), (6, 20)),
    "Keras exponential": exponential(0.1, 0.5, 9),
    "Keras exponential, staircase": exponential(0.1, 0.5, 9, staircase=True),
    "Keras inverse time": inverse_time(0.1, 0.5, 4),
    "Keras inverse time, staircase": inverse_time(0.1, 0.5, 4, True),
    "Keras polynomial": polynomial(0.1, 30, 0.01, 1.7),
    "Keras polynomial, cycle": polynomial(0.1, 17, 0.01, 2.0, cycle=True),
    "Keras cosine": cosine(0.1, 40, 0.2 * 0.1),
    "Keras cosine with warm-up": warmup(cosine(0.1, 30, 0.1 * 0.1), 10, start=0.02 / 0.1),
    "Keras cosine with warm-up and no target": cosine(0.1, 40, 0.2 * 0.1),
    "Keras restarts": cosine_restarts(0.1, 4, 1.5, 0.1 * 0.1, 0.8),
    "Keras piecewise": piecewise((1.0, 0.5, 0.1), (5, 20), strict=True),
    "Keras piecewise, a level of no length": piecewise((1.0, 0.5, 0.1), (5, 5), strict=True),
    "pytorch_optimizer wsd, 1-sqrt": wsd(0.1, 50, warmup=0.1, decay=0.3),
    "pytorch_optimizer wsd, linear": wsd(0.1, 50, warmup=0.1, decay=0.3, form="linear"),
    "pytorch_optimizer wsd, 1-square": wsd(0.1, 50, warmup=0.1, decay=0.3, form="square"),
    "pytorch_optimizer wsd, cosine": wsd(0.1, 50, warmup=0.1, decay=0.3, form="cosine"),
    "pytorch_optimizer rex": rex(0.1, 40),
    "pytabkit flat_cos": flat_cos(0.1, 40),
    "pytabkit coslog4": coslog4(0.1, 40),
}


@pytest.mark.parametrize("name", PEERS["schedules"])
def test_values_are_those_that_the_other_library_gave(name):
    given = PEERS["schedules"][name]
    # Keras evaluates its cosines in float32.
    bound = SINGLE if name.startswith(("Keras cosine", "Keras restarts")) else ROUNDING
    np.testing.assert_allclose(LIKE_PEERS[name](np.array(PEERS["steps"])), given, **bound)


@pytest.mark.parametrize("name", [*LIKE_TORCH, *LIKE_PEERS])
def test_an_array_gives_what_its_elements_give_in_its_shape(name):
    ours = LIKE_TORCH[name][0] if name in LIKE_TORCH else LIKE_PEERS[name]
    k = np.array([[0, 3, 59], [17, 5, 41]])
    together = ours(k)
    assert together.shape == k.shape
    # To the bit: training folds the same steps in blocks of any size.
    np.testing.assert_array_equal(together, [[ours(int(i)) for i in row] for row in k])


@pytest.mark.parametrize("cycles", [1, 5])
def test_waves_of_realmlp_double_in_length(cycles):
    """Each is 0 at its ends, and its peak is where log2 is half way: after sqrt(2) - 1 of its length."""
    n = 2**cycles - 1
    wave = coslog4(0.5, 1000 * n, cycles=cycles)
    for k in range(cycles):
        begin, length = 1000 * (2**k - 1), 1000 * 2**k
        assert wave(begin) == pytest.approx(0, abs=1e-12)
        assert wave(begin + length) == pytest.approx(0, abs=1e-12)
        # The number of steps is rounded: that moves the phase by 1 / 1000 at most.
        assert wave(begin + round((2**0.5 - 1) * length)) == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("cycles", [0, 2.5, "4", 1024])
def test_waves_are_a_whole_number(cycles):
    with pytest.raises(ValueError, match=r"cycles=.* must be a whole number"):
        coslog4(0.1, 40, cycles=cycles)(0)


def test_a_cosine_holds_its_end_and_torchs_goes_up_again():
    assert cosine(1.0, 10)(10) == cosine(1.0, 10)(15) == 0.0
    assert cosine(1.0, 10, periodic=True)(20) == 1.0


@pytest.mark.parametrize("factor", [1, 2, 3, 1.3])
def test_every_restart_begins_at_the_peak(factor):
    begin = 0.0
    for i in range(12):
        k = math.ceil(begin - 1e-9)
        if abs(k - begin) < 1e-9:  # rounding down would still be at the end of the last period
            assert cosine_restarts(1.0, 10, factor)(k) == pytest.approx(1.0, abs=1e-12)
        begin += 10 * factor**i


@pytest.mark.parametrize("length", [None, 62])
@pytest.mark.parametrize("cycles", [1, 3, 5])
def test_waves_end_where_they_say(cycles, length):
    wave = coslog4(1.0, length, cycles=cycles, unit="epoch")
    ends = wave.cycle_ends(100)
    assert len(ends) == cycles
    assert ends[-1] == (length or 100)
    long = coslog4(1.0, 1000 * (length or 100), cycles=cycles)
    # At most half a thousandth of an epoch from the end, where the wave is flat: (pi / 1000)**2 or less.
    assert np.abs(long(np.rint(1000 * ends).astype(int))).max() < 1e-4
    assert coslog4(1.0, 62, cycles=5).cycle_ends(20).tolist() == [2, 6, 14]


@pytest.mark.parametrize("factor", [1.0, 2.0, 1.5])
def test_restarts_are_where_the_periods_end(factor):
    """At the end of a period the rate jumps to the peak, as in torch (`LIKE_TORCH`)."""
    rate = cosine_restarts(1.0, 4, factor)
    ends = rate.cycle_ends(60)
    jumps = [k for k in range(1, 61) if rate(k) - rate(k - 1) > 0.1]
    assert np.ceil(ends).tolist() == jumps
