"""What all reports share: the page around tables and pictures, and what they were made with."""

from __future__ import annotations

import platform
import sys
import warnings
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from .._extras import require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PACKAGES = ("numpy", "scipy", "scikit-learn", "numba", "pandas", "matplotlib")
# Inches of a picture: so narrow that its text is as large as the page's on a telephone.
WIDTH, HEIGHT = 4.4, 3.3


def render(template: str, **texts: Any) -> str:
    """Return a page as HTML, from the name of its template and what is to stand in it."""
    jinja2 = require("jinja2", "a report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fastopt"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return environment.get_template(template).render(versions=versions(), when=when, **texts)


def pictures(drawings: Iterable[tuple[str, str, Callable[[], Figure]]]) -> tuple[list[tuple], list[str]]:
    """Draw pictures for a page.

    Parameters
    ----------
    drawings : iterable of (heading, explanation, function that draws)

    Returns
    -------
    pictures : list of (heading, explanation, svg, width in pixels below which it is scrolled)
    problems : list of str
        What could not be drawn, and why.
    """
    from ..display.style import inline_svg

    markup = require("markupsafe", "a report").Markup
    found, problems = [], []

    def keep(figure, heading, text):
        width, height = figure.get_size_inches()
        svg = markup(inline_svg(figure, f"{heading}. {text}"))
        found.append((heading, text, svg, round(72 * width) if width > 1.8 * height else None))

    for heading, text, draw in drawings:
        problems += attempt(
            f"The picture {heading!r}", draw, lambda figure, of=(heading, text): keep(figure, *of)
        )
    return found, problems


def attempt(name: str, draw: Callable[[], Figure], keep: Callable[[Figure], object]) -> list[str]:
    """Draw a picture and keep it; an error of matplotlib's leaves out this picture only.

    Parameters
    ----------
    name : str
    draw : callable
        Returns a figure, which is closed afterwards.
    keep : callable
        Takes the figure.

    Returns
    -------
    problems : list of str
    """
    from ..display.style import pyplot

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            keep(draw())
    except Exception as problem:
        reason = (str(problem).splitlines() or [type(problem).__name__])[0]
        return [f"{name} could not be drawn: {reason}"]
    finally:
        pyplot().close("all")
    missing = sum("missing from font" in str(warning.message) for warning in caught)
    return [f"{name} lacks {missing} letters that the font does not have."] if missing else []


def narrow_axes(more_height: float = 0.0) -> Axes:
    """Return new axes of the size of a page's pictures, with so many inches more for what stands below."""
    from ..display.style import new_axes, theme

    with theme():
        return new_axes(None, (WIDTH, HEIGHT + more_height))[1]


def versions() -> dict[str, str]:
    """Return what the page was made with: packages, system, processor."""
    found = {"fastopt": __version__, "Python": platform.python_version()}
    for package in _PACKAGES:
        found[package] = metadata.version(package)
    found["system"] = f"{platform.system()} {platform.machine()}"
    if sys.platform == "linux":
        found["processor"] = _processor()
    return found


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
