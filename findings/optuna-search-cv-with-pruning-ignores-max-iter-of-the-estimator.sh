#!/usr/bin/env bash
# optuna-integration 5.0.0: `OptunaSearchCV(enable_pruning=True)` calls `partial_fit` as often as its own `max_iter` says (1,000 by default) for each
# trial, whatever `max_iter` the estimator has, and then refits the best candidate with `fit`, which keeps to the estimator's. So the scores by which it
# chooses are those of networks trained 100 times as long as the one that it returns. We had guessed that a trial trains as long as the refit.
#
# Seen (2026-11-29, Python 3.11, scikit-learn 1.9.1): MLPClassifier(max_iter=10): 1,000 intermediate values a trial, `best_estimator_.n_iter_` 10.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet optuna==5.0.0 optuna-integration==5.0.0 scikit-learn==1.9.1 pandas==2.3.3
"$work/venv/bin/python" -W ignore - <<'PY'
import optuna
import optuna_integration
from optuna.distributions import FloatDistribution
from optuna_integration import OptunaSearchCV
from sklearn.datasets import load_iris
from sklearn.neural_network import MLPClassifier

assert optuna_integration.__version__ == "5.0.0", optuna_integration.__version__
optuna.logging.set_verbosity(optuna.logging.ERROR)
X, y = load_iris(return_X_y=True)
rates = {"learning_rate_init": FloatDistribution(1e-3, 1e-1, log=True)}
network = MLPClassifier((4,), max_iter=10, random_state=0)
search = OptunaSearchCV(network, rates, cv=2, enable_pruning=True, n_trials=2, random_state=0).fit(X, y)
calls = [len(trial.intermediate_values) for trial in search.trials_ if trial.state.name == "COMPLETE"]
print("epochs of the trials:", calls)
print("epochs of the estimator that is returned:", search.best_estimator_.n_iter_)
assert calls and set(calls) == {1000}, calls
assert search.best_estimator_.n_iter_ == 10
PY
