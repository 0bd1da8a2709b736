#!/usr/bin/env bash
# Numba 0.68.1: a jitted function that sets no `fastmath` is compiled with the flags of the function that calls it first. `g + a * w` in
# a plain `@njit` function is rounded once, not twice, when a function with `fastmath={"contract"}` calls it, and from then on for plain
# callers, too; with a plain caller first it is rounded twice for both. So results depend on the order of calls. `fastmath=False`, the
# default, is not the same as saying nothing: written out, it keeps the callee as it is. We had guessed that each function has its own flags.
#
# Seen (2026-11-28, Python 3.11, x86-64 with FMA), results of 1,000 that differ from those rounded twice: contract first 79, then plain 79;
# plain first 0, then contract 0; fastmath=False 0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numpy==2.4.6 numba==0.68.1
"$work/venv/bin/python" - <<'PY'
import numba
import numpy as np
from numba import njit

assert numba.__version__ == "0.68.1"


def callee(g, w, a):
    return g + a * w


def loop_over(function, **options):
    @njit(error_model="numpy", **options)
    def loop(g, w, a):
        for i in range(g.shape[0]):
            g[i] = function(g[i], w[i], a)

    return loop


draw = np.random.RandomState(0)
g, w, a = draw.randn(1000).astype(np.float32), draw.randn(1000).astype(np.float32), np.float32(0.1)
twice_rounded = g + a * w


contract, plain = {"fastmath": {"contract"}}, {}


def differences(jitted, *callers):
    """Call one jitted function from loops with these options, in turn; count the results that differ."""
    counts = []
    for options in callers:
        out = g.copy()
        loop_over(jitted, **options)(out, w, a)
        counts.append(int((out != twice_rounded).sum()))
    return counts


contract_first = differences(njit(callee), contract, plain)
plain_first = differences(njit(callee), plain, contract)
said_false = differences(njit(fastmath=False)(callee), contract)
print("contract first:", contract_first, " plain first:", plain_first, " fastmath=False:", said_false)
assert contract_first[0] == contract_first[1] > 10  # a processor without FMA would show 0
assert plain_first == [0, 0]
assert said_false == [0]
PY
