"""The tables of ``speed.md``, made from a benchmark: ``python docs/speed_table.py`` writes them anew.

The page names the benchmark. A test compares the page with what this makes.
"""

import json
from pathlib import Path

from fastopt.optimizers.base import OPTIMIZERS

PAGE = Path(__file__).with_name("speed.md")
RESULTS = Path(__file__).parents[1] / "bench" / "results" / "step.json"
BEGIN, END = "<!-- made by speed_table.py -->\n", "<!-- end -->\n"


def _line(*cells):
    return f"| {' | '.join(cells)} |\n"


def _ratio(row, kind):
    return f"{row['torch'][kind]['ratio']:.2f}x" if kind in row["torch"] else ""


def memory_table(rows):
    """Return the table of the optimizers that memory bounds, as Markdown."""
    lines = [
        _line(
            "optimizer", "ms for 10 million", "GB/s", "of a copy", "state, bytes", "moved, bytes",
            "torch default", "torch fused",
        ),
        _line("---", *["---:"] * 7),
    ]  # fmt: skip
    copy = rows["copy_bytes_per_second"]
    for label, row in rows["optimizers"].items():
        lines.append(
            _line(
                f"`{label}`",
                f"{row['seconds_per_parameter'] * 1e10:.1f}",
                f"{row['of_copy'] * copy / 1e9:.1f}",
                f"{row['of_copy']:.0%}",
                f"{row['state_bytes']:.2f}".rstrip("0").rstrip("."),
                f"{row['moved_bytes']:.0f}",
                _ratio(row, "default"),
                _ratio(row, "fused"),
            )
        )
    return "".join(lines)


def matrix_table(rows):
    """Return the table of the optimizers that matrix products bound, as Markdown."""
    heads = "optimizer", "matrices", "ms", "GFLOP/s", "of the floor", "state, bytes", "torch"
    lines = [_line(*heads), _line("---", "---", *["---:"] * 5)]
    for label, row in rows.items():
        name, network = label.split(", ", 1)
        lines.append(
            _line(
                f"`{name}`",
                network,
                f"{row['seconds'] * 1e3:.1f}",
                f"{row['operations_per_second'] / 1e9:.0f}",
                f"{row['of_floor']:.0%}",
                f"{row['state_bytes']:.1f}",
                _ratio(row, "default"),
            )
        )
    return "".join(lines)


def made(results):
    """Return both tables and what machine they are of."""
    machine, rows = results["machine"], results["rows"]
    copy = rows["optimizers"]["copy_bytes_per_second"] / 1e9
    about = (
        f"{machine['cpu']} ({machine['target']}), {machine['cores']} cores, load {machine['load']:.1f} at "
        f"the end; a copy moves {copy:.1f} GB/s; torch {machine['versions'].get('torch', 'absent')}."
    )
    return [about + "\n", memory_table(rows["optimizers"]), matrix_table(rows["matrices"])]


def page(text, results):
    """Return the page's text with what is measured made anew, in the order of its places."""
    first, *rest = text.split(BEGIN)
    filled = [
        f"{BEGIN}\n{new}\n{END}{part.split(END)[1]}" for new, part in zip(made(results), rest, strict=True)
    ]
    return first + "".join(filled)


def unmeasured(results):
    """Return the names of the library's optimizers that the benchmark has not measured yet.

    L-BFGS is none of them: what its step costs is what the caller's closure costs.
    """
    rows = results["rows"]
    measured = {*rows["optimizers"]["optimizers"], *(label.split(", ")[0] for label in rows["matrices"])}
    built_in = {name for name, cls in OPTIMIZERS.items() if cls.__module__.startswith("fastopt.")}
    return sorted(built_in - measured - {"lbfgs"})


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8"), json.loads(RESULTS.read_text("utf-8"))), "utf-8")
    print(PAGE)
