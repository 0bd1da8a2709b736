#!/usr/bin/env bash
# torch 2.13.0: `cross_entropy(weight=w, label_smoothing=e)` weighs the smoothing part of a row by the weights of *all* classes, and divides by the
# weights of the targets alone. So a heavy class pulls on every row, and weights of the classes are not weights of their rows:
# multiplying each row's smoothed loss by the weight of its class, as class_weight of scikit-learn's estimators does, gives another number.
# Without smoothing the two agree. We had guessed so with smoothing, too.
#
# Seen (2026-11-28, Python 3.11): three classes, weights 1, 5, 2, smoothing 0.3: 0.897 by torch, 0.977 by rows; without smoothing 0.861 by both.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numpy==2.4.6 torch==2.13.0
"$work/venv/bin/python" - <<'PY'
import torch
from torch.nn.functional import cross_entropy

assert torch.__version__.split("+")[0] == "2.13.0", torch.__version__
outputs = torch.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]])
targets = torch.tensor([0, 1])
weights = torch.tensor([1.0, 5.0, 2.0])


def by_torch(smoothing):
    return float(cross_entropy(outputs, targets, weight=weights, label_smoothing=smoothing))


def by_rows(smoothing):
    rows = cross_entropy(outputs, targets, label_smoothing=smoothing, reduction="none")
    of_targets = weights[targets]
    return float((of_targets * rows).sum() / of_targets.sum())


def by_classes(smoothing):
    """Weigh the loss of each class, also in the smoothing part."""
    logs = outputs.log_softmax(1)
    hard = -(weights[targets] * logs[[0, 1], targets]).sum()
    smooth = -(weights * logs).sum() / 3
    return float(((1 - smoothing) * hard + smoothing * smooth) / weights[targets].sum())


for smoothing in (0.0, 0.3):
    print(f"smoothing {smoothing}: torch {by_torch(smoothing):.3f}, by rows {by_rows(smoothing):.3f}")
assert abs(by_torch(0.0) - by_rows(0.0)) < 1e-6
assert abs(by_torch(0.3) - by_rows(0.3)) > 0.05
assert abs(by_torch(0.3) - by_classes(0.3)) < 1e-6
PY
