#!/usr/bin/env bash
# torch 2.13.0, CPU: a `fused=True` step of SGD, Adagrad, Adam or AdamW pairs parameter and gradient in the order of their memory,
# not of their indices. Where both are dense but lie in different orders (a transposed weight whose `.grad` was assigned C-ordered),
# the plain and the foreach step are right and the fused one is wrong, without an error or a warning.
# Autograd makes gradients in the parameter's own order, so it takes a gradient that was assigned by hand (from NumPy, from another process).
# We had guessed that the fused step checks strides or copies.
#
# Seen (2026-11-28, Python 3.11, x86-64): differences 1.74 (SGD), 0.34 (Adagrad), 0.40 (Adam), 0.40 (AdamW); 0 where the orders agree.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numpy==2.4.6 torch==2.13.0
"$work/venv/bin/python" - <<'PY'
import torch

assert torch.__version__.split("+")[0] == "2.13.0", torch.__version__
WEIGHTS = torch.arange(12.0).reshape(3, 4).t()  # shape (4, 3), strides (1, 4)
GRADIENT = torch.arange(12.0).reshape(4, 3) - 5  # shape (4, 3), strides (3, 1)


def after_two_steps(make, gradient, **path):
    parameter = torch.nn.Parameter(WEIGHTS.clone(memory_format=torch.preserve_format))
    assert parameter.stride() == (1, 4)
    parameter.grad = gradient
    optimizer = make([parameter], **path)
    for _ in range(2):
        optimizer.step()
    return parameter.detach()


same_order = GRADIENT.t().contiguous().t()  # the same numbers, in the parameter's order
for name, make in {
    "SGD": lambda p, **k: torch.optim.SGD(p, lr=0.1, momentum=0.9, **k),
    "Adagrad": lambda p, **k: torch.optim.Adagrad(p, lr=0.1, **k),
    "Adam": lambda p, **k: torch.optim.Adam(p, lr=0.1, **k),
    "AdamW": lambda p, **k: torch.optim.AdamW(p, lr=0.1, **k),
}.items():
    plain = after_two_steps(make, GRADIENT, foreach=False)
    apart = {
        "foreach, other order": after_two_steps(make, GRADIENT, foreach=True),
        "fused, same order": after_two_steps(make, same_order, fused=True),
        "fused, other order": after_two_steps(make, GRADIENT, fused=True),
    }
    apart = {key: float((value - plain).abs().max()) for key, value in apart.items()}
    print(f"{name:8}", {key: round(value, 6) for key, value in apart.items()})
    assert apart["foreach, other order"] < 1e-5
    assert apart["fused, same order"] < 1e-5
    assert apart["fused, other order"] > 0.1
PY
