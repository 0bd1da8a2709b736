"""The table of ``optimizers.md``, made from the registry: ``python docs/optimizer_table.py`` writes it anew.

A test compares the page with what this makes, so that neither can go stale.
"""

import inspect
import re
from pathlib import Path

import numpy as np

import fastopt
from fastopt.optimizers.base import ALIASES, OPTIMIZERS
from fastopt.rules.registry import Rule

PAGE = Path(__file__).with_name("optimizers.md")
BEGIN, END = "<!-- made by optimizer_table.py -->\n", "<!-- end -->\n"

_SIDE = 64


def kind(cls):
    """Return the class of an optimizer: what its update of a matrix looks at."""
    h = cls().get_params()
    rule = cls.rule_for(h, (_SIDE, _SIDE))
    if isinstance(rule, Rule):
        return "E"
    if rule.function.__module__.endswith("matrix"):
        return "M"
    return "G" if rule.shared or cls.needs else "N"


def state(cls):
    """Return the floats of state per weight of a square matrix, as text."""
    optimizer = cls()
    if cls.needs == "closure":
        return "2 for each step kept, + 2"
    stepper = optimizer.bind(np.zeros((_SIDE, _SIDE)))
    floats = stepper.nbytes / 8 / _SIDE**2
    if floats == int(floats):
        return str(int(floats))
    return f"{int(floats)} + factors" if floats > 1 else "factors"


def source(cls):
    """Return authors and year of the paper."""
    text = " ".join(inspect.getdoc(cls).split("References\n----------\n")[1].split())
    return re.match(r".*?\(\d{4}\)", text).group()


def rows():
    """Return the table's lines."""
    lines = ["| name | class | source | looks at | state |", "| --- | --- | --- | --- | --- |"]
    for name, cls in sorted(OPTIMIZERS.items()):
        if cls.__module__.startswith("fastopt."):
            other = [alias for alias, (target, _) in ALIASES.items() if target == name]
            names = ", ".join(f"`{n}`" for n in (name, *sorted(other)))
            lines.append(f"| {names} | `{cls.__name__}` | {source(cls)} | {kind(cls)} | {state(cls)} |")
    return "\n".join(lines) + "\n"


def page(text):
    """Return the page's text with the table made anew."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + "\n" + rows() + "\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
    print(f"{len(fastopt.list_optimizers())} optimizers in {PAGE}")
