"""The part of the landscape that the package carries: rates by optimizer, and losses by data set."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import landscape_cases as cases
import numpy as np

from fastopt.study import landscape

if TYPE_CHECKING:
    import pandas as pd
    from landscape_tables import Landscape

#: Rates of a recommended grid: as many for everybody, over two and a half decades.
N_RATES = 6


def package_file() -> Any:
    """Return the path of the file in the package."""
    return landscape.FILE


def text(found: Landscape) -> str:
    """Return the contents of that file."""
    scores = found.scores()
    rates = {name: of_contender(rows) for name, rows in found.good.groupby("contender")}
    lines = [
        f'"{name}": {json.dumps({**rates[name], "losses": [float(f"{x:.9g}") for x in scores[name]]})}'
        for name in sorted(scores)
    ]
    optimizers = ",\n".join(lines)
    return f'{{"sets": {json.dumps(list(scores.index))},\n"optimizers": {{\n{optimizers}\n}}}}\n'


def of_contender(rows: pd.DataFrame) -> dict[str, Any]:
    """Return grid and range of one contender: the grid by the middle size, the range by all that were run.

    Parameters
    ----------
    rows : DataFrame
        Of `Landscape.good`.
    """
    halves = np.round(2 * np.log10(rows["lr"])).astype(int)
    good = halves[rows["is_good"]]
    if good.empty:
        raise ValueError("no rate was good on any data set")
    rows, halves = rows[rows["size"] == "middle"], halves[rows["size"] == "middle"]
    # Rates beyond the edge of a grid were tried where they were likely to be good: they do not count.
    n_tried = rows.groupby(halves)["loss"].size()
    common = n_tried.index[n_tried >= n_tried.max() / 2]
    is_common = halves.isin(common)
    firsts = range(common.min(), common.max() - N_RATES + 2)
    start = max(firsts, key=lambda first: _worth(rows[is_common], halves[is_common], first))
    grid = [cases.rate_at((start + i) / 2) for i in range(N_RATES)]
    return {"grid": grid, "worked": [cases.rate_at(good.min() / 2), cases.rate_at(good.max() / 2)]}


def _worth(rows, halves, first):
    """Return how many sets have a good rate in a grid, how many their best, and how central it is."""
    held = rows[(halves >= first) & (halves < first + N_RATES)]
    good = held[held["is_good"]]
    off = abs(first + (N_RATES - 1) / 2 - halves[rows["is_good"]].mean())
    return good["table"].nunique(), int(held["is_best"].sum()), -off
