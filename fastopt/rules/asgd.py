"""Averaged stochastic gradient descent."""

from fastopt.rules.registry import register


def _asgd(h, t, eta, mu):
    lr, lambd = h["lr"], h["lambd"]
    later = (lr / (1.0 + lambd * lr * t) ** h["alpha"], 1.0 / max(1.0, t - h["t0"]))
    return (1.0 - lambd * eta, eta, mu, mu != 1.0), later


@register("asgd", slots=("ax",), constants=_asgd, scalars={"eta": "lr", "mu": 1.0})
def asgd(w, g, a, shrink, eta, mu, averaging):
    """Polyak & Juditsky (1992), as implemented in torch: the average equals w until step t0."""
    w = shrink * w - eta * g
    return w, a + mu * (w - a) if averaging else w
