#!/usr/bin/env bash
# torch 2.13.0: `ReduceLROnPlateau` with its default relative threshold asks whether a < best * (1 - threshold). For a negative best that
# bound lies above best, so a loss that stays at -0.5 (a log-likelihood, a negative score) is an improvement in every epoch, and the rate is
# never lowered; the same curve shifted up by 1 is lowered as expected. mode="max" with a constant negative score is the mirror image.
# A loss that rises from -0.5 by less than a ten-thousandth an epoch counts as improving, too. We had guessed a margin of threshold * abs(best).
# Keras 3.15.1 subtracts an absolute min_delta and is not affected.
#
# Seen (2026-11-28, Python 3.11), 40 epochs, patience 2: rate 1.0 for -0.5 (min and max), 1e-08 for +0.5, 1.0 for the slowly rising loss.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numpy==2.4.6 torch==2.13.0
"$work/venv/bin/python" - <<'PY'
import torch

assert torch.__version__.split("+")[0] == "2.13.0", torch.__version__


def last_rate(metrics, mode):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode=mode, factor=0.1, patience=2)
    for metric in metrics:
        plateau.step(metric)
    return optimizer.param_groups[0]["lr"]


rising = [-0.5 * (1 - 5e-5) ** epoch for epoch in range(40)]  # the loss gets worse in every epoch
rates = {
    "min, -0.5": last_rate([-0.5] * 40, "min"),
    "max, -0.5": last_rate([-0.5] * 40, "max"),
    "min, +0.5": last_rate([0.5] * 40, "min"),
    "max, +0.5": last_rate([0.5] * 40, "max"),
    "min, rising from -0.5": last_rate(rising, "min"),
}
print(rates)
assert rates["min, -0.5"] == rates["max, -0.5"] == 1.0
assert rates["min, +0.5"] < 1e-6
assert rates["max, +0.5"] < 1e-6
assert rates["min, rising from -0.5"] == 1.0
PY
