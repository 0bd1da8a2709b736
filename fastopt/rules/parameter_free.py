"""Methods that estimate the distance to the solution, and so their learning rate."""

import math

import numpy as np

from fastopt.rules.tensorwise import sweep, tensor_rule


@sweep("m v s start", sums=2)
def _prodigy_moments(w, g, m, v, s, start, *, b1, b2, b3, d1, d2, ds, first, moves):
    start = w if first else start
    m = b1 * m + d1 * g if moves else m
    v = b2 * v + d2 * g * g if moves else v
    s = b3 * s + ds * g if moves else s
    return m, v, s, start, g * (start - w) if moves else 0.0, abs(s) if moves else 0.0


@sweep("w")
def _adaptive_step(w, m, v, *, keep, step, eps):
    return keep * w - step * m / (math.sqrt(v) + eps)


@tensor_rule(
    "prodigy",
    slots={"m": "exp_avg", "v": "exp_avg_sq", "s": "s", "start": "p0"},
    shared={"d": "d0", "d_max": "d0", "d_numerator": 0.0, "k": 0.0},
)
def prodigy(x, h):
    """Mishchenko & Defazio (2023), algorithm 4: the step size uses the previous estimate d, eps the new one.

    As in the authors' code a tensor whose learning rate is 0 is left alone, its moments too, and a step is
    counted by ``k`` only if some tensor's learning rate is not 0.
    """
    b1, b2 = h["betas"]
    b3 = np.sqrt(b2) if h["beta3"] is None else h["beta3"]
    d, d0 = x.shared["d"], h["d0"]
    rate = _corrected_rate(x, h)
    ds = d / d0 * (d if h["safeguard_warmup"] else rate)
    gained, size = x.sweep(
        _prodigy_moments,
        b1=b1, b2=b2, b3=b3, d1=d * (1.0 - b1), d2=d * d * (1.0 - b2), ds=ds, first=x.t == 1,
        moves=h["lr"] > 0.0,
    )  # fmt: skip
    numerator = b3[0] * x.shared["d_numerator"] + (d / d0 * rate * gained).sum()
    denominator = size.sum()
    if denominator == 0:
        return  # no gradient yet, or no learning rate
    x.shared["k"] += 1.0
    estimate = h["d_coef"][0] * numerator / denominator
    d = np.where(d == d0[0], np.fmax(d, estimate), d)  # an estimate that is NaN changes nothing
    x.shared["d_max"] = np.fmax(x.shared["d_max"], estimate)
    x.shared["d_numerator"] = numerator
    x.shared["d"] = d = np.fmin(x.shared["d_max"], d * h["growth_rate"][0])
    keep = 1.0 - h["weight_decay"] * rate if h["decoupled_weight_decay"] else 1.0
    x.sweep(_adaptive_step, keep=keep, step=rate, eps=d * h["eps"])


def _corrected_rate(x, h):
    """Return each tensor's step size: the estimate times its learning rate, bias-corrected if asked for."""
    rate, (b1, b2) = x.shared["d"] * h["lr"], h["betas"]
    if h["use_bias_correction"]:
        t = x.shared["k"] + 1.0
        rate = rate * np.sqrt(1.0 - b2**t) / (1.0 - b1**t)
    return rate


@sweep("m v s", sums=2)
def _dadapt_moments(w, g, m, v, s, *, d1, b1, b2, d2, b3, d3, eps, moves):  # reads w: coupled decay
    ahead = g * s / (math.sqrt(v) + eps) if moves else 0.0
    m = b1 * m + d1 * g if moves else m
    v = b2 * v + d2 * g * g if moves else v
    s = b3 * s + d3 * g if moves else s
    return m, v, s, ahead, abs(s) if moves else 0.0


@tensor_rule(
    "dadaptadam",
    slots={"m": "exp_avg", "v": "exp_avg_sq", "s": "s"},
    shared={"d": "d0", "numerator_weighted": 0.0, "k": 0.0},
)
def dadaptadam(x, h):
    """Defazio & Mishchenko (2023), algorithm 5, as in the authors' code; a rate of 0 as in `prodigy`."""
    b1, b2 = h["betas"]
    b3, d = np.sqrt(b2), x.shared["d"]
    rate, moves = _corrected_rate(x, h), h["lr"] > 0.0
    gained, size = x.sweep(
        _dadapt_moments,
        b1=b1, d1=(1.0 - b1) * rate, b2=b2, d2=1.0 - b2, b3=b3, d3=(1.0 - b3) * rate,
        eps=h["eps"], moves=moves,
    )  # fmt: skip
    weighted = b3[0] * x.shared["numerator_weighted"] + (1.0 - b3[0]) * (rate * gained).sum()
    if size.sum() == 0:
        return  # no gradient yet, or no learning rate
    x.shared["k"] += 1.0
    estimate = weighted / ((1.0 - b3[0]) * size.sum())
    x.shared["numerator_weighted"] = weighted
    x.shared["d"] = np.fmax(d, np.minimum(estimate, d * h["growth_rate"][0]))
    keep = 1.0 - h["weight_decay"] * rate if h["decoupled_weight_decay"] else 1.0
    x.sweep(_adaptive_step, keep=keep, step=np.where(moves, 1.0, 0.0), eps=h["eps"])


