"""Confusion matrices of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay

from .studied import StudyDisplay
from .style import as_text, panels, theme

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastopt.study import OptimizerStudy

_MAX_WRITTEN = 20  # classes; beyond, numbers do not fit into the cells
_CHARACTER = 0.14  # inches of the panel's width for each character of the names below it


class ConfusionDisplay(StudyDisplay):
    """Confusion matrices over all seeds of a study, one panel for each optimizer.

    It is recommended to use `from_study` or `from_estimator`.

    Parameters
    ----------
    counts : dict of str to ndarray of shape (n_classes, n_classes)
        As `OptimizerStudy.confusion_`: rows are true classes.
    classes : sequence
        Their names.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : ndarray of matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> display = ConfusionDisplay({"Adam": np.array([[8, 2], [1, 9]])}, ["cat", "dog"]).plot()
    >>> display.ax_[0].texts[1].get_text()
    '20.0'
    """

    figure_: Figure
    ax_: np.ndarray

    def __init__(self, counts: Mapping[str, np.ndarray], classes: Sequence[Any] | np.ndarray):
        self.counts = counts
        self.classes = classes

    @classmethod
    def from_study(
        cls,
        study: OptimizerStudy,
        *,
        labels: Sequence[str] | None = None,
        ax: Axes | Sequence[Axes] | None = None,
    ) -> ConfusionDisplay:
        """Plot the validation rows of the comparison, summed over seeds.

        Parameters
        ----------
        study : OptimizerStudy
            Of a classifier, after `OptimizerStudy.fit`.
        labels : sequence of str, optional
            Optimizers to show. Default: all.
        ax : sequence of matplotlib Axes, optional
            One for each optimizer.

        Returns
        -------
        ConfusionDisplay

        Raises
        ------
        ValueError
            If there is no confusion matrix, or none of such a label.
        """
        if not study.confusion_:
            raise ValueError("this study has no confusion matrix: it needs a classifier, and fit, not sweep.")
        labels = list(study.confusion_) if labels is None else labels
        unknown = [label for label in labels if label not in study.confusion_]
        if unknown:
            known = ", ".join(map(repr, study.confusion_))
            raise ValueError(f"label {unknown[0]!r} is not in this study. Labels: {known}.")
        counts = {label: study.confusion_[label] for label in labels}
        return cls(counts, study.classes_).plot(ax=ax)

    def plot(self, ax: Axes | Sequence[Axes] | None = None) -> ConfusionDisplay:
        """Draw the panels; numbers are percent of the true class.

        Parameters
        ----------
        ax : Axes or sequence of Axes, optional
            One for each optimizer.

        Returns
        -------
        self : ConfusionDisplay
        """
        n_classes = len(self.classes)
        names = [as_text(c, 20) for c in self.classes]
        with theme():
            side = float(np.clip(0.65 * n_classes, 2.6, 6))
            is_tight = max(map(len, names)) * _CHARACTER > side / n_classes
            self.figure_, self.ax_ = panels(ax, len(self.counts), (side, 0.3 + side))
            for axes, (label, counts) in zip(self.ax_, self.counts.items(), strict=True):
                percent = 100 * counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
                shown = ConfusionMatrixDisplay(percent, display_labels=names)
                form = ".1f" if n_classes <= 4 else ".0f"
                written = n_classes <= _MAX_WRITTEN
                color = {"im_kw": {"vmin": 0, "vmax": 100}, "cmap": "Blues", "colorbar": False}
                turn = "vertical" if is_tight else "horizontal"
                shown.plot(ax=axes, values_format=form, include_values=written, xticks_rotation=turn, **color)
                axes.set(title=as_text(label, 30), xlabel="Predicted", ylabel="True (rows: 100 %)")
                axes.grid(False)
        return self
