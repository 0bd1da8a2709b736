"""The ranges of hyper-parameters, by name, and the sentences that refuse a value outside."""

import math
from numbers import Real

import numpy as np

_AT_LEAST_0 = (lambda x: 0 <= x < math.inf, "a finite number >= 0")
_BELOW_1 = (lambda x: 0 <= x < 1, "a number in [0, 1)")
_UP_TO_1 = (lambda x: 0 <= x <= 1, "a number in [0, 1]")
_ANY = (math.isfinite, "a finite number")

#: Hyper-parameter name to (test of one number, what is allowed). A tuple is tested number by number.
RANGES = {
    "lr": _AT_LEAST_0,
    "eps": _AT_LEAST_0,
    "eps_root": _AT_LEAST_0,
    "weight_decay": _AT_LEAST_0,
    "momentum": _UP_TO_1,  # scikit-learn and torch let momentum be 1
    "dampening": _UP_TO_1,
    "betas": _BELOW_1,
}

#: Hyper-parameter name to its allowed strings.
CHOICES = {"eps_mode": ("torch", "hat")}

#: Hyper-parameter name to the length that its tuple must have.
LENGTHS = {"betas": (2,)}


def plain(value):
    """Return a NumPy scalar as the Python number it is, so that its repr can be evaluated."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return tuple(plain(v) for v in value)
    return value


def check_values(owner, h):
    """Raise if a value of ``h`` is out of range; ``owner`` is the optimizer's name for the message."""
    for name, value in h.items():
        if name in CHOICES:
            if value not in CHOICES[name]:
                allowed = " or ".join(map(repr, CHOICES[name]))
                raise ValueError(f"{owner}({name}={value!r}): {name} must be {allowed}")
        elif name in RANGES:
            _check_numbers(owner, name, value)


def _check_numbers(owner, name, value):
    test, allowed = RANGES[name]
    lengths = LENGTHS.get(name)
    if lengths is None:
        values = (value,)
    elif isinstance(value, (tuple, list)) and len(value) in lengths:
        values = value
    else:
        count = " or ".join(map(str, lengths))
        raise ValueError(f"{owner}({name}={value!r}): {name} must be a tuple of {count} numbers")
    for number in values:
        if isinstance(number, (bool, np.bool_)) or not isinstance(number, Real):
            raise TypeError(
                f"{owner}({name}={value!r}): {name} must be {allowed}, not {type(number).__name__}"
            )
        if not test(number):
            raise ValueError(f"{owner}({name}={value!r}): {name} must be {allowed}")
