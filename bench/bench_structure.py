"""Normalisation and skip connections in small networks for tables, measured with torch.

``python bench/bench_structure.py FOLDER`` takes a folder of tables, each a ``NAME.csv.gz`` with a column
``target``, and an ``index.csv`` with the columns ``name`` and ``task``. Every network has two hidden layers
of 128 rectified units, standardised inputs, Adam, batches of 128, and the weights of the epoch with the least
validation loss; each takes the better of two learning rates by that loss.
"""

import argparse
import csv
import itertools
import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _measure import write_json
from sklearn.model_selection import train_test_split
from torch import nn

from fastopt.datasets.preparation import of_table

WIDTH, BATCH, RATES, PATIENCE, MOST_EPOCHS, MOST_ROWS = 128, 128, (1e-3, 3e-3), 20, 200, 1500
VARIANTS = "plain", "batch norm", "layer norm", "skip"


class Network(nn.Module):
    """Two hidden layers, each linear, normalised or not, and rectified; a skip around the second or not."""

    def __init__(self, n_in: int, n_out: int, variant: str) -> None:
        super().__init__()
        norm = {"batch norm": nn.BatchNorm1d, "layer norm": nn.LayerNorm}.get(variant, nn.Identity)
        self.first = nn.Sequential(nn.Linear(n_in, WIDTH), norm(WIDTH), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(WIDTH, WIDTH), norm(WIDTH), nn.ReLU())
        self.last, self.has_skip = nn.Linear(WIDTH, n_out), variant == "skip"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the last layer's pre-activations."""
        h = self.first(x)
        return self.last(h + self.second(h) if self.has_skip else self.second(h))


def read(folder: Path, name: str, task: str, seed: int) -> tuple[list[torch.Tensor], int]:
    """Return a table's rows for training, validation and testing, inputs and targets, and the outputs."""
    frame = pd.read_csv(folder / f"{name}.csv.gz")
    y = frame.pop("target").to_numpy()
    is_classes = task == "classification"
    y = np.unique(y, return_inverse=True)[1] if is_classes else y.astype(float)
    rows, test = train_test_split(np.arange(len(y)), test_size=0.25, random_state=seed)
    fit, validation = train_test_split(rows[:MOST_ROWS], test_size=0.2, random_state=seed)
    encode = of_table().fit(frame.iloc[fit])
    y = torch.as_tensor(y) if is_classes else torch.as_tensor((y - y[fit].mean()) / y[fit].std()).float()
    parts = []
    for part in (fit, validation, test[: 2 * MOST_ROWS]):
        X = encode.transform(frame.iloc[part])
        X = X.toarray() if hasattr(X, "toarray") else np.asarray(X)
        parts += [torch.as_tensor(X.astype(np.float32)), y[part]]
    return parts, int(y.max()) + 1 if is_classes else 1


def train(network: Network, parts: list[torch.Tensor], loss, lr: float) -> float:
    """Train until the validation loss has not improved for a while; return the least, restore its weights."""
    X, y, X_validation, y_validation = parts[:4]
    optimizer = torch.optim.Adam(network.parameters(), lr)
    best, bad, kept = math.inf, 0, {}
    for _ in range(MOST_EPOCHS):
        network.train()
        order = torch.randperm(len(X))
        for rows in order.split(BATCH):
            if len(rows) > 1:  # of which batch normalisation needs two
                optimizer.zero_grad()
                loss(network(X[rows]), y[rows]).backward()
                optimizer.step()
        network.eval()
        with torch.no_grad():
            now = float(loss(network(X_validation), y_validation))
        bad += 1
        if now < best:
            best, bad, kept = now, 0, {name: value.clone() for name, value in network.state_dict().items()}
        if bad > PATIENCE:
            break
    network.load_state_dict(kept)
    return best


def measure(folder: Path, name: str, task: str, variant: str, seed: int) -> dict[str, float]:
    """Return the test figures of one network on one table."""
    parts, n_out = read(folder, name, task, seed)
    is_classes, began, runs = task == "classification", time.process_time(), []
    loss = nn.CrossEntropyLoss() if is_classes else lambda z, y: ((z[:, 0] - y) ** 2).mean()
    for lr in RATES:
        torch.manual_seed(seed)
        network = Network(parts[0].shape[1], n_out, variant)
        runs.append((train(network, parts, loss, lr), network))
    seconds = time.process_time() - began
    network = min(runs, key=lambda run: run[0])[1]
    with torch.no_grad():
        z = network(parts[4])
    figures = {"seconds": seconds, "loss": float(loss(z, parts[5]))}
    if is_classes:
        return figures | {"error": 100 * float((z.argmax(1) != parts[5]).float().mean())}
    return figures | {"nrmse": 100 * math.sqrt(figures["loss"]) / float(parts[5].std())}


def report(found: dict[tuple[str, str], list[dict[str, float]]], tables: list[str]) -> None:
    """Print each variant's paired differences to the plain network: means over tables of means over seeds."""

    def mean(name, variant, figure):
        values = [run[figure] for run in found[name, variant] if figure in run]
        return np.mean(values) if values else np.nan

    for variant in VARIANTS[1:]:
        for figure, unit in (("error", "points"), ("loss", "x 1000"), ("nrmse", "points")):
            names = [n for n in tables if figure != "loss" or "error" in found[n, variant][0]]
            d = np.array([mean(n, variant, figure) - mean(n, "plain", figure) for n in names])
            d = d[np.isfinite(d)] * (1000 if figure == "loss" else 1)
            if not len(d):
                continue
            spread = d.std(ddof=1) / math.sqrt(len(d)) if len(d) > 1 else math.nan
            less = f"less on {(d < 0).sum()}/{len(d)}"
            print(f"{variant:10} {figure:6} {d.mean():+8.2f} +- {spread:.2f} {unit}, {less}")
        ratios = [mean(n, variant, "seconds") / mean(n, "plain", "seconds") for n in tables]
        print(f"{variant:10} CPU time x {np.median(ratios):.2f}")


def main() -> None:
    """Measure every variant on every table, and print each and the differences."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tables", nargs="*", help="names; all by default")
    parser.add_argument("--json", help="where to write the rows")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with open(options.folder / "index.csv", newline="") as file:
        tasks = {row["name"]: row["task"] for row in csv.DictReader(file)}
    tables, found, rows = options.tables or list(tasks), {}, []
    for name, variant in itertools.product(tables, VARIANTS):
        runs = [measure(options.folder, name, tasks[name], variant, seed) for seed in range(options.seeds)]
        found[name, variant] = runs
        rows += [{"table": name, "variant": variant, "seed": seed, **run} for seed, run in enumerate(runs)]
        shown = {figure: round(float(np.mean([run[figure] for run in runs])), 3) for figure in runs[0]}
        print(name, variant, shown, flush=True)
    report(found, tables)
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
