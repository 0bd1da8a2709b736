"""The same fits and predictions with two builds of fastopt: what a change costs those who do not use it.

    git worktree add ../before COMMIT
    python bench/bench_builds.py ../before [--cases S1 S2 ...] [--quick]

Each build has a process of its own; they take turns, in either order. Ratios are medians over pairs, of the
time by the clock and of the processor's time, which a busy machine disturbs less: below 1 this checkout is
quicker.
"""

import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
from _measure import write_json

_HERE = Path(__file__).resolve().parent
_CASES = ["S1", "S2", "S3", "S4", "S5", "S7, one row", "S7"]


class Build:
    """A process with one checkout of fastopt, which times cases on request."""

    def __init__(self, checkout, data):
        if not (Path(checkout) / "fastopt" / "__init__.py").exists():
            raise SystemExit(f"{checkout} is no checkout of fastopt")
        self._process = subprocess.Popen(
            [sys.executable, str(_HERE / "_build_worker.py"), *([data] if data else [])],
            env=os.environ | {"PYTHONPATH": str(Path(checkout).resolve())},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, case):
        """Return the seconds of one call by the clock, and those of the processor."""
        self._process.stdin.write(case + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self):
        """End the process."""
        self._process.stdin.close()
        self._process.wait()


def bench_case(name, before, after, repeats):
    """Time a case with both builds in turn; return its row."""
    times = np.empty((repeats, 2, 2))
    for pair in times:
        order = [(0, before), (1, after)]
        random.shuffle(order)
        for column, build in order:
            pair[column] = build.seconds(name)
    ratios = times[:, 1] / times[:, 0]
    quartiles = np.percentile(ratios, (25, 50, 75), axis=0)
    low, middle, high = quartiles[:, 0]
    print(
        f"{name:<12} {np.median(times[:, 1, 0]):9.5f} s, {middle:.3f} of the other build "
        f"({low:.3f} to {high:.3f}), processor {quartiles[1, 1]:.3f}",
        flush=True,
    )
    return {"seconds": np.median(times[:, :, 0], axis=0).tolist(), "quartiles": quartiles.tolist()}


def main():
    """Run the cases and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", help="another checkout of fastopt, with its kernels cached or not")
    parser.add_argument("--cases", nargs="+", default=_CASES, choices=_CASES, metavar="case")
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--data", help="MNIST as .npz with X_train, y_train, X_test, y_test; for S3 and S4")
    parser.add_argument("--json", help="where to write the rows")
    options = parser.parse_args()
    before, after = builds = [Build(checkout, options.data) for checkout in (options.before, _HERE.parent)]
    try:
        rows = {name: bench_case(name, before, after, 5 if options.quick else 21) for name in options.cases}
    finally:
        for build in builds:
            build.close()
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
