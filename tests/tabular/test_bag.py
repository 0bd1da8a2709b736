"""The training of a bag: the recipe in torch, the cycles, and when they end."""

import math

import numpy as np
import pytest

from fastopt.engine import Layout
from fastopt.engine import monotonic_clock as clock
from fastopt.neural_network.data import Data
from fastopt.neural_network.initialization import initialize
from fastopt.neural_network.stopwatch import Stopwatch
from fastopt.tabular.bag import Bag, Training
from fastopt.tabular.cycles import cycle_lengths, train_in_cycles

N_EPOCHS = 31


def problem(is_classification):
    """Return data, the layout and the engine's names of a small network."""
    rs = np.random.RandomState(0)
    X = rs.standard_normal((60, 5)).astype(np.float32)
    if is_classification:
        # No class has a third of any training rows: its first gradient would be nothing but roundings.
        targets = np.eye(3, dtype=np.float32)[(X[:, :2] > 0.5).sum(axis=1)]
        data = Data.of(X, targets * 0.9 + 0.1 / 3, None, np.float32)._replace(true_targets=targets)
        return data, Layout([5, 8, 8, 3], (), True), ("softmax", "log_loss")
    return (
        Data.of(X, X[:, :1] * X[:, 1:2], None, np.float32),
        Layout([5, 8, 8, 1], (), True),
        ("identity", "squared_error"),
    )


def new_bag(is_classification, n_members=2):
    data, layout, (output, loss) = problem(is_classification)
    network = {
        "layout": layout,
        "activation": "silu",
        "out_activation": output,
        "loss": loss,
        "dtype": np.float32,
    }
    training = Training(0.04, (0.9, 0.95), 0.02, N_EPOCHS, 256)
    folds = [np.arange(k, 60, 5) for k in range(n_members)]
    return (
        Bag(network, training, data, folds, None, len(folds), np.random.RandomState(3)),
        data,
        layout,
        folds,
    )


def in_torch(torch, params, layout, data, held_out, is_classification):
    """Train as the recipe says, in torch; return the loss of the rows held out after each epoch."""
    arrays = [torch.tensor(a.copy(), requires_grad=True) for a in layout.arrays(params)]
    weights, biases, scale = arrays[:3], arrays[3:6], arrays[6]
    rate, decay = 0.04, 0.02
    groups = [{"params": [w], "share": w.shape[0] ** -0.5, "decays": True} for w in weights]
    groups += [
        {"params": biases, "share": 0.1, "decays": False},
        {"params": [scale], "share": 6.0, "decays": False},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), weight_decay=0)
    X, targets = torch.tensor(data.X), torch.tensor(data.targets)
    true = torch.tensor(data.scored_targets)
    train = np.setdiff1d(np.arange(60), held_out)

    def loss(rows, targets):
        z = X[rows] * scale
        for w, b in zip(weights[:-1], biases[:-1], strict=True):
            z = torch.nn.functional.silu(z @ w + b)
        z = z @ weights[-1] + biases[-1]
        if is_classification:
            return -(targets[rows] * torch.log_softmax(z, 1)).sum(1).mean()
        return ((z - targets[rows]) ** 2).mean() / 2  # the engine's, as scikit-learn's

    losses = []
    for epoch in range(N_EPOCHS):  # one batch each
        t = epoch / N_EPOCHS
        factor = (1 - math.cos(2 * math.pi * math.log2(1 + 31 * t))) / 2
        flat_cos = 1 if t < 0.5 else (1 + math.cos(math.pi * (2 * t - 1))) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate * factor * group["share"]
            group["weight_decay"] = decay * flat_cos * group["decays"]
        optimizer.zero_grad()
        loss(train, targets).backward()
        optimizer.step()
        with torch.no_grad():
            losses.append(float(loss(held_out, true)))
    return losses, [a.detach().numpy() for a in arrays]


