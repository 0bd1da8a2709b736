"""The training engine again, in plain NumPy: slow, independent, and the oracle of the compiled one.

Written from scikit-learn's definition of the network (docs of `MLPClassifier`, and the formulas quoted
beside each function), with the interface of `fastopt.engine.Trainer`. Nothing here is used by the library.
"""

import ctypes

import numpy as np
from scipy.special import expit, xlogy

from fastopt.rules import dropout as rules

ACTIVATIONS = {
    "identity": lambda z: z,
    "logistic": expit,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "exp": np.exp,
}
# Derivatives in terms of the activation's own output.
DERIVATIVES = {
    "identity": np.ones_like,
    "logistic": lambda a: a * (1 - a),
    "tanh": lambda a: 1 - a**2,
    "relu": lambda a: (a != 0).astype(a.dtype),
}


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def row_losses(loss, targets, outputs):
    """Per-row loss: summed over outputs, except squared error, which is averaged over them and halved."""
    tiny = np.finfo(outputs.dtype).eps
    p = np.clip(outputs, tiny, 1 - tiny)
    if loss == "log_loss":
        return -xlogy(targets, p).sum(axis=1)
    if loss == "binary_log_loss":
        return -(xlogy(targets, p) + xlogy(1 - targets, 1 - p)).sum(axis=1)
    if loss == "squared_error":
        return 0.5 * ((targets - outputs) ** 2).mean(axis=1)
    if loss == "poisson":
        return (xlogy(targets, targets / outputs) - targets + outputs).sum(axis=1)
    raise ValueError(loss)


def apply_update(update, params, gradient, n_decay):
    """Take one step of a FlatState by calling its kernel: weights with decay, biases without."""
    real = {4: ctypes.c_float, 8: ctypes.c_double}[params.itemsize]
    pointer, integer = ctypes.POINTER(real), ctypes.c_int64
    kernel = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, integer, pointer, integer, integer)(
        update.address
    )

    def at(array):
        return array.ctypes.data_as(pointer)

    for decay, lo, hi in ((True, 0, n_decay), (False, n_decay, params.size)):
        row = np.ascontiguousarray(update.constants(1, decay=decay)[0])
        kernel(at(params), at(gradient), at(update.state), params.size, at(row), lo, hi)
    update.advance(1)


def _masked(x, mask):
    if mask is None:
        return x
    return x.multiply(mask).tocsr() if hasattr(x, "multiply") else x * mask


def dropout_masks(dropout, layout, n_rows, dtype):
    """Return 0 or ``1 / (1 - rate)`` for each input of each layer in the next batch, and count it."""
    ((keys, thresholds),) = dropout.rows(1).transpose(0, 2, 1)
    dropout.advance(1)
    masks = []
    for key, threshold, width in zip(keys, thresholds, layout.layer_sizes[:-1], strict=True):
        at = np.arange(n_rows * width)
        with np.errstate(over="ignore"):
            second = rules.second_key(np.uint32(key))
            number = rules.number(np.uint32(key), second, (at // 32 * 16 + at % 16).astype(np.uint32))
        bits = np.where(at % 32 < 16, number % 65536, number // 65536)
        kept = bits >= threshold
        masks.append((kept / (1 - threshold / 65536)).astype(dtype).reshape(n_rows, width))
    return masks


class NaiveTrainer:
    """`fastopt.engine.Trainer` in NumPy; arithmetic in ``dtype`` throughout."""

    def __init__(self, layout, *, activation, out_activation, loss, dtype, n_threads=None):
        self.layout, self.dtype, self.loss = layout, np.dtype(dtype), loss
        self.act, self.slope = ACTIVATIONS[activation], DERIVATIVES[activation]
        self.out_act = softmax if out_activation == "softmax" else ACTIVATIONS[out_activation]

    def _forward(self, params, X, masks=None):
        """Return the inputs and the outputs of each layer; ``masks`` multiply what the layers take."""
        layers, masks = [X], masks or [None] * len(self.layout.shapes)
        parts = list(zip(self.layout.weights(params), self.layout.biases(params), strict=True))
        for i, (W, b) in enumerate(parts):
            act = self.out_act if i == len(parts) - 1 else self.act
            layers.append(act(np.asarray(_masked(layers[-1], masks[i]) @ W) + b))
        return layers

    def predict(self, params, X):
        return self._forward(params, X)[-1]

    def loss_and_gradient(self, params, X, Y, *, alpha=0.0, sample_weight=None, out=None, masks=None):
        """Batch loss ``data + alpha/2 sum(W^2) / S`` and its gradient; S sums the sample weights."""
        gradient = np.zeros_like(params) if out is None else out
        weight = np.ones(X.shape[0], self.dtype) if sample_weight is None else sample_weight
        total = weight.sum()
        layers, weights = self._forward(params, X, masks), self.layout.weights(params)
        masks = masks or [None] * len(weights)
        penalty = sum((W.astype(np.float64) ** 2).sum() for W in weights)
        loss = (
            np.average(row_losses(self.loss, Y, layers[-1]), weights=weight) + 0.5 * alpha * penalty / total
        )
        # For each pair of loss and its canonical output activation, d(row loss)/dz = output - target
        # (times 1/n_outputs for squared error, which scikit-learn leaves out).
        delta = (layers[-1] - Y) * weight[:, None]
        into_w, into_b = self.layout.weights(gradient), self.layout.biases(gradient)
        for i in reversed(range(len(weights))):
            into_w[i][...] = (_masked(layers[i], masks[i]).T @ delta + alpha * weights[i]) / total
            into_b[i][...] = delta.sum(axis=0) / total
            if i:
                delta = _masked(delta @ weights[i].T, masks[i]) * self.slope(layers[i])
        return float(loss), gradient

    def train(self, params, X, Y, update, *, batch_size, alpha, order=None, sample_weight=None, dropout=None):
        order = np.arange(X.shape[0]) if order is None else order
        total = 0.0
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            weight = None if sample_weight is None else sample_weight[rows]
            masks = None if dropout is None else dropout_masks(dropout, self.layout, len(rows), self.dtype)
            if weight is not None and weight.sum() == 0:
                update.advance(1)  # a batch without weight says nothing, so it changes nothing
                continue
            loss, gradient = self.loss_and_gradient(
                params, X[rows], Y[rows], alpha=alpha, sample_weight=weight, masks=masks
            )
            apply_update(update, params, gradient, self.layout.n_decay)
            total += loss * len(rows)
        return total
