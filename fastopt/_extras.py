"""Optional dependencies, imported on first use, with an error that says what to install."""

from __future__ import annotations

import importlib


class MissingExtraError(ImportError):
    """A package of an optional extra is not installed; the message says what to run."""


def require(module, purpose, extra="cli"):
    """Import and return `module`.

    Raises
    ------
    MissingExtraError
        If it is not installed, naming the command that installs it.

    Examples
    --------
    >>> require("json", "an example").dumps({})
    '{}'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as problem:
        if problem.name is None or problem.name.partition(".")[0] != module.partition(".")[0]:
            raise
        package = module.partition(".")[0]
        raise MissingExtraError(
            f'{purpose} needs {package}, which is not installed. Run: pip install "fastopt[{extra}]"',
            name=problem.name,
        ) from None
