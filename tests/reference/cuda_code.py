"""Compile update kernels to PTX and to machine code without a GPU, and count what matters in them.

python tests/reference/cuda_code.py      # with the extra `cuda-test`: writes the table in docs/cuda.md anew
"""

import functools
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from fastopt.kernels.cuda import api as cuda
from fastopt.kernels.cuda import elementwise
from fastopt.rules.registry import RULES

#: Every architecture from Turing to Blackwell that the library is compiled for in the tests.
CAPABILITIES = ((7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0))

#: Those in the table of docs/cuda.md.
SHOWN = ((8, 0), (9, 0), (10, 0))

#: Registers per thread for which a multiprocessor (65,536) holds at least three blocks of 256 threads.
BUDGET = 80

DOCS = Path(__file__).parents[2] / "docs" / "cuda.md"
_MARKS = "<!-- registers: written by tests/reference/cuda_code.py -->\n", "<!-- end of registers -->\n"


def tool(name):
    """Return the path of an NVIDIA tool, of the pinned wheels or else the system's, or None."""
    spec = importlib.util.find_spec("nvidia")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        for found in sorted(Path(root).glob(f"*/bin/{name}")):
            return str(found)
    return shutil.which(name)


def missing():
    """Return what is missing to compile and assemble kernels, or None."""
    if cuda.SIMULATED:
        return "the simulator is on"
    absent = ["numba_cuda"] if importlib.util.find_spec("numba_cuda") is None else []
    absent += [name for name in ("ptxas", "nvdisasm") if tool(name) is None]
    return f'no {", ".join(absent)}: pip install ".[cuda-test]"' if absent else None


def ptx(form, rule, dtype, capability, **changes):
    """Return the PTX of an update kernel; ``changes`` plants a fault (`cuda_update.names`)."""
    kernel, signature = elementwise.plain_kernel(form, rule, dtype, **changes)
    text, _ = cuda.module().compile_ptx(
        kernel, signature, device=False, cc=capability, launch_bounds=elementwise.BOUNDS
    )
    return text


@functools.cache
def kernel_ptx(form, name, dtype, capability):
    """Return the PTX of a registered rule's kernel, compiled once."""
    return ptx(form, RULES[name], np.dtype(dtype), capability)


def wide_accesses(text):
    """Return the numbers of 128-bit loads and stores in a PTX text."""
    pattern = r"{}\.global\.(?:v4\.(?:f|b|u)32|v2\.(?:f|b|u)64)"
    return tuple(len(re.findall(pattern.format(kind), text)) for kind in ("ld", "st"))


def assemble(text, capability):
    """Assemble PTX and return what ptxas and nvdisasm say of it, as a dict of numbers."""
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(text)
        command = [tool("ptxas"), "-v", f"-arch=sm_{capability[0]}{capability[1]}", source, "-o", binary]
        log = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        command = [tool("nvdisasm"), "-c", binary]
        code = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {
        "registers": int(re.search(r"Used (\d+) registers", log)[1]),
        "stack": int(re.search(r"(\d+) bytes stack frame", log)[1]),
        "spilled": sum(map(int, re.findall(r"(\d+) bytes spill", log))),
    }
    for name, pattern in (
        ("wide_loads", r"\bLDG\.E\.128"),
        ("wide_stores", r"\bSTG\.E\.128"),
        ("local", r"\b(LDL|STL)\b"),
        ("double", r"\bD(ADD|MUL|FMA|SETP)\b"),
    ):
        found[name] = len(re.findall(pattern, code))
    return found


@functools.cache
def machine_code(form, name, dtype, capability):
    """Return `assemble` of a registered rule's kernel, compiled once."""
    return assemble(kernel_ptx(form, name, dtype, capability), capability)


def built_in():
    """Return the names of the library's own rules."""
    return sorted(name for name, rule in RULES.items() if rule.function.__module__.startswith("fastopt."))


def table():
    """Return the table of registers and accesses of every rule's float32 kernel, as Markdown."""
    heads = ["rule", *(f"sm_{a}{b}" for a, b in SHOWN), "128-bit loads", "128-bit stores", "spilled", "stack"]
    rows = [heads, ["---"] * len(heads)]
    for name in built_in():
        found = [machine_code("one", name, "float32", capability) for capability in SHOWN]
        registers = [str(f["registers"]) for f in found]
        accesses = [in_short([f[key] for f in found]) for key in ("wide_loads", "wide_stores")]
        worst = [str(max(f[key] for f in found)) for key in ("spilled", "stack")]
        rows.append([f"`{name}`", *registers, *accesses, *worst])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def in_short(numbers):
    """Return the numbers as text, one for all if they are equal."""
    return ", ".join(map(str, numbers if len(set(numbers)) > 1 else numbers[:1]))


def documented():
    """Return the table that stands in docs/cuda.md."""
    return DOCS.read_text("utf-8").split(_MARKS[0])[1].split(_MARKS[1])[0].strip("\n") + "\n"


if __name__ == "__main__":
    if missing():
        sys.exit(missing())
    rows = table()
    before, rest = DOCS.read_text("utf-8").split(_MARKS[0])
    DOCS.write_text(before + _MARKS[0] + "\n" + rows + "\n" + _MARKS[1] + rest.split(_MARKS[1])[1], "utf-8")
