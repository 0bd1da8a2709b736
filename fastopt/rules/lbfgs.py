"""L-BFGS on one vector of all parameters: the quasi-Newton direction and a strong Wolfe line search."""

from typing import NamedTuple

import numpy as np

from fastopt.rules.tensorwise import tensor_rule


class Trial(NamedTuple):
    """A point on the search line: its step size, the loss, the slope along the line, and the gradient."""

    t: float
    f: float
    slope: float
    g: np.ndarray


def direction(g, pairs, scale):
    """Return the quasi-Newton direction by the two-loop recursion (Nocedal & Wright, algorithm 7.4).

    Parameters
    ----------
    g : ndarray
        The gradient.
    pairs : list of (ndarray, ndarray, float)
        Changes ``y`` of the gradient, changes ``s`` of the weights and ``1 / (y @ s)``, oldest first.
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
    # NumPy's numbers give infinity for a division by 0, which the bounds cut; Python's would raise.
    (t1, f1, slope1), (t2, f2, slope2) = np.array([a[:3], b[:3]])
    with np.errstate(all="ignore"):
        d1 = slope1 + slope2 - 3.0 * (f1 - f2) / (t1 - t2)
        square = d1 * d1 - slope1 * slope2
        if not square >= 0:
            return (least + most) / 2.0
        d2 = np.sqrt(square)
        t = float(t2 - (t2 - t1) * ((slope2 + d2 - d1) / (slope2 - slope1 + 2.0 * d2)))
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
        Largest magnitude in the direction: a step size times it is the largest change of a weight.
    tolerance : float
        The search ends when the interval's largest change of a weight is smaller.
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
    """Tell whether the loss has decreased too little: the first Wolfe condition, with c1 = 1e-4, fails."""
    return trial.f > start.f + 1e-4 * trial.t * start.slope


def _is_flat(trial, start):
    """Tell whether the slope is small enough: the second (strong) Wolfe condition, with c2 = 0.9."""
    return abs(trial.slope) <= -0.9 * start.slope


def _zoom(evaluate, start, ends, length, tolerance, n, most):
    """Narrow an interval that brackets a step that satisfies both conditions; ``n`` trials are made."""
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
    """Liu & Nocedal (1989); steps are taken by `fastopt.stepping.lbfgs.LBFGSStepper`, on whole vectors."""
    raise NotImplementedError
