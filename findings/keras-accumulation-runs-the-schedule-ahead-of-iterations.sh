#!/usr/bin/env bash
# Keras 3.15.1 (JAX backend): with `gradient_accumulation_steps=n` an optimizer's `iterations` counts the updates, but its learning-rate schedule
# is asked with the number of micro-batches. A schedule written in the iterations that `optimizer.iterations` (and a training log) shows
# runs n times too fast: a boundary at 2 is passed within the second update. We had guessed one counter for both.
#
# Seen (2026-11-28, Python 3.11), n = 2, rates 1.0 up to step 2, then 0.25: the second update is made at 0.25 while `iterations` is 1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numpy==2.4.6 keras==3.15.1 jax==0.10.2
KERAS_BACKEND=jax "$work/venv/bin/python" - <<'PY'
import keras
import numpy as np

assert keras.__version__ == "3.15.1", keras.__version__


def walk(n):
    """Return (iterations, rate, weight) after each gradient of 1, from a weight of 0."""
    weight = keras.Variable(np.zeros(1, "float32"))
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([2], [1.0, 0.25])
    optimizer = keras.optimizers.SGD(rate, gradient_accumulation_steps=n)
    optimizer.build([weight])
    steps = []
    for _ in range(4 * (n or 1)):
        optimizer.apply([np.ones(1, "float32")], [weight])
        steps.append((int(optimizer.iterations), float(optimizer.learning_rate), float(np.asarray(weight)[0])))
    return steps


alone, accumulated = walk(None), walk(2)
print("alone:      ", alone)
print("accumulated:", accumulated)
# Alone three updates are made at 1.0 (steps 0, 1, 2), the fourth at 0.25.
assert [weight for _, _, weight in alone] == [-1.0, -2.0, -3.0, -3.25]
# Of the accumulated updates (every second gradient) only the first is.
assert [weight for _, _, weight in accumulated[1::2]] == [-1.0, -1.25, -1.5, -1.75]
assert accumulated[2][:2] == (1, 0.25)
PY
