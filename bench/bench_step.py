"""The optimizer step on the user's own arrays: against torch, against memory, and its compile time.

    python bench/bench_step.py [peers optimizers matrices rules tensors crossover compile] [--quick]
        [--json bench/results/step.json] [--plot docs/images/speed.png]

peers       Adam against torch's fused and default Adam, float32, both with all threads; alternating runs
optimizers  every optimizer of the registry, under its own name and defaults, on 10 million float32
            parameters: beside a copy of memory, and beside torch's where torch has it
matrices    the optimizers that are bound by matrix products, beside those products alone
rules       every rule at 10 million float32 parameters, beside what the machine's memory can do; and in cache
tensors     every optimizer that looks at whole tensors, on one matrix
crossover   one thread against all, to place the size from which a step runs in parallel
compile     seconds until a kernel is ready: compiled in an empty cache, and loaded from it

Every kernel is verified before it is timed, against torch or against its rule in plain Python.
"""

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
from _measure import compare, copy_bandwidth, in_place_bandwidth, measure, run_sections
from _step_sections import bench_matrices, bench_optimizers, plot

import fastopt
from fastopt.kernels import elementwise, threading_layer, work_queue
from fastopt.rules.registry import RULES
from fastopt.rules.tensorwise import TENSOR_RULES

#: label -> sizes of the tensors
CASES = {
    "10k in 4": [2500] * 4,
    "100k in 4": [25_000] * 4,
    "1M in 4": [250_000] * 4,
    "10M in 4": [2_500_000] * 4,
    "64 of 10k": [10_000] * 64,
}


def bytes_moved(rule):
    """Return the bytes that a float32 step moves per parameter: w, g and slots read, w and slots written."""
    return 4 * (3 + 2 * len(rule.slots))


def problem(sizes):
    """Return parameters and gradients of those sizes."""
    rng = np.random.default_rng(0)
    return [[rng.standard_normal(n, np.float32) for n in sizes] for _ in range(2)]


def torch_adam(sizes, fused):
    """Return torch's parameters and a call that makes one step."""
    import torch

    params, grads = problem(sizes)
    tensors = [torch.nn.Parameter(torch.from_numpy(w)) for w in params]
    for tensor, g in zip(tensors, grads, strict=True):
        tensor.grad = torch.from_numpy(g)
    return tensors, torch.optim.Adam(tensors, fused=fused).step


def peer_calls(sizes):
    """Return one step of ours, of torch's fused and of its default Adam, after checking that they agree."""
    params, grads = problem(sizes)
    stepper = fastopt.Adam().bind(params)
    calls = [lambda: stepper.step(grads)]
    for fused in (True, False):
        tensors, step = torch_adam(sizes, fused)
        calls.append(step)
        for _ in range(3):
            step()
        if fused:
            for _ in range(3):
                stepper.step(grads)
        for ours, theirs in zip(params, tensors, strict=True):
            # float32 and three steps of 1e-3: a rounding of weights of order 1 is 1e-7.
            np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=2e-6, atol=2e-6)
    return calls


def rule_call(name, n):
    """Return a call that steps a rule on ``n`` parameters, checked against the rule in plain Python."""
    rule = RULES[name]
    rng = np.random.default_rng(0)
    w, g, *slots = rng.standard_normal((2 + len(rule.slots), n), np.float32)
    state = np.abs(np.stack(slots)) + np.float32(0.5) if slots else np.zeros((0, n), np.float32)
    row = np.array([1, 0, 1, *rng.uniform(0.1, 0.9, rule.n_constants)], np.float32)
    seen = np.linspace(0, n - 1, 101).astype(int)
    before = [np.float64(a[seen]) for a in (w, g, *state)]
    arrays = w, g, state, row
    address = elementwise.update_address(rule, np.float32)
    table = np.array([[address, *(a.ctypes.data for a in arrays[:3]), n, row.ctypes.data]])
    is_large = n * bytes_moved(rule) >= work_queue.PARALLEL_BYTES
    plan = work_queue.KernelQueue.over(table, [n], threading_layer.n_available() if is_large else 1)

    def run(_keep=arrays):
        plan.run()

    run()
    expected = np.array([rule(*map(float, one), *map(float, row[3:])) for one in zip(*before, strict=True)])
    actual = np.stack([w[seen], *state[:, seen]], axis=1).reshape(expected.shape)
    # Some roundings in float32 of numbers of order 1.
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    row[3:] = 1e-3  # so that thousands of steps stay finite
    return run


def bench_peers(options):
    """Time Adam against torch; return the rows."""
    rows = {}
    print(f"{'case':>10} {'us':>9} {'GB/s':>6} {'x fused':>8} {'x default':>9}")
    for label, sizes in CASES.items():
        n = sum(sizes)
        if options.quick and n > 1_000_000:
            continue
        times = measure(peer_calls(sizes), 7 if options.quick else 31)
        row = rows[label] = {"parameters": n, "tensors": len(sizes)}
        row["fused"], row["default"] = compare(times, 0, 1), compare(times, 0, 2)
        rate = row["bytes_per_second"] = bytes_moved(RULES["adam"]) * n / row["fused"]["ours"]
        print(
            f"{label:>10} {row['fused']['ours'] * 1e6:9.1f} {rate / 1e9:6.1f} "
            f"{row['fused']['ratio']:8.2f} {row['default']['ratio']:9.2f}",
            flush=True,
        )
    return rows


