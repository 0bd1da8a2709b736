"""The pictures of docs/landscape.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from landscape_tables import SHIFT, shifted

from fastopt.display import CriticalDifferenceDisplay, style

if TYPE_CHECKING:
    from pathlib import Path

    from landscape_tables import Landscape

#: Whose losses are drawn by learning rate.
CURVES = ("sgd", "momentum", "adam", "lion", "muon", "soap", "prodigy", "madgrad")
#: How much worse than the best is drawn in full colour, and how many contenders.
_WORST, _SHOWN = 2.0, 30


def draw(found: Landscape, folder: Path) -> None:
    """Draw all pictures into a folder."""
    display = CriticalDifferenceDisplay(found.main, top=20).plot()
    display.figure_.savefig(folder / "landscape-ranks.png")
    for name, picture in (("map", heat_map), ("rates", rate_curves), ("speed", speed)):
        with style.theme():
            picture(found).savefig(folder / f"landscape-{name}.png")
    style.pyplot().close("all")


def heat_map(found: Landscape):
    """Return a figure of losses by data set and contender, as factors of the best on each set."""
    order = list(found.main.mean_ranks.index)[:_SHOWN]
    scores = found.scores()
    factors = (scores + SHIFT).div(scores.min(axis=1) + SHIFT, axis=0)[order]
    figure, ax = style.pyplot().subplots(figsize=(7.4, 7.6))
    image = ax.imshow(
        np.log2(factors.T.to_numpy()), aspect="auto", cmap="viridis_r", vmin=0, vmax=np.log2(_WORST)
    )
    ax.grid(False)
    ax.set_xticks(range(len(scores)), scores.index, rotation=60, ha="right", fontsize=9)
    ax.set_yticks(range(len(order)), order, fontsize=9)
    for column, table in enumerate(scores.index):
        row = int(factors.loc[table].argmin())
        if factors.loc[table].min() == 1:
            ax.plot(column, row, "o", color="#D55E00", markersize=5)
    bar = figure.colorbar(image, ax=ax, shrink=0.6, extend="max")
    ticks = [1, 1.1, 1.2, 1.4, 1.7, 2]
    bar.set_ticks(np.log2(ticks), labels=[f"{tick:g}" for tick in ticks])
    bar.set_label("test loss, as a factor of the best on the set")
    ax.set_title("Dots: first of all on the set", fontsize=11)
    return figure


def rate_curves(found: Landscape):
    """Return a figure of validation losses by learning rate, as factors of the best rate's."""
    shown = [name for name in CURVES if name in set(found.good["contender"])]
    figure, axes = style.panels(None, len(shown), (2.1, 2.3), sharey=True)
    rows = found.good[found.good["size"] == "middle"]
    for ax, name in zip(axes, shown, strict=True):
        own = rows[rows["contender"] == name].copy()
        best = own.groupby("table")["loss"].transform("min")
        own["factor"] = np.minimum(shifted(own["loss"], best), 1e3)
        for _, line in own.groupby("table"):
            line = line.sort_values("lr")
            ax.plot(line["lr"], line["factor"], color="#808080", linewidth=0.6, alpha=0.6)
        tried = own.groupby("lr")["table"].nunique()
        common = tried.index[tried == tried.max()]
        median = own[own["lr"].isin(common)].groupby("lr")["factor"].median()
        ax.plot(median.index, median, color=style.PALETTE[1], linewidth=2.5)
        ax.set(xscale="log", yscale="log", title=name, ylim=(0.95, 10))
        ax.set_yticks([1, 2, 5, 10], labels=["1", "2", "5", "10"])
        ax.minorticks_off()
        ax.tick_params(labelsize=8)
    figure.supxlabel("learning rate", fontsize=10)
    figure.supylabel("validation loss, as a factor of the best rate's", fontsize=10)
    return figure


def speed(found: Landscape):
    """Return a figure of losses against Adam's over the time of a fit."""
    ranks = found.main.mean_ranks
    gains, cost = found.against(), found.cost
    figure, ax = style.new_axes(None, (6.8, 4.6))
    ax.axhline(1, color="#808080", linewidth=1)
    for name, gain in gains.items():
        if gain.ratio > 1.5:
            continue
        is_named = ranks[name] <= ranks.iloc[14] or cost[name] > 2.5
        color = style.PALETTE[0 if gain.high < 1 else 1]
        ax.plot(cost[name], gain.ratio, "o", color=color, markersize=6 if is_named else 3)
        if is_named:
            ax.annotate(name, (cost[name], gain.ratio), (4, 3), textcoords="offset points", fontsize=8)
    ax.plot(1, 1, "D", color=style.PALETTE[2], markersize=8)
    ax.annotate("adam", (1, 1), (-6, 8), textcoords="offset points", fontsize=9, ha="right")
    ax.set(xscale="log", xlabel="processor time of a fit, Adam = 1", ylabel="test loss, Adam = 1")
    style.plain_log_ticks(ax.xaxis)
    return figure
