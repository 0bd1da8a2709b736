"""Fitted attributes that say why they are not there yet."""

from __future__ import annotations

from typing import Any

from sklearn.exceptions import NotFittedError


class FittedLater:
    """Base of studies, whose attributes with a trailing underscore are set when they run."""

    def __getattr__(self, name: str) -> Any:
        """Say of a fitted attribute that the study has not run."""
        kind = type(self).__name__
        if name.endswith("_") and not name.startswith("_") and "results_" not in vars(self):
            raise NotFittedError(f"{name} is set when the study runs, and this {kind} has not run: call fit.")
        raise AttributeError(f"{kind!r} object has no attribute {name!r}")
