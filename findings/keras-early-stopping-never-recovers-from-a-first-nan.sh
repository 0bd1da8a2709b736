#!/usr/bin/env bash
# Keras 3.15.1 (JAX backend): `EarlyStopping` takes the first value that it sees as the best, even NaN. No later value is below NaN, so the fit stops
# after `patience` epochs although the metric falls in each of them, and `restore_best_weights=True` brings back the weights of the NaN epoch.
# The same NaN one epoch later counts as one bad epoch. We had guessed so for both.
#
# Seen (2026-11-28, Python 3.11), patience 3: NaN, 5, 4, 3, ... stops after 4 epochs with best = NaN; 6, NaN, 4, 3, ... runs to the end.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numpy==2.4.6 keras==3.15.1 jax==0.10.2
KERAS_BACKEND=jax "$work/venv/bin/python" - <<'PY'
import keras
import numpy as np

assert keras.__version__ == "3.15.1", keras.__version__


class Metric(keras.callbacks.Callback):
    """Report one value an epoch, as a metric that was undefined in some epoch does."""

    def __init__(self, values):
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        logs["metric"] = self.values[epoch]


def walk(values):
    """Return the number of epochs, the best metric, and the number of epochs whose weights were restored."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(1.0), loss=lambda y, outputs: -outputs)  # the weight grows by 1 an epoch
    stopping = keras.callbacks.EarlyStopping("metric", mode="min", patience=3, restore_best_weights=True)
    history = model.fit(np.ones((4, 1)), np.ones(4), epochs=len(values), verbose=0, callbacks=[Metric(values), stopping])
    return len(history.history["loss"]), float(stopping.best), float(model.get_weights()[0][0, 0])


nan = float("nan")
first, second = walk([nan, 5.0, 4.0, 3.0, 2.0, 1.0]), walk([6.0, nan, 4.0, 3.0, 2.0, 1.0])
print("NaN in the first epoch: ", first)
print("NaN in the second epoch:", second)
assert first[0] == 4 and np.isnan(first[1]) and first[2] == 1.0
assert second == (6, 1.0, 6.0)
PY
