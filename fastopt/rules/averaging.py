"""Averaged gradient descent and resilient propagation."""

import math

from fastopt.rules.registry import register


def _asgd(h, t, eta, mu):
    lr, lambd = h["lr"], h["lambd"]
    later = (lr / (1.0 + lambd * lr * t) ** h["alpha"], 1.0 / max(1.0, t - h["t0"]))
    return (1.0 - lambd * eta, eta, mu, mu != 1.0), later


@register("asgd", slots=("ax",), constants=_asgd, scalars={"eta": "lr", "mu": 1.0})
def asgd(w, g, a, shrink, eta, mu, averaging):
    """Polyak & Juditsky (1992), as torch writes it: the average follows w until step t0."""
    w = shrink * w - eta * g
    return w, a + mu * (w - a) if averaging else w


def _rprop(h, t):
    (minus, plus), (smallest, largest) = h["etas"], h["step_sizes"]
    return minus, plus, smallest, largest


@register("rprop", slots=("prev", "step_size"), constants=_rprop, initial={"step_size": "lr"})
def rprop(w, g, prev, d, minus, plus, smallest, largest):
    """Igel & Huesken (2003), iRprop-: a change of sign shrinks the step and skips the move."""
    turn = g * prev
    d = d * (plus if turn > 0.0 else (minus if turn < 0.0 else 1.0))
    d = smallest if d < smallest else d
    d = largest if d > largest else d
    g = 0.0 if turn < 0.0 else g
    move = math.copysign(d, g) if abs(g) > 0.0 else 0.0
    return w - move, g, d
