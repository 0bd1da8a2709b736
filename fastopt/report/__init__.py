"""Reports: one self-contained HTML page of a study, or of a model that was fitted to a table."""

from .model import render_model_report, write_model_report
from .write import render_report, write_report

__all__ = ["render_model_report", "render_report", "write_model_report", "write_report"]
