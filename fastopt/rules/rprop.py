"""Resilient backpropagation."""

import math

from fastopt.rules.registry import register


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
