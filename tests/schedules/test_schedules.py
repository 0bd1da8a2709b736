"""Schedules as functions: against torch, and against the other libraries' formulas written out here."""

import math
import pickle
import warnings

import numpy as np
import pytest
from reference.peers import needs_torch, torch
from sklearn.base import clone

from fastopt import schedules
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
    plateau,
    polynomial,
    rex,
    sequence,
    step,
    warmup,
    wsd,
)
from fastopt.schedules.base import SCHEDULES

theirs = torch and torch.optim.lr_scheduler

# torch multiplies from step to step where we take powers: some 60 roundings of 1e-16 each.
TORCH = {"rtol": 1e-12, "atol": 1e-15}
# A formula evaluated in another order of operations.
ROUNDING = {"rtol": 1e-13, "atol": 1e-16}


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


# The other libraries' formulas of one step k, written here from their definitions.


def exponential_optax(k, value, steps, rate, end, staircase):
    p = k / steps
    decayed = value * rate ** (math.floor(p) if staircase else p)
    return max(decayed, end) if rate < 1 else min(decayed, end)


def cosine_keras(k, value, steps, alpha):
    k = min(k, steps)
    return value * ((1 - alpha) * 0.5 * (1 + math.cos(math.pi * k / steps)) + alpha)


def restarts_keras(k, value, first, t_mul, m_mul, alpha):
    peak, length = 1.0, first
    while k >= length:
        k, length, peak = k - length, length * t_mul, peak * m_mul
    return value * ((1 - alpha) * 0.5 * peak * (1 + math.cos(math.pi * k / length)) + alpha)


def polynomial_keras_cycle(k, value, steps, end, power):
    steps *= 1 if k == 0 else math.ceil(k / steps)
    return (value - end) * (1 - k / steps) ** power + end


def onecycle_optax(k, peak, total, shares, form):
    marks = [0] + [int(share * total) for share in shares]
    start = peak / 25
    levels = [start, peak, *([start] if len(shares) == 3 else []), start / 1e4]
    if k >= marks[-1]:
        return levels[-1]
    i = max(j for j in range(len(marks)) if marks[j] <= k)
    x = (k - marks[i]) / (marks[i + 1] - marks[i])
    if form == "cosine":
        return levels[i + 1] + (levels[i] - levels[i + 1]) / 2 * (math.cos(math.pi * x) + 1)
    return levels[i] + (levels[i + 1] - levels[i]) * x


def warmup_cosine_optax(k, peak, warm, decay_steps, end):
    if k < warm:
        return peak * k / warm
    x = min(k - warm, decay_steps - warm) / (decay_steps - warm)  # decay_steps includes the warm-up
    return end + (peak - end) * 0.5 * (1 + math.cos(math.pi * x))


def piecewise_keras(k, boundaries, values):
    for boundary, value in zip(boundaries, values, strict=False):
        if k <= boundary:
            return value
    return values[-1]


def wsd_po(k, value, warm, stable, decay, form):
    if k < warm:
        return value * k / warm
    y = min(max((k - warm - stable) / decay, 0), 1)
    left = {"sqrt": 1 - math.sqrt(y), "linear": 1 - y, "square": 1 - y**2}
    return value * (left | {"cosine": 0.5 * (1 + math.cos(math.pi * y))})[form]


def coslog(k, value, n):
    return value * 0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * min(k / n, 1))))


def flat_cosine(k, value, n):
    x = min(k / n, 1)
    return value if x <= 0.5 else value * 0.5 * (1 + math.cos(math.pi * (2 * x - 1)))


