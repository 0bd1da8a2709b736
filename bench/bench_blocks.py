"""Training on rows that are read from disk, against the same network on an array in memory.

    python bench/bench_blocks.py [rate memory loss] [--gigabytes 4] [--folder /var/tmp] [--json FILE]

rate    rows a second of `BlockSource` on all of the file, dropped from the page cache before, and of the same
        network on a million of them in memory, in alternating processes: the median of the ratios of pairs
memory  the most memory of a process that trains for an epoch on all of the file, above that of its imports
loss    of 100,000 other rows after one epoch on 300,000, shuffled in memory and dealt from disk to 10
        buffers, with rows in random order and sorted by label, for several seeds

The network is 100-256-128-10 with batches of 256 and Adam. The rows are made of 80 clusters, 8 to a class;
files are deleted afterwards.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

N_FEATURES, N_CLASSES, N_CLUSTERS = 100, 10, 80
_CHUNK = 100_000
#: Rows of the array in memory, whose rate does not depend on their number; of an epoch of `loss`; and of its
#: buffers.
_IN_MEMORY, _FOR_LOSS, _BUFFER = 1_000_000, 300_000, 30_000
_MEGABYTE = 1 << 20


def make_rows(n, seed, labels=None):
    """Return ``n`` rows and their labels, drawn or given."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((N_CLUSTERS, N_FEATURES), np.float32)
    y = rng.integers(N_CLASSES, size=n) if labels is None else labels
    clusters = y + N_CLASSES * rng.integers(N_CLUSTERS // N_CLASSES, size=n)
    X = rng.standard_normal((n, N_FEATURES), np.float32)
    X *= 3
    X += centres[clusters]
    return X, y


def write_rows(folder, n_rows):
    """Write ``X.npy`` and ``y.npy``, of rows in random order."""
    folder.mkdir()
    y = np.random.default_rng(1).integers(N_CLASSES, size=n_rows)
    np.save(folder / "y.npy", y)
    with open(folder / "X.npy", "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, N_FEATURES)}
        np.lib.format.write_array_header_1_0(file, header)
        for first in range(0, n_rows, _CHUNK):
            X, _ = make_rows(len(y[first : first + _CHUNK]), first + 2, y[first : first + _CHUNK])
            file.write(X.data)
        file.flush()
        os.fsync(file.fileno())


def sort_rows(folder, sorted_folder):
    """Write the rows of a folder to another, sorted by label."""
    sorted_folder.mkdir()
    X, y = np.load(folder / "X.npy"), np.load(folder / "y.npy")
    order = np.argsort(y, kind="stable")
    np.save(sorted_folder / "X.npy", X[order])
    np.save(sorted_folder / "y.npy", y[order])


def drop_from_cache(folder):
    """Let the system forget what it holds of the files in memory."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def peak_bytes():
    """Return the most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def train(folder, from_disk, n_rows, max_time, seed):
    """Train for an epoch, or for some seconds; return what was measured. Run in a process of its own."""
    from fastopt import MLPClassifier
    from fastopt.data import BlockSource

    imported = peak_bytes()
    params = {"hidden_layer_sizes": (256, 128), "batch_size": 256, "max_iter": 1, "random_state": seed}
    warnings.simplefilter("ignore")
    MLPClassifier(**params).fit(*make_rows(1000, 1))  # loads the compiled code
    network = MLPClassifier(**params, max_time=max_time)
    if from_disk:
        buffer_rows = _BUFFER if n_rows == _FOR_LOSS else None
        given = [BlockSource(folder / "X.npy", folder / "y.npy", buffer_rows=buffer_rows)]
    else:
        given = [np.fromfile(folder / "X.npy", np.float32, n_rows * N_FEATURES, offset=128)]
        given = [given[0].reshape(n_rows, N_FEATURES), np.load(folder / "y.npy")[:n_rows]]
    wall, cpu = time.perf_counter(), time.process_time()
    network.fit(*given)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    X_test, y_test = make_rows(100_000, 10**9)
    p = network.predict_proba(X_test)[np.arange(len(y_test)), y_test]
    return {
        "rows": network.t_,
        "rows_per_second": network.t_ / wall,
        "rows_per_cpu_second": network.t_ / cpu,
        "megabytes_above_import": (peak_bytes() - imported) / _MEGABYTE,
        "test_loss": float(-np.log(np.maximum(p, 1e-30)).mean()),
    }


def in_process(*arguments):
    """Return what `train` measures in a process of its own."""
    command = [sys.executable, __file__, "--train", json.dumps(arguments, default=str)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def bench_rate(folder, seconds, repeats):
    """Return the rates from disk and from memory, and the medians of their ratios."""
    pairs = []
    for _ in range(repeats):
        drop_from_cache(folder)
        pairs.append([in_process(folder, disk, _IN_MEMORY, seconds, 0) for disk in (True, False)])
    found = {"pairs": pairs}
    for name in ("rows_per_second", "rows_per_cpu_second"):
        ratios = [disk[name] / memory[name] for disk, memory in pairs]
        found[f"ratio_of_{name}"] = float(np.median(ratios))
        shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        rates = [f"{np.median([pair[place][name] for pair in pairs]):,.0f}" for place in (0, 1)]
        print(f"{name}: {rates[0]} from disk, {rates[1]} in memory; ratios {shown}", flush=True)
    return found


def bench_memory(folder):
    """Return what an epoch on all rows takes."""
    drop_from_cache(folder)
    found = in_process(folder, True, None, None, 0)
    print(f"memory: {found['megabytes_above_import']:.0f} MB above the import, {found['rows']:,} rows")
    return found


def bench_loss(folder, seeds):
    """Return the losses of other rows after one epoch, by source."""
    write_rows(folder / "small", _FOR_LOSS)
    sort_rows(folder / "small", folder / "sorted")
    cases = {
        "in memory": (folder / "small", False),
        "from disk": (folder / "small", True),
        "from disk, sorted": (folder / "sorted", True),
    }
    found = {name: [] for name in cases}
    for seed in seeds:
        for name, (rows, from_disk) in cases.items():
            found[name].append(in_process(rows, from_disk, _FOR_LOSS, None, seed)["test_loss"])
    for name, losses in found.items():
        error = np.std(losses, ddof=1) / np.sqrt(len(losses))
        print(
            f"{name}: loss {np.mean(losses):.4f} +- {error:.4f}, its standard error over {len(losses)} seeds"
        )
    return found


def main():
    """Make the files, measure, delete the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sections", nargs="*", default=["rate", "memory", "loss"], help="default: all")
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--seconds", type=float, default=15.0, help="of each run of rate")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--json")
    parser.add_argument("--train", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        folder, *arguments = json.loads(options.train)
        print(json.dumps(train(Path(folder), *arguments)))
        return
    n_rows = int(options.gigabytes * 1e9 / (4 * N_FEATURES))
    rows = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if {"rate", "memory"}.intersection(options.sections):
            write_rows(folder / "all", n_rows)
        if "rate" in options.sections:
            rows["rate"] = bench_rate(folder / "all", options.seconds, options.repeats)
        if "memory" in options.sections:
            rows["memory"] = bench_memory(folder / "all")
        if "loss" in options.sections:
            rows["loss"] = bench_loss(folder, range(options.seeds))
    if options.json:
        from _measure import write_json

        write_json(options.json, {"gigabytes": options.gigabytes, **rows})


if __name__ == "__main__":
    main()
