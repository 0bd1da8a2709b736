#!/usr/bin/env bash
# distributed 2026.8.0: futures know their client, but `wait(futures)` and `as_completed(futures)` ask for the default client, whatever futures they are
# given. With a client that was made with `set_as_default=False` both raise "No clients found", while `future.result()` needs none. `as_completed` takes
# `loop=client.loop` instead; `wait` has no such argument and needs a block of `client.as_current()`. We had guessed that all of these go by the futures.
#
# Seen (2026-11-29, Python 3.11): ValueError from both without more; all results with `loop=`, and in the block.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet distributed==2026.8.0 dask==2026.8.0
cd "$work"
"$work/venv/bin/python" - <<'PY'
import distributed
from distributed import Client, LocalCluster, as_completed, wait

assert distributed.__version__ == "2026.8.0", distributed.__version__
options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
with LocalCluster(**options) as cluster, Client(cluster, set_as_default=False) as client:
    futures = client.map(abs, [-1, -2, -3])
    print("result:", futures[0].result(timeout=30))
    raised = []
    for function in (wait, as_completed):
        try:
            function(futures)
        except ValueError as error:
            raised.append(str(error))
            print(f"{function.__name__}: ValueError:", raised[-1].splitlines()[0])
    found = sorted(future.result() for future in as_completed(futures, loop=client.loop))
    with client.as_current():
        n_done = len(wait(futures, timeout=30).done)
    print("as_completed with a loop:", found, "wait in a block:", n_done)
assert len(raised) == 2 and all(text.startswith("No clients found") for text in raised)
assert found == [1, 2, 3] and n_done == 3
PY
