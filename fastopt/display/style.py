"""The style of all plots: distinguishable without colour, readable when small, on light and dark pages."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from .._extras import require

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe & Ito's colours (safe for the common colour blindnesses), without black and yellow, which vanish on a
# dark or a light page, and with blue a little lighter for the same reason.
PALETTE: tuple[str, ...] = (
    "#D55E00",
    "#2E86C1",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#8C6BB1",
    "#A0785A",
)
_DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
_MARKERS = "osD^vPX*"
_YARDSTICK = {"color": "#808080", "linestyle": (0, (3, 2)), "marker": "x"}

MAX_COLUMNS = 4  # panels in a row that stay readable at the width of a page

# Text is drawn in this odd colour so that an SVG in a page can be given the page's own (see `inline_svg`).
INK = "#40454d"
_SETTINGS = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 11,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#9aa0a6",
    "grid.alpha": 0.3,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "svg.hashsalt": "fastopt",
}


def pyplot() -> Any:
    """Return matplotlib's pyplot."""
    return require("matplotlib.pyplot", "a plot")


@contextmanager
def theme() -> Iterator[None]:
    """Apply fastopt's settings of matplotlib while the block runs."""
    plt = pyplot()
    with plt.rc_context(_SETTINGS):
        yield
        interactive = plt.isinteractive()
    # The first figure of a notebook switches this on: the context must not switch it off again.
    (plt.ion if interactive else plt.ioff)()


def line_styles(labels: Iterable[str], yardsticks: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Return ``{label: keyword arguments of plot}``; colour, dash and marker all differ.

    Examples
    --------
    >>> line_styles(["Adam", "SGD"])["SGD"]["color"]
    '#2E86C1'
    """
    styles, i = {}, 0
    for label in labels:
        if label in yardsticks:
            styles[label] = dict(_YARDSTICK)
            continue
        styles[label] = {
            "color": PALETTE[i % len(PALETTE)],
            "linestyle": _DASHES[i % len(_DASHES)],
            "marker": _MARKERS[i % len(_MARKERS)],
        }
        i += 1
    return styles


def as_text(words: object, longest: int = 60) -> str:
    r"""Return a user's text for a plot: without mathematics markup, shortened if very long.

    Examples
    --------
    >>> print(as_text("from $5 to $9"))
    from \$5 to \$9
    """
    text = " ".join(str(words).split())
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    return text.replace("$", r"\$")


def settled_layout() -> Any:
    """Return matplotlib's constrained layout, made twice for each drawing.

    The numbers beside an axis depend on its length, and the first pass may measure those of another one: with
    "0.95" where "0.955" is drawn the label beyond them is cut off at the edge of the picture.
    """
    engine = require("matplotlib.layout_engine", "a plot").ConstrainedLayoutEngine

    class SettledLayout(engine):
        def execute(self, fig):
            super().execute(fig)
            return super().execute(fig)

        def __reduce__(self):  # figures can be pickled
            return settled_layout, ()

    return SettledLayout()


def new_axes(ax: Axes | None, figsize: tuple[float, float] = (6.4, 4.2)) -> tuple[Figure, Axes]:
    """Return ``(figure, ax)``: the given axes, or new ones of a readable size."""
    if ax is None:
        _, ax = pyplot().subplots(figsize=figsize, layout=settled_layout())
    return ax.figure, ax


def panels(
    ax: Axes | Sequence[Axes] | None, n_panels: int, size: tuple[float, float], **options: Any
) -> tuple[Figure, np.ndarray]:
    """Return ``(figure, array of axes)``: the given axes, or new ones in rows of at most `MAX_COLUMNS`.

    Parameters
    ----------
    ax : Axes, sequence of Axes, or None
    n_panels : int
    size : tuple of float
        Width and height of one panel in inches.
    **options
        Passed to ``pyplot.subplots``.
    """
    if ax is None:
        n_columns = min(n_panels, MAX_COLUMNS)
        n_rows = -(-n_panels // n_columns)
        figsize = (1.2 + size[0] * n_columns, size[1] * n_rows)
        options = {"figsize": figsize, "layout": settled_layout(), **options}
        _, ax = pyplot().subplots(n_rows, n_columns, squeeze=False, **options)
        for empty in ax.ravel()[n_panels:]:
            empty.remove()
        ax = ax.ravel()[:n_panels]
    ax = np.atleast_1d(np.asarray(ax)).ravel()
    if len(ax) != n_panels:
        raise ValueError(f"ax has {len(ax)} axes, and there are {n_panels} optimizers to draw.")
    return ax[0].figure, ax


def below_axes(ax: Axes, title: str | None = None, n_columns: int | None = None) -> None:
    """Put the legend below the axes, as a free corner inside depends on the data."""
    if not ax.get_legend_handles_labels()[1]:  # every run diverged
        return
    n_columns = n_columns or max(1, int(ax.figure.get_figwidth() / 2.1))
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.15)}
    ax.legend(ncols=n_columns, title=title, title_fontsize=9, **place)


def few_ticks(axis: Axis, n: int = 6) -> None:
    """Reduce the number of ticks so that labels do not overlap."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(n, steps=[1, 2, 2.5, 5, 10]))


def plain_log_ticks(axis: Axis) -> None:
    """Label a logarithmic axis of few decades with plain numbers, 1 2 5 in each, or more if it is short."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    if high > 300 * low:  # powers of ten say it in less room
        return
    if high < 5 * low:  # as little as one of 1, 2, 5 may lie within
        few_ticks(axis)
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def inline_svg(figure: Figure, description: str) -> str:
    """Return `figure` as SVG for an HTML page, with lines and text in the page's text colour.

    Parameters
    ----------
    figure : matplotlib Figure
    description : str
        What it shows, for readers who cannot see it.
    """
    from html import escape
    from io import StringIO

    buffer = StringIO()
    figure.savefig(buffer, format="svg", transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(rf"(?i){INK}", "currentColor", svg)
    svg = re.sub(r'<svg([^>]*?) width="[^"]*"', r"<svg\1", svg, count=1)
    svg = re.sub(r'<svg([^>]*?) height="[^"]*"', r"<svg\1", svg, count=1)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1)
