"""Loss curves of fitted networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .style import as_text, line_styles, new_axes, plain_log_ticks, theme

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class LossCurveDisplay:
    """Training loss by epoch of one or more fitted networks.

    It is recommended to use `from_estimator`.

    Parameters
    ----------
    curves : dict of str to ndarray of shape (n_epochs,)
        Loss by label.
    scores : dict of str to ndarray, optional
        Validation scores by label, where early stopping recorded them.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D
    score_ax_ : matplotlib Axes or None
        Second axis with the validation scores.

    Examples
    --------
    >>> import numpy as np
    >>> display = LossCurveDisplay({"Adam": np.array([2.0, 1.0, 0.5])}).plot()
    >>> display.ax_.get_yscale()
    'log'
    """

    figure_: Figure
    ax_: Axes
    score_ax_: Axes | None
    lines_: list[Any]
    scores: Mapping[str, np.ndarray]

    def __init__(self, curves: Mapping[str, np.ndarray], scores: Mapping[str, np.ndarray] | None = None):
        self.curves = curves
        self.scores = scores or {}

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, name: str | None = None, ax: Axes | None = None, **kwargs: Any
    ) -> LossCurveDisplay:
        """Plot the loss curve of a fitted network.

        Parameters
        ----------
        estimator : estimator or mapping of str to estimator
            Fitted with a stochastic solver; a `Pipeline` may hold it as the last step. A mapping compares
            several.
        name : str, optional
            Label of a single estimator. Default: its solver.
        ax : matplotlib Axes, optional
        **kwargs
            Passed to `plot`.

        Returns
        -------
        LossCurveDisplay

        Raises
        ------
        ValueError
            If the estimator has no loss curve, as after ``solver='lbfgs'``.
        """
        several = dict(estimator) if isinstance(estimator, dict) else {name: estimator}
        curves, scores = {}, {}
        for label, fitted in several.items():
            network = fitted.steps[-1][1] if isinstance(fitted, Pipeline) else fitted
            check_is_fitted(network)
            if not hasattr(network, "loss_curve_"):
                raise ValueError(
                    f"{type(network).__name__} has no loss_curve_ (solver={network.solver!r}). Train it with "
                    "a stochastic solver, for example 'adam'."
                )
            label = _solver_name(network) if label is None else label
            curves[label] = np.asarray(network.loss_curve_)
            if getattr(network, "validation_scores_", None) is not None:
                scores[label] = np.asarray(network.validation_scores_)
        return cls(curves, scores).plot(ax=ax, **kwargs)

    def plot(self, ax: Axes | None = None, *, log: bool = True, **kwargs: Any) -> LossCurveDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        log : bool, default=True
            Logarithmic loss axis.
        **kwargs
            Passed to matplotlib's ``plot``.

        Returns
        -------
        self : LossCurveDisplay
        """
        with theme():
            self.figure_, self.ax_ = new_axes(ax)
            self.score_ax_ = None
            self.lines_ = []
            for label, style in line_styles(self.curves).items():
                style.pop("marker")
                loss = self.curves[label]
                epochs = np.arange(1, len(loss) + 1)
                self.lines_ += self.ax_.plot(epochs, loss, label=as_text(label), **{**style, **kwargs})
                if label in self.scores:
                    self._plot_score(label, style)
            self.ax_.set(xlabel="Epoch", ylabel="Training loss")
            if log and all(np.all(curve > 0) for curve in self.curves.values()):
                self.ax_.set_yscale("log")
                plain_log_ticks(self.ax_.yaxis)
            self.ax_.legend(loc="center right" if self.scores else "upper right")
        return self

    def _plot_score(self, label, style):
        if self.score_ax_ is None:
            self.score_ax_ = self.ax_.twinx()
            self.score_ax_.set_ylabel("Validation score (thin)")
            self.score_ax_.grid(False)
        score = self.scores[label]
        thin = {**style, "linewidth": 0.9}
        self.score_ax_.plot(np.arange(1, len(score) + 1), score, **thin)


def _solver_name(network):
    solver = getattr(network, "solver", type(network).__name__)
    return solver if isinstance(solver, str) else type(solver).__name__
