"""Wrappers written out in NumPy, from the papers and the authors' code: functions around ``step(grads)``.

Each takes the next step, the arrays that it updates and its settings, and returns a step; ``grads`` are
float64 arrays or None. So they nest as the wrappers do.
"""

import numpy as np

from fastopt.rules.randomness import gaussian, keys


def _map(function, grads, *others):
    return [
        None if g is None else np.asarray(function(g, *rest)) for g, *rest in zip(grads, *others, strict=True)
    ]


def clip(step, params, norm=None, value=None, tensor_norm=None):
    """As torch's ``clip_grad_value_``, ``clip_grad_norm_`` array by array, and of all."""

    def shorten(g, bound):
        return g * min(1.0, bound / (np.sqrt((g * g).sum()) + 1e-6))

    def clipped(grads):
        if value is not None:
            grads = _map(lambda g: np.clip(g, -value, value), grads)
        if tensor_norm is not None:
            grads = _map(lambda g: shorten(g, tensor_norm), grads)
        if norm is not None:
            length = np.sqrt(sum((g * g).sum() for g in grads if g is not None))
            grads = _map(lambda g: g * min(1.0, norm / (length + 1e-6)), grads)
        step(grads)

    return clipped


def adaptive_clip(step, params, clipping=0.01, eps=1e-3, layout="io"):
    """Brock et al. (2021), with the units of the authors' ``unitwise_norm``."""

    def unit_norms(x):
        if np.squeeze(x).ndim <= 1:
            return np.sqrt((x * x).sum())
        axes = tuple(range(x.ndim - 1)) if layout == "io" else tuple(range(1, x.ndim))
        return np.sqrt((x * x).sum(axis=axes, keepdims=True))

    def shorten(g, w):
        bound, length = clipping * np.maximum(unit_norms(w), eps), unit_norms(g)
        return np.where(length < bound, g, g * (bound / np.maximum(length, 1e-6)))

    return lambda grads: step(_map(shorten, grads, params))


def centralize(step, params, layout="io"):
    """Yong et al. (2020), equation 1."""

    def centred(g):
        if g.ndim < 2 or not g.size:
            return g
        axes = tuple(range(g.ndim - 1)) if layout == "io" else tuple(range(1, g.ndim))
        return g - g.mean(axis=axes, keepdims=True)

    return lambda grads: step(_map(centred, grads))


def noise(step, params, eta=0.01, gamma=0.55, seed=0):
    """Neelakantan et al. (2015), equation 1, with draws by seed, step, parameter and place."""
    t = 0

    def noisy(grads):
        nonlocal t
        deviation = (eta / (1 + t) ** gamma) ** 0.5
        draws = []
        for index, w in enumerate(params):
            with np.errstate(over="ignore"):
                key = keys(seed, t, index)
                flat = [gaussian(key, np.uint32(i)) for i in range(w.size)]
            draws.append(np.reshape(flat, w.shape, order="C" if w.flags.c_contiguous else "F"))
        t += 1
        step(_map(lambda g, e: g + deviation * e, grads, draws))

    return noisy


def skip_non_finite(step, params):
    """As ``optax.apply_if_finite`` without a limit."""
    return lambda grads: step(grads) if all(g is None or np.isfinite(g).all() for g in grads) else None


def multi_steps(step, params, n=2):
    """As ``optax.MultiSteps``: the mean of n gradients."""
    kept = []

    def accumulated(grads):
        kept.append(grads)
        if len(kept) == n:
            step([None if same[0] is None else np.asarray(sum(same) / n) for same in zip(*kept, strict=True)])
            kept.clear()

    return accumulated


def lookahead(step, params, k=5, alpha=0.5):
    """Zhang et al. (2019), algorithm 1."""
    slow, t = [p.copy() for p in params], 0

    def looking(grads):
        nonlocal t
        step(grads)
        t += 1
        for p, s in zip(params, slow, strict=True):
            if t % k == 0:
                s[...] = s + alpha * (p - s)
                p[...] = s

    return looking


def max_norm(step, params, radius, layout="io"):
    """Srivastava et al. (2014), section 5.1: the projection of each unit's weights onto a ball."""

    def bounded(grads):
        step(grads)
        for p in params:
            if p.ndim > 1 and p.size:
                axes = tuple(range(p.ndim - 1)) if layout == "io" else tuple(range(1, p.ndim))
                norms = np.sqrt((p * p).sum(axis=axes, keepdims=True))
                p[...] = np.where(norms > radius, p * (radius / norms), p)

    return bounded


def cautious(step, params, scale=True, keep=1.0, l2=0.0, sign=1.0):
    """Liang et al. (2024), the authors' C-AdamW: ``mask / max(mean(mask), 1e-3)`` on all but decay."""

    def masked(grads):
        before = [p.copy() for p in params]
        step(grads)
        for p, old, g in zip(params, before, grads, strict=True):
            if g is None or not p.size:
                continue
            u = keep * old - p
            mask = (u * (sign * g + l2 * old) > 0).astype(p.dtype)
            if scale:
                mask = mask / max(mask.mean(), 1e-3)
            p[...] = keep * old - u * mask

    return masked


def ema(step, params, averages, decay=0.999):
    """``AveragedModel`` with ``get_ema_multi_avg_fn``; the average goes to ``averages``, a list."""

    def averaging(grads):
        step(grads)
        if averages:
            averages[:] = [decay * a + (1 - decay) * p for a, p in zip(averages, params, strict=True)]
        else:
            averages[:] = [p.copy() for p in params]

    return averaging


def swa(step, params, averages):
    """Izmailov et al. (2018): the mean of the weights after each step."""
    seen = []

    def averaging(grads):
        step(grads)
        seen.append([p.copy() for p in params])
        averages[:] = [np.mean(same, axis=0) for same in zip(*seen, strict=True)]

    return averaging


def sam(closure, params, rho, eta=None, biases=False):
    """Foret et al. (2021) and Kwon et al. (2021): gradients at the worst point nearby; ``params`` stay."""

    def size(w):
        return np.abs(w) + eta if eta is not None and (biases or w.ndim >= 2) else np.ones_like(w)

    def uphill():
        _, grads = closure()
        scaled = _map(lambda g, w: size(w) * g, grads, params)
        length = np.sqrt(sum((s * s).sum() for s in scaled if s is not None))
        kept = [w.copy() for w in params]
        for w, s in zip(params, scaled, strict=True):
            if s is not None:
                w += rho * size(w) * s / (length + (1e-12 if eta is None else 1e-16))
        there = closure()
        for w, k in zip(params, kept, strict=True):
            w[...] = k
        return there

    return uphill
