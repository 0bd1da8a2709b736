"""What the learning rate does, alone and together with the batch size."""

from __future__ import annotations

import numpy as np

from ..study import OptimizerStudy
from .style import line_styles, new_axes, pyplot, theme


class LearningRateDisplay:
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

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    lines_, rings_ : lists of matplotlib artists
    """

    def __init__(self, results, *, metric, chosen=None):
        if metric not in results:
            raise ValueError(f"metric={metric!r} is not a column of results: {', '.join(results.columns)}.")
        self.results = results
        self.metric = metric
        self.chosen = chosen or {}

    @classmethod
    def from_study(cls, study, *, metric=None, ax=None):
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
        results = study.results_[study.results_["phase"].isin(("tuning", "sweep"))]
        if results.empty:
            raise ValueError("this study has no tuning runs: give lr several values.")
        longest = results.groupby("optimizer")["n_epochs"].transform("max")
        results = results[(results["n_epochs"] == longest) | results["diverged"]]  # not halving's short rungs
        metric = study.curves_.columns[-1] if metric is None else metric
        chosen = {label: values["lr"] for label, values in study.best_params_.items()}
        return cls(results, metric=metric, chosen=chosen).plot(ax=ax)

    @classmethod
    def from_estimator(cls, estimator, X, y, *, lr=None, metric=None, ax=None, **study_parameters):
        """Train `estimator` at each learning rate and plot; the study is kept as `study_`."""
        study = OptimizerStudy(estimator, lr=lr, **study_parameters).sweep(X, y)
        display = cls.from_study(study, metric=metric, ax=ax)
        display.study_ = study
        return display

    def plot(self, ax=None):
        """Draw one line for each optimizer, over the best batch size at each learning rate.

        Bands span the seeds.

        Returns
        -------
        self : LearningRateDisplay
        """
        with theme():
            self.figure_, self.ax_ = new_axes(ax)
            self.lines_, self.rings_, tops = [], [], []
            labels = list(dict.fromkeys(self.results["optimizer"]))
            for label, style in line_styles(labels).items():
                rates, mean, low, high = self._line(label)
                if not len(rates):
                    continue
                tops.append(mean)
                self.lines_ += self.ax_.plot(rates, mean, label=label, markersize=5, **style)
                self.ax_.fill_between(rates, low, high, color=style["color"], alpha=0.13, linewidth=0)
                if label in self.chosen and self.chosen[label] in rates:
                    at = list(rates).index(self.chosen[label])
                    ring = {"s": 150, "facecolors": "none", "edgecolors": style["color"], "linewidths": 1.8}
                    self.rings_.append(self.ax_.scatter([rates[at]], [mean[at]], zorder=5, **ring))
            self.ax_.set_xscale("log")
            name = "Training loss" if self.metric == "loss" else f"Validation {self.metric.replace('_', ' ')}"
            self.ax_.set(xlabel="Learning rate (ring: chosen)", ylabel=name)
            if self.metric == "loss":
                self.ax_.set_yscale("log")
            elif tops:
                values = np.concatenate(tops)
                low = max(
                    np.nanmin(values), np.nanmedian(values) - 2 * (np.nanmax(values) - np.nanmedian(values))
                )
                margin = 0.05 * (np.nanmax(values) - low) or 0.01
                self.ax_.set_ylim(low - margin, np.nanmax(values) + margin)
            # Beside the axes: whatever corner is free depends on the data.
            self.ax_.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3)
        return self

    def _line(self, label):
        """Return rates, mean, least, most over seeds; a rate at which any run diverged is left out."""
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


class HeatMapDisplay:
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

    def __init__(self, results, *, metric):
        self.results = results
        self.metric = metric

    @classmethod
    def from_study(cls, study, *, metric=None, ax=None):
        """Plot the grid of a study that ran `OptimizerStudy.sweep`, or its tuning runs."""
        results = study.results_[study.results_["phase"].isin(("sweep", "tuning"))]
        return cls(results, metric=study.curves_.columns[-1] if metric is None else metric).plot(ax=ax)

    def plot(self, ax=None):
        """Draw the panels, with the value written in each cell; crossed cells diverged.

        Parameters
        ----------
        ax : sequence of matplotlib Axes, optional
            One for each optimizer.

        Returns
        -------
        self : HeatMapDisplay
        """
        labels = list(dict.fromkeys(self.results["optimizer"]))
        tables = {label: self._table(label) for label in labels}
        with theme():
            if ax is None:
                n_rows, n_columns = tables[labels[0]].shape
                size = (1.2 + len(labels) * max(1.9, 0.9 + 0.7 * n_columns), 1.5 + 0.5 * n_rows)
                _, ax = pyplot().subplots(1, len(labels), figsize=size, sharey=True, squeeze=False)
            self.ax_ = np.atleast_1d(np.asarray(ax)).ravel()
            self.figure_ = self.ax_[0].figure
            norm = self._norm(np.concatenate([t.to_numpy().ravel() for t in tables.values()]))
            for axes, (label, table) in zip(self.ax_, tables.items(), strict=True):
                image = self._panel(axes, label, table, norm)
            self.ax_[0].set_ylabel("Learning rate")
            self.figure_.colorbar(image, ax=list(self.ax_), label=_metric_label(self.metric), shrink=0.9)
        return self

    def _table(self, label):
        mine = self.results[self.results["optimizer"] == label].copy()
        mine["batch_size"] = mine["batch_size"].fillna(0).astype(int)
        mean = mine.groupby(["lr", "batch_size"])[self.metric].agg(lambda values: values.mean(skipna=False))
        return mean.unstack("batch_size").sort_index(ascending=False)

    def _norm(self, values):
        from matplotlib.colors import LogNorm, Normalize

        values = values[np.isfinite(values)]
        if self.metric in ("loss", "seconds_per_epoch") and len(values) and values.min() > 0:
            return LogNorm(values.min(), values.max())
        low = np.quantile(values, 0.25) if len(values) else 0  # the failures would eat the whole colour scale
        return Normalize(low, values.max() if len(values) else 1)

    def _panel(self, axes, label, table, norm):
        good_is_low = self.metric in ("loss", "seconds_per_epoch")
        image = axes.imshow(table, norm=norm, cmap="cividis_r" if good_is_low else "cividis", aspect="auto")
        axes.set_title(label)
        axes.set_xticks(range(table.shape[1]), table.columns)
        axes.set_yticks(range(table.shape[0]), [f"{rate:g}" for rate in table.index])
        axes.set_xlabel("Batch size")
        axes.grid(False)
        for i, j in np.ndindex(*table.shape):
            value = table.iloc[i, j]
            if np.isnan(value):
                axes.text(j, i, "×", ha="center", va="center", fontsize=13)
                continue
            red, green, blue, _ = image.cmap(norm(value))
            ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"
            axes.text(j, i, f"{value:.3g}", ha="center", va="center", color=ink, fontsize=9)
        return image


def _metric_label(metric):
    if metric == "loss":
        return "Final training loss"
    return "Seconds per epoch" if metric == "seconds_per_epoch" else f"Validation {metric.replace('_', ' ')}"
