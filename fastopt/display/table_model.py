"""Pictures of a model of a table: importances, calibration, residuals, losses. Internal: a report's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .style import PALETTE, as_text, below_axes, few_ticks, new_axes, theme

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FIRST, _SECOND = PALETTE[1], PALETTE[0]
_GREY = "#808080"


def importances(
    names: Sequence[str], values: np.ndarray, *, ax: Axes | None = None, most: int = 20
) -> Figure:
    """Draw the importances of columns as bars, the most important at the top.

    Parameters
    ----------
    names : sequence of str
    values : ndarray of shape (n_columns,)
    ax : Axes, optional
    most : int
        Bars at most.
    """
    shown = np.argsort(-values, kind="stable")[:most][::-1]
    with theme():
        figure, ax = new_axes(ax, (4.4, max(2.6, 0.9 + 0.24 * len(shown))))
        ax.barh([as_text(names[j], 24) for j in shown], values[shown], color=_FIRST)
        ax.set_xlabel("Rise of the loss")
        ax.grid(False, axis="y")
        few_ticks(ax.xaxis, 4)
    return figure


def calibration(
    predicted: np.ndarray,
    came_true: np.ndarray,
    *,
    xlabel: str,
    weights: np.ndarray | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw how often something came true against the probability that was predicted for it.

    Parameters
    ----------
    predicted : ndarray of shape (n_rows,)
        Probabilities.
    came_true : ndarray of shape (n_rows,)
        0 or 1.
    xlabel : str
    weights : ndarray of shape (n_rows,), optional
    ax : Axes, optional
    """
    from ..tabular.out_of_fold import wilson

    bins = np.array_split(np.argsort(predicted, kind="stable"), min(10, max(1, len(predicted) // 10)))
    weights = np.ones(len(predicted)) if weights is None else weights
    points = []
    for rows in bins:
        own = weights[rows]
        share = float(np.average(came_true[rows], weights=own))
        low, high = wilson(share, own.sum() ** 2 / (own**2).sum())
        points.append((np.average(predicted[rows], weights=own), share, share - low, high - share))
    x, y, below, above = np.array(points).T
    with theme():
        figure, ax = new_axes(ax)
        ax.plot([0, 1], [0, 1], color=_GREY, linestyle=(0, (3, 2)), label="perfectly calibrated")
        ax.errorbar(x, y, yerr=[below, above], color=_FIRST, marker="o", label="rows, in groups of like size")
        ax.set(xlabel=xlabel, ylabel="Share of them that came true")
        below_axes(ax)
    return figure


def residuals(y: np.ndarray, predictions: np.ndarray, *, ax: Axes | None = None, most: int = 1000) -> Figure:
    """Draw true values against predicted ones, of as many rows as a page can hold.

    Parameters
    ----------
    y, predictions : ndarray of shape (n_rows,)
    ax : Axes, optional
    most : int
        Points at most; of more rows every so-many-th is drawn.
    """
    rows = np.unique(np.linspace(0, len(y) - 1, min(most, len(y))).round().astype(int))
    with theme():
        figure, ax = new_axes(ax)
        span = [min(y.min(), predictions.min()), max(y.max(), predictions.max())]
        ax.plot(span, span, color=_GREY, linestyle=(0, (3, 2)))
        ax.plot(predictions[rows], y[rows], ".", color=_FIRST, alpha=0.5, markersize=5)
        ax.set(xlabel="Predicted, out of fold", ylabel="True")
        few_ticks(ax.xaxis)
        few_ticks(ax.yaxis)
    return figure


def errors(y: np.ndarray, predictions: np.ndarray, *, ax: Axes | None = None) -> Figure:
    """Draw the distribution of ``y - predictions``.

    Parameters
    ----------
    y, predictions : ndarray of shape (n_rows,)
    ax : Axes, optional
    """
    with theme():
        figure, ax = new_axes(ax)
        ax.hist(y - predictions, bins=min(40, max(5, len(y) // 20)), color=_FIRST)
        ax.axvline(0, color=_GREY, linestyle=(0, (3, 2)))
        ax.set(xlabel="True minus predicted", ylabel="Rows")
        few_ticks(ax.xaxis)
    return figure


def losses(history: Mapping[str, np.ndarray], *, ax: Axes | None = None) -> Figure:
    """Draw the losses of training and of the rows held out, epoch by epoch.

    Parameters
    ----------
    history : dict of ndarray of shape (n_epochs,)
        ``loss`` and ``val_loss``.
    ax : Axes, optional
    """
    with theme():
        figure, ax = new_axes(ax)
        epochs = np.arange(1, len(history["loss"]) + 1)
        ax.plot(epochs, history["loss"], color=_SECOND, linestyle=(0, (5, 1.5)), label="training")
        ax.plot(epochs, history["val_loss"], color=_FIRST, label="rows held out")
        ax.set(xlabel="Epoch", ylabel="Loss")
        few_ticks(ax.xaxis)
        below_axes(ax)
    return figure
