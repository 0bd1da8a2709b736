#!/usr/bin/env bash
# MLflow 3.17.2 (pandas 2.3.3): a model logged with the signature that `infer_signature` made of a DataFrame refuses that same DataFrame at
# prediction, where a column is a category, Int64 or boolean with a missing value, or a time with a zone: the inferred type is one to which the
# column cannot be cast safely. Text, float32, dates without a zone and Int64 without missing values pass. We had guessed that what was inferred from
# a frame accepts the frame.
#
# Seen (2026-11-29, Python 3.11): category, Int64 with NA, boolean with NA and zoned time are refused; the other four are predicted.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet mlflow==3.17.2 pandas==2.3.3
cd "$work"
MLFLOW_DISABLE_TELEMETRY=true "$work/venv/bin/python" - 2>/dev/null <<'PY'
import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature

assert mlflow.__version__ == "3.17.2", mlflow.__version__


class Zeros(mlflow.pyfunc.PythonModel):
    """Predict 0 for each row."""

    def predict(self, context, model_input, params=None):
        return np.zeros(len(model_input))


days = pd.to_datetime(["2026-01-01", "2026-01-02"])
columns = {
    "category": pd.Categorical(["a", "b"]),
    "Int64 with NA": pd.array([1, None], dtype="Int64"),
    "boolean with NA": pd.array([True, None], dtype="boolean"),
    "time with a zone": days.tz_localize("UTC"),
    "text": ["a", "b"],
    "float32": np.float32([1, 2]),
    "time": days,
    "Int64": pd.array([1, 2], dtype="Int64"),
}
refused = []
for number, (name, column) in enumerate(columns.items()):
    X = pd.DataFrame({"x": column})
    signature = infer_signature(X, np.zeros(2))
    mlflow.pyfunc.save_model(f"model{number}", python_model=Zeros(), signature=signature, pip_requirements=[])
    model = mlflow.pyfunc.load_model(f"model{number}")
    try:
        model.predict(X)
        print(f"{name:17} inferred {signature.inputs.inputs[0].type}: predicted")
    except mlflow.exceptions.MlflowException as error:
        refused.append(name)
        print(f"{name:17} inferred {signature.inputs.inputs[0].type}: {str(error)[:110]}")
assert refused == ["category", "Int64 with NA", "boolean with NA", "time with a zone"], refused
PY
