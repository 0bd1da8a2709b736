"""What is public, in one place: ``python docs/public_api.py`` writes the list of ``stability.md`` anew.

`MODULES` is used by that page, the API reference (`conf.py`), the type checks (`.ci/check_types.py`) and the
tests; the names are those of each module's ``__all__``.
"""

import importlib
from pathlib import Path

PAGE = Path(__file__).with_name("stability.md")
BEGIN, END = "<!-- made by public_api.py -->\n", "<!-- end -->\n"

#: The public modules. Everything else may change in any version.
MODULES = (
    "fastopt",
    "fastopt.optimizers",
    "fastopt.neural_network",
    "fastopt.tabular",
    "fastopt.schedules",
    "fastopt.callbacks",
    "fastopt.mlflow",
    "fastopt.study",
    "fastopt.display",
    "fastopt.report",
    "fastopt.datasets",
    "fastopt.data",
    "fastopt.dask",
    "fastopt.onnx_export",
)


def names(module):
    """Return the public names of a module, sorted."""
    return sorted(importlib.import_module(module).__all__, key=str.lower)


def listing():
    """Return the modules and their names as Markdown."""
    repeated = {*names("fastopt.optimizers"), *names("fastopt.neural_network")}
    lines = []
    for module in MODULES:
        own = names(module)
        text = ""
        if module == "fastopt" and repeated <= set(own):
            own = [name for name in own if name not in repeated]
            text = "all names of `fastopt.optimizers` and `fastopt.neural_network`, "
        text += ", ".join(f"`{name}`" for name in own)
        lines.append(f"- **`{module}`**: {text}\n")
    return "".join(lines)


def page(text):
    """Return the page's text with the list made anew."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{listing()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
    print(PAGE)
