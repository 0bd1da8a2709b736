"""`plateau` against torch, and against what Keras and optax gave when they were executed."""

import json
from pathlib import Path

import numpy as np
import pytest
from reference.peers import needs_torch, torch

from fastopt.schedules import plateau, warmup

PEERS = json.loads(Path(__file__).with_name("peer_values.json").read_text())


def plateau_torch(losses, **options):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    rates = []
    for loss in losses:
        scheduler.step(loss)
        rates.append(optimizer.param_groups[0]["lr"])
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


def cases(library):
    return [case[1:] for case in PEERS["plateau"] if case[0] == library]


def halved(schedule, seed, shift, **options):
    """Return how often the rate has been halved after each of the values that were given to the peers."""
    values = [value + shift for value in PEERS["metrics"][seed]]
    return [round(-np.log2(rate)) for rate in observed(schedule, values, **options)]


@pytest.mark.parametrize(("seed", "shift", "options", "given"), cases("keras"))
def test_plateau_counts_as_keras(seed, shift, options, given):
    mode = options.pop("mode")
    schedule = plateau(1.0, **options, threshold=0.75, threshold_mode="abs", minimum=1 / 64, counting="keras")
    assert halved(schedule, seed, shift, greater_is_better=mode == "max") == given


@pytest.mark.parametrize(("seed", "shift", "options", "given"), cases("optax"))
def test_plateau_counts_as_optax_with_a_patience_less_by_one(seed, shift, options, given):
    relative, absolute = options.pop("rtol"), options.pop("atol", 0.0)
    options["patience"] -= 1
    options |= {"threshold": relative or absolute, "threshold_mode": "rel" if relative else "abs"}
    assert halved(plateau(1.0, **options, minimum=1 / 64), seed, shift) == given


def test_a_constant_loss_reduces_at_bad_epoch_patience_plus_one_or_at_patience():
    assert observed(plateau(1.0, 0.5, 3), [1.0] * 5) == [1.0, 1.0, 1.0, 1.0, 0.5]
    assert observed(plateau(1.0, 0.5, 3, counting="keras"), [1.0] * 5) == [1.0, 1.0, 1.0, 0.5, 0.5]


def test_observing_changes_nothing_but_makes_another_schedule():
    before = warmup(plateau(1.0, 0.5, 0), 5)
    after = before.observe(1.0).observe(1.0)
    assert (before(9), after(9)) == (1.0, 0.5)
    assert before == warmup(plateau(1.0, 0.5, 0), 5)


# Values below zero


@needs_torch
@pytest.mark.parametrize("counting", ["torch", "keras"])
def test_what_stands_still_below_zero_is_no_improvement_although_it_is_to_torch(counting):
    schedule = plateau(1.0, 0.5, patience=2, counting=counting)
    options = {"factor": 0.5, "patience": 2}
    for value in (-0.5, 0.5):
        for greater in (True, False):
            ours = observed(schedule, [value] * 20, greater_is_better=greater)
            assert ours[-1] == 0.5 ** (19 // (3 if counting == "torch" else 2))
            given = plateau_torch([value] * 20, mode="max" if greater else "min", **options)
            assert given == [1.0] * 20 if value < 0 else counting == "keras" or given == ours


@needs_torch
@pytest.mark.parametrize("mode", ["rel", "abs"])
def test_losses_below_zero_are_watched_as_torch_watches_their_sizes(mode):
    """A loss that falls below zero grows in size, which is positive: torch's ``mode="max"``."""
    losses = [loss - 9 for loss in bumpy_losses(1)]
    options = {"factor": 0.5, "patience": 2, "threshold": 0.02, "threshold_mode": mode}
    expected = plateau_torch([-loss for loss in losses], mode="max", **options)
    np.testing.assert_allclose(observed(plateau(1.0, **options), losses), expected, rtol=1e-14)
    assert expected[-1] < 0.1


@pytest.mark.parametrize("counting", ["torch", "keras"])
@pytest.mark.parametrize("mode", ["rel", "abs"])
def test_a_loss_and_its_negative_as_a_score_are_the_same(mode, counting):
    schedule = plateau(1.0, 0.5, 2, 0.02, mode, counting=counting)
    for shift in (-9, -1.5, 0):
        losses = [loss + shift for loss in bumpy_losses(2)]
        scores = [-loss for loss in losses]
        assert observed(schedule, losses) == observed(schedule, scores, greater_is_better=True)


def test_a_score_that_falls_a_little_every_epoch_is_no_better():
    scores = [-0.5 - 1e-6 * epoch for epoch in range(9)]
    assert observed(plateau(1.0, 0.5, 2), scores, greater_is_better=True)[-1] == 0.25


@needs_torch
def test_an_infinite_loss_does_not_stay_the_best():
    losses = [np.inf] * 3 + [2.0] * 4
    given = plateau_torch(losses, factor=0.5, patience=2)
    assert observed(plateau(1.0, 0.5, 2), losses) == given == [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25]
