"""Checks before the landscape is believed: finite losses, equal starts, estimators' and torch's numbers."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import landscape_cases as cases
import numpy as np
from landscape_fits import Bench
from sklearn.exceptions import ConvergenceWarning

from fastopt import Adam, MLPClassifier, MLPRegressor

if TYPE_CHECKING:
    from pathlib import Path

SETS, SEED, EPOCHS = ("digits", "spambase", "kin8nm"), 1, 5


def verify(folder: Path) -> None:
    """Raise AssertionError where the bench does not do what it says; print what was found."""
    for name in SETS:
        bench = Bench(cases.load(folder, name), "middle")
        finite_and_equal_starts(bench)
        as_estimators(bench)
        print(f"{name}: Adam's losses differ from torch's by {torch_difference(folder, name):.1e} at most")


def finite_and_equal_starts(bench: Bench) -> None:
    """Check that all contenders begin with the same bits, and have finite losses at their smallest rate."""
    starts, finals = set(), {}
    for contender in cases.contenders():
        batch = bench.table.n_training if contender.name == "lbfgs" else cases.BATCH
        member = bench.begin(contender.make(contender.rates()[0]), SEED, batch, None)
        starts.add(
            (member.params.tobytes(), member.X.tobytes(), member.random_state.get_state()[1].tobytes())
        )
        bench.train([member], batch, n_epochs=EPOCHS)
        finals[contender.name] = member.validation_losses[-1]
    assert len(starts) == 1, "contenders begin with different weights, rows or random states"
    assert np.isfinite(list(finals.values())).all(), finals
    print(f"{bench.table.name}: {len(finals)} contenders begin alike and have finite losses")


def as_estimators(bench: Bench) -> None:
    """Check that training gives the losses of an estimator's ``fit``, bit for bit."""
    rows, _ = bench.table.rows(SEED)
    kinds = MLPClassifier if bench.table.is_classification else MLPRegressor
    Y = bench.table.Y[rows]
    y = Y.argmax(axis=1) if Y.shape[1] > 1 else Y[:, 0]
    for contender in cases.contenders():
        if contender.name == "lbfgs":
            continue
        optimizer = contender.make(contender.rates()[2])
        member = bench.begin(optimizer, SEED, cases.BATCH, None)
        bench.train([member], cases.BATCH, n_epochs=EPOCHS)
        network = kinds(
            hidden_layer_sizes=cases.SIZES["middle"], solver=optimizer, alpha=0.0, batch_size=cases.BATCH,
            max_iter=EPOCHS, random_state=SEED, n_iter_no_change=np.inf, n_jobs=1,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            network.fit(bench.table.X[rows], y)
        assert network.loss_curve_ == member.losses, (contender.name, network.loss_curve_, member.losses)
    print(f"{bench.table.name}: losses are those of {kinds.__name__}")


def torch_difference(folder: Path, name: str) -> float:
    """Return by how much Adam's loss of an epoch differs from torch's, in float64, relative to it."""
    import torch

    bench = Bench(cases.load(folder, name, np.float64), "middle")
    member = bench.begin(Adam(lr=0.001), SEED, cases.BATCH, None)
    layers = torch_network(bench, member.params)
    loss_of = {
        "log_loss": lambda out, Y: torch.nn.functional.cross_entropy(out, Y),
        "binary_log_loss": lambda out, Y: torch.nn.functional.binary_cross_entropy_with_logits(out, Y),
        "squared_error": lambda out, Y: 0.5 * torch.nn.functional.mse_loss(out, Y),
    }[bench.table.loss]
    X, Y = torch.from_numpy(member.X), torch.from_numpy(member.Y)
    optimizer = torch.optim.Adam(layers.parameters(), lr=0.001)
    draws, order = np.random.RandomState(), member.rows.copy()
    draws.set_state(member.random_state.get_state())
    theirs = []
    for _ in range(cases.EPOCHS):
        draws.shuffle(order)
        total = 0.0
        for batch in torch.from_numpy(order).split(cases.BATCH):
            loss = loss_of(layers(X[batch]), Y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        theirs.append(total / len(order))
    bench.train([member], cases.BATCH)
    worst = float(np.max(np.abs(np.array(member.losses) / theirs - 1)))
    # float64 rounds at 1e-16, which a thousand steps amplify; a wrong formula shows in the first digits.
    assert worst < 1e-7, (name, worst)
    return worst


def torch_network(bench: Bench, params: np.ndarray) -> object:
    """Return a network of torch with these weights."""
    import torch

    layers = []
    for weights, biases in zip(bench.layout.weights(params), bench.layout.biases(params), strict=True):
        layer = torch.nn.Linear(*weights.shape, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weights.T.copy()))
            layer.bias.copy_(torch.from_numpy(biases.copy()))
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])
