"""The process of ``bench_builds`` that times one build: reads names of cases, answers with seconds.

Runs with the build to time first in ``sys.path``; the cases are those of this checkout.
"""

import json
import sys
import time

import numpy as np
from fit_cases import CASES, fit_ours

_BLOCK = 0.2
_N_PREDICTED = {"S7, one row": 1, "S7": 100_000}


def _call(name, data):
    """Return what a case times, as a function without arguments."""
    case = CASES["S2" if name in _N_PREDICTED else name]
    X, y = case.load(data)
    if name not in _N_PREDICTED:
        return lambda: fit_ours(case, X, y)
    network = fit_ours(case, X, y)
    rows = np.random.default_rng(0).standard_normal((_N_PREDICTED[name], X.shape[1]), np.float32)
    return lambda: network.predict_proba(rows)


def _seconds(call, inner):
    """Return the seconds and the processor's seconds of one call, averaged over ``inner``."""
    start, used = time.perf_counter(), time.process_time()
    for _ in range(inner):
        call()
    return (time.perf_counter() - start) / inner, (time.process_time() - used) / inner


def main():
    """Answer each line of standard input, a case's name, by a line of JSON."""
    data = sys.argv[1] if len(sys.argv) > 1 else None
    calls = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in calls:
            call = _call(name, data)
            call()
            calls[name] = call, max(1, round(_BLOCK / _seconds(call, 1)[0]))
        print(json.dumps(_seconds(*calls[name])), flush=True)


if __name__ == "__main__":
    main()
