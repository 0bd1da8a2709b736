"""The loss curve as a small inline SVG: of a fitted estimator in a notebook, and of a fit that runs."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

#: The most points of a line: more than a picture of this size can show.
_MOST_POINTS = 200


def curve_svg(training: Any, validated: Any = (), *, width: int = 180, height: int = 40) -> str:
    """Return the training loss as a line and the validation loss as a dashed one, both by epoch.

    Parameters
    ----------
    training, validated : array-like of shape (n_epochs,)
        What is not finite is left out. The scale is logarithmic if all others are positive.
    width, height : int
        In pixels.

    Returns
    -------
    str
        An SVG in the colour of the text around it; empty if there is nothing to draw.
    """
    curves = [np.asarray(curve, np.float64) for curve in (training, validated)]
    seen = np.concatenate([curve[np.isfinite(curve)] for curve in curves])
    if not len(seen):
        return ""
    largest = np.abs(seen).max() or 1.0
    scale = np.log if seen.min() > 0 else lambda loss: loss / largest
    low, high = scale(seen.min()), scale(seen.max())
    n_epochs = max(map(len, curves))
    margin = 3.0

    def x(epoch):
        return margin + (width - 2 * margin) * epoch / max(n_epochs - 1, 1)

    def y(loss):
        return margin + (height - 2 * margin) * (high - scale(loss)) / ((high - low) or 1.0)

    lines = ""
    for curve, dash in zip(curves, ("", ' stroke-dasharray="4 3"'), strict=True):
        every = max(1, math.ceil(len(curve) / _MOST_POINTS))
        kept = sorted({*range(0, len(curve), every), len(curve) - 1} if len(curve) else ())
        path, pen = [], "M"
        for epoch in kept:
            if not np.isfinite(curve[epoch]):
                pen = "M"
                continue
            path.append(f"{pen}{x(epoch):.1f} {y(curve[epoch]):.1f}")
            pen = "L"
        if path:
            path = path if len(path) > 1 else [*path, "h0"]  # a dot, by its round ends
            lines += f'<path d="{"".join(path)}"{dash}/>'
    words = ", ".join(_words(training, validated))
    return (
        f'<svg role="img" aria-label="{words}" width="{width}" height="{height}" '
        f'style="max-width:100%;height:auto" viewBox="0 0 {width} {height}" '
        f'fill="none" stroke="currentColor" stroke-width="1.5" '
        f'stroke-linecap="round" stroke-linejoin="round">{lines}</svg>'
    )


def figure_html(title: str, training: Any, validated: Any = (), **size: int) -> str:
    """Return `curve_svg` under a title, which is no HTML, with its figures in words below."""
    picture = curve_svg(training, validated, **size)
    words = "<br>".join(_words(training, validated))
    heading = f"<div>{title}</div>" if title else ""
    return f'<div style="padding:0.3em 0.5em">{heading}{picture}<div><small>{words}</small></div></div>'


def _words(training: Sequence[float], validated: Sequence[float]) -> list[str]:
    n = max(len(training), len(validated))
    parts = []
    for name, curve in {"loss": training, "validation loss (dashed)": validated}.items():
        finite = np.asarray(curve, np.float64)
        finite = finite[np.isfinite(finite)]
        if len(finite):
            parts.append(f"{name} {finite[0]:.4g} to {finite[-1]:.4g}")
    epochs = f"{n} epoch{'' if n == 1 else 's'}"
    return [f"{epochs}, {parts[0]}", *parts[1:]] if parts else [epochs]


def curves_of(estimator: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Return training loss and validation loss of a fitted estimator by epoch; None if it keeps none."""
    try:
        history = estimator.history_
        return history["loss"], history["val_loss"]
    except (AttributeError, KeyError):  # not fitted, or the members of an ensemble have the curves
        return None


class LossCurveHTML:
    """Adds the loss curve to what scikit-learn shows of a fitted estimator in a notebook."""

    def _html_repr(self) -> str:
        html = super()._html_repr()  # type: ignore[misc]
        picture = _picture_of(self)
        return html if picture in html else html + picture  # before scikit-learn 1.9 nothing has it inside

    def _get_fitted_attr_html(self, doc_link: str = "") -> Any:
        """Return the table of fitted attributes, with the curve above it: in pipelines and searches, too."""
        attributes = super()._get_fitted_attr_html(doc_link)  # type: ignore[misc]
        table, picture = attributes._html_repr, _picture_of(self)
        attributes._html_repr = lambda: picture + table()
        return attributes


def _picture_of(estimator):
    curves = curves_of(estimator)
    return figure_html("", *curves) if curves and len(curves[0]) else ""
