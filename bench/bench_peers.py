"""Training with dropout, GELU and validation in every epoch: fastopt, Keras 3 on JAX, and skorch on torch.

    pip install keras jax torch skorch
    python bench/bench_peers.py [--cases S1 S2] [--quick] [--json results/peers.json]

The same network from the same weights on the same float32 data, Adam, a fifth as many validation rows as
training rows, and each library's own loop. Keras takes one batch or 32 per compiled call, skorch one thread
or (without --quick) all, whichever is quicker; both take the validation rows in one batch, and have compiled
before the clock. skorch and fastopt compute the validation accuracy beside the loss, Keras only the loss.

First all three are trained without dropout and without shuffling, which must give the same losses; then with
both from several seeds, where the mean last losses agree as far as chance allows.
"""

import argparse
import os
import time

import numpy as np
import scipy.stats
from _measure import compare, measure, write_json
from fit_cases import CASES, LEARNING_RATE, fit_ours, table
from keras_network import KerasFit
from skorch_network import SkorchFit

import fastopt

_ACTIVATION, _DROPOUT = "gelu", 0.1
#: Relative differences of the losses without dropout, in training and on validation rows: float32's rounding,
#: enlarged by all steps. fastopt reports, as scikit-learn does, the loss of probabilities, and in float32
#: those of rows that are surely wrong have few digits (a thousandth of S2's validation loss). Gradients do
#: not take this way.
_TOLERANCES = np.array([[1e-4], [2e-3]])
#: Adam as each peer computes it: Keras adds epsilon as scikit-learn does, torch where the paper does.
_AS_PEER = {
    "keras": {"solver": "adam", "epsilon": 1e-7},
    "skorch": {"solver": fastopt.Adam(lr=LEARNING_RATE)},
}


class OurFit:
    """A case's data and its fits with fastopt; see `KerasFit`."""

    def __init__(self, case, data, activation, dropout):
        self._case, self._data = case, data
        self._settings = {"activation": activation, "dropout": dropout, "alpha": 0.0}

    def network(self, **settings):
        """Return the fitted network."""
        X, y, X_val, y_val = self._data
        settings = self._settings | settings
        return fit_ours(self._case, X, y, {"X_val": X_val, "y_val": y_val}, **settings)

    def __call__(self, **settings):
        """Train; return the losses of each epoch, in training and on the validation rows."""
        network = self.network(**settings)
        return np.array([network.loss_curve_, network.validation_loss_curve_])

    def initial(self, **settings):
        """Return weights and biases of each layer in turn, before the first step."""
        network = self.network(max_iter=1, solver=fastopt.SGD(lr=0.0), **settings)
        return [array for layer in zip(network.coefs_, network.intercepts_, strict=True) for array in layer]


def load(case):
    """Return training rows and labels, and a fifth as many validation rows and labels."""
    X, y = case.load(None)
    n = len(X)
    X, y = table(n + n // 5, X.shape[1])
    return X[:n], y[:n], X[n:], y[n:]


def believe(case, data, initial):
    """Check that the libraries train the same network; return the largest relative differences of losses."""
    rows = {}
    for name, Peer in (("keras", KerasFit), ("skorch", SkorchFit)):
        theirs = Peer(case, data, initial, _ACTIVATION, 0.0)(shuffle=False)
        ours = OurFit(case, data, _ACTIVATION, 0.0)(shuffle=False, **_AS_PEER[name])
        differences = np.abs(theirs / ours - 1)
        assert (differences < _TOLERANCES).all(), (name, differences)
        rows[name] = differences.max(axis=1).tolist()
    return rows


def believe_dropout(ours, peers, n_seeds):
    """Check that mean last losses agree, from several weights, masks and orders; return them by library."""
    last = {"fastopt": [], **{name: [] for name in peers}}
    for seed in range(n_seeds):
        initial = ours.initial(random_state=seed)
        last["fastopt"].append(ours(random_state=seed)[:, -1])
        for name, fit in peers.items():
            last[name].append(fit(random_state=seed, initial=initial)[:, -1])
    for name in peers:
        differences = np.subtract(last[name], last["fastopt"])
        error = differences.std(axis=0, ddof=1) / np.sqrt(n_seeds)
        # One comparison in 50,000 is further off by chance, by Student's distribution.
        allowed = scipy.stats.t.isf(1e-5, n_seeds - 1) * error
        assert (np.abs(differences.mean(axis=0)) <= allowed).all(), (name, differences)
    return {name: np.mean(losses, axis=0).tolist() for name, losses in last.items()}


def bench_case(name, options):
    """Check a case and time it; return its row."""
    case = CASES[name]
    data = load(case)
    ours = OurFit(case, data, _ACTIVATION, _DROPOUT)
    network = case, data, ours.initial(), _ACTIVATION, _DROPOUT
    counts = [1] if options.quick else sorted({1, os.cpu_count()})
    keras = {f"{k} a call": KerasFit(*network, steps_per_execution=k) for k in (1, 32)}
    skorch = {f"{k} threads": SkorchFit(*network, n_threads=k) for k in counts}
    seconds_to_compile = _seconds_to_compile(keras["1 a call"])
    row = {
        "differences without dropout": believe(*network[:3]),
        "last losses": believe_dropout(
            ours, {"keras": keras["1 a call"], "skorch": skorch["1 threads"]}, 8 if options.quick else 16
        ),
        "seconds to compile": seconds_to_compile,
    }
    calls = [ours, *keras.values(), *skorch.values()]
    times = measure(calls, 3 if options.quick else 7)
    for library, ways, first in (("keras", keras, 1), ("skorch", skorch, 1 + len(keras))):
        best = first + int(np.argmin(np.median(times[:, first : first + len(ways)], axis=0)))
        row[library] = compare(times, 0, best) | {"way": list(ways)[best - first]}
        print(
            f"{name}  {row[library]['ours']:8.4f} s, {library:<6} {row[library]['theirs']:8.4f} s "
            f"({row[library]['way']}): {row[library]['ratio']:5.1f}x   {case.what}",
            flush=True,
        )
    return row


def _seconds_to_compile(fit):
    times = []
    for _ in range(2):
        start = time.perf_counter()
        fit(max_iter=1)
        times.append(time.perf_counter() - start)
    return times[0] - times[1]


def main():
    """Run the cases and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", default=["S1", "S2"], choices=["S1", "S2"])
    parser.add_argument("--quick", action="store_true", help="fewer seeds, repeats and threads")
    parser.add_argument("--json", help="where to write the rows")
    options = parser.parse_args()
    rows = {name: bench_case(name, options) for name in options.cases}
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
