"""Execute every other library beside this one: ``python tests/audit [WORD ...]``, words pick rows.

Needs the packages of ``requirements.txt``. Prints a line for each row and writes it to
``tests/reference/executed.json``, from which ``docs/oracle_table.py`` makes a page. All rows take minutes.
"""

import dataclasses
import json
import sys
import warnings
from pathlib import Path

import numpy as np
from peers import Torch, version
from rows import ROWS
from scenarios import N_STEPS, SCENARIOS, distance, problem

import fastopt

RESULTS = Path(__file__).parents[1] / "reference" / "executed.json"


def run(row, scenario):
    """Return the largest difference after any step of a scenario, and where weights are evaluated."""
    params, steps = problem(row.shapes, scenario.dtype)
    if scenario.name == "float32":
        scenario = dataclasses.replace(scenario, changes="rates" not in row.skip, gaps="gaps" not in row.skip)
    decays = scenario.decays and row.decay is not None
    peer = row.make(row.lr, decays)
    peer.bind(params, scenario.dtype)
    options = dict(row.options) | (dict(row.decay) if decays else {})
    if not decays and row.decay is not None:
        options.setdefault("weight_decay", 0.0)
    optimizer = getattr(fastopt, row.ours)(lr=row.lr, **options)
    stepper = optimizer.bind(params)
    worst = 0.0
    for t, (grads, loss) in enumerate(steps):
        given = [g if scenario.has_gradient(t, i) else None for i, g in enumerate(grads)]
        lr = scenario.rate(row.lr, t)
        stepper.param_groups[0]["lr"] = lr
        ours = [rows_of(g) for g in given] if optimizer.takes_rows else given
        stepper.step(ours, **({"loss": loss} if optimizer.needs else {}))
        peer.step(given, lr, loss)
        worst = max(worst, distance(params, peer.values()))
    if optimizer.has_modes and isinstance(peer, Torch) and peer.evaluate():
        stepper.eval()
        worst = max(worst, distance(params, peer.values()))
    return worst


def rows_of(gradient):
    """Return the rows of a gradient that are not 0, and their numbers."""
    if gradient is None:
        return None
    rows = np.flatnonzero(gradient.reshape(len(gradient), -1).any(axis=1))
    return rows, gradient[rows]


def described(row):
    """Return what is compared, as it is written."""
    return {
        "optimizer": row.ours,
        "options": {k: list(v) if isinstance(v, tuple) else v for k, v in row.options.items()},
        "decay": row.decay,
        "package": version(row.package),
        "theirs": row.theirs,
    }


def audit(row):
    """Return what a row found, as it is written."""
    found = {}
    for scenario in SCENARIOS:
        if scenario.name in row.skip or (scenario.name == "decay" and row.decay is None):
            continue
        try:
            found[scenario.name] = float(f"{run(row, scenario):.1e}")
        except Exception as error:
            found[scenario.name] = f"{type(error).__name__}: {error}"[:120]
    axes = sorted({len(shape) for shape in row.shapes})
    return {
        **described(row),
        "axes": axes,
        "worst": found,
        "bounds": [row.bound, row.bound32],
        "note": row.note,
    }


def key(result):
    """Return what tells a row from others."""
    return result["optimizer"], json.dumps([result["options"], result["decay"]]), result["theirs"]


def is_rounding(result, name):
    """Tell whether what a scenario found is no more than rounding."""
    value = result["worst"][name]
    return isinstance(value, float) and value <= result["bounds"][name == "float32"]


def main(words):
    """Run the rows and write what they found."""
    warnings.simplefilter("ignore")
    known = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    results = {key(one): one for one in known}
    order = []
    for row in ROWS:
        order.append(key(described(row)))
        line = f"{row.ours} {dict(row.options)} = {row.theirs}"
        if not all(word.lower() in line.lower() for word in words):
            continue
        found = results[order[-1]] = audit(row)
        is_right = all(is_rounding(found, name) for name in found["worst"])
        print("ok  " if is_right else "BAD ", line, found["worst"], flush=True)
        rows = [results[one] for one in order if one in results]
        rows += [one for name, one in results.items() if name not in order]
        RESULTS.write_text(json.dumps({"n_steps": N_STEPS, "rows": rows}, indent=1) + "\n")
    rows = [results[one] for one in order if one in results]
    RESULTS.write_text(json.dumps({"n_steps": N_STEPS, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
