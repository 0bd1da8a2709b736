#!/usr/bin/env bash
# XGBoost 3.2.0: a label in `eval_set` that the training labels do not have is neither refused nor left out. A classifier of 0 and 1 takes the 2 for
# a probability in the log loss, -2 log(p) + log(1 - p), which falls below 0, and early stopping goes by it. Training labels of 0 and 2
# are a ValueError. We had guessed the same check for both (LightGBM 4.7.0 has it).
#
# Seen (2026-11-28, Python 3.11): every label of the evaluation set 2: log loss below 0 from some round on, no error, no warning.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numpy==2.4.6 scikit-learn==1.9.1 xgboost==3.2.0
"$work/venv/bin/python" - <<'PY'
import warnings

import numpy as np
import xgboost

assert xgboost.__version__ == "3.2.0"
warnings.simplefilter("error")
rng = np.random.default_rng(0)
X = rng.standard_normal((200, 4))
y = (X[:, 0] > 0).astype(int)
X_valid = X[y == 1]
model = xgboost.XGBClassifier(n_estimators=20)
model.fit(X, y, eval_set=[(X_valid, np.full(len(X_valid), 2))], verbose=False)
losses = np.array(model.evals_result()["validation_0"]["logloss"])
p = model.predict_proba(X_valid)[:, 1].astype(float)
print("log loss by round:", np.round(losses, 2))
np.testing.assert_allclose(losses[-1], np.mean(-2 * np.log(p) + np.log(1 - p)), rtol=1e-4)
assert losses[-1] < 0
try:
    xgboost.XGBClassifier(n_estimators=1).fit(X, 2 * y)
except ValueError as error:
    print("training labels 0 and 2:", error)
else:
    raise AssertionError("training labels 0 and 2 were taken")
PY
