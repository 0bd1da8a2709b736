#!/usr/bin/env bash
# skops 0.16.0: `dump` calls an object's `__reduce__()`, where pickle and copy call `__reduce_ex__(protocol)`. Types that reduce only under protocol 2
# and later then fail as if they could not be pickled at all: the standard library's array.array ("cannot pickle 'array' object"), which pickle and
# joblib save, and with it each fitted estimator that holds one. We had guessed that what pickle takes either passes or is named as untrusted.
#
# Seen (2026-11-29, Python 3.11, scikit-learn 1.9.1): pickle gives the array back, skops raises TypeError.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet skops==0.16.0 scikit-learn==1.9.1 numpy==2.4.6
"$work/venv/bin/python" - <<'PY'
import array
import pickle

import skops
import skops.io
from sklearn.linear_model import LinearRegression

assert skops.__version__ == "0.16.0", skops.__version__
model = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
model.history_ = array.array("d", [0.5, 0.25])
assert pickle.loads(pickle.dumps(model)).history_ == model.history_
print("pickle: the same array")
try:
    skops.io.dumps(model)
except TypeError as error:
    print("skops: ", error)
    assert "cannot pickle 'array.array' object" in str(error) or "cannot pickle 'array' object" in str(error), error
else:
    raise SystemExit("skops saves arrays now")
PY
