"""The units of schedules, and schedules as values: reprs, copies, arguments."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

from fastopt import schedules
from fastopt.schedules import (
    constant,
    cosine,
    cosine_restarts,
    exponential,
    flat_cos,
    function,
    inverse_time,
    linear,
    multistep,
    onecycle,
    piecewise,
    plateau,
    sequence,
    step,
    warmup,
    wsd,
)
from fastopt.schedules.base import SCHEDULES

ROUNDING = {"rtol": 1e-13, "atol": 1e-16}


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
    np.testing.assert_allclose(ours, warmup(cosine(1.0, 90), 10)(k), **ROUNDING)


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
        (warmup(constant(1.0), 10, unit="epoch"), "unit='epoch' needs steps_per_epoch"),
        (warmup(constant(1.0), 0.1, unit="run"), "unit='run' needs n_steps"),
        (sequence((constant(1.0), constant(2.0)), (2,), unit="epoch"), "unit='epoch' needs steps_per_epoch"),
        (sequence((constant(1.0), constant(2.0)), (0.5,), unit="run"), "unit='run' needs n_steps"),
    ],
)
def test_what_the_run_has_to_tell_is_named(schedule, words):
    with pytest.raises(ValueError, match=words):
        schedule(0)


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
        (multistep(0.1, (5, 4)), ValueError, "none smaller than the one before"),
        (multistep(0.1, (-1, 4)), ValueError, "boundaries must be numbers >= 0"),
        (multistep(0.1, 5), TypeError, "boundaries must be numbers >= 0"),
        (multistep(0.1, ()), ValueError, "at least one"),
        (piecewise((1.0, 2.0), (1, 2)), ValueError, "2 levels for 2 boundaries"),
        (sequence((constant(1.0),), (1,)), ValueError, "1 schedules for 1 boundaries"),
        (sequence((constant(1.0), 0.1), (1,)), TypeError, "must be schedules"),
        (warmup(0.1, 5), TypeError, "must be schedules"),
        (onecycle(0.1, 9, 0.3, descent=0.3), ValueError, "descent must be greater than warmup"),
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
