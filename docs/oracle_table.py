"""The table of ``oracles.md``: ``python docs/oracle_table.py`` writes it anew from what the audit found.

``python tests/audit`` executes the other libraries and writes ``tests/reference/executed.json``. A test
compares the page with what this makes.
"""

import json
from pathlib import Path

PAGE = Path(__file__).with_name("oracles.md")
RESULTS = Path(__file__).parents[1] / "tests" / "reference" / "executed.json"
BEGIN, END = "<!-- made by oracle_table.py -->\n", "<!-- end -->\n"
#: Optimizers that no package has as they are, and what stands in for one.
ELSEWHERE = {
    "LBFGS": "Executed against ``torch.optim.LBFGS`` in the tests (``tests/optimizers/test_lbfgs.py``).",
    "SophiaG": "Executed against nothing: the authors' code is in no package, and optax's corrects a bias. "
    "The tests compare it with an oracle written after the authors' code.",
}

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
    lines += [f"| `{name}` | {why.replace('``', '`')} |" for name, why in ELSEWHERE.items()]
    before, rest = text.split(BEGIN)
    return before + BEGIN + "\n" + "\n".join(lines) + "\n\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
