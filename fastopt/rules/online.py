"""Methods of online learning: the weights follow from sums over all gradients, not from the last weights."""

import math

from fastopt.rules.registry import register


def _ftrl(h, t):
    lr = h["lr"]
    return 1.0 / lr, 2.0 * h["l2_shrinkage"], h["l1"], 2.0 * (h["l2"] + h["beta"] / (2.0 * lr))


_START = {"accumulator": "initial_accumulator_value"}


@register("ftrl", slots=("accumulator", "linear"), constants=_ftrl, initial=_START)
def ftrl(w, g, n, z, rate, shrinkage, l1, l2):
    """McMahan et al. (2013), algorithm 1, as Keras writes it."""
    root = math.sqrt(n)
    n = n + g * g
    grown = math.sqrt(n)
    z = z + g + shrinkage * w - (grown - root) * rate * w
    clipped = l1 if z > l1 else z
    clipped = -l1 if clipped < -l1 else clipped
    return (clipped - z) / (grown * rate + l2), n, z


def _cocob(h, t):
    return h["lr"], h["alpha"], t == 1


@register(
    "cocob",
    slots=("init", "scale", "abs_grad_sum", "reward", "negative_grad_sum"),
    constants=_cocob,
    initial={"scale": "eps"},
)
def cocob(w, g, start, largest, total, reward, bet, lr, alpha, first):
    """Orabona & Tommasi (2017), algorithm 2."""
    start = w if first else start
    size = abs(g)
    largest = size if largest < size else largest
    total = total + size
    gain = reward - g * (w - start)
    reward = 0.0 if gain < 0.0 else gain
    bet = bet - g
    whole, least = total + largest, alpha * largest
    stake = bet / (largest * (least if whole < least else whole))
    return w + lr * (start + stake * (largest + reward) - w), start, largest, total, reward, bet


def _madgrad(h, t):
    return (h["lr"] + h["eps"]) * t**0.5, 1.0 - h["momentum"], h["eps"], t == 1


def _cube_root(x):
    # A power is a call for each element. x^(1/3) is about x^(1/4 + 1/16 + 1/64), from square roots; four of
    # Halley's steps from there are exact to rounding wherever the root is not negligible beside eps.
    fourth = math.sqrt(math.sqrt(x))
    sixteenth = math.sqrt(math.sqrt(fourth))
    y = fourth * sixteenth * math.sqrt(math.sqrt(sixteenth))
    twice = x + x
    for _ in range(4):
        cube = y * y * y
        y = y * (cube + twice) / (cube + cube + x)
    return y if x > 0.0 else x


@register("madgrad", slots=("grad_sum_sq", "s", "x0"), constants=_madgrad)
def madgrad(w, g, q, s, start, weight, d, eps, first):
    """Defazio & Jelassi (2022), algorithm 1; d = 1 - momentum."""
    start = w if first else start
    q = q + weight * g * g
    s = s + weight * g
    return w + d * (start - s / (_cube_root(q) + eps) - w), q, s, start
