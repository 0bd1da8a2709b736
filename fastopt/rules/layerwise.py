"""Methods that scale each tensor's step by norms of the tensor."""

import math

import numpy as np

from fastopt.rules.tensorwise import sweep, tensor_rule


def _trust(top, bottom):
    """Return the ratio of two norms, 1 where either is 0."""
    is_usable = (top > 0) & (bottom > 0)
    return np.where(is_usable, top / np.where(is_usable, bottom, 1.0), 1.0)


@sweep(sums=3)
def _lars_norms(w, g, *, decay):
    u = g + decay * w
    return w * w, g * g, u * u


@sweep("w b")
def _lars_step(w, g, b, *, gain, decay, mu, lr):
    b = mu * b + gain * (g + decay * w)
    return w - lr * b, b


@sweep("w b")
def _lars_nesterov_step(w, g, b, *, gain, decay, mu, lr):
    u = gain * (g + decay * w)
    b = mu * b + u
    return w - lr * (u + mu * b), b


@tensor_rule("lars", slots={"b": "momentum_buffer"})
def lars(x, h):
    """You, Gitman & Ginsburg (2017), algorithm 1."""
    decay = h["weight_decay"]
    weight, gradient, decayed = np.sqrt(x.sweep(_lars_norms, decay=decay))
    size = decayed if h["norm"] == "decayed" else np.where(gradient > 0, gradient + decay * weight, 0.0)
    # Where a norm is 0 the ratio is 1, without the trust coefficient, as in optax and timm.
    ratio = _trust(h["trust_coefficient"] * weight, size + h["eps"] * (size > 0))
    ratio = _adapted(ratio, h)
    gain, lr = (h["lr"] * ratio, 1.0) if h["lr_in_momentum"] else (ratio, h["lr"])
    step = _lars_nesterov_step if h["nesterov"] else _lars_step
    x.sweep(step, gain=gain, decay=decay, mu=h["momentum"], lr=lr)


def _adapted(ratio, h):
    """Return the trust ratios; 1 for tensors without decay, unless ``always_adapt``."""
    return ratio if h["always_adapt"] else np.where(h["weight_decay"] > 0, ratio, 1.0)


@sweep("m v", sums=2)
def _lamb_moments(w, g, m, v, *, d1, b2, d2, scale, eps, decay):
    m = m + d1 * (g - m)
    v = b2 * v + d2 * g * g
    u = scale * m / (math.sqrt(v) + eps) + decay * w
    return m, v, w * w, u * u


@sweep("w")
def _lamb_step(w, m, v, *, lr, scale, eps, decay):
    return w - lr * (scale * m / (math.sqrt(v) + eps) + decay * w)


@tensor_rule("lamb", slots={"m": "exp_avg", "v": "exp_avg_sq"})
def lamb(x, h):
    """You et al. (2020), algorithm 2, with Adam's bias corrections."""
    b1, b2 = h["betas"]
    c1, c2 = 1.0 - b1**x.t, np.sqrt(1.0 - b2**x.t)
    inside, keep = h["weight_decay"], 1.0
    if not h["decay_in_ratio"]:
        inside, keep = 0.0, 1.0 - h["lr"] * h["weight_decay"]
    shared = {"scale": c2 / c1, "eps": h["eps"] * c2, "decay": inside}
    weight, step = np.sqrt(x.sweep(_lamb_moments, d1=1.0 - b1, b2=b2, d2=1.0 - b2, **shared))
    x.sweep(_lamb_step, lr=h["lr"] * _adapted(_trust(keep * weight, step), h), **shared)


@sweep(sums=1)
def _square(g):
    return g * g


@sweep("w m")
def _novograd_step(w, g, m, *, scale, decay, b1, lr):
    m = b1 * m + (scale * g + decay * w)
    return w - lr * m, m


@tensor_rule("novograd", slots={"m": "exp_avg"}, scalars={"exp_avg_sq": 0.0})
def novograd(x, h):
    """Ginsburg et al. (2019), algorithm 1: the second moment is one number per tensor."""
    b1, b2 = h["betas"]
    (square,) = x.sweep(_square)
    v = x.scalars["exp_avg_sq"]
    v = x.scalars["exp_avg_sq"] = np.where(x.t == 1, square, b2 * v + (1.0 - b2) * square)
    # Where every gradient so far was 0 the step is 0: 0 / 0 becomes 0, not NaN.
    root = np.sqrt(v) + h["eps"]
    scale = np.where(root > 0, 1.0 / np.where(root > 0, root, 1.0), v)
    x.sweep(_novograd_step, scale=scale, decay=h["weight_decay"], b1=b1, lr=h["lr"])


@sweep(sums=2)
def _norms(w, g):
    return w * w, g * g


@sweep("w")
def _scaled_step(w, g, *, shrink, lr):
    return shrink * w - lr * g


@tensor_rule("fromage")
def fromage(x, h):
    """Bernstein et al. (2020), algorithm 1."""
    weight, gradient = np.maximum(np.sqrt(x.sweep(_norms)), h["min_norm"])
    shrink = 1.0 / np.sqrt(1.0 + h["lr"] ** 2)
    x.sweep(_scaled_step, shrink=shrink, lr=h["lr"] * shrink * _trust(weight, gradient))


@sweep(sums=1)
def _mars_norm(g, before, *, lean):
    c = g + lean * (g - before)
    return c * c


@sweep("w m v before")
def _mars_step(w, g, m, v, before, *, lean, clip, d1, b2, d2, step, eps):
    c = clip * (g + lean * (g - before))
    m = m + d1 * (c - m)
    v = b2 * v + d2 * c * c
    return w - step * m / (math.sqrt(v) + eps), m, v, g


@tensor_rule("mars", slots={"m": "exp_avg", "v": "exp_avg_sq", "before": "last_grad"})
def mars(x, h):
    """Yuan et al. (2024), algorithm 2 with AdamW inside, as in the authors' code: ``before`` starts at 0."""
    b1, b2 = h["betas"]
    c1, c2 = 1.0 - b1**x.t, np.sqrt(1.0 - b2**x.t)
    lean = h["gamma"] * b1 / (1.0 - b1)
    size = np.sqrt(x.sweep(_mars_norm, lean=lean)[0])
    x.sweep(
        _mars_step,
        lean=lean, clip=1.0 / np.maximum(size, 1.0), d1=1.0 - b1, b2=b2, d2=1.0 - b2,
        step=h["lr"] * c2 / c1, eps=h["eps"] * c2,
    )  # fmt: skip
