"""Reports: one self-contained HTML page of a study."""

from .study import render_report, write_report

__all__ = ["render_report", "write_report"]
