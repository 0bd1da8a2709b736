"""Sphinx configuration. Build with ``python -m sphinx -W -b html docs docs/_build``."""

import importlib
from pathlib import Path

from fastopt import __version__

project = "fastopt"
author = "The fastopt developers"
copyright = "the fastopt developers"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

templates_path = ["_templates"]
html_theme = "furo"
html_title = f"fastopt {release}"
exclude_patterns = ["_build", "output"]

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
default_role = "code"

# Where public names are imported from, in the order of the reference. What is added to their `__all__`
# appears by itself, under the first line of the module that defines it.
PLACES = ("fastopt", "schedules", "study", "display", "report", "datasets", "engine")


def public_names(place):
    """Return ``{defining module: {name: object}}`` of what a module offers."""
    module, homes = importlib.import_module(place), {}
    for name in module.__all__:
        thing = getattr(module, name)
        homes.setdefault(getattr(thing, "__module__", place), {})[name] = thing
    return homes


def reference():
    """Return the page of the API reference."""
    lines = ["API reference", "============="]
    for place in PLACES:
        place = place if place == "fastopt" else f"fastopt.{place}"
        for home, things in sorted(public_names(place).items()):
            heading = importlib.import_module(home).__doc__.splitlines()[0].rstrip(".")
            lines += ["", heading, "-" * len(heading), "", f".. currentmodule:: {place}", ""]
            constants = [name for name, thing in things.items() if not callable(thing)]
            lines += [f"| ``{name}``: {', '.join(map(str, things[name]))}" for name in constants]
            lines += ["", ".. autosummary::", "   :toctree: names", "   :nosignatures:", ""]
            lines += [f"   {name}" for name in things if name not in constants]
    return "\n".join(lines) + "\n"


page = Path(__file__).parent / "generated" / "api.rst"
page.parent.mkdir(exist_ok=True)
if not page.exists() or page.read_text("utf-8") != reference():
    page.write_text(reference(), "utf-8")
