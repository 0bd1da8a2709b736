"""Adam's step on the user's own arrays against torch's fused and default Adam (float32, CPU).

    python bench/bench_step.py [--quick] [--json bench/results/step.json]

Each case is verified against torch before it is timed; the ratios come from alternating pairs.
"""

import argparse

import numpy as np
from _measure import copy_bandwidth, measure_pair, write_json

from fastopt import Adam

#: label -> sizes of the tensors
CASES = {
    "10k in 4": [2500] * 4,
    "100k in 4": [25_000] * 4,
    "1M in 4": [250_000] * 4,
    "10M in 4": [2_500_000] * 4,
    "64 of 10k": [10_000] * 64,
}
#: Bytes that a float32 Adam step moves per parameter: w, g, m, v read, w, m, v written.
BYTES = 28


def problem(sizes):
    """Return parameters and gradients of those sizes."""
    rng = np.random.default_rng(0)
    return [[rng.standard_normal(n).astype(np.float32) for n in sizes] for _ in range(2)]


def torch_step(sizes, fused):
    """Return torch's parameters and a call that makes one step."""
    import torch

    params, grads = problem(sizes)
    tensors = [torch.nn.Parameter(torch.from_numpy(w)) for w in params]
    for tensor, g in zip(tensors, grads, strict=True):
        tensor.grad = torch.from_numpy(g)
    return tensors, torch.optim.Adam(tensors, fused=fused).step


def run_case(sizes, quick):
    """Verify one case and time it; return its row."""
    params, grads = problem(sizes)
    stepper = Adam().bind(params)
    tensors, fused = torch_step(sizes, True)
    for _ in range(3):
        stepper.step(grads)
        fused()
    for ours, theirs in zip(params, tensors, strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=2e-6, atol=2e-6)
    n = sum(sizes)
    inner = max(1, 200_000 // n)
    repeats = 7 if quick else 31
    row = {"parameters": n, "tensors": len(sizes)}
    row["fused"] = measure_pair(lambda: stepper.step(grads), fused, repeats, inner)
    row["default"] = measure_pair(lambda: stepper.step(grads), torch_step(sizes, False)[1], repeats, inner)
    row["bytes_per_second"] = BYTES * n / row["fused"]["ours"]
    return row


def main():
    """Run every case and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, no 10M case")
    parser.add_argument("--json", help="where to write the rows")
    options = parser.parse_args()
    copy = copy_bandwidth()
    rows = {}
    print(f"copy {copy / 1e9:.1f} GB/s\n{'case':>10} {'us':>9} {'GB/s':>6} {'x fused':>8} {'x default':>9}")
    for label, sizes in CASES.items():
        if options.quick and sum(sizes) > 1_000_000:
            continue
        row = rows[label] = run_case(sizes, options.quick)
        print(
            f"{label:>10} {row['fused']['ours'] * 1e6:9.1f} {row['bytes_per_second'] / 1e9:6.1f} "
            f"{row['fused']['ratio']:8.2f} {row['default']['ratio']:9.2f}"
        )
    if options.json:
        write_json(options.json, {"copy_bytes_per_second": copy, **rows})


if __name__ == "__main__":
    main()
