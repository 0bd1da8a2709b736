"""Score and loss by learning rate, and by learning rate and batch size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .studied import StudyDisplay
from .style import MAX_COLUMNS, as_text, below_axes, line_styles, new_axes, panels, plain_log_ticks, theme

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastopt.study import OptimizerStudy


class LearningRateDisplay(StudyDisplay):
    """Score or loss after training against the learning rate, one line for each optimizer.

    It is recommended to use `from_study` or `from_estimator`.

    Parameters
    ----------
    results : DataFrame
        As `OptimizerStudy.results_`, of the runs that shared one grid (tuning or sweep).
    metric : str
        Column to draw.
    chosen : dict of str to float, optional
        Learning rate to mark by optimizer.
    labels : sequence of str, optional
        Order that colours follow.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    lines_, rings_ : lists of matplotlib artists
    """

    _work = "sweep"

    figure_: Figure
    ax_: Axes
    lines_: list[Any]
    rings_: list[Any]
    labels: Sequence[str]
    chosen: Mapping[str, float]

    def __init__(
        self,
        results: pd.DataFrame,
        *,
        metric: str,
        chosen: Mapping[str, float] | None = None,
        labels: Sequence[str] | None = None,
    ):
        if metric not in results:
            raise ValueError(f"metric={metric!r} is not a column of results: {', '.join(results.columns)}.")
        self.results = results
        self.metric = metric
        self.chosen = chosen or {}
        self.labels = list(dict.fromkeys(results["optimizer"])) if labels is None else labels

    @classmethod
    def from_study(
        cls, study: OptimizerStudy, *, metric: str | None = None, ax: Axes | None = None
    ) -> LearningRateDisplay:
        """Plot the tuning (or sweep) runs of an `OptimizerStudy`.

        Parameters
        ----------
        study : OptimizerStudy
        metric : str, optional
            ``'loss'`` or the study's scorer (default).
        ax : matplotlib Axes, optional

        Returns
        -------
        LearningRateDisplay
        """
        results = _grid_runs(study)
        metric = study.curves_.columns[-1] if metric is None else metric
        chosen = {label: values["lr"] for label, values in study.best_params_.items()}
        return cls(results, metric=metric, chosen=chosen, labels=study.labels_).plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> LearningRateDisplay:
        """Draw one line for each optimizer, over the best batch size at each learning rate.

        Bands span the seeds.

        Returns
        -------
        self : LearningRateDisplay
        """
        with theme():
            self.figure_, self.ax_ = new_axes(ax)
            self.lines_, self.rings_, tops = [], [], []
            for label, style in line_styles(self.labels).items():
                rates, mean, low, high = self._line(label)
                if not len(rates):
                    continue
                tops.append(mean)
                self.lines_ += self.ax_.plot(rates, mean, label=as_text(label), markersize=5, **style)
                self.ax_.fill_between(rates, low, high, color=style["color"], alpha=0.13, linewidth=0)
                if label in self.chosen and self.chosen[label] in rates:
                    at = list(rates).index(self.chosen[label])
                    ring = {"s": 150, "facecolors": "none", "edgecolors": style["color"], "linewidths": 1.8}
                    self.rings_.append(self.ax_.scatter([rates[at]], [mean[at]], zorder=5, **ring))
            self.ax_.set_xscale("log")
            name = (
                "Training loss"
                if self.metric == "loss"
                else f"Validation {as_text(self.metric).replace('_', ' ')}"
            )
            self.ax_.set(
                xlabel="Learning rate (ring: chosen)" if self.rings_ else "Learning rate", ylabel=name
            )
            if self.metric == "loss":
                self.ax_.set_yscale("log")
            elif tops:
                values = np.concatenate(tops)
                low = max(
                    np.nanmin(values), np.nanmedian(values) - 2 * (np.nanmax(values) - np.nanmedian(values))
                )
                margin = 0.05 * (np.nanmax(values) - low) or 0.01
                self.ax_.set_ylim(low - margin, np.nanmax(values) + margin)
            below_axes(self.ax_)
        return self

    def _line(self, label):
        """Return rates, and mean, minimum and maximum over seeds, without rates at which a run diverged."""
        mine = self.results[(self.results["optimizer"] == label) & self.results["lr"].notna()]
        points = []
        for rate, at_rate in mine.groupby("lr"):
            of_batch = at_rate.groupby("batch_size", dropna=False)[self.metric]
            usable = [values for _, values in of_batch if values.notna().all()]
            if usable:
                pick = min if self.metric == "loss" else max
                points.append((rate, pick(usable, key=lambda values: values.mean())))
        rates = np.array([rate for rate, _ in points])
        table = np.array([(v.mean(), v.min(), v.max()) for _, v in points]).reshape(-1, 3)
        return rates, *table.T


class HeatMapDisplay(StudyDisplay):
    """A metric over learning rate and batch size, one panel for each optimizer.

    Parameters
    ----------
    results : DataFrame
        As `OptimizerStudy.results_` after `OptimizerStudy.sweep`.
    metric : str
        Column to draw: the scorer, ``'loss'``, ``'seconds_per_epoch'``.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : ndarray of matplotlib Axes
    """

    _work = "sweep"

    figure_: Figure
    ax_: np.ndarray

    def __init__(self, results: pd.DataFrame, *, metric: str):
        self.results = results
        self.metric = metric

    @classmethod
    def from_study(
        cls, study: OptimizerStudy, *, metric: str | None = None, ax: Sequence[Axes] | None = None
    ) -> HeatMapDisplay:
        """Plot the grid of a study that ran `OptimizerStudy.sweep`, or its tuning runs.

        Parameters
        ----------
        study : OptimizerStudy
        metric : str, optional
            Default: the study's scorer.
        ax : sequence of matplotlib Axes, optional
            One for each optimizer.

        Returns
        -------
        HeatMapDisplay
        """
        metric = study.curves_.columns[-1] if metric is None else metric
        return cls(_grid_runs(study), metric=metric).plot(ax=ax)

    def plot(self, ax: Sequence[Axes] | None = None) -> HeatMapDisplay:
        """Draw the panels, the value written in each cell; crossed cells diverged, empty ones were not run.

        Parameters
        ----------
        ax : sequence of matplotlib Axes, optional
            One for each optimizer.

        Returns
        -------
        self : HeatMapDisplay
        """
        with_rate = self.results[self.results["lr"].notna()]
        if with_rate.empty:
            raise ValueError("no optimizer here has a learning rate, so there is nothing to map.")
        scale, name = _unit(self.metric, with_rate)
        runs_of = with_rate.groupby("optimizer", sort=False)
        tables = {label: scale * self._table(runs) for label, runs in runs_of}
        one_grid = len({tuple(table.index) for table in tables.values()}) == 1
        with theme():
            n_rows, n_columns = np.max([table.shape for table in tables.values()], axis=0)
            size = (max(1.9, 0.9 + 0.7 * n_columns), 1.5 + 0.5 * n_rows)
            self.figure_, self.ax_ = panels(ax, len(tables), size, sharey=one_grid)
            norm = self._norm(np.concatenate([t.to_numpy().ravel() for t in tables.values()]))
            for axes, (label, table) in zip(self.ax_, tables.items(), strict=True):
                image = self._panel(axes, label, table, norm)
            for axes in self.ax_[::MAX_COLUMNS]:
                axes.set_ylabel("Learning rate")
            bar = self.figure_.colorbar(image, ax=list(self.ax_), label=name, shrink=0.9)
            if bar.ax.get_yscale() == "log":
                plain_log_ticks(bar.ax.yaxis)
        return self

    def _table(self, runs):
        """Return means by rate and batch size: infinite where a run diverged, NaN where there was none."""
        runs = runs.assign(batch_size=runs["batch_size"].fillna(0).astype(int))
        mean = runs.groupby(["lr", "batch_size"])[self.metric].agg(lambda values: values.mean(skipna=False))
        return mean.fillna(np.inf).unstack("batch_size").sort_index(ascending=False)

    def _norm(self, values):
        from matplotlib.colors import LogNorm, Normalize

        values = values[np.isfinite(values)]
        if self.metric in ("loss", "seconds_per_epoch") and len(values) and values.min() > 0:
            return LogNorm(values.min(), values.max())
        low = np.quantile(values, 0.25) if len(values) else 0  # the failures would eat the whole colour scale
        return Normalize(low, values.max() if len(values) else 1)

    def _panel(self, axes, label, table, norm):
        good_is_low = self.metric in ("loss", "seconds_per_epoch")
        form = ".3f" if not good_is_low and norm.vmax <= 1 else ".3g"
        color = {"norm": norm, "cmap": "cividis_r" if good_is_low else "cividis"}
        image = axes.imshow(np.ma.masked_invalid(table), aspect="auto", **color)
        axes.set_title(as_text(label, 30))
        axes.set_xticks(range(table.shape[1]), [size or "own" for size in table.columns])
        axes.set_yticks(range(table.shape[0]), [f"{rate:g}" for rate in table.index])
        axes.set_xlabel("Batch size")
        axes.grid(False)
        for i, j in np.ndindex(*table.shape):
            value = table.iloc[i, j]
            if not np.isfinite(value):
                axes.text(j, i, "" if np.isnan(value) else "×", ha="center", va="center", fontsize=13)
                continue
            red, green, blue, _ = image.cmap(norm(value))
            ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"
            axes.text(j, i, f"{value:{form}}", ha="center", va="center", color=ink, fontsize=9)
        return image


def _grid_runs(study):
    """Return the runs of the whole budget, without the short rungs of successive halving."""
    results = study.results_[study.results_["phase"].isin(("tuning", "sweep"))]
    if results.empty:
        raise ValueError("this study has no tuning runs: give lr several values.")
    longest = results.groupby("optimizer")["n_epochs"].transform("max")
    return results[(results["n_epochs"] == longest) | results["diverged"]]


def _unit(metric, runs):
    """Return what the numbers of a metric are multiplied by to be read, and their name then."""
    if metric == "loss":
        return 1, "Final training loss"
    if metric == "seconds_per_epoch":
        return (1000, "Milliseconds per epoch") if runs[metric].max() < 1 else (1, "Seconds per epoch")
    return 1, f"Validation {as_text(metric).replace('_', ' ')}"