@pytest.mark.parametrize("is_classification", [True, False])
def test_members_are_trained_as_the_recipe_says(is_classification):
    """Label smoothing, rates by layer, scale of the inputs, decay, restarts and validation, in torch."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)  # threads would wait for each other longer than they compute
    bag, data, layout, folds = new_bag(is_classification)
    seeds = np.random.RandomState(3).randint(2**32, size=2, dtype=np.uint64)
    bag.train(N_EPOCHS)
    for member, seed, held_out in zip(bag.members, seeds, folds, strict=True):
        params = initialize(layout, "silu", np.random.RandomState(int(seed)), np.float32, "realmlp")
        if is_classification:
            assert not np.isin(np.delete(data.scored_targets, held_out, axis=0).sum(axis=0), 16).any()
        losses, arrays = in_torch(torch, params, layout, data, held_out, is_classification)
        # Both compute in float32; 31 steps multiply roundings.
        np.testing.assert_allclose(member.validation_losses, losses, rtol=2e-4)
        for ours, theirs in zip(layout.arrays(member.params), arrays, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-4)
        assert member.best_epoch == N_EPOCHS - 1 - int(np.argmin(losses[::-1]))
    shares = [len(rows) for rows in folds]
    pooled = np.average([member.validation_losses for member in bag.members], axis=0, weights=shares)
    np.testing.assert_allclose(bag.losses()[1], pooled, rtol=1e-6)


def test_cycles_double():
    assert cycle_lengths(186) == [6, 12, 24, 48, 96]
    for n in (1, 2, 5, 30, 100, 1000):
        assert sum(cycle_lengths(n)) == n
        assert min(cycle_lengths(n)) >= 1


class Scripted:
    """A bag whose pooled losses at the ends of cycles are given; an epoch takes `seconds` of `now`."""

    def __init__(self, at_ends=(), seconds=0.0, n_before=1e9):
        self.at_ends, self.seconds, self.calls, self.shortened = dict(at_ends), seconds, [], []
        self.curve, self.now = [], 0.0

    def train(self, n_epochs, until=None, tick=None):
        for _ in range(n_epochs):
            if until is not None and self.now + self.seconds > until:
                break
            self.now += self.seconds
            self.curve.append(self.at_ends.get(len(self.curve) + 1, 1.0))

    def losses(self):
        return np.array(self.curve), np.array(self.curve)

    def lacks_epochs(self):
        return not self.curve

    def has_diverged(self):
        return False

    def end_within(self, n_epochs):
        self.shortened.append((len(self.curve), n_epochs))


def run(bag, stopwatch=None, cycle_ends=lambda n: False, max_iter=186):
    return train_in_cycles(bag, max_iter, stopwatch or Stopwatch(None), cycle_ends)


@pytest.mark.parametrize(
    ("at_ends", "n_epochs", "ending"),
    [
        ({6: 5, 18: 4, 42: 3, 90: 2, 186: 1}, 186, "max_iter"),
        ({6: 5, 18: 4, 42: 3, 90: 3.1}, 90, "loss"),
        ({6: 5, 18: 4, 42: 4.1}, 42, "loss"),
        ({6: 1, 18: 2, 42: 1.5, 90: 1.4, 186: 9}, 186, "loss"),  # the second cycle may be worse
        ({6: 1, 18: 1, 42: 1, 90: 1, 186: 1}, 186, "max_iter"),  # equal is not worse
    ],
)
def test_training_ends_with_a_cycle_that_was_worse(at_ends, n_epochs, ending):
    bag = Scripted(at_ends)
    assert run(bag) == ending
    assert len(bag.curve) == n_epochs


def test_a_callback_ends_training_with_a_cycle():
    seen = []
    bag = Scripted()
    assert run(bag, cycle_ends=lambda n: seen.append(n) or n >= 42) == "callback"
    assert seen == [6, 18, 42]


@pytest.mark.parametrize(
    ("seconds", "shortened", "n_epochs", "ending"),
    [
        (500.0, [], 186, "max_iter"),
        (100.0, [(90, 9)], 99, "max_time"),  # 10 seconds are left, of which 0.95 are planned
        (60.0, [(42, 17)], 59, "max_time"),
        (44.0, [], 42, "max_time"),  # two epochs would be too few for a cycle
        (10.0, [], 6, "max_time"),
        (4.0, [], 4, "cut_short"),
        (0.1, [], 1, "cut_short"),  # an epoch is made whatever the time is
    ],
)
def test_the_last_cycle_is_shortened_to_the_time_left(monkeypatch, seconds, shortened, n_epochs, ending):
    bag = Scripted(seconds=1.0)
    monkeypatch.setattr(clock, "now", lambda: bag.now)
    monkeypatch.setattr(clock, "is_past", lambda until: until is not None and bag.now > until)
    stopwatch = Stopwatch(None)
    stopwatch.until = seconds
    assert run(bag, stopwatch) == ending
    assert bag.shortened == shortened
    assert len(bag.curve) == n_epochs


def test_a_shortened_cycle_ends_with_a_rate_and_a_decay_of_0():
    bag, *_ = new_bag(True)
    bag.train(6)
    bag.end_within(10)
    for member in bag.members:
        update = member.update
        clock_of_run = update.run.clock(update.t + np.arange(11))
        values = [update.hyper[name].values(clock_of_run) for name in ("lr", "weight_decay")]
        assert values[0][0] == pytest.approx(0, abs=1e-9)
        assert values[0].max() == pytest.approx(0.04, rel=0.05)
        assert values[0][10] == pytest.approx(0, abs=1e-9)
        assert values[1][0] == pytest.approx(0.02)
        assert values[1][10] == pytest.approx(0, abs=1e-9)
    bag.train(10)
    assert all(len(member.losses) == 16 for member in bag.members)


@pytest.mark.parametrize("is_classification", [True, False])
@pytest.mark.parametrize("bytes_at_once", [1, 1000, 1 << 24])
def test_outputs_out_of_fold_are_of_the_epoch_that_is_best_for_the_others(
    is_classification, bytes_at_once, monkeypatch
):
    """However many epochs' outputs are kept at once; the same networks' outputs are all kept here."""
    monkeypatch.setattr("fastopt.tabular.out_of_fold_outputs._MOST_BYTES", bytes_at_once)
    (bag, *_), (again, *_) = (new_bag(is_classification, n_members=3) for _ in range(2))
    bag.train(N_EPOCHS)
    again._trainer.train(again.members, n_epochs=N_EPOCHS, batch_size=256, keep_outputs=True)
    curves = np.array([member.validation_losses for member in again.members])  # of folds of one size
    for j, (outputs, member) in enumerate(zip(bag.held_out_outputs(), again.members, strict=True)):
        others = np.delete(curves, j, axis=0).mean(axis=0)
        np.testing.assert_array_equal(outputs, member.outputs[np.argmin(others)])
        assert bag.members[j].best_epoch == member.best_epoch
        np.testing.assert_array_equal(bag.members[j].best_params, member.best_params)
