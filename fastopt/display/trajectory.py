"""Paths of optimizers on two-dimensional test functions, as a plot or an animation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import clone

from ..study.contenders import named_optimizer
from .style import INK, as_text, below_axes, line_styles, new_axes, theme

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from typing import Any

    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RATES = tuple(float(f"{rate:.1g}") for rate in np.geomspace(1e-4, 1, 17))


@dataclass(frozen=True)
class Surface:
    """A function of two variables with its gradient.

    Attributes
    ----------
    name : str
    value : callable
        ``value(x, y)``, elementwise.
    gradient : callable
        ``gradient(x, y) -> (df/dx, df/dy)``.
    start : tuple of float
    minima : tuple of tuple of float
    view : tuple of float
        Left, right, bottom, top.
    """

    name: str
    value: Callable[[Any, Any], Any]
    gradient: Callable[[Any, Any], tuple[Any, Any]]
    start: tuple[float, float]
    minima: tuple[tuple[float, float], ...]
    view: tuple[float, float, float, float]


def _beale_gradient(x, y):
    a, b, c = 1.5 - x + x * y, 2.25 - x + x * y**2, 2.625 - x + x * y**3
    return (
        2 * (a * (y - 1) + b * (y**2 - 1) + c * (y**3 - 1)),
        2 * x * (a + 2 * b * y + 3 * c * y**2),
    )


SURFACES: dict[str, Surface] = {
    # A curved valley, easy to find and slow to follow (Rosenbrock 1960).
    "rosenbrock": Surface(
        "Rosenbrock",
        lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
        lambda x, y: (-2 * (1 - x) - 400 * x * (y - x**2), 200 * (y - x**2)),
        (-1.5, 2.0),
        ((1.0, 1.0),),
        (-2.0, 2.0, -0.8, 3.0),
    ),
    # Flat plains between steep walls (Beale 1955).
    "beale": Surface(
        "Beale",
        lambda x, y: (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2,
        _beale_gradient,
        (1.0, 1.5),
        ((3.0, 0.5),),
        (-0.5, 4.5, -1.5, 2.0),
    ),
    # A saddle at the origin, started almost on its ridge; the quartic term closes it from below.
    "saddle": Surface(
        "Saddle",
        lambda x, y: x**2 - y**2 + y**4 / 4,
        lambda x, y: (2 * x, -2 * y + y**3),
        (-1.6, 0.001),
        ((0.0, -(2**0.5)), (0.0, 2**0.5)),
        (-2.0, 2.0, -2.0, 2.0),
    ),
}


def walk(optimizer: Any, surface: Surface, n_steps: int) -> np.ndarray:
    """Return the points that `optimizer` visits on `surface`.

    Parameters
    ----------
    optimizer : optimizer object
        Bound to one array of two float64 elements.
    surface : Surface
    n_steps : int

    Returns
    -------
    path : ndarray of shape (n_steps + 1, 2)
        From the start. Once the walk leaves the finite numbers it stays NaN.

    Examples
    --------
    >>> from fastopt import SGD
    >>> walk(SGD(lr=0.1), SURFACES["saddle"], 3).shape
    (4, 2)
    """
    point = np.array(surface.start, dtype=np.float64)
    stepper = optimizer.bind([point])
    path = np.full((n_steps + 1, 2), np.nan)
    path[0] = point

    def evaluate():
        return surface.value(*point), [np.array(surface.gradient(*point), dtype=np.float64)]

    with np.errstate(over="ignore", invalid="ignore"):
        for i in range(n_steps):
            stepper.step(closure=evaluate)
            if not np.isfinite(point).all():
                break
            path[i + 1] = point
    return path


class TrajectoryDisplay:
    """Paths of optimizers on a test surface.

    It is recommended to use `from_optimizers`.

    Parameters
    ----------
    surface : Surface
    paths : dict of str to ndarray of shape (n_steps + 1, 2)

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    lines_ : dict of str to matplotlib Line2D
    """

    figure_: Figure
    ax_: Axes
    lines_: dict[str, Any]

    def __init__(self, surface: Surface, paths: dict[str, np.ndarray]):
        self.surface = surface
        self.paths = paths

    @classmethod
    def from_optimizers(
        cls,
        optimizers: Any,
        surface: str | Surface = "rosenbrock",
        *,
        n_steps: int = 200,
        lr: float | str | None = None,
        ax: Axes | None = None,
    ) -> TrajectoryDisplay:
        """Run optimizers on a surface, and plot their paths.

        Parameters
        ----------
        optimizers : iterable or mapping
            Names or optimizer objects; a mapping gives labels.
        surface : {'rosenbrock', 'beale', 'saddle'} or Surface
        n_steps : int, default=200
        lr : None, float, or 'own', default=None
            ``None``: each takes the rate from 0.0001 to 1 that ends lowest (it is in the legend).
            A number: the same for all. ``'own'``: that of each object.
        ax : matplotlib Axes, optional

        Returns
        -------
        TrajectoryDisplay
        """
        if isinstance(surface, str):
            if surface not in SURFACES:
                raise ValueError(f"surface={surface!r} is not one of {', '.join(map(repr, SURFACES))}.")
            surface = SURFACES[surface]
        paths = {}
        for label, optimizer in _labelled(optimizers):
            rate, path = _best_walk(optimizer, surface, n_steps, lr)
            paths[label if rate is None else f"{label}, lr {rate:g}"] = path
        return cls(surface, paths).plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> TrajectoryDisplay:
        """Draw the surface and the whole paths.

        Returns
        -------
        self : TrajectoryDisplay
        """
        left, right, bottom, top = self.surface.view
        with theme():
            self.figure_, self.ax_ = new_axes(ax, (6.4, 5.2))
            x, y = np.meshgrid(np.linspace(left, right, 160), np.linspace(bottom, top, 160))
            # Ranks, not values: these functions span six decades, and contours should be evenly spread.
            height = self.surface.value(x, y)
            levels = np.unique(np.quantile(height, np.linspace(0, 1, 22)))
            ranks = np.searchsorted(levels, height) / len(levels)
            shade = {"cmap": "Greys", "vmin": 0, "vmax": 1.6, "interpolation": "bilinear"}
            self.ax_.imshow(ranks, origin="lower", extent=self.surface.view, aspect="auto", **shade)
            lines = {"colors": "#8a9099", "linewidths": 0.4, "linestyles": "solid"}
            self.ax_.contour(x, y, height, levels=levels[1:-1:2], **lines)
            self.lines_ = {}
            for label, style in line_styles(self.paths).items():
                path = self.paths[label]
                style.pop("marker")
                (self.lines_[label],) = self.ax_.plot(*path.T, label=as_text(label), **style)
            self.ax_.plot(*self.surface.start, "o", color=INK, markersize=7)
            for minimum in self.surface.minima:
                self.ax_.plot(*minimum, "*", color="#c9a100", markersize=15, markeredgecolor="black")
            self.ax_.set(xlim=(left, right), ylim=(bottom, top), xlabel="x", ylabel="y")
            self.ax_.set_title(f"{as_text(self.surface.name)}, {self._n_steps} steps (star: minimum)")
            self.ax_.grid(False)
            below_axes(self.ax_, n_columns=2)  # labels are long: they tell the rate
        return self

    @property
    def _n_steps(self):
        return len(next(iter(self.paths.values()))) - 1

    def animate(
        self, path: str | os.PathLike[str] | None = None, *, frames: int = 100, fps: int = 25, dpi: int = 80
    ) -> FuncAnimation:
        """Animate the paths: each grows by the same number of steps per frame.

        Parameters
        ----------
        path : path, optional
            Where to save, for example ``rosenbrock.gif``.
        frames, fps, dpi : int
            Length, speed and resolution of the file.

        Returns
        -------
        matplotlib.animation.FuncAnimation
            In a notebook show it with ``HTML(animation.to_jshtml())``.
        """
        from matplotlib.animation import FuncAnimation, PillowWriter

        if not hasattr(self, "lines_"):
            self.plot()
        heads = {
            label: self.ax_.plot([], [], "o", color=line.get_color(), markersize=7)[0]
            for label, line in self.lines_.items()
        }
        self.figure_.draw_without_rendering()
        self.figure_.set_layout_engine("none")  # once is enough: nothing that moves changes the layout
        at = np.unique(np.linspace(0, self._n_steps, frames).round().astype(int))

        def draw(n):
            for label, line in self.lines_.items():
                line.set_data(*self.paths[label][: n + 1].T)
                heads[label].set_data(*self.paths[label][n : n + 1].T)
            return [*self.lines_.values(), *heads.values()]

        animation = FuncAnimation(self.figure_, draw, frames=at, interval=1000 / fps, blit=True)
        if path is not None:
            animation.save(path, writer=PillowWriter(fps=fps), dpi=dpi)
        return animation


def _labelled(optimizers):
    if isinstance(optimizers, dict):
        return [
            (label, named_optimizer(o)[1] if isinstance(o, str) else o) for label, o in optimizers.items()
        ]
    return [named_optimizer(o) if isinstance(o, str) else (type(o).__name__, o) for o in optimizers]


def _best_walk(optimizer, surface, n_steps, lr):
    if lr == "own" or "lr" not in optimizer.get_params():
        return None, walk(optimizer, surface, n_steps)
    walks = []
    for rate in _RATES if lr is None else (lr,):
        path = walk(clone(optimizer).set_params(lr=rate), surface, n_steps)
        end = surface.value(*path[-1])
        walks.append((end if np.isfinite(end) else np.inf, rate, path))
    _, rate, path = min(walks, key=lambda w: w[0])
    return rate, path