def bench_rules(options):
    """Time every rule out of cache and in it; return the rows."""
    n, repeats = (1_000_000, 5) if options.quick else (10_000_000, 11)
    copy, ceiling = copy_bandwidth(), in_place_bandwidth()
    print(f"copy {copy / 1e9:.1f} GB/s, multiply in place {ceiling / 1e9:.1f} GB/s")
    print(f"{'rule':>26} {'us/1M':>7} {'GB/s':>6} {'of copy':>8} {'in place':>9} {'ns in cache':>12}")
    rows = {"copy_bytes_per_second": copy, "in_place_bytes_per_second": ceiling}
    for name, rule in RULES.items():
        seconds = np.median(measure([rule_call(name, n)], repeats)) / n
        cached = np.median(measure([rule_call(name, 20_000)], repeats)) / 20_000
        rate = bytes_moved(rule) / seconds
        rows[name] = {"seconds_per_parameter": seconds, "in_cache": cached, "bytes_per_second": rate}
        print(
            f"{name:>26} {seconds * 1e12:7.0f} {rate / 1e9:6.1f} {rate / copy:8.0%} {rate / ceiling:9.0%} "
            f"{cached * 1e9:12.3f}",
            flush=True,
        )
    return rows


def tensor_step(name, side):
    """Return a call that steps an optimizer on a matrix, with the same bits on one thread, and its bytes.

    The optimizers themselves are checked in the tests, against oracles; sweeps read their arrays and write
    some.
    """
    rng = np.random.default_rng(0)
    start, gradient = rng.standard_normal((2, side, side), np.float32)
    optimizer, ends = fastopt.get_optimizer(name), []
    for n_threads in (1, None):
        weights = start.copy()
        stepper = optimizer.bind(weights, n_threads=n_threads)

        def step(stepper=stepper):
            stepper.step(closure=lambda: (1.0, [gradient]))

        step()
        ends.append(weights.copy())
    np.testing.assert_array_equal(*ends)
    assert np.isfinite(weights).all()
    assert (weights != start).any() or name == "soap"  # which first builds its basis
    passes = stepper.bound.tensorwise[0]._tensors._passes
    whole = [{*s.operands} - {*s.rows, *s.columns} for s in passes]
    return step, 4 * sum(len(read) + len(s.writes) for read, s in zip(whole, passes, strict=True))


def bench_tensors(options):
    """Time the optimizers of the second protocol; return the rows."""
    side, repeats = (1000, 3) if options.quick else (3000, 7)
    names = [n for n in fastopt.list_optimizers() if n in TENSOR_RULES and n != "lbfgs"]
    if not options.quick:
        names = [n for n in names if n not in ("shampoo", "soap")]  # cubes of 3000: minutes
    copy, rows = copy_bandwidth(), {}
    print(f"copy {copy / 1e9:.1f} GB/s; {'optimizer':>12} {'us/1M':>7} {'B':>4} {'GB/s':>6} {'of copy':>8}")
    for name in names:
        step, n_bytes = tensor_step(name, side)
        with np.errstate(all="ignore"):  # along one gradient for ever some take ever larger steps
            seconds = np.median(measure([step], repeats)) / side**2
        rows[name] = {"seconds_per_parameter": seconds, "bytes_per_parameter": n_bytes}
        rate = n_bytes / seconds
        print(
            f"{name:>30} {seconds * 1e12:7.0f} {n_bytes:4} {rate / 1e9:6.1f} {rate / copy:8.0%}", flush=True
        )
    return rows


def bench_crossover(options):
    """Time one thread against all, by size and by rule; return the rows."""
    rows = {}
    for name in ("sgd", "momentum", "adam", "adadelta"):
        for n in (8_192, 16_384, 24_576, 32_768, 49_152, 65_536, 98_304, 131_072):
            params, grads = problem([n])
            calls = [
                functools.partial(fastopt.get_optimizer(name).bind(params, n_threads=k).step, grads)
                for k in (1, None)
            ]
            drive_all = rows[f"{name} {n}"] = compare(measure(calls), 1, 0)
            print(f"{name:>10} {n:>8} all {drive_all['ours'] * 1e6:7.1f} us, one {drive_all['ratio']:.2f}x")
    return rows


_COMPILE = """
import json, time
from fastopt.kernels import elementwise
from fastopt.rules.registry import RULES
import fastopt, numba
from numba import types
start = time.perf_counter()
numba.cfunc(types.float32(types.float32))(lambda x: x)
seconds = {"(starting Numba)": time.perf_counter() - start}
for name, rule in RULES.items():
    start = time.perf_counter()
    elementwise.update_kernel(rule, "float32")
    seconds[name] = time.perf_counter() - start
print(json.dumps(seconds))
"""


def bench_compile(options):
    """Time how long each kernel takes to be ready, in a process with an empty cache and in the next."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder}
        cold, warm = (
            json.loads(subprocess.check_output([sys.executable, "-c", _COMPILE], env=environment))
            for _ in range(2)
        )
    rows = {name: {"compiled": cold[name], "from_cache": warm[name]} for name in cold}
    for name, row in rows.items():
        print(f"{name:>26} compiled in {row['compiled']:.2f} s, from cache {row['from_cache'] * 1e3:.0f} ms")
    return rows


SECTIONS = {
    "peers": bench_peers,
    "optimizers": bench_optimizers,
    "matrices": bench_matrices,
    "rules": bench_rules,
    "tensors": bench_tensors,
    "crossover": bench_crossover,
    "compile": bench_compile,
}


def main():
    """Run the sections and print their tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer repeats, nothing beyond 1 million")
    parser.add_argument("--plot", help="where to draw the optimizers and matrices")
    options, rows = run_sections(parser, SECTIONS, ["peers"])
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
