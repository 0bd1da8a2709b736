"""A report in a real browser: what its page measures at a width and in a colour scheme."""

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (apt-get install chromium)")

PROBE = """
<script>
const click = (table, column) => document.querySelectorAll("table")[table].tHead.rows[0].cells[column]
  .firstElementChild.click();
const firsts = () =>
  [...document.querySelectorAll("table")[0].tBodies[0].rows].map((row) => row.cells[0].textContent);
const wide = [...document.querySelectorAll("main *")].filter((element) =>
  !element.closest(".scroll, svg, pre") && element.getBoundingClientRect().right > innerWidth + 1);
const seen = { width: innerWidth, scroll: document.documentElement.scrollWidth, page:
  getComputedStyle(document.body).backgroundColor, ink: getComputedStyle(document.body).color,
  svg: getComputedStyle(document.querySelector("figure svg")).color, too_wide: wide.length,
  svg_width: document.querySelector("figure svg").getBoundingClientRect().width,
  scales: [...document.querySelectorAll("figure svg")].map((svg) =>
    svg.getBoundingClientRect().width / svg.viewBox.baseVal.width) };
click(0, 2); seen.ascending = firsts(); click(0, 2); seen.descending = firsts();
click(0, 0); seen.by_name = firsts();
parent.postMessage(JSON.stringify(seen), "*");
</script>
"""

# Chromium's windows have a least width, wider than a phone; a frame has none.
FRAME = """<!doctype html><title></title>
<script>onmessage = (event) => document.title = "probe:" + event.data;</script>
<iframe src="report.html" style="border: 0" width="{width}" height="900"></iframe>"""


class Browser:
    """Opens a report in Chromium.

    Parameters
    ----------
    page : path
        Of the report, called ``report.html``; a script is added to it.
    """

    def __init__(self, page):
        page = Path(page)
        page.write_text(page.read_text("utf-8").replace("</body>", PROBE + "</body>"), "utf-8")
        self._folder = page.parent
        self.measured = cache(self._measured)

    def _measured(self, width, scheme):
        """Return what the page measured, as a dict."""
        frame = self._folder / "frame.html"
        frame.write_text(FRAME.format(width=width), "utf-8")
        command = [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={self._folder / 'profile'}",
            "--window-size=1400,1000",
            "--virtual-time-budget=5000",
            f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}",
            "--dump-dom",
            frame.as_uri(),
        ]
        dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        return json.loads(re.search(r"<title>probe:(.*?)</title>", dom).group(1).replace("&amp;", "&"))

    def check(self, width, scheme):
        """Assert that nothing overflows and that text is large and dark (or light) enough to be read."""
        seen = self.measured(width, scheme)
        assert seen["width"] == width
        assert seen["scroll"] <= width
        assert seen["too_wide"] == 0
        assert seen["svg_width"] > 0.6 * min(width, 560)
        # Pixels for each point. Legends and tick labels have 10 points, small print has 14 pixels.
        assert min(seen["scales"]) > 0.95
        assert max(seen["scales"]) < 2
        assert (_luminance(seen["page"]) > 0.5) == (scheme == "light")
        assert _contrast(seen["page"], seen["ink"]) >= 7  # WCAG 2 AAA
        assert _contrast(seen["page"], seen["svg"]) >= 7


def _luminance(colour):
    """Relative luminance of ``rgb(r, g, b)``, as in WCAG 2."""
    channels = [int(c) / 255 for c in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a, b):
    high, low = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)