LIKE_FORMULA = {
    "exponential": (
        exponential(0.1, 0.5, 9, end=0.01),
        lambda k: exponential_optax(k, 0.1, 9, 0.5, 0.01, False),
    ),
    "staircase": (
        exponential(0.1, 0.5, 9, staircase=True, end=0.01),
        lambda k: exponential_optax(k, 0.1, 9, 0.5, 0.01, True),
    ),
    "growing": (exponential(0.1, 1.5, 9, end=0.7), lambda k: exponential_optax(k, 0.1, 9, 1.5, 0.7, False)),
    "inverse time": (inverse_time(0.1, 0.5, 4), lambda k: 0.1 / (1 + 0.5 * k / 4)),
    "inverse time, staircase": (inverse_time(0.1, 0.5, 4, True), lambda k: 0.1 / (1 + 0.5 * (k // 4))),
    "cosine": (cosine(0.1, 40, 0.02), lambda k: cosine_keras(k, 0.1, 40, 0.2)),
    "restarts": (
        cosine_restarts(0.1, 4, 1.5, 0.01, 0.8),
        lambda k: restarts_keras(k, 0.1, 4, 1.5, 0.8, 0.1),
    ),
    "polynomial, cycle": (
        polynomial(0.1, 17, 0.01, 2.0, cycle=True),
        lambda k: polynomial_keras_cycle(k, 0.1, 17, 0.01, 2.0),
    ),
    "one cycle, cosine": (
        onecycle(0.5, 47, 0.29, points="optax"),
        lambda k: onecycle_optax(k, 0.5, 47, (0.29, 1), "cosine"),
    ),
    "one cycle, linear": (
        onecycle(0.5, 47, descent=0.85, form="linear", points="optax"),
        lambda k: onecycle_optax(k, 0.5, 47, (0.3, 0.85, 1), "linear"),
    ),
    "warm-up and cosine": (
        warmup(cosine(0.1, 30, 0.01), 10),
        lambda k: warmup_cosine_optax(k, 0.1, 10, 40, 0.01),
    ),
    "piecewise, Keras": (
        piecewise((1.0, 0.5, 0.1), (5, 20), strict=True),
        lambda k: piecewise_keras(k, (5, 20), (1.0, 0.5, 0.1)),
    ),
    "piecewise, optax": (
        piecewise((1.0, 0.5, 0.1), (5, 20)),
        lambda k: 1.0 if k < 5 else 0.5 if k < 20 else 0.1,
    ),
    "rex": (rex(0.1, 40), lambda k: 0.1 * (1 - min(k / 40, 1)) / (1 - min(k / 40, 1) / 2)),
    "coslog4": (coslog4(0.1, 40), lambda k: coslog(k, 0.1, 40)),
    "flat_cos": (flat_cos(0.1, 40), lambda k: flat_cosine(k, 0.1, 40)),
    **{
        f"wsd, {form}": (
            wsd(0.1, 50, warmup=0.1, decay=0.3, form=form),
            lambda k, form=form: wsd_po(k, 0.1, 5, 30, 15, form),
        )
        for form in ("sqrt", "linear", "square", "cosine")
    },
}


@pytest.mark.parametrize("name", LIKE_FORMULA)
def test_values_are_those_of_the_formula_before_and_past_the_end(name):
    ours, formula = LIKE_FORMULA[name]
    np.testing.assert_allclose(ours(np.arange(70)), [formula(k) for k in range(70)], **ROUNDING)


@pytest.mark.parametrize("name", [*LIKE_TORCH, *LIKE_FORMULA])
def test_an_array_gives_what_its_elements_give_in_its_shape(name):
    ours = (LIKE_TORCH | LIKE_FORMULA)[name][0]
    k = np.array([[0, 3, 59], [17, 5, 41]])
    together = ours(k)
    assert together.shape == k.shape
    # To the bit: training folds the same steps in blocks of any size.
    np.testing.assert_array_equal(together, [[ours(int(i)) for i in row] for row in k])


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


# Units


def test_epochs_change_the_value_between_epochs_only():
    ours = exponential(1.0, 0.5, 1, unit="epoch")(np.arange(7), steps_per_epoch=3)
    np.testing.assert_array_equal(ours, [1, 1, 1, 0.5, 0.5, 0.5, 0.25])


def test_shares_of_the_run():
    ours = multistep(1.0, (0.5, 0.75), 0.5, unit="run")(np.arange(8), n_steps=8)
    np.testing.assert_array_equal(ours, [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25])


@pytest.mark.parametrize("n", [7, 100, 1000])
def test_a_share_of_the_run_is_met_exactly(n):
    for k in range(1, n):
        jump = piecewise((0.0, 1.0), (k / n,), unit="run")
        assert (jump(k - 1, n_steps=n), jump(k, n_steps=n)) == (0.0, 1.0)


@pytest.mark.parametrize("name", schedules.list_schedules())
def test_a_schedule_without_a_length_lasts_for_the_run_in_every_unit(name):
    make = SCHEDULES[name]
    k = np.arange(0, 200, 10)
    in_steps = make(1.0)(k, n_steps=200)
    np.testing.assert_allclose(make(1.0, unit="run")(k, n_steps=200), in_steps, rtol=1e-12, atol=1e-12)
    if name != "onecycle":  # whose turning points stand an epoch, not a step, before the end
        in_epochs = make(1.0, unit="epoch")(k, n_steps=200, steps_per_epoch=10)
        np.testing.assert_allclose(in_epochs, in_steps, rtol=1e-12, atol=1e-12)


def test_what_follows_a_warm_up_lasts_for_the_rest_of_the_run():
    k = np.arange(100)
    ours = warmup(cosine(1.0), 0.1, unit="run")(k, n_steps=100)
    np.testing.assert_allclose(ours, [warmup_cosine_optax(i, 1.0, 10, 100, 0) for i in k], **ROUNDING)


def test_a_part_of_a_sequence_without_a_length_lasts_for_the_part():
    ours = sequence((linear(0.0, end=1.0), constant(1.0), linear(1.0)), (0.2, 0.6), unit="run")
    expected = [0, 0.5, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    np.testing.assert_allclose(ours(np.arange(10), n_steps=10), expected, **ROUNDING)


def test_parts_of_a_sequence_in_epochs_count_their_own_epochs():
    ours = sequence((constant(1.0), step(1.0, 1, 0.5, unit="epoch")), (2,), unit="epoch")
    expected = [1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]
    np.testing.assert_array_equal(ours(np.arange(10), steps_per_epoch=2), expected)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (cosine(1.0), "whole run.* needs n_steps"),
        (linear(1.0, unit="run"), "unit='run' needs n_steps"),
        (step(1.0, 1, unit="epoch"), "unit='epoch' needs steps_per_epoch"),
    ],
)
def test_what_the_run_has_to_tell_is_named(schedule, words):
    with pytest.raises(ValueError, match=words):
        schedule(0)


# Plateau


def plateau_torch(losses, **options):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = theirs.ReduceLROnPlateau(optimizer, **options)
    rates = []
    for loss in losses:
        scheduler.step(loss)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def plateau_keras(losses, factor, patience, min_delta, cooldown, min_lr):
    """Keras' ReduceLROnPlateau.on_epoch_end, from its documentation and source."""
    lr, best, wait, rest, rates = 1.0, math.inf, 0, 0, []
    for loss in losses:
        if rest > 0:
            rest, wait = rest - 1, 0
        if loss < best - min_delta:
            best, wait = loss, 0
        elif rest <= 0:
            wait += 1
            if wait >= patience and lr > min_lr:
                lr, rest, wait = max(lr * factor, min_lr), cooldown, 0
        rates.append(lr)
    return rates


def observed(schedule, metrics, **options):
    rates = []
    for metric in metrics:
        schedule = schedule.observe(metric, **options)
        rates.append(schedule(0))
    return rates


def bumpy_losses(seed):
    rng = np.random.default_rng(seed)
    losses = 2.0 + np.round(rng.normal(size=80), 1) * 0.3 - np.minimum(np.arange(80), 30) / 30
    losses[40] = np.nan
    return losses.tolist()


@needs_torch
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cooldown", [0, 1, 4])
@pytest.mark.parametrize("mode", ["rel", "abs"])
def test_plateau_counts_as_torch(mode, cooldown, seed):
    options = {"factor": 0.5, "patience": 3, "threshold": 0.05, "threshold_mode": mode, "cooldown": cooldown}
    losses = bumpy_losses(seed)
    ours = observed(plateau(1.0, **options, minimum=0.01), losses)
    np.testing.assert_allclose(ours, plateau_torch(losses, **options, min_lr=0.01), rtol=1e-14)
    assert ours[-1] < 0.1  # it did act


@needs_torch
@pytest.mark.parametrize("mode", ["rel", "abs"])
def test_plateau_counts_scores_as_torchs_max_mode(mode):
    scores = [4 - loss for loss in bumpy_losses(0)]
    options = {"factor": 0.5, "patience": 2, "threshold": 0.02, "threshold_mode": mode}
    ours = observed(plateau(1.0, **options), scores, greater_is_better=True)
    np.testing.assert_allclose(ours, plateau_torch(scores, mode="max", **options), rtol=1e-14)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cooldown", [0, 1, 4])
@pytest.mark.parametrize("patience", [1, 3])
def test_plateau_counts_as_keras(patience, cooldown, seed):
    losses = bumpy_losses(seed)
    schedule = plateau(1.0, 0.5, patience, 0.05, "abs", cooldown=cooldown, minimum=0.01, counting="keras")
    expected = plateau_keras(losses, 0.5, patience, 0.05, cooldown, 0.01)
    np.testing.assert_allclose(observed(schedule, losses), expected, rtol=1e-14)


def test_a_constant_loss_reduces_at_bad_epoch_patience_plus_one_or_at_patience():
    assert observed(plateau(1.0, 0.5, 3), [1.0] * 5) == [1.0, 1.0, 1.0, 1.0, 0.5]
    assert observed(plateau(1.0, 0.5, 3, counting="keras"), [1.0] * 5) == [1.0, 1.0, 1.0, 0.5, 0.5]


def test_observing_changes_nothing_but_makes_another_schedule():
    before = warmup(plateau(1.0, 0.5, 0), 5)
    after = before.observe(1.0).observe(1.0)
    assert (before(9), after(9)) == (1.0, 0.5)
    assert before == warmup(plateau(1.0, 0.5, 0), 5)


# Values


def twice(k):
    """A function at module level, so that it pickles."""
    return 2.0 * k


EXAMPLES = [
    constant(0.1),
    cosine(np.float64(0.1), 100, periodic=True),
    onecycle(0.1),
    sequence((linear(0.0, 5, 0.1), step(0.1, 3, unit="epoch")), (5,)),
    0.5 * warmup(plateau(0.1).observe(1.0), 0.1, unit="run"),
    piecewise([1.0, 0.5], [10]),
    function(twice, 0.5, unit="epoch"),
]


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_a_schedule_is_a_value(schedule):
    assert eval(repr(schedule), vars(schedules) | {"twice": twice}) == schedule
    assert clone(schedule) == schedule == pickle.loads(pickle.dumps(schedule))
    assert schedule != constant(0.7)


def test_parameters_are_reached_through_compositions():
    schedule = warmup(cosine(0.1, 100), 10)
    assert schedule.get_params()["then__value"] == 0.1
    assert schedule.set_params(then__value=0.5, length=5) == warmup(cosine(0.5, 100), 5)
    with pytest.raises(
        ValueError, match=r"Invalid parameter 'lenght' for cosine. Valid parameters are: \['value'"
    ):
        schedule.set_params(then__lenght=5)


def test_names_are_answered_with_the_nearest():
    assert schedules.get_schedule("COSINE", value=1.0) == cosine(1.0)
    with pytest.raises(ValueError, match=r"'cosin' is not one of .*Did you mean 'cosine'"):
        schedules.get_schedule("cosin")


@pytest.mark.parametrize(
    ("schedule", "error", "words"),
    [
        (cosine(), ValueError, r"cosine\(value=None\): value must be a number"),
        (cosine("fast", 5), TypeError, "value must be a finite number, not str"),
        (cosine(float("nan"), 5), ValueError, "value must be a finite number"),
        (cosine(0.1, 0), ValueError, "length must be a finite number > 0"),
        (cosine(0.1, 5, unit="steps"), ValueError, "unit must be 'step' or 'epoch' or 'run'"),
        (wsd(0.1, 5, warmup=0.6, decay=0.6), ValueError, "together they must not exceed 1"),
        (wsd(0.1, 5, form="sin"), ValueError, "form must be 'sqrt' or"),
        (flat_cos(0.1, 5, flat=1.0), ValueError, r"flat must be a number in \[0, 1\)"),
        (multistep(0.1, (5, 5)), ValueError, "boundaries must be increasing"),
        (multistep(0.1, 5), TypeError, "boundaries must be increasing"),
        (multistep(0.1, ()), ValueError, "boundaries must be increasing"),
        (piecewise((1.0, 2.0), (1, 2)), ValueError, "2 levels for 2 boundaries"),
        (sequence((constant(1.0),), (1,)), ValueError, "1 schedules for 1 boundaries"),
        (sequence((constant(1.0), 0.1), (1,)), TypeError, "must be schedules"),
        (warmup(0.1, 5), TypeError, "must be schedules"),
        (onecycle(0.1, 3), ValueError, "too short"),
        (exponential(0.1, -1.0, 5), ValueError, "factor must be > 0"),
        (inverse_time(0.1, -1.0), ValueError, "rate must be >= 0"),
        (cosine_restarts(0.1, 5, 0.5), ValueError, "factor must be >= 1"),
        (plateau(0.1, 1.5), ValueError, r"factor must be a number in \(0, 1\)"),
        (plateau(0.1, patience=-1), ValueError, "patience must be a whole number"),
        (function("twice"), TypeError, "f must be callable, not str"),
        (function(str), TypeError, "must return a number, not str"),
        (constant(1.0) * constant("a"), TypeError, "value must be a finite number, not str"),
    ],
)
def test_a_parameter_that_cannot_be_is_named_when_the_schedule_is_used(schedule, error, words):
    with pytest.raises(error, match=words):
        schedule(0)


@pytest.mark.parametrize("k", [-1, 1.5, np.array([0, -2]), "a"])
def test_a_step_that_cannot_be_is_refused(k):
    with pytest.raises(ValueError, match="step must be whole numbers >= 0"):
        constant(1.0)(k)


def test_a_schedule_of_ones_own():
    @schedules.schedule
    class sawtooth(schedules.Schedule):
        value: float = 1.0
        every: float = 4

        def values(self, clock):
            return self.value * (1 - clock.ticks(self.unit) % self.every / self.every)

    try:
        np.testing.assert_array_equal(sawtooth()(np.arange(5)), [1, 0.75, 0.5, 0.25, 1])
        assert repr(sawtooth(2.0)) == "sawtooth(value=2.0)"
        assert "sawtooth" in schedules.list_schedules()
    finally:
        del SCHEDULES["sawtooth"]


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_plot_draws_the_values(schedule):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    ax = schedule.plot(label="x")
    steps, values = ax.lines[0].get_data()
    expected = schedule(steps.astype(int), n_steps=int(steps[-1]), steps_per_epoch=1)
    np.testing.assert_array_equal(values, expected)
    assert schedule.plot(ax, n_steps=30) is ax
    assert ax.lines[1].get_xdata()[-1] == 30
    pyplot.close(ax.figure)
