"""Mark pictures of several panels, which a phone shows at the width of a desk, to be pushed sideways.

At the width of a phone nobody could read the words in them; ``_static/fastopt.css`` has the widths.
"""

from pathlib import Path

from docutils import nodes
from PIL import Image

_PANELS = 1000  # pixels: what `refresh.py` draws with one panel is narrower


def _mark(app, doctree):
    for picture in doctree.findall(nodes.image):
        path = Path(app.srcdir, picture["uri"])  # Sphinx has made it relative to the folder of all pages
        if path.suffix == ".svg" or not path.is_file():
            continue
        with Image.open(path) as opened:
            width, height = opened.size
        if width > max(_PANELS, height):
            picture["classes"].append("wide")


def setup(app):
    """Mark the pictures of each page when it has been read."""
    app.connect("doctree-read", _mark)
    return {"parallel_read_safe": True}
