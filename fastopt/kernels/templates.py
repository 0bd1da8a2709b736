"""Templates: source text of kernels, as Numba compiles no loop over a varying number of arrays."""

from collections.abc import Callable


def fill(text: str, **parts: object) -> str:
    """Fill statements (lists of lines) and expressions into a template's placeholders.

    Parameters
    ----------
    text : str
        With ``{name}`` for each part.
    **parts
        A list of lines stands alone on its line of the template, whose indentation all of them take.
    """
    for name, part in parts.items():
        if isinstance(part, list):
            indent = next(line for line in text.split("\n") if line.strip() == f"{{{name}}}").split("{")[0]
            part = ("\n" + indent).join(part) or "pass"
        text = text.replace(f"{{{name}}}", str(part))
    return text


def function(text: str, name: str) -> Callable:
    """Return the function ``name`` defined by source text; `binding.bind` sets its free names."""
    space = {}
    exec(text, space)
    return space[name]
