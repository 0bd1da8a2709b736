#!/usr/bin/env bash
# torch 2.13.0 (CPU build): `torch.set_flush_denormal(True)` sets the mode of the calling thread. Threads that start later inherit it,
# threads of the pool that have started do not. So after any parallel operation it flushes the caller's share of the next one alone: with
# two threads, half the elements of one tensor are 0 and half are subnormal. Called before the first parallel operation it flushes all.
# It returns True in both cases. We had guessed that the pool never follows the caller, whatever the order.
#
# Seen (2026-11-28, Python 3.11, x86-64, 2 threads): share of elements that stay subnormal 0.5 when set late, 0.0 when set early.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numpy==2.4.6 torch==2.13.0
cat > "$work/share.py" <<'PY'
import sys

import numpy as np
import torch

assert torch.__version__.split("+")[0] == "2.13.0"
torch.set_num_threads(2)
x = torch.from_numpy(np.full(4_000_000, 1e-40, np.float32))  # torch.full would start the pool


def share_kept():
    halved = x * 0.5
    return (halved.view(torch.int32) != 0).float().mean().item()


if sys.argv[1] == "late":
    assert share_kept() == 1.0  # a parallel operation: the pool has started
assert torch.set_flush_denormal(True)
kept = share_kept()
print("set", sys.argv[1], "- share of elements that stay subnormal:", kept)
assert 0.4 < kept < 0.6 if sys.argv[1] == "late" else kept == 0.0
PY
"$work/venv/bin/python" "$work/share.py" late
"$work/venv/bin/python" "$work/share.py" early
