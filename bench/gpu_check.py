"""Everything that only a machine with a GPU can tell, in one command.

    python bench/gpu_check.py [section ...] [--json bench/results/gpu.json] [--simulate]

environment   the GPU, the driver and the versions
correctness   every rule against its float64 form on the CPU, twice for the same bits
roofline      bytes per second of Adam over those of a device copy, by grid
torch         a step on one large tensor against torch's fused and foreach Adam
many          200 tensors of 10,000 in one launch, against one flat tensor and torch
launches      what a step costs the host, and what a replayed CUDA graph of it costs
training      MLPClassifier(device='cuda') against torch, eager and as a CUDA graph
products      the engine's matrix product against cuBLAS

Each section runs in a process of its own, so that a failure or a hang of one leaves the others; the JSON file
is written anew after each. What ``TARGETS`` names is judged at the end. Without a GPU: one line, exit code 2.
``--simulate`` runs what Numba's simulator can, at tiny sizes: its times mean nothing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: Seconds after which a section is given up.
PATIENCE = 900

#: Section -> (figure, smallest value that passes, what it says).
TARGETS = {
    "correctness": [("share_correct", 1.0, "rules that are right and give the same bits twice")],
    "roofline": [("of_copy", 0.9, "Adam's share of the bandwidth of a device copy")],
    "torch": [("fused_over_ours", 1.0, "torch's fused Adam over ours, one tensor")],
    "many": [("fused_over_ours", 1.0, "torch's fused Adam over ours, 200 tensors")],
    "training": [("graph_over_ours", 2.0, "torch's graph step over ours, (100,) network")],
}


def parse():
    """Return the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sections", nargs="*", metavar="section", help=f"of {', '.join(SECTIONS)}; all of them"
    )
    parser.add_argument(
        "--json", type=Path, default=Path("bench/results/gpu.json"), help="where the figures go"
    )
    parser.add_argument("--simulate", action="store_true", help="in Numba's simulator, at tiny sizes")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in options.sections:
        if name not in SECTIONS:
            parser.error(f"{name!r} is not one of {', '.join(SECTIONS)}")
    return options


def main():
    """Run the sections, print a table, return the exit code: 0, 1 if a target is missed, 2 without a GPU."""
    options = parse()
    if options.simulate:
        os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
    if options.one:
        import _gpu_sections

        figures = getattr(_gpu_sections, options.sections[0])(_gpu_sections.Machine())
        options.json.write_text(json.dumps(figures))
        return 0
    from fastopt.kernels.cuda import api as cuda

    reason = cuda.problem()
    if reason:
        print(f"gpu_check needs a GPU: {reason}")
        return 2
    found = {}
    for name in options.sections or SECTIONS:
        found[name] = run(name, options.simulate)
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"simulated": options.simulate, **found}, indent=2) + "\n")
        print(f"{name}: {found[name].get('failed', 'done')} ({found[name]['seconds']:.0f} s)", flush=True)
    return report(found, options.simulate)


def run(name, simulate):
    """Run one section in its own process; return its figures, or why there are none under 'failed'."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "figures.json")
        command = [sys.executable, __file__, name, "--one", "--json", path]
        try:
            done = subprocess.run(
                command + ["--simulate"] * simulate,
                timeout=PATIENCE,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode == 0:
                figures = json.loads(path.read_text("utf-8"))
            else:
                lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
                figures = {"failed": lines[-1], "log": done.stderr[-8000:]}
        except subprocess.TimeoutExpired:
            figures = {"failed": f"gave up after {PATIENCE} s"}
    return figures | {"seconds": time.perf_counter() - start}


def report(found, simulated):
    """Print all figures and the verdicts; return 1 if a target is missed or a section failed."""
    print()
    for name, figures in found.items():
        print(name)
        for key, value in flat(figures):
            if key not in ("log", "seconds"):
                print(f"  {key:<44} {value:.4g}" if isinstance(value, float) else f"  {key:<44} {value}")
    print(f"\n{'target':<56} {'wanted':>8} {'found':>8}")
    is_good = not any("failed" in figures for figures in found.values())
    for name, targets in TARGETS.items():
        for key, wanted, what in targets if name in found else ():
            value = found[name].get(key)
            passes = value is not None and value >= wanted
            is_judged = name == "correctness" or not simulated  # times in the simulator mean nothing
            is_good &= passes or not is_judged
            shown = "none" if value is None else f"{value:.2f}"
            verdict = ("pass" if passes else "FAIL") if is_judged else "not judged"
            print(f"{what:<56} {wanted:>8.2f} {shown:>8}  {verdict}")
    return 0 if is_good else 1


def flat(figures, prefix=""):
    """Yield the figures of nested dicts with their path."""
    for key, value in figures.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key} ")
        else:
            yield prefix + key, value


SECTIONS = ("environment", "correctness", "roofline", "torch", "many", "launches", "training", "products")

if __name__ == "__main__":
    sys.exit(main())
