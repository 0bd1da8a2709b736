"""Training one network with fastopt and with scikit-learn: same data, same arguments, same loss.

    python bench/bench_fit.py [--cases S1 S2 S3] [--data mnist.npz] [--json bench/results/fit.json]

Losses must agree within 5 % before a time is believed. S3 and S4 are MNIST: a .npz with ``X_train`` and
``y_train``. Compilation happens before the clock starts.
"""

import argparse
import warnings

import numpy as np
from _measure import measure_pair, write_json
from sklearn import neural_network
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning

import fastopt

#: case -> hidden layers, batch size, epochs
CASES = {
    "S1": ((32, 16), 32, 40),
    "S2": ((100, 100), 200, 5),
    "S3": ((100, 50), 128, 2),
    "S4": ((512, 256), 128, 1),
}


def load(case, data):
    """Return float32 data and labels of a case."""
    if case in ("S3", "S4"):
        if data is None:
            raise SystemExit(f"{case} is MNIST: give --data file.npz with X_train and y_train")
        with np.load(data) as arrays:
            X, y = arrays["X_train"][:20_000], arrays["y_train"][:20_000]
        return X.reshape(len(X), -1).astype(np.float32) / 255, y
    n, n_features = {"S1": (1000, 10), "S2": (20_000, 50)}[case]
    X, y = make_classification(n, n_features, n_informative=n_features // 2, random_state=0)
    return X.astype(np.float32), y


def run_case(case, data, repeats):
    """Verify one case and time it; return its row."""
    X, y = load(case, data)
    hidden, batch_size, epochs = CASES[case]
    made = [
        module.MLPClassifier(hidden, batch_size=batch_size, max_iter=epochs, tol=0, random_state=0)
        for module in (fastopt, neural_network)
    ]
    losses = [network.fit(X, y).loss_ for network in made]
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.05)
    return measure_pair(*((lambda network=network: network.fit(X, y)) for network in made), repeats=repeats)


def main():
    """Run the cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", default=["S1", "S2"], choices=list(CASES))
    parser.add_argument("--data", help="MNIST as .npz, for S3 and S4")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", help="where to write the rows")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = {}
    for case in options.cases:
        row = rows[case] = run_case(case, options.data, options.repeats)
        print(
            f"{case}  {row['ours']:.3f} s  scikit-learn {row['theirs']:.3f} s  {row['ratio']:.1f}x",
            flush=True,
        )
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
