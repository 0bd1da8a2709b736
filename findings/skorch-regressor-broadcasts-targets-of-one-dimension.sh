#!/usr/bin/env bash
# skorch 1.4.0: `NeuralNetRegressor.fit(X, y)` takes y of shape (n,), as every scikit-learn estimator does, and hands it to torch's MSELoss beside
# outputs of shape (n, 1). These broadcast to (n, n), so the network learns the mean of y; torch warns, nothing is raised, and `score` is 0.
# With y[:, None] the same network on the same data is exact. We had guessed an error that asks for two dimensions.
#
# Seen (2026-11-28, Python 3.11): R2 -0.001 with y of shape (200,), 1.000 with (200, 1).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numpy==2.4.6 scikit-learn==1.9.1 torch==2.13.0 skorch==1.4.0
"$work/venv/bin/python" - <<'PY'
import warnings

import numpy as np
import skorch
import torch

assert skorch.__version__ == "1.4.0", skorch.__version__
X = np.random.default_rng(0).standard_normal((200, 3)).astype(np.float32)
y = X @ np.array([1, 2, 3], np.float32)


def score(y):
    torch.manual_seed(0)
    net = skorch.NeuralNetRegressor(
        torch.nn.Linear, module__in_features=3, module__out_features=1, lr=0.1, max_epochs=50, verbose=0
    )
    return net.fit(X, y).score(X, y)


with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    flat = score(y)
column = score(y[:, None])
print(f"y of shape (200,): R2 {flat:.3f}, {len(caught)} warnings; of shape (200, 1): R2 {column:.3f}")
assert abs(flat) < 0.02
assert column > 0.999
PY
