"""Sphinx configuration. Build with ``sphinx-build -W -b html docs docs/_build``."""

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
