"""What a notebook shows of a study."""

from __future__ import annotations

from html import escape
from typing import Any


class NotebookView:
    """Gives `OptimizerStudy` its view in a notebook."""

    verdict_: Any
    notes_: Any
    summary_: Any

    def _repr_mimebundle_(self, **kwargs):
        """Give IPython the verdict, where scikit-learn would draw a diagram of parameters."""
        return {"text/plain": repr(self), "text/html": self._repr_html_()}

    def _repr_html_(self):
        """Verdict and summary in a notebook, once there are any."""
        if not hasattr(self, "verdict_"):
            return f"<pre>{self!r}</pre>"
        words = "".join(f"<li>{escape(sentence)}</li>" for sentence in [*self.verdict_, *self.notes_])
        table = "" if self.summary_.empty else self.summary_.to_html(float_format="{:.4g}".format)
        return f"<ul>{words}</ul>{table}"
