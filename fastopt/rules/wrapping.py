"""What wrappers do to gradients and weights, as sweeps over whole arrays (`fastopt.rules.tensorwise`)."""

from fastopt.rules.tensorwise import sweep


@sweep(sums=1)
def square(g):
    """Add up squares."""
    return g * g


@sweep("b")
def scale(g, b, *, factor):
    """Write scaled gradients into a buffer."""
    return factor * g


@sweep("b")
def clamp(g, b, *, bound):
    """Write gradients of at most ``bound`` into a buffer; NaN stays."""
    return bound if g > bound else (-bound if g < -bound else g)


@sweep("b")
def accumulate(g, b, *, share, keep):
    """Move a mean of gradients on."""
    return keep * b + share * g


@sweep("b")
def average(w, b, *, share, keep):
    """Move an average of weights on."""
    return keep * b + share * w
