"""Mark pictures of several panels and diagrams, which a phone shows as wide as a desk, to be pushed sideways.

At the width of a phone nobody could read the words in them; ``_static/fastopt.css`` has the widths.
"""

import re
from pathlib import Path

from docutils import nodes
from PIL import Image

_PANELS = 1000  # pixels: what `refresh.py` draws with one panel is narrower
_DIAGRAM = 600  # units of an SVG, whose letters are 12 high


def _is_wide(path):
    if path.suffix == ".svg":
        box = re.search(r'viewBox="\S+ \S+ (\S+) ', path.read_text("utf-8"))
        return box is not None and float(box[1]) > _DIAGRAM
    with Image.open(path) as opened:
        width, height = opened.size
    return width > max(_PANELS, height)


def _mark(app, doctree):
    for picture in doctree.findall(nodes.image):
        path = Path(app.srcdir, picture["uri"])  # Sphinx has made it relative to the folder of all pages
        if path.is_file() and _is_wide(path):
            picture["classes"].append("wide")


def setup(app):
    """Mark the pictures of each page when it has been read."""
    app.connect("doctree-read", _mark)
    return {"parallel_read_safe": True}
