"""Plot of the learning-rate range test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..study.range_test import range_test
from .style import PALETTE, new_axes, theme

if TYPE_CHECKING:
    from typing import Any

    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastopt.study import RangeTest


class LearningRateRangeDisplay:
    """Loss of a short training while the learning rate grows (Smith, 2017).

    It is recommended to use `from_estimator`.

    Parameters
    ----------
    result : RangeTest
        What `fastopt.study.range_test` returned.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Line2D
        The smoothed loss.
    """

    figure_: Figure
    ax_: Axes
    line_: Any

    def __init__(self, result: RangeTest):
        self.result = result

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: npt.ArrayLike, *, ax: Axes | None = None, **options: Any
    ) -> LearningRateRangeDisplay:
        """Run the test and plot it.

        Parameters
        ----------
        estimator, X, y
            As `fastopt.study.range_test`.
        ax : matplotlib Axes, optional
        **options
            Passed to `fastopt.study.range_test`.

        Returns
        -------
        LearningRateRangeDisplay
        """
        return cls(range_test(estimator, X, y, **options)).plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> LearningRateRangeDisplay:
        """Draw the loss of each step, its average, and the suggested rate.

        Parameters
        ----------
        ax : matplotlib Axes, optional

        Returns
        -------
        self : LearningRateRangeDisplay
        """
        result = self.result
        with theme():
            self.figure_, self.ax_ = new_axes(ax)
            self.ax_.plot(
                result.rates, result.losses, color="#9aa0a6", linewidth=0.8, label="Loss of the batch"
            )
            (self.line_,) = self.ax_.plot(result.rates, result.smoothed, color=PALETTE[1], label="Average")
            label = f"Suggested: {result.suggestion:.2g}"
            self.ax_.axvline(result.suggestion, color=PALETTE[0], linestyle="--", label=label)
            # The explosion at the end would flatten everything before it.
            first, low = result.smoothed[0], result.smoothed.min()
            self.ax_.set_ylim(low - 0.1 * (first - low), first + 0.6 * (first - low))
            self.ax_.set_xscale("log")
            self.ax_.set(xlabel="Learning rate", ylabel="Training loss")
            self.ax_.legend(loc="lower left")
        return self


def find_learning_rate(
    estimator: Any, X: Any, y: npt.ArrayLike, *, ax: Axes | None = None, **options: Any
) -> tuple[float, LearningRateRangeDisplay]:
    """Suggest a learning rate from a range test.

    Parameters
    ----------
    estimator, X, y, ax, **options
        As `LearningRateRangeDisplay.from_estimator`.

    Returns
    -------
    lr : float
        Where the loss falls most steeply.
    display : LearningRateRangeDisplay

    Examples
    --------
    >>> from fastopt import MLPClassifier
    >>> from fastopt.display import find_learning_rate
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> lr, display = find_learning_rate(MLPClassifier((16,), batch_size=32), X, y, random_state=0)
    >>> lr == display.result.suggestion
    True
    """
    display = LearningRateRangeDisplay.from_estimator(estimator, X, y, ax=ax, **options)
    return display.result.suggestion, display
