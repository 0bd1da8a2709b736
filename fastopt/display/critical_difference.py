"""The critical-difference diagram: mean ranks over data sets, and which of them differ."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from ..study import SetComparison, compare_over_sets
from .style import PALETTE, as_text, new_axes, theme

if TYPE_CHECKING:
    from typing import Any, Literal

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastopt.study import StudyOverSets

#: Heights in rows of names: of the ticks above the axis, of a bar below it.
_TOP, _LANE = 1.6, 0.45
_ROW_INCHES, _WIDTH = 0.24, 6.4


class CriticalDifferenceDisplay:
    """Mean ranks of methods over data sets, best at the left; a bar joins methods of which no two differ.

    Demšar's (2006) diagram. It is recommended to use `from_scores` or `from_study`.

    Parameters
    ----------
    comparison : SetComparison
        What `fastopt.study.compare_over_sets` found.
    test : {'nemenyi', 'wilcoxon'}, default='nemenyi'
        Which test of pairs the bars show, see `SetComparison.groups`. Nemenyi's has one critical difference,
        which is drawn as well.
    top : int, default=20
        How many methods are shown, the best ones; ranks and tests are of all.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    bars_ : list of matplotlib Line2D
        One for each run of methods of which no two differ.
    names_ : list of matplotlib Text

    Examples
    --------
    >>> import pandas as pd
    >>> from fastopt.display import CriticalDifferenceDisplay
    >>> scores = pd.DataFrame({
    ...     "sgd": [0.91, 0.80, 0.75, 0.93, 0.66, 0.88],
    ...     "adam": [0.93, 0.84, 0.79, 0.95, 0.71, 0.90],
    ...     "lion": [0.92, 0.85, 0.78, 0.94, 0.70, 0.91],
    ... })
    >>> display = CriticalDifferenceDisplay.from_scores(scores)
    >>> [name.get_text() for name in display.names_]
    ['adam  1.33', 'lion  1.67', '3.00  sgd']
    """

    figure_: Figure
    ax_: Axes
    bars_: list[Any]
    names_: list[Any]

    def __init__(
        self,
        comparison: SetComparison,
        *,
        test: Literal["nemenyi", "wilcoxon"] = "nemenyi",
        top: int = 20,
    ):
        if top < 2:
            raise ValueError(f"top={top!r}: at least 2 methods are shown.")
        self.comparison = comparison
        self.test = test
        self.top = top

    @classmethod
    def from_scores(
        cls,
        scores: pd.DataFrame | Any,
        *,
        higher_is_better: bool = True,
        confidence: float = 0.95,
        missing: Literal["raise", "last", "drop"] = "raise",
        test: Literal["nemenyi", "wilcoxon"] = "nemenyi",
        top: int = 20,
        ax: Axes | None = None,
    ) -> CriticalDifferenceDisplay:
        """Compare the columns of a table of scores and plot it.

        Parameters
        ----------
        scores : DataFrame or array-like of shape (n_sets, n_methods)
            One score for each data set (row) and method (column).
        higher_is_better, confidence, missing
            As in `fastopt.study.compare_over_sets`.
        test, top
            As in the class.
        ax : matplotlib Axes, optional

        Returns
        -------
        CriticalDifferenceDisplay
        """
        options: Any = {"higher_is_better": higher_is_better, "confidence": confidence, "missing": missing}
        return cls(compare_over_sets(scores, **options), test=test, top=top).plot(ax=ax)

    @classmethod
    def from_study(
        cls,
        study: StudyOverSets,
        *,
        test: Literal["nemenyi", "wilcoxon"] = "nemenyi",
        top: int = 20,
        ax: Axes | None = None,
    ) -> CriticalDifferenceDisplay:
        """Plot the comparison of a fitted `StudyOverSets`.

        Parameters
        ----------
        study : StudyOverSets
        test, top
            As in the class.
        ax : matplotlib Axes, optional

        Returns
        -------
        CriticalDifferenceDisplay

        Raises
        ------
        ValueError
            If less than two sets, or two optimizers, can be compared.
        """
        if study.comparison_ is None:
            raise ValueError(f"nothing to draw. {study.verdict_[0]}")
        return cls(study.comparison_, test=test, top=top).plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> CriticalDifferenceDisplay:
        """Draw the diagram.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Names stand at both sides of it.

        Returns
        -------
        self : CriticalDifferenceDisplay
        """
        ranks = self.comparison.mean_ranks.iloc[: self.top]
        lanes = self._lanes(len(ranks))
        first_row = 0.5 + _LANE * (1 + max((lane for _, _, lane in lanes), default=0))
        n_rows = first_row + (len(ranks) + 1) // 2
        with theme():
            self.figure_, self.ax_ = new_axes(ax, (_WIDTH, 0.9 + _ROW_INCHES * (n_rows + _TOP)))
            self._draw_axis(ranks, n_rows)
            self._draw_names(ranks, first_row)
            bar = {"color": PALETTE[1], "linewidth": 4, "solid_capstyle": "round", "clip_on": False}
            self.bars_ = [
                self.ax_.plot(ranks.iloc[[start, end - 1]], [0.5 + _LANE * lane] * 2, **bar)[0]
                for start, end, lane in lanes
            ]
            width = int(13 * self.figure_.get_size_inches()[0])
            self.ax_.set_xlabel(textwrap.fill(self.caption, width), fontsize=9, labelpad=6)
        return self

    def _lanes(self, n_shown):
        """Return (first, end, lane) of each bar, such that bars in one lane do not touch."""
        place = {name: i for i, name in enumerate(self.comparison.mean_ranks.index)}
        ends, found, last = [], [], 0
        for group in self.comparison.groups(self.test):
            start, end = place[group[0]], min(place[group[-1]] + 1, n_shown)
            if end - start < 2 or end <= last:
                continue  # behind those that are shown, or within the bar before it
            last = end
            lane = next((i for i, taken in enumerate(ends) if taken <= start), len(ends))
            ends[lane : lane + 1] = [end]
            found.append((start, end, lane))
        return found

    def _draw_axis(self, ranks, n_rows):
        axes, (low, high) = self.ax_, _limits(ranks)
        is_drawn = self.test == "nemenyi" and self.comparison.critical_difference <= high - low
        axes.set(xlim=(low, high), ylim=(n_rows + 0.2, -_TOP if is_drawn else -0.2), yticks=[])
        axes.xaxis.tick_top()
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
        axes.grid(False)
        for side in ("left", "bottom", "right"):
            axes.spines[side].set_visible(False)
        axes.spines["top"].set(visible=True, position=("data", 0))
        if is_drawn:
            end = low + self.comparison.critical_difference
            ends = {"marker": "|", "markersize": 8, "color": "#808080", "linewidth": 1.5}
            axes.plot([low, end], [-_TOP, -_TOP], clip_on=False, **ends)
            beside = {"textcoords": "offset points", "va": "center", "fontsize": 9}
            axes.annotate("critical difference", (end, -_TOP), (5, 0), **beside)

    def _draw_names(self, ranks, first_row):
        """Write the better half at the left, the others at the right, each joined to its mark on the axis."""
        axes, self.names_ = self.ax_, []
        n_left = (len(ranks) + 1) // 2
        for i, (name, rank) in enumerate(ranks.items()):
            is_left = i < n_left
            row = first_row + (i if is_left else len(ranks) - 1 - i) + 0.5
            edge = axes.get_xlim()[0 if is_left else 1]
            line = {"color": "#808080", "clip_on": False}
            axes.plot([rank, rank, edge], [0, row, row], linewidth=0.9, zorder=1, **line)
            axes.plot(rank, 0, "o", markersize=3.5, **line)
            self.names_.append(
                axes.annotate(
                    f"{as_text(name, 28)}  {rank:.2f}" if is_left else f"{rank:.2f}  {as_text(name, 28)}",
                    (edge, row),
                    (-4 if is_left else 4, 0),
                    textcoords="offset points",
                    ha="right" if is_left else "left",
                    va="center",
                    fontsize=10,
                    annotation_clip=False,
                )
            )

    @property
    def caption(self) -> str:
        """Return an explanation of the diagram, with Friedman's p-value."""
        found = self.comparison
        n_sets, n_methods = found.ranks.shape
        words = f"Mean rank over {n_sets} data sets, left is best"
        words += f"; the first {self.top} of {n_methods}. " if n_methods > self.top else ". "
        p_value = found.friedman_p_value
        p_value = f"p\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{p_value:.2g}" if p_value >= 1e-4 else "p < 0.0001"
        if found.is_one_group:
            return f"{words}Friedman's test finds no difference ({p_value})."
        if np.isfinite(found.friedman_p_value):
            words += f"Friedman's test: {p_value}. "
        words += "A bar joins those of which no two differ" if self._lanes(self.top) else "Each two differ"
        if self.test == "wilcoxon":
            return f"{words} (Wilcoxon with Holm, {found.confidence:.0%})."
        return f"{words} (Nemenyi, {found.confidence:.0%}: less than {found.critical_difference:.2f} apart)."


def _limits(ranks):
    """Return the whole ranks between which an axis holds some."""
    low = np.floor(ranks.iloc[0])
    return low, max(np.ceil(ranks.iloc[-1]), low + 1)
