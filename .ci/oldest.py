"""Print constraints that pin every dependency to the oldest version that pyproject.toml allows.

``pip install ".[test]" -c <(python .ci/oldest.py)``
"""

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"

#: What the library itself needs, by the extras that the tests install; what tests and builds need stays new.
EXTRAS = ("cli", "onnx", "optuna", "tables")


def requirements(text):
    """Yield the requirement strings of the dependencies and of the extras above.

    Read by pattern: Python 3.10 has no TOML reader.
    """
    wanted = rf"^(?:dependencies|{'|'.join(EXTRAS)}) = \[(.*?)\]$"
    for block in re.findall(wanted, text, re.MULTILINE | re.DOTALL):
        yield from re.findall(r'"([^"]+)"', re.sub(r"^\s*#.*$", "", block, flags=re.MULTILINE))


def pinned(requirement):
    """Return ``name==version`` for ``name>=version``, with the environment marker that it has."""
    name, version, marker = re.fullmatch(r"([\w-]+)>=([\w.]+)(\s*;.*)?", requirement).groups()
    return f"{name}=={version}{marker or ''}"


if __name__ == "__main__":
    print("\n".join(pinned(line) for line in requirements(PROJECT.read_text("utf-8"))))
