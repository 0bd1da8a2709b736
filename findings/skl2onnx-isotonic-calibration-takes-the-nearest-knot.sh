#!/usr/bin/env bash
# skl2onnx 1.20.0: `CalibratedClassifierCV(method="isotonic")` converts without a warning, and the graph takes the value of the nearest knot of the
# isotonic curve (Abs, ArgMin), where scikit-learn interpolates between knots. Probabilities are then off by up to .33 on iris, and 1 of 150 labels
# changes, in float64 as well. `method="sigmoid"` is right to rounding. We had guessed that a converter that exists agrees with what it converts.
#
# Seen (2026-11-29, Python 3.11, scikit-learn 1.9.1, onnxruntime 1.32.0): largest difference 0.333, 1 other label (isotonic); 2e-16, none (sigmoid).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet skl2onnx==1.20.0 onnx==1.23.2 onnxruntime==1.32.0 scikit-learn==1.9.1 numpy==2.4.6
"$work/venv/bin/python" - <<'PY'
import numpy as np
import onnxruntime
import skl2onnx
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

assert skl2onnx.__version__ == "1.20.0", skl2onnx.__version__
X, y = load_iris(return_X_y=True)
found = {}
for method in ("isotonic", "sigmoid"):
    model = CalibratedClassifierCV(LogisticRegression(max_iter=500), cv=2, method=method).fit(X, y)
    onnx = skl2onnx.to_onnx(model, X[:1], options={"zipmap": False})
    session = onnxruntime.InferenceSession(onnx.SerializeToString(), providers=["CPUExecutionProvider"])
    labels, probabilities = session.run(None, {"X": X})
    found[method] = np.abs(probabilities - model.predict_proba(X)).max()
    n_other = np.sum(labels != model.predict(X))
    uses_nearest = "ArgMin" in {node.op_type for node in onnx.graph.node}
    print(f"{method}: largest difference {found[method]:.3g}, {n_other} other labels, ArgMin in the graph: {uses_nearest}")
    assert uses_nearest == (method == "isotonic")
assert found["isotonic"] > 0.2
assert found["sigmoid"] < 1e-6
PY
