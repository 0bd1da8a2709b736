"""Moments in 16 and 8 bits (``state_dtype``) against float32: time, memory, and the curves on MNIST.

    python bench/bench_state.py [speed curves] [--quick] [--data mnist.npz] [--json bench/results/state.json]

speed   a step of Adam, Lion and momentum with float32, bfloat16 and 8-bit moments: out of cache (30 million
        parameters) and in it, on all threads and on one; alternating runs
curves  loss by epoch on MNIST over five seeds: how far the means lie apart, beside what seeds do

The first step is checked before anything is timed: it must be that of float32, bit for bit.
"""

import argparse
import functools
import warnings

import numpy as np
from _measure import compare, copy_bandwidth, in_place_bandwidth, measure, run_sections
from fit_cases import load_mnist
from sklearn.exceptions import ConvergenceWarning

import fastopt

OPTIMIZERS = {"adam": {"lr": 1e-3}, "lion": {"lr": 1e-4}, "momentum": {"lr": 0.05}}
STATE_DTYPES = (None, "bfloat16", "int8")


def steps(name, n, n_threads):
    """Return a step on ``n`` float32 parameters for each state dtype, and their bytes per parameter."""
    rng = np.random.default_rng(0)
    start, gradient = rng.standard_normal((2, n), np.float32)
    calls, sizes, ends = [], [], []
    for state_dtype in STATE_DTYPES:
        weights = start.copy()
        stepper = fastopt.get_optimizer(name, state_dtype=state_dtype).bind(weights, n_threads=n_threads)
        stepper.step(gradient)
        ends.append(weights.copy())
        calls.append(functools.partial(stepper.step, gradient))
        sizes.append(stepper.nbytes / n)
    for end in ends[1:]:
        np.testing.assert_array_equal(end, ends[0])
    return calls, sizes


def bench_speed(options):
    """Time steps; return the rows."""
    repeats = 5 if options.quick else 21
    copy, in_place = copy_bandwidth(), in_place_bandwidth()
    print(f"copy {copy / 1e9:.1f} GB/s, multiply in place {in_place / 1e9:.1f} GB/s")
    rows = {"copy_bytes_per_second": copy, "in_place_bytes_per_second": in_place}
    for name in OPTIMIZERS:
        for n in (100_000, 1_000_000 if options.quick else 30_000_000):
            for n_threads in (None, 1):
                calls, sizes = steps(name, n, n_threads)
                times = measure(calls, repeats)
                threads = "one thread" if n_threads else "all threads"
                print(f"{name}, {n:,} parameters, {threads}")
                for k, (state_dtype, size) in enumerate(zip(STATE_DTYPES, sizes, strict=True)):
                    row = compare(times, k, 0)
                    row |= {"state_bytes_per_parameter": size, "bytes_per_parameter": 12 + 2 * size}
                    row["bytes_per_second"] = row["bytes_per_parameter"] * n / row["ours"]
                    rows[f"{name} {n} {threads} {state_dtype or 'float32'}"] = row
                    print(
                        f"{state_dtype or 'float32':>10} {row['ours'] / n * 1e9:6.3f} ns/parameter "
                        f"{row['ratio']:5.2f}x ({row['quartiles'][0]:.2f} to {row['quartiles'][1]:.2f}) "
                        f"{row['bytes_per_parameter']:6.2f} B {row['bytes_per_second'] / 1e9:6.1f} GB/s",
                        flush=True,
                    )
    return rows


def bench_curves(options):
    """Train on MNIST over five seeds; return the losses by epoch."""
    X, y, X_test, y_test = load_mnist(options.data)
    epochs, seeds, rows = (2, 2, {}) if options.quick else (8, 5, {})
    for name, settings in OPTIMIZERS.items():
        for state_dtype in STATE_DTYPES:
            losses, scores = [], []
            for seed in range(seeds):
                solver = fastopt.get_optimizer(name, state_dtype=state_dtype, **settings)
                network = fastopt.MLPClassifier(
                    (128,), solver=solver, batch_size=128, max_iter=epochs, random_state=seed
                )
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    network.fit(X, y)
                losses.append(network.loss_curve_)
                scores.append(network.score(X_test, y_test))
            label = f"{name} {state_dtype or 'float32'}"
            rows[label] = {"losses": losses, "test_accuracies": scores}
            mean, spread = np.mean(losses, axis=0), np.std(losses, axis=0, ddof=1)
            if state_dtype is None:
                full = mean
            rows[label]["apart"] = apart = list(np.abs(mean - full) / spread)
            print(
                f"{label:>18} loss {mean[0]:.4f} to {mean[-1]:.4f} (seeds {spread[-1]:.4f}), test accuracy "
                f"{np.mean(scores):.4f} (seeds {np.std(scores, ddof=1):.4f}), means apart by at most "
                f"{max(apart):.2f} of what seeds do",
                flush=True,
            )
    return rows


def main():
    """Run the sections and print their tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer repeats, seeds, epochs and parameters")
    parser.add_argument("--data", help="MNIST as a .npz file")
    run_sections(parser, {"speed": bench_speed, "curves": bench_curves}, ["speed", "curves"])


if __name__ == "__main__":
    main()
