"""Methods of online learning: weights are computed from sums over all gradients."""

import math

import numpy as np

from fastopt.rules.bits import float_as_int, int_as_float
from fastopt.rules.registry import register


def _ftrl(h, t):
    lr = h["lr"]
    return 1.0 / lr, 2.0 * h["l2_shrinkage"], h["l1"], 2.0 * (h["l2"] + h["beta"] / (2.0 * lr))


_START = {"accumulator": "initial_accumulator_value"}


@register("ftrl", slots=("accumulator", "linear"), constants=_ftrl, initial=_START)
def ftrl(w, g, n, z, rate, shrinkage, l1, l2):
    """McMahan et al. (2013), algorithm 1, as implemented in Keras."""
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


#: Offset of the first guess in `_cube_root`, with the least maximal error.
_THIRD = np.float32(1419900555.0)


def _cube_root(x):
    # ``x ** (1 / 3)`` would call pow for each element. Dividing the exponent bits by -3 gives x^(-1/3) to
    # 4 %; two iterations of fourth order refine that to better than 1e-16.
    is_small, is_large = x < 1e-30, x > 1e30
    x = x * (1e30 if is_small else 1e-30 if is_large else 1.0)
    third = np.float32(float_as_int(np.float32(x))) * np.float32(-1.0 / 3.0) + _THIRD
    z = float(int_as_float(np.int32(third)))
    for _ in range(2):
        h = 1.0 - x * z * z * z
        z = z + z * h * (1.0 / 3.0 + h * (2.0 / 9.0 + h * (14.0 / 81.0)))
    # Roots below 1e-22 vanish beside any eps; infinity, and anything beyond 1e68, passes through.
    root = x * z * z if 1e-37 < x < 1e38 else x
    return root * (1e-10 if is_small else 1e10 if is_large else 1.0)


def _madgrad(h, t):
    # As in the authors' code a rate of 0 stays 0.
    return (h["lr"] + h["eps"] * (h["lr"] > 0)) * t**0.5, 1.0 - h["momentum"], h["eps"], t == 1


@register("madgrad", slots=("grad_sum_sq", "s", "x0"), constants=_madgrad)
def madgrad(w, g, q, s, start, weight, d, eps, first):
    """Defazio & Jelassi (2022), algorithm 1; d = 1 - momentum."""
    start = w if first else start
    q = q + weight * g * g
    s = s + weight * g
    return w + d * (start - s / (_cube_root(q) + eps) - w), q, s, start
