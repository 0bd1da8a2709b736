"""Seconds until a network knows MNIST to 98 % of the test rows: each library with the settings that suit it.

    python bench/bench_accuracy.py [--search] [--data mnist.npz] [--json results/accuracy.json]

Only training counts, compilation before the clock; the test rows are scored between epochs with the clock
stopped. ``--search`` tries every setting of the grid with every library, with three seeds, and keeps each
library's quickest. The settings found so (``BEST``) then run with other seeds, the libraries in turn.
"""

import argparse
import itertools
import time
import warnings

import numpy as np
from _measure import write_json
from fit_cases import load_mnist
from sklearn import neural_network

import fastopt

TARGET, MOST_EPOCHS = 0.98, 20
LIBRARIES = ("fastopt", "scikit-learn", "torch")
GRID = [
    dict(zip(("hidden", "batch_size", "lr"), values, strict=True))
    for values in itertools.product(((256,), (512,), (256, 128), (512, 256)), (64, 128, 256), (1e-3, 2e-3))
]
#: What ``--search`` found on two AVX-512 cores (results/accuracy.json).
BEST = {
    "fastopt": {"hidden": (256,), "batch_size": 128, "lr": 2e-3},
    "scikit-learn": {"hidden": (256,), "batch_size": 256, "lr": 2e-3},
    "torch": {"hidden": (512,), "batch_size": 128, "lr": 2e-3},
}


def estimator_epochs(module, data, hidden, batch_size, lr, seed):
    """Yield (seconds, test accuracy) of each epoch with ``partial_fit``."""
    X, y, X_test, y_test = data
    network = module.MLPClassifier(
        hidden, batch_size=batch_size, learning_rate_init=lr, random_state=np.random.RandomState(seed)
    )
    while True:
        start = time.perf_counter()
        network.partial_fit(X, y, classes=np.arange(10))
        yield time.perf_counter() - start, network.score(X_test, y_test)


def torch_epochs(data, hidden, batch_size, lr, seed):
    """Yield (seconds, test accuracy) of each epoch of torch's plain loop with fused Adam."""
    import torch

    torch.manual_seed(seed)
    X, y, X_test, y_test = (torch.from_numpy(np.ascontiguousarray(a)) for a in data)
    y, y_test = y.long(), y_test.long()
    sizes = [X.shape[1], *hidden, 10]
    layers = [m for a, b in itertools.pairwise(sizes) for m in (torch.nn.Linear(a, b), torch.nn.ReLU())][:-1]
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    while True:
        start = time.perf_counter()
        for batch in torch.randperm(len(X)).split(batch_size):
            loss = torch.nn.functional.cross_entropy(model(X[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds = time.perf_counter() - start
        with torch.no_grad():
            yield seconds, float((model(X_test).argmax(1) == y_test).float().mean())


def seconds_to_target(library, data, seed, hidden, batch_size, lr, give_up=np.inf):
    """Return seconds and epochs until the target is reached; infinity if it is not, or not by ``give_up``."""
    settings = (data, tuple(hidden), batch_size, lr, seed)
    if library == "torch":
        epochs = torch_epochs(*settings)
    else:
        epochs = estimator_epochs(fastopt if library == "fastopt" else neural_network, *settings)
    total = 0.0
    if give_up <= 0:
        return np.inf, None
    for epoch, (seconds, accuracy) in enumerate(itertools.islice(epochs, MOST_EPOCHS), 1):
        total += seconds
        if accuracy >= TARGET:
            return total, epoch
        if total >= give_up:
            break
    return np.inf, None


def search(data):
    """Return each library's quickest setting over three seeds, and every result."""
    best, tried = {}, []
    for library in LIBRARIES:
        quickest = np.inf
        for setting in GRID:
            total = 0.0
            for seed in (101, 102, 103):
                seconds, _ = seconds_to_target(library, data, seed, **setting, give_up=quickest - total)
                total += seconds
            tried.append({"library": library, **setting, "seconds": total if np.isfinite(total) else None})
            if total < quickest:
                quickest, best[library] = total, setting
        print(f"{library:>13} {best[library]}: {quickest / 3:.2f} s on average", flush=True)
    return best, tried


def main():
    """Run and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--search", action="store_true", help="find each library's best settings first")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", help="MNIST as .npz with X_train, y_train, X_test, y_test")
    parser.add_argument("--json", help="where to write the rows")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    data = load_mnist(options.data)
    seconds_to_target("fastopt", data, 0, **BEST["fastopt"], give_up=1e-9)  # loads the kernels
    best, tried = search(data) if options.search else (BEST, [])
    runs = {library: [] for library in LIBRARIES}
    for seed in range(1, options.seeds + 1):
        for library in LIBRARIES:
            runs[library].append(seconds_to_target(library, data, seed, **best[library]))
    rows = {"settings": best, "tried": tried, "runs": runs}
    ours = np.array([seconds for seconds, _ in runs["fastopt"]])
    for library in LIBRARIES:
        seconds = np.array([s for s, _ in runs[library]])
        epochs = [e for _, e in runs[library]]
        print(
            f"{library:>13} {np.median(seconds):6.2f} s (epochs {epochs}), "
            f"{np.median(seconds / ours):.1f} times fastopt's: {best[library]}"
        )
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