@sweep("start", sums=3)
def _distances(w, g, start, *, first):
    start = w if first else start
    gone = w - start
    return start, gone * gone, g * g, w * w


@sweep("w")
def _descend(w, g, *, lr):
    return w - lr * g


@tensor_rule("dog", slots={"start": "x0"}, shared={"max_dist": 0.0, "sum_sq_norm_grads": 0.0})
def dog(x, h):
    """Ivgi, Hinder & Carmon (2023), equation 1 with the authors' first step; one rate for all tensors."""
    gone, gradient, weight = x.sweep(_distances, first=x.t == 1).sum(axis=1)
    distance = x.shared["max_dist"]
    distance = np.where(distance == 0, h["reps_rel"][0] * (1.0 + np.sqrt(weight)), distance)
    x.shared["max_dist"] = distance = np.fmax(distance, np.sqrt(gone))
    x.shared["sum_sq_norm_grads"] += gradient
    x.sweep(_descend, lr=h["lr"] * distance / np.sqrt(x.shared["sum_sq_norm_grads"] + h["eps"]))


@tensor_rule(
    "dowg",
    slots={"start": "x0"},
    shared={"estim_sq_dist": "init_estim_sq_dist", "weighted_sq_norm_grads": 0.0},
)
def dowg(x, h):
    """Khaled, Mishchenko & Jin (2023), algorithm 1; one rate for all tensors."""
    gone, gradient, _ = x.sweep(_distances, first=x.t == 1).sum(axis=1)
    x.shared["estim_sq_dist"] = square = np.fmax(x.shared["estim_sq_dist"], gone)
    x.shared["weighted_sq_norm_grads"] += square * gradient
    x.sweep(_descend, lr=h["lr"] * square / (np.sqrt(x.shared["weighted_sq_norm_grads"]) + h["eps"]))


@sweep("start", sums=4)
def _mechanic_terms(w, g, start, *, first):
    start = w if first else start
    back = start - w
    return start, g * g, w * w, g * back, w * back


@sweep("w")
def _mechanic_step(w, start, moved, *, inverse, scale):
    return start - scale * (inverse * (start - w) + (w - moved))


#: Mechanic learns a scale for each of these discounts, and uses their sum.
DISCOUNTS = 1.0 - 0.1 ** np.arange(1, 7)
_EACH = range(len(DISCOUNTS))


@tensor_rule(
    "mechanic",
    slots={"start": "x0", "moved": "base_point"},
    shared={f"{name}_{i}": "s_init" if name == "s" else 0.0 for name in "rmvs" for i in _EACH},
)
def mechanic(x, h):
    """Cutkosky, Defazio & Mehta (2023), algorithm 1, clipped as in optax; ``moved``: the base's weights."""
    r, m, v, s = (x.array([x.shared[f"{name}_{i}"] for i in _EACH]) for name in "rmvs")
    eps, total = h["eps"][0], s.sum()
    gradient, weight, along, inward = x.sweep(_mechanic_terms, first=x.t == 1)
    decay = total * np.sqrt(gradient.sum()) / (np.sqrt(weight.sum()) + eps)
    inverse = 1.0 / (total + eps)
    gain = inverse * (along.sum() + decay * (h["weight_decay"] * inward).sum())
    r = DISCOUNTS * r + np.clip(gain, -m, m) * s
    m = np.maximum(DISCOUNTS * m, abs(gain) + eps)
    v = DISCOUNTS**2 * v + gain * gain
    s = (h["s_init"][0] / len(DISCOUNTS) * m + np.maximum(r, 0.0)) / (np.sqrt(v) + eps)
    for name, values in zip("rmvs", (r, m, v, s), strict=True):
        x.shared.update({f"{name}_{i}": values[i] for i in _EACH})
    x.sweep(_mechanic_step, inverse=inverse, scale=s.sum())
