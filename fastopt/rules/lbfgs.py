"""The limited-memory BFGS method: its direction, and a line search, on one vector for all tensors."""

from typing import NamedTuple

import numpy as np

from fastopt.rules.tensorwise import tensor_rule


class Trial(NamedTuple):
    """A point on the search line: its step, the loss, the slope along the line, and the gradient."""

    t: float
    f: float
    slope: float
    g: np.ndarray


def direction(g, pairs, scale):
    """Return the quasi-Newton direction by Nocedal's two loops.

    Parameters
    ----------
    g : ndarray
        The gradient.
    pairs : list of (ndarray, ndarray, float)
        Changes of the gradient, changes of the weights and the inverses of their products, oldest first.
    scale : float
        The first inverse Hessian is this times the identity.

    Returns
    -------
    ndarray
    """
    q = -g
    weights = []
    for y, s, rho in reversed(pairs):
        weights.append(float(s @ q) * rho)
        q -= g.dtype.type(weights[-1]) * y
    q *= g.dtype.type(scale)
    for (y, s, rho), weight in zip(pairs, reversed(weights), strict=True):
        q += g.dtype.type(weight - float(y @ q) * rho) * s
    return q


def _cubic(a, b, least, most):
    """Return the minimum of the cubic through two trials, within bounds."""
    if b.t < a.t:
        a, b = b, a
    d1 = a.slope + b.slope - 3.0 * (a.f - b.f) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (least + most) / 2.0
    d2 = square**0.5
    t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2.0 * d2))
    return min(max(t, least), most)


def strong_wolfe(evaluate, start, t, length, tolerance, most):
    """Return a trial that satisfies the strong Wolfe conditions, or the best that was found.

    Nocedal & Wright (2006), algorithms 3.5 and 3.6, with the bounds of minFunc's interpolation, as torch has
    them.

    Parameters
    ----------
    evaluate : callable
        ``evaluate(t)`` returns the `Trial` of a step.
    start : Trial
        At step 0; its slope is negative.
    t : float
        First step.
    length : float
        Largest component of the direction.
    tolerance : float
        Smallest change of a weight that is worth a trial.
    most : int
        Trials after the first.

    Returns
    -------
    trial : Trial
    n_trials : int
    """
    before, now, n = start, evaluate(t), 0
    while n < most:
        if _is_too_high(now, start) or (n > 1 and now.f >= before.f):
            break
        if _is_flat(now, start):
            return now, n + 1
        if now.slope >= 0:
            break
        least, largest = now.t + 0.01 * (now.t - before.t), 10.0 * now.t
        before, now = now, evaluate(_cubic(before, now, least, largest))
        n += 1
    else:
        before = start
    return _zoom(evaluate, start, [before, now], length, tolerance, n, most)


def _is_too_high(trial, start):
    return trial.f > start.f + 1e-4 * trial.t * start.slope


def _is_flat(trial, start):
    return abs(trial.slope) <= -0.9 * start.slope


def _zoom(evaluate, start, ends, length, tolerance, n, most):
    """Narrow an interval that holds a point to be found; ``n`` trials have followed the first."""
    low = int(ends[0].f > ends[1].f)
    was_stuck = False
    while n < most and abs(ends[1].t - ends[0].t) * length >= tolerance:
        left, right = sorted(end.t for end in ends)
        t = _cubic(*ends, left, right)
        margin = 0.1 * (right - left)
        is_near = min(right - t, t - left) < margin
        if is_near and (was_stuck or t >= right or t <= left):
            t = right - margin if abs(t - right) < abs(t - left) else left + margin
            is_near = False
        was_stuck = is_near
        trial = evaluate(t)
        n += 1
        if _is_too_high(trial, start) or trial.f >= ends[low].f:
            ends[1 - low] = trial
            low = int(ends[0].f > ends[1].f)
            continue
        is_done = _is_flat(trial, start)
        if not is_done and trial.slope * (ends[1 - low].t - ends[low].t) >= 0:
            ends[1 - low] = ends[low]
        ends[low] = trial
        if is_done:
            break
    return ends[low], n + 1


@tensor_rule("lbfgs")
def lbfgs(x, h):
    """Liu & Nocedal (1989); steps are taken by `fastopt.optimizers.lbfgs.LBFGSStepper`, on whole vectors."""
    raise NotImplementedError
