#!/usr/bin/env bash
# scikit-learn 1.9.0: on Python 3.11 and later `BaseEstimator.__getstate__()` returns the estimator's own `__dict__` if its class is defined
# outside scikit-learn, and a copy (with the version added) if it is defined inside. A subclass that removes a cache or a lock from what
# `super().__getstate__()` returns, so as not to pickle it, removes it from the living object: after pickling once the attribute is gone.
# `joblib.dump`, `GridSearchCV` with processes and `copy.deepcopy` (not `clone`) all take that path. We had guessed a copy in both cases:
# the branch for older Pythons in the same method makes one.
#
# Seen (2026-11-28, Python 3.11): own class: state is __dict__ True, attribute gone after pickle.dumps; LogisticRegression: False.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numpy==2.4.6 scikit-learn==1.9.0
"$work/venv/bin/python" - <<'PY'
import pickle
import sys

import sklearn
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression

assert sklearn.__version__ == "1.9.0"
assert sys.version_info >= (3, 11)


class Own(BaseEstimator):
    def __getstate__(self):
        state = super().__getstate__()
        state.pop("cache_", None)
        return state


own = Own()
own.cache_ = {}
print("own class: state is __dict__:", BaseEstimator.__getstate__(own) is own.__dict__)
assert BaseEstimator.__getstate__(own) is own.__dict__
pickle.dumps(own)
print("attribute after pickling:", hasattr(own, "cache_"))
assert not hasattr(own, "cache_")
model = LogisticRegression()
print("scikit-learn's class: state is __dict__:", model.__getstate__() is model.__dict__)
assert model.__getstate__() is not model.__dict__
PY
