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
    """Return ``{name: defining module}`` of what a module offers."""
    module = importlib.import_module(place)
    return {name: getattr(getattr(module, name), "__module__", place) for name in module.__all__}


def reference():
    """Return the page of the API reference."""
    lines = ["API reference", "============="]
    for place in PLACES:
        place = place if place == "fastopt" else f"fastopt.{place}"
        names = public_names(place)
        for home in sorted(set(names.values())):
            heading = importlib.import_module(home).__doc__.splitlines()[0].rstrip(".")
            lines += ["", heading, "-" * len(heading), "", f".. currentmodule:: {place}", ""]
            lines += [".. autosummary::", "   :toctree: names", "   :nosignatures:", ""]
            lines += [f"   {name}" for name, of in names.items() if of == home]
    return "\n".join(lines) + "\n"


page = Path(__file__).parent / "generated" / "api.rst"
page.parent.mkdir(exist_ok=True)
if not page.exists() or page.read_text() != reference():
    page.write_text(reference())
