#!/usr/bin/env bash
# Numba 0.68.1: `a[:] = b` of two arrays compiles, beside the copy, the formatting of the message of the ValueError for unequal shapes: Unicode strings,
# digits of numbers and their reference counts. It has seven times the LLVM code of a loop that copies the same and takes three times as long to
# compile, the first time two seconds more, although the message is never made. We had guessed a copy and one comparison of lengths, and had looked for the time in loop transformations.
#
# Seen (2026-11-29, Python 3.11, x86-64): lines of LLVM code and seconds are printed below, first for one type, then for another.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numba==0.68.1 numpy==2.4.6
"$work/venv/bin/python" - <<'PY'
import time

import numba
from numba import float32, float64, njit

assert numba.__version__ == "0.68.1", numba.__version__


def by_loop(a, b):
    for i in range(len(a)):
        a[i] = b[i]


def by_slice(a, b):
    a[:] = b


def cost(function, kind):
    """Return lines of LLVM code, whether they are about strings, and seconds of compiling."""
    compiled = njit(function)
    start = time.process_time()
    compiled.compile((kind[::1], kind[::1]))
    seconds = time.process_time() - start
    (code,) = compiled.inspect_llvm().values()
    return code.count("\n"), "unicode" in code.lower(), seconds


for kind in (float32, float64):
    loop, copy = cost(by_loop, kind), cost(by_slice, kind)
    print(f"{kind} loop:  {loop[0]} lines, strings: {loop[1]}, {loop[2]:.2f} s")
    print(f"{kind} slice: {copy[0]} lines, strings: {copy[1]}, {copy[2]:.2f} s")
assert not loop[1] and copy[1]
assert copy[0] > 5 * loop[0] and copy[2] > 1.5 * loop[2]
PY
