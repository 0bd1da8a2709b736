"""What the landscape's results lie beside: the data sets, the machine, and what the whole cost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import landscape_cases as cases
import numpy as np
from _measure import fingerprint
from landscape_work import records

if TYPE_CHECKING:
    from pathlib import Path


def write(data: Path, results: Path) -> None:
    """Write ``landscape.json`` beside the results.

    Parameters
    ----------
    data : Path
        Folder of the data sets.
    results : Path
        The compressed lines.
    """
    found = records(results)
    about = {
        "machine": fingerprint(),
        "fits": sum(n_fits(record) for record in found),
        "seconds": round(sum(record["seconds"] for record in found)),
        "sets": {name: facts(cases.load(data, name)) for name in cases.SETS},
    }
    results.with_name("landscape.json").write_text(json.dumps(about, indent=2) + "\n")


def n_fits(record: dict[str, Any]) -> int:
    """Return how many networks a record's unit has trained, that for the time included."""
    return len(record["tuning"]) * len(cases.TUNING_SEEDS) + len(record["comparison"]) + 1


def facts(table: cases.Table) -> dict[str, Any]:
    """Return what the page says of a data set, and the loss of a constant guess on test and other rows."""
    guess = table.Y.mean(axis=0)
    return {
        "task": "classification" if table.is_classification else "regression",
        "training_rows": table.n_training,
        "test_rows": len(table.X_test),
        "inputs": table.X.shape[1],
        "outputs": table.Y.shape[1],
        "guess": _loss(table, guess, table.Y_test),
        "guess_validation": _loss(table, guess, table.Y),
    }


def _loss(table, guess, Y):
    if not table.is_classification:
        return round(float(0.5 * np.mean((Y - guess) ** 2)), 4)
    if Y.shape[1] == 1:
        guess, Y = np.stack([guess, 1 - guess], axis=-1)[0], np.hstack([Y, 1 - Y])
    return round(float(-(Y * np.log(np.maximum(guess, 1e-7))).sum(axis=1).mean()), 4)
