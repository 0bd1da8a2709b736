#!/usr/bin/env bash
# onnxruntime 1.32.0 (CPU): the float32 operator Sigmoid is exactly 0 from -18 down, where the true value is 1.5e-8 and float32 reaches 1e-38; at -17 it
# is 2.2 times too large. It adds one half to an odd function, so its error is an absolute one of 6e-8. A class that is merely unlikely has
# probability 0, and its log loss is infinite. Exp and Div in the same graph are right to float32's rounding. We had guessed that a library
# for inference keeps small probabilities, as NumPy, scikit-learn and torch do.
#
# Seen (2026-11-29, Python 3.11, onnx 1.23.2): Sigmoid(-17) 8.94e-08 (true 4.14e-08), Sigmoid(-18) 0 (1.52e-08), Sigmoid(-30) 0 (9.36e-14).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$work/venv/bin/python" - <<'PY'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

assert onnxruntime.__version__ == "1.32.0", onnxruntime.__version__


def run(*nodes, x):
    """Return what a graph of float32 makes of x."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in ("x", "y")]
    one = helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], [one])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


x = np.float32([-30, -20, -18, -17, -10, 0])
true = 1 / (1 + np.exp(-x.astype(np.float64)))
sigmoid = run(helper.make_node("Sigmoid", ["x"], ["y"]), x=x)
steps = [("Neg", ["x"], ["a"]), ("Exp", ["a"], ["b"]), ("Add", ["b", "one"], ["c"]), ("Div", ["one", "c"], ["y"])]
by_exp = run(*(helper.make_node(*step) for step in steps), x=x)
for row in zip(x, sigmoid, by_exp, true, strict=True):
    print("x %4g   Sigmoid %-12.4g 1 / (1 + Exp(-x)) %-12.4g true %.4g" % row)
assert not sigmoid[:3].any()
assert sigmoid[3] / true[3] > 2
np.testing.assert_allclose(by_exp, true, rtol=1e-6)
PY
