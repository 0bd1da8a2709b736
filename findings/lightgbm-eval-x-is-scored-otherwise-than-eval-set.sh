#!/usr/bin/env bash
# LightGBM 4.7.0: "eval_set is deprecated, use eval_X and eval_y instead", but for a classifier's training data these are not the same.
# `eval_set=[(X, y)]` with the objects of the fit is scored with the fit's sample and class weights, under the name "training", and early
# stopping leaves it out; `eval_X=X, eval_y=y` is scored without weights, as "valid_0", and early stopping goes by it. So is `eval_set` with a
# copy of X. A regressor scores `eval_X=X, eval_y=y` as the training set. We had guessed another spelling of the same, and weights only where
# `eval_sample_weight` or `eval_class_weight` gives them.
#
# Seen (2026-11-28, Python 3.11), class weights 1 and 10, one tree: 0.333 (weighted) by `eval_set`, 1.135 by `eval_X` and for a copy.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numpy==2.4.6 scikit-learn==1.9.1 lightgbm==4.7.0
"$work/venv/bin/python" -W ignore - <<'PY'
import lightgbm
import numpy as np

assert lightgbm.__version__ == "4.7.0"
rng = np.random.default_rng(0)
X = rng.standard_normal((200, 4))
y = (X[:, 0] + rng.standard_normal(200) > 0).astype(int)


def score(**evaluation):
    """Return the name and the loss of the one evaluation set, and the plain and the weighted mean of the rows' losses."""
    model = lightgbm.LGBMClassifier(n_estimators=1, class_weight={0: 1.0, 1: 10.0}, verbose=-1)
    model.fit(X, y, **evaluation)
    ((name, losses),) = model.evals_result_.items()
    p = model.predict_proba(X)[:, 1]
    rows = -np.where(y == 1, np.log(p), np.log(1 - p))
    return name, losses["binary_logloss"][0], rows.mean(), np.average(rows, weights=np.where(y == 1, 10.0, 1.0))


by_set, by_x, by_copy = score(eval_set=[(X, y)]), score(eval_X=X, eval_y=y), score(eval_set=[(X.copy(), y.copy())])
for way, (name, loss, plain, weighted) in {"eval_set": by_set, "eval_X": by_x, "eval_set, copies": by_copy}.items():
    print(f"{way:<17}{name:<9} {loss:.3f}   mean {plain:.3f}, weighted mean {weighted:.3f}")
assert (by_set[0], by_x[0], by_copy[0]) == ("training", "valid_0", "valid_0")
np.testing.assert_allclose(by_set[1], by_set[3])
stopped = []
for evaluation in ({"eval_set": [(X, y)]}, {"eval_X": X, "eval_y": y}):
    never = lightgbm.early_stopping(1, verbose=False, min_delta=9.0)  # nothing improves by so much
    model = lightgbm.LGBMClassifier(n_estimators=9, verbose=-1).fit(X, y, callbacks=[never], **evaluation)
    stopped.append(model.best_iteration_)
print("best iteration of early stopping (0: switched off):", stopped)
assert stopped == [0, 1]
same = 1.0 * y
regressor = lightgbm.LGBMRegressor(n_estimators=1, verbose=-1).fit(X, same, eval_X=X, eval_y=same)
assert list(regressor.evals_result_) == ["training"]
np.testing.assert_allclose([by_x[1], by_copy[1]], [by_x[2], by_copy[2]])
PY
