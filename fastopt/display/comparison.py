"""Comparison of optimizers: curves with bands over seeds, and paired differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..study import mean_interval
from .studied import StudyDisplay
from .style import (
    PALETTE,
    as_text,
    below_axes,
    few_ticks,
    line_styles,
    new_axes,
    plain_log_ticks,
    pyplot,
    settled_layout,
    theme,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastopt.study import OptimizerStudy

_X_LABELS = {"epoch": "Epoch", "seconds": "Training time (s)", "samples": "Samples seen"}


class OptimizerComparisonDisplay(StudyDisplay):
    """Mean loss or score of each optimizer against epochs, time or samples, with bands over seeds.

    It is recommended to use `from_study` or `from_estimator`.

    Parameters
    ----------
    curves : DataFrame
        As `OptimizerStudy.curves_`: columns optimizer, seed, epoch, seconds, samples and `metric`.
    metric : str, default='loss'
        Column to draw.
    x : {'epoch', 'seconds', 'samples'}, default='epoch'
    confidence : float, optional
        Coverage of the band: an interval of the mean over seeds. Default: one standard error on each side.
    val_to_train : float, default=0
        Of `mean_interval`, for scores: rows of validation per row of training, where seeds have own splits.
    labels : sequence of str, optional
        Order that colours follow.
    yardsticks : sequence of str
        Labels drawn in grey.
    target : float, optional
        A horizontal line.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    lines_, bands_ : lists of matplotlib artists
    """

    figure_: Figure
    ax_: Axes
    lines_: list[Any]
    bands_: list[Any]
    labels: Sequence[str]

    def __init__(
        self,
        curves: pd.DataFrame,
        *,
        metric: str = "loss",
        x: str = "epoch",
        confidence: float | None = None,
        val_to_train: float = 0.0,
        labels: Sequence[str] | None = None,
        yardsticks: Sequence[str] = (),
        target: float | None = None,
    ):
        if x not in _X_LABELS:
            raise ValueError(f"x={x!r} is not one of {', '.join(map(repr, _X_LABELS))}.")
        if metric not in curves:
            raise ValueError(f"metric={metric!r} is not a column of curves: {', '.join(curves.columns)}.")
        self.curves = curves
        self.metric = metric
        self.x = x
        self.confidence = confidence
        self.val_to_train = val_to_train
        self.labels = list(dict.fromkeys(curves["optimizer"])) if labels is None else labels
        self.yardsticks = yardsticks
        self.target = target

    @classmethod
    def from_study(
        cls,
        study: OptimizerStudy,
        *,
        metric: str | None = None,
        x: str = "epoch",
        confidence: float | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> OptimizerComparisonDisplay:
        """Plot the comparison runs of a fitted `OptimizerStudy`.

        Parameters
        ----------
        study : OptimizerStudy
        metric : str, optional
            ``'loss'`` or the name of the study's scorer (default).
        x : {'epoch', 'seconds', 'samples'}
        confidence : float, optional
            Draw intervals of this coverage, corrected for overlapping splits, instead of standard errors.
        ax : matplotlib Axes, optional
        **kwargs
            Passed to `plot`.

        Returns
        -------
        OptimizerComparisonDisplay
        """
        name = study.curves_.columns[-1]
        metric = name if metric is None else metric
        curves = study.curves_[study.curves_["phase"] == "comparison"]
        if "comparison" not in set(study.results_["phase"]):
            raise ValueError("this study has no comparison runs: call fit, not sweep.")
        target = study.target_score_ if metric == name else None
        display = cls(
            curves,
            metric=metric,
            x=x,
            confidence=confidence,
            val_to_train=study._experiment.splits.val_to_train,
            labels=study.labels_,
            yardsticks=study.yardsticks_,
            target=target,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(
        self, ax: Axes | None = None, *, log: bool | None = None, legend: bool = True
    ) -> OptimizerComparisonDisplay:
        """Draw one line and one band for each optimizer.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        log : bool, optional
            Logarithmic y axis. Default: for losses.
        legend : bool, default=True

        Returns
        -------
        self : OptimizerComparisonDisplay
        """
        log = self.metric == "loss" if log is None else log
        with theme():
            self.figure_, self.ax_ = new_axes(ax)
            self.lines_, self.bands_, means = [], [], []
            for label, style in line_styles(self.labels, self.yardsticks).items():
                where, mean, low, high = self._band(label)
                if not len(where):
                    continue
                means.append(mean)
                every = max(1, len(where) // 6)
                line = {**style, "markevery": (every // 2, every), "markersize": 5.5}
                self.lines_ += self.ax_.plot(where, mean, label=as_text(label), **line)
                if label in self.yardsticks:
                    continue  # it runs with the settings of another line: its band would hide that one's
                band = {"color": style["color"], "alpha": 0.09, "linewidth": 0}
                self.bands_.append(self.ax_.fill_between(where, low, high, **band))
            self._dress(means, log, legend)
        return self

    def _band(self, label):
        """Return x, mean and interval by epoch, over the seeds that have reached that epoch."""
        mine = self.curves[self.curves["optimizer"] == label]
        by_epoch = mine.groupby("epoch")
        full = by_epoch["seed"].count() == mine["seed"].nunique()  # a shorter run would shift the mean
        bands = [self._mean_and_band(values) for _, values in by_epoch[self.metric]]
        table = np.array(bands).reshape(-1, 3)[full.to_numpy()]
        where = by_epoch[self.x].mean().to_numpy()[full.to_numpy()]
        mean, low, high = table.T
        if self.metric == "loss":
            low = np.maximum(low, mean / 10)  # a log axis has no place for an interval that crosses zero
        return where, mean, low, high

    def _mean_and_band(self, values):
        if self.confidence is None:
            mean, error = values.mean(), values.std(ddof=1) / np.sqrt(values.count())
            return mean, mean - error, mean + error
        overlap = 0.0 if self.metric == "loss" else self.val_to_train
        interval = mean_interval(values, overlap, self.confidence)
        return interval.mean, interval.low, interval.high

    @property
    def caption(self) -> str:
        """Return an explanation of lines and bands."""
        n_seeds = self.curves["seed"].nunique()
        if n_seeds == 0:
            return "every run diverged"
        if n_seeds == 1:
            return "one seed: not a result"
        band = "standard error" if self.confidence is None else f"{self.confidence:.0%} interval"
        return f"mean of {n_seeds} seeds, band: {band}"

    def _dress(self, means, log, legend):
        name = (
            "Training loss"
            if self.metric == "loss"
            else f"Validation {as_text(self.metric).replace('_', ' ')}"
        )
        self.ax_.set(xlabel=_X_LABELS[self.x], ylabel=name)
        if log and all(np.all(mean > 0) for mean in means):
            self.ax_.set_yscale("log")
            plain_log_ticks(self.ax_.yaxis)
        elif means:
            self._zoom(means)
        if self.x == "seconds":
            self.ax_.set_xscale("log")
            plain_log_ticks(self.ax_.xaxis)
        else:
            self.ax_.xaxis.get_major_locator().set_params(integer=True)
        if self.target is not None and np.isfinite(self.target):
            self.ax_.axhline(self.target, color="#808080", linewidth=0.9, linestyle=":")
            self.ax_.annotate(
                f"target\n{self.target:g}",
                (1, self.target),  # beside the axes: within, it would lie on the curves
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
                annotation_clip=True,  # drawn far outside, it would stretch the layout without end
            )
        if legend and means:
            below_axes(self.ax_, self.caption)

    def _zoom(self, means):
        """Limit the y axis so that the first steep change is cut off: differences are near the end."""
        means = [mean[np.isfinite(mean)] for mean in means]
        means = [mean for mean in means if len(mean)]
        if not means:
            return
        values = np.concatenate(means)
        top, middle = values.max(), min(np.median(mean) for mean in means)
        low = max(values.min(), middle - (top - middle))
        margin = 0.04 * (top - low) or 0.01 * max(1.0, abs(top))
        self.ax_.set_ylim(low - margin, top + margin)


class OptimizerDifferenceDisplay(StudyDisplay):
    """Difference of each optimizer from the best: paired differences with intervals.

    Filled: distinguishable from the best; hollow: within noise.

    Parameters
    ----------
    comparisons : DataFrame
        As `OptimizerStudy.comparisons_`.
    best : str or None
    metric : str
    labels : sequence of str, optional
        Order that colours follow.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    """

    figure_: Figure
    ax_: Axes
    labels: Sequence[str]

    def __init__(
        self,
        comparisons: pd.DataFrame,
        best: str | None,
        *,
        metric: str = "score",
        labels: Sequence[str] | None = None,
    ):
        self.comparisons = comparisons
        self.best = best
        self.metric = metric
        self.labels = list(comparisons["optimizer"]) if labels is None else labels

    @classmethod
    def from_study(cls, study: OptimizerStudy, *, ax: Axes | None = None) -> OptimizerDifferenceDisplay:
        """Plot the comparisons of a fitted `OptimizerStudy`."""
        metric = study.curves_.columns[-1]
        return cls(study.comparisons_, study.best_optimizer_, metric=metric, labels=study.labels_).plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> OptimizerDifferenceDisplay:
        """Draw one row for each optimizer.

        Returns
        -------
        self : OptimizerDifferenceDisplay
        """
        from ..study.verdict import is_in_points

        in_points = is_in_points(self.metric)
        scale, unit = (100, "points") if in_points else (1, self.metric.replace("_", " "))
        with theme():
            self.figure_, self.ax_ = new_axes(ax)
            if self.best is None:
                words = "No comparison: one seed, or all diverged"
                self.ax_.text(0.5, 0.5, words, ha="center", transform=self.ax_.transAxes)
                self.ax_.set_axis_off()
                return self
            styles = line_styles(self.labels)
            rows = list(self.comparisons.itertuples())[::-1]
            for i, row in enumerate(rows):
                color = styles.get(row.optimizer, {"color": PALETTE[0]})["color"]
                span = [[scale * (row.difference - row.low)], [scale * (row.high - row.difference)]]
                fill = color if row.distinguishable else "none"
                point = {"fmt": "o", "color": color, "markerfacecolor": fill, "markersize": 8, "capsize": 4}
                self.ax_.errorbar(scale * row.difference, i, xerr=span, **point)
            self.ax_.axvline(0, color="#808080", linewidth=1)
            self.ax_.set_yticks(range(len(rows)), [as_text(row.optimizer, 30) for row in rows])
            self.ax_.set_ylim(-0.6, len(rows) - 0.4)
            few_ticks(self.ax_.xaxis)
            self.ax_.set_xlabel(f"Behind {as_text(self.best, 30)} ({unit})\nhollow: within noise")
            self.ax_.grid(axis="y", visible=False)
        return self


def overview(study: OptimizerStudy, title: str | None = None) -> Figure:
    """Return one wide figure of a fitted study: loss, score and differences.

    Parameters
    ----------
    study : OptimizerStudy
    title : str, optional

    Returns
    -------
    matplotlib Figure
        The caller closes it.
    """
    with theme():
        ratios = {"width_ratios": (1, 1, 0.8), "layout": settled_layout()}
        figure, axes = pyplot().subplots(1, 3, figsize=(13.5, 4.4), **ratios)
        figure.get_layout_engine().set(w_pad=0.12)  # inches, between the target's name and the next axes
        OptimizerComparisonDisplay.from_study(study, metric="loss", ax=axes[0], legend=False)
        score = OptimizerComparisonDisplay.from_study(study, ax=axes[1], legend=False)
        OptimizerDifferenceDisplay.from_study(study, ax=axes[2])
        axes[0].set_title("Loss while training")
        axes[1].set_title("Score on rows not trained on")
        axes[2].set_title("Behind the best")
        handles, labels = axes[0].get_legend_handles_labels()
        n_columns = len(labels) if len(labels) <= 7 else -(-len(labels) // 2)
        legend = {"loc": "outside lower center", "ncols": max(1, n_columns)}
        figure.legend(handles, labels, title=f"Curves: {score.caption}", title_fontsize=10, **legend)
        if title:
            figure.suptitle(as_text(title, 150), x=0.01, ha="left", fontsize=12)
    return figure
