"""The table of ``oracles.md``: ``python docs/oracle_table.py`` writes it anew from what the audit found.

``python tests/audit`` executes the other libraries and writes ``tests/reference/executed.json``. A test
compares the page with what this makes.
"""

import inspect
import json
from pathlib import Path

import fastopt  # noqa: F401  registers the optimizers
from fastopt.optimizers.base import OPTIMIZERS

PAGE = Path(__file__).with_name("oracles.md")
RESULTS = Path(__file__).parents[1] / "tests" / "reference" / "executed.json"
BEGIN, END = "<!-- made by oracle_table.py -->\n", "<!-- end -->\n"
SCENARIOS = ("plain", "decay", "rates", "gaps", "float32")


def form(row):
    """Return our side of a row as an expression."""
    options = row["options"] | (row["decay"] or {})
    given = ", ".join(f"{k}={tuple(v) if isinstance(v, list) else v!r}" for k, v in options.items())
    return f"{row['optimizer']}({given})"


def executed(rows=None):
    """Return for each optimizer the packages that it was executed against, with their versions."""
    found = {}
    for row in rows or json.loads(RESULTS.read_text("utf-8"))["rows"]:
        packages = found.setdefault(row["optimizer"], [])
        if row["package"] not in packages:
            packages.append(row["package"])
    return found


def elsewhere():
    """Return what the docstrings of optimizers say that the audit does not execute."""
    found, known = {}, executed()
    for cls in OPTIMIZERS.values():
        if cls.__name__ not in known and cls.__module__.startswith("fastopt."):
            notes = inspect.getdoc(cls).partition("Notes\n-----\n")[2].split("\n\n")[0]
            if notes.startswith("Executed against"):
                found[cls.__name__] = " ".join(notes.split())
    return found


def line(row):
    """Return a row's line of the table."""
    worst = (row["worst"].get(name) for name in SCENARIOS)
    cells = ["–" if value is None else "0" if value == 0 else f"{value:.0e}" for value in worst]
    axes = row["axes"]
    axes = f"{axes[0]}–{axes[-1]}" if len(axes) > 1 else str(axes[0])
    there = f"{row['package']}: `{row['theirs']}`"
    return f"| `{form(row)}` | {there} | {axes} | {' | '.join(cells)} | {row['note']} |"


def page(text):
    """Return the page's text with the table made anew."""
    rows = json.loads(RESULTS.read_text("utf-8"))["rows"]
    lines = [
        f"| here | there | axes | {' | '.join(SCENARIOS)} | note |",
        f"| --- | --- | --- | {' | '.join('---' for _ in SCENARIOS)} | --- |",
        *(line(row) for row in sorted(rows, key=lambda row: row["optimizer"].lower())),
    ]
    lines += ["", "| optimizer | |", "| --- | --- |"]
    lines += [f"| `{name}` | {why.replace('``', '`')} |" for name, why in elsewhere().items()]
    before, rest = text.split(BEGIN)
    return before + BEGIN + "\n" + "\n".join(lines) + "\n\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
