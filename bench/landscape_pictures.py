"""The pictures of docs/landscape.md."""

from __future__ import annotations

import itertools
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
#: Of the picture of time: the largest ratio, how many of the first are named, and which are as they are slow.
_WORST_SPEED, _NAMED, _SLOW = 1.3, 14, 3.0


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
    ranks, cost = found.main.mean_ranks, found.cost
    ratios = {name: gain.ratio for name, gain in found.against().items() if gain.ratio < _WORST_SPEED}
    named = [name for name in ratios if ranks[name] <= ranks.iloc[_NAMED] or cost[name] > _SLOW]
    figure, ax = style.new_axes(None, (7.2, 5.0))
    ax.axhline(1, color="#808080", linewidth=1)
    for name, ratio in ratios.items():
        color = style.PALETTE[1] if name in named else "#9aa0a6"
        ax.plot(cost[name], ratio, "o", color=color, markersize=6 if name in named else 3.5)
    ax.plot(1, 1, "D", color=style.PALETTE[0], markersize=7)
    ax.set(xscale="log", xlabel="processor time of a fit, Adam = 1", ylabel="test loss, Adam = 1")
    style.plain_log_ticks(ax.xaxis)
    figure.canvas.draw()  # so that places on the page are known
    points = {"adam": (1.0, 1.0)} | {name: (cost[name], ratios[name]) for name in named}
    _name_points(ax, points)
    return figure


def _name_points(ax, points):
    """Write names beside points, each where it covers no other name and no named point, or else nowhere."""
    places = {name: ax.transData.transform(point) / ax.figure.dpi * 72 for name, point in points.items()}
    taken = [(x - 3, y - 3, x + 3, y + 3) for x, y in places.values()]
    for name, (x, y) in places.items():
        width, height = 4.9 * len(name), 9.0
        for dx, dy in itertools.product((5, -5 - width), (1, -10, 9, -19, 18, -28)):
            box = (x + dx, y + dy, x + dx + width, y + dy + height)
            if not any(a < box[2] and box[0] < c and b < box[3] and box[1] < d for a, b, c, d in taken):
                taken.append(box)
                ax.annotate(name, points[name], (dx, dy), textcoords="offset points", fontsize=8)
                break
