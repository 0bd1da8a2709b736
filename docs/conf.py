"""Sphinx configuration. Build with ``python -m sphinx -W -b html docs docs/_build``."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

import api_reference  # noqa: E402

from fastopt import __version__  # noqa: E402

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
    "mathml",
    "wide_pictures",
]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

templates_path = ["_templates"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["fastopt.css"]
pygments_dark_style = "github-dark"
html_title = f"fastopt {release}"
exclude_patterns = ["_build", "output"]

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
default_role = "code"

page = DOCS / "generated" / "api.rst"
page.parent.mkdir(exist_ok=True)
if not page.exists() or page.read_text("utf-8") != api_reference.page():
    page.write_text(api_reference.page(), "utf-8")
