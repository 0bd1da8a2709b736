"""Fits that are killed at random moments and resumed until they are done.

``python tests/reference/killed_fits.py --kills 100`` prints how many kills there were, the most completed
epochs that one of them cost, and how many files could not be read or ended with other bits. POSIX only.
"""

import argparse
import json
import os
import re
import select
import signal
import sys
import tempfile
import time
import warnings

import numpy as np

import fastopt
from fastopt.schedules import cosine

_RS = np.random.RandomState(0)
X = _RS.standard_normal((2000, 20)).astype(np.float32)
Y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2]


def network(**params):
    """Return the network that is trained: patience, best weights, averages and a schedule to carry over."""
    return fastopt.MLPRegressor(
        hidden_layer_sizes=(32, 16), solver=fastopt.EMA(fastopt.AdamW(lr=cosine(0.01)), decay=0.9),
        early_stopping=True, n_iter_no_change=15, batch_size=32, random_state=0, n_jobs=1,
        **{"max_iter": 15} | params,
    )  # fmt: skip


def run(n_kills, seed=0):
    """Kill fits at random moments, at least ``n_kills`` times, and resume each until it is done.

    Returns
    -------
    dict
        ``kills``; ``most_lost``: completed epochs that a kill cost, at most; ``unreadable`` files; ``other``:
        fits that ended with other bits than one that was not interrupted; ``leftovers``: half files
        beside theirs; ``fits``.
    """
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():  # forks need not load the compiled code again; no thread has begun
        warnings.simplefilter("ignore")
        network(max_iter=1).fit(X, Y)
    expected, _, _ = _fit_in_child(None, None)
    found = {"kills": 0, "most_lost": 0, "unreadable": 0, "other": 0, "leftovers": 0, "fits": 0}
    with tempfile.TemporaryDirectory() as folder:
        _, duration, _ = _fit_in_child(os.path.join(folder, "fit-0"), None)
        found["fits"] = 1
        while found["kills"] < n_kills:
            result, begun = None, 0  # begun: the last epoch that a killed child was seen to have trained
            path = os.path.join(folder, f"fit-{found['fits']}")
            while result is None:
                at_once = rng.random() < 0.2  # while the file is read; else it would hardly ever be finished
                result, _, lines = _fit_in_child(path, rng.uniform(0, duration), at_once)
                found["unreadable"] += any(line.startswith("refused") for line in lines)
                resumed = [int(n) for n in re.findall(r"after iteration (\d+)", " ".join(lines))]
                epochs = [int(n) for n in re.findall(r"Iteration (\d+),", " ".join(lines))]
                if resumed or epochs:  # not killed before it had read the file
                    # The line of an epoch is printed before it counts as completed.
                    found["most_lost"] = max(found["most_lost"], begun - 1 - sum(resumed))
                    begun = max([*resumed, *epochs])
                found["kills"] += result is None
            found["fits"] += 1
            found["other"] += result != expected
        found["leftovers"] = sum(name.endswith(".tmp") for name in os.listdir(folder))
    return found


def _fit_in_child(path, seconds, at_once=True):
    """Fit in a fork of this process and kill it after a time, ``at_once`` or counted from its first line.

    Returns the model's numbers (None if it was killed), the time that it took, and the lines that it wrote.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "w", buffering=1) as sys.stdout:
            _fit_and_print(path)
        os._exit(0)
    os.close(writing)
    began, written = time.perf_counter(), b""
    deadline = began + seconds if at_once and seconds is not None else None
    while select.select([reading], [], [], deadline and max(0.0, deadline - time.perf_counter()))[0]:
        more = os.read(reading, 1 << 16)
        if not more:
            break  # it has ended
        if deadline is None and seconds is not None:
            deadline = time.perf_counter() + seconds
        written += more
    else:
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, "rb") as rest:
        lines = (written + rest.read()).decode().splitlines()
    os.waitpid(child, 0)
    results = [line for line in lines if line.startswith("result")]
    return (results or [None])[0], time.perf_counter() - began, lines


def _fit_and_print(path):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = network(checkpoint=path, verbose=True).fit(X, Y)
    except ValueError as error:
        print("refused", error)
        return
    parts = [a.tobytes().hex() for a in (*model.coefs_, *model.intercepts_)]
    print("result", json.dumps([model.loss_curve_, model.validation_scores_, parts]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.kills, arguments.seed)))
