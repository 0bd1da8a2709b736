"""Out-of-fold outputs: no label chooses the epoch of its own predictions."""

from types import SimpleNamespace

import numpy as np
import pytest

from fastopt import TabularMLPClassifier, TabularMLPRegressor
from fastopt.tabular.out_of_fold_outputs import OutOfFoldOutputs


def member(curve, diverged=False):
    """Return what stands for a network with these validation losses, one row held out, outputs the epochs."""
    outputs = np.arange(len(curve), dtype=np.float32)[:, np.newaxis, np.newaxis]
    return SimpleNamespace(
        losses=list(curve),
        validation_losses=list(curve),
        held_out=np.zeros(1, np.int64),
        outputs=outputs.copy(),
        best_outputs=outputs[int(np.argmin(curve))],
        has_diverged=diverged,
    )


def chosen(members, n_folds, shares=None, steps=None):
    """Return the epochs that are chosen, where `take` is called after so many epochs each."""
    shares = np.ones(len(members)) if shares is None else np.array(shares)
    curves = [list(one.losses) for one in members]
    taker = OutOfFoldOutputs(members, shares, n_folds)
    done = 0
    for step in steps or [max(map(len, curves))]:
        for one, curve in zip(members, curves, strict=True):
            own = curve[: done + step]
            one.losses, one.validation_losses = own, own
            new = np.arange(done, len(own), dtype=np.float32)[:, np.newaxis, np.newaxis]
            one.outputs = new if one.outputs is None or not done else np.concatenate([one.outputs, new])
        done += step
        taker.take()
    return [int(one[0, 0]) for one in taker.outputs()]


CURVES = [[3, 1, 2, 5], [3, 2, 1, 5], [1, 2, 3, 9]]


@pytest.mark.parametrize("steps", [None, [1] * 4, [2, 2], [3, 1]])
def test_the_other_folds_choose_the_epoch(steps):
    # Means of the other two: (2, 2, 2, 7), (2, 1.5, 2.5, 7) and (3, 1.5, 1.5, 5); the last of equals.
    assert chosen([member(curve) for curve in CURVES], 3, steps=steps) == [2, 1, 2]


def test_folds_count_by_their_weights():
    # With weights 1, 3 and 2 the means are (2.2, 2, 1.8, ...), (5, 5, 8, ...) / 3 and (3, 1.75, 1.25, 5).
    assert chosen([member(curve) for curve in CURVES], 3, [1, 3, 2]) == [2, 1, 2]
    assert chosen([member(curve) for curve in CURVES], 3, [1, 1, 5])[:2] == [0, 0]


def test_repeats_choose_apart():
    first, second = [[1, 9], [1, 9]], [[9, 1], [9, 1]]
    assert chosen([member(curve) for curve in first + second], 2) == [0, 0, 1, 1]


def test_a_network_that_is_alone_in_its_repeat_asks_the_others_and_an_only_one_itself():
    assert chosen([member(curve) for curve in [[1, 9], [1, 9], [9, 1]]], 2) == [0, 0, 0]
    assert chosen([member([3, 1, 2])], 5) == [1]


def test_epochs_without_a_finite_loss_are_not_chosen():
    gone = member([2, np.nan], diverged=True)
    assert chosen([gone, member([3, 2, 1]), member([3, 2, 1])], 3) == [0, 2, 2]


@pytest.mark.parametrize("cls", [TabularMLPClassifier, TabularMLPRegressor])
def test_scores_of_noise_are_those_of_guessing(cls):
    """Choosing epochs by a fold's own labels gives an accuracy of 0.57 and an R2 of 0.05 on such tables.

    The mean of four accuracies of 200 labels that have nothing to do with the table has a standard deviation
    of 0.018, and R2 of a constant is 0.
    """
    scores = []
    for seed in range(4):
        rs = np.random.RandomState(seed)
        X, noise = rs.standard_normal((200, 6)), rs.standard_normal(200)
        y = noise > 0 if cls is TabularMLPClassifier else noise
        scores.append(cls(random_state=seed).fit(X, y).oof_score_)
    least, most = (0.44, 0.54) if cls is TabularMLPClassifier else (-0.05, 0.02)
    assert least < np.mean(scores) < most
