"""Tables with a fixed split, and the figures that a model's predictions get.

A folder of tables holds ``NAME.csv.gz``, each with a column ``target``, and ``index.csv`` with the columns
``name`` and ``task``. Columns of text are categories.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

if TYPE_CHECKING:
    from pathlib import Path

TEST_FRACTION = 0.25
#: Added to every figure before its logarithm is taken, so that an error of nought can be averaged.
SHIFT = 0.01
#: The least probability that the log loss counts, the rounding of float32.
LEAST = float(np.finfo(np.float32).eps)
SATURATED = ("mushroom",)  # every model makes no error


@dataclass
class Case:
    """A table's rows for training and testing."""

    name: str
    is_classification: bool
    X: pd.DataFrame
    y: np.ndarray
    X_test: pd.DataFrame
    y_test: np.ndarray
    n_classes: int


def names(folder: Path) -> dict[str, str]:
    """Return the task of each table, without those that tell no two models apart."""
    with open(folder / "index.csv", newline="") as file:
        return {row["name"]: row["task"] for row in csv.DictReader(file) if row["name"] not in SATURATED}


def load(folder: Path, name: str, task: str, split: int, most_rows: int) -> Case:
    """Return a split of a table: a quarter of the rows for testing, of the rest `most_rows` to train.

    `split` seeds the shuffling. Columns without a value in the training rows are dropped, for every model, as
    scikit-learn 1.9's boosting refuses them.
    """
    frame = pd.read_csv(folder / f"{name}.csv.gz")
    y = frame.pop("target").to_numpy()
    for column in frame:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            frame[column] = frame[column].astype("category")
    is_classification = task == "classification"
    y = np.unique(y, return_inverse=True)[1] if is_classification else y.astype(np.float64)
    rows, test = train_test_split(np.arange(len(y)), test_size=TEST_FRACTION, random_state=split)
    rows = rows[:most_rows]
    frame = frame.loc[:, frame.iloc[rows].notna().any()]
    n_classes = int(y.max()) + 1 if is_classification else 0
    train_part = frame.iloc[rows].reset_index(drop=True), y[rows]
    test_part = frame.iloc[test].reset_index(drop=True), y[test]
    return Case(name, is_classification, *train_part, *test_part, n_classes)


def scores(case: Case, predicted: np.ndarray, classes: np.ndarray | None = None) -> dict[str, float]:
    """Return error and log loss of probabilities, whose columns are `classes`, or the nRMSE of values."""
    y = case.y_test
    if not case.is_classification:
        return {"n_rmse": float(np.sqrt(np.mean((predicted - y) ** 2)) / y.std())}
    probabilities = np.zeros((len(y), case.n_classes))
    probabilities[:, np.asarray(classes, dtype=int)] = predicted
    of_truth = np.maximum(probabilities[np.arange(len(y)), y], LEAST)
    return {
        "error": float(np.mean(probabilities.argmax(axis=1) != y)),
        "log_loss": float(-np.log(of_truth).mean()),
    }


def shifted(values: list[float] | np.ndarray) -> np.ndarray:
    """Return the logarithms whose mean is that of the shifted geometric mean."""
    return np.log(np.asarray(values) + SHIFT)


def shifted_geometric_mean(values: list[float] | np.ndarray) -> float:
    """Return ``exp(mean(log(x + SHIFT)))``, the average of the RealMLP paper (Holzmueller et al. 2024)."""
    return float(np.exp(shifted(values).mean()))
