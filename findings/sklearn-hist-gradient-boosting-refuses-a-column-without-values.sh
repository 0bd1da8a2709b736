#!/usr/bin/env bash
# scikit-learn 1.9.1: `HistGradientBoostingRegressor` takes missing values, and a column that is always the same, but not a column of which all values
# are missing: `fit` raises "window shape cannot be larger than input array shape", which is NumPy's about its own argument. One value in the column
# is enough. We had guessed that such a column is never split on, as a constant one is.
#
# Seen (2026-11-29, Python 3.11, NumPy 2.4.6): ValueError for the column without values; fits with one value or with a constant in it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet scikit-learn==1.9.1 numpy==2.4.6
"$work/venv/bin/python" - <<'PY'
import numpy as np
import sklearn
from sklearn.ensemble import HistGradientBoostingRegressor

assert sklearn.__version__ == "1.9.1", sklearn.__version__
X = np.random.default_rng(0).standard_normal((100, 2))
y = X[:, 0].copy()


def outcome(column):
    X[:, 1] = column
    try:
        return f"fits, R2 {HistGradientBoostingRegressor().fit(X, y).score(X, y):.2f}"
    except ValueError as error:
        return f"ValueError: {error}"


one_value = np.full(100, np.nan)
one_value[0] = 3.0
seen = {"no value": outcome(np.nan), "one value": outcome(one_value), "constant": outcome(3.0)}
for name, what in seen.items():
    print(f"{name:>10}: {what}")
assert "window shape cannot be larger" in seen["no value"]
assert seen["one value"].startswith("fits") and seen["constant"].startswith("fits")
PY
