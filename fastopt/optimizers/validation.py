"""Validation of hyper-parameters, and its error messages."""

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from fastopt.rules.quantized_state import STATE_DTYPES
from fastopt.rules.ranges import RANGES, Range

#: Hyper-parameter name to its allowed strings.
CHOICES = {
    "eps_mode": ("torch", "hat", "corrected"),
    "norm": ("decayed", "sum"),
    "layout": ("io", "oi"),
    "line_search_fn": (None, "strong_wolfe"),
    "state_dtype": (None, *STATE_DTYPES),
    "adjust_lr_fn": (None, "original", "match_rms_adamw"),
}

#: Hyper-parameters that may be None.
OPTIONAL = {
    "momentum_decay",
    "optimism",
    "alpha_warmup",
    "beta3_warmup",
    "beta3",
    "adjust_lr_fn",
    "fallback_lr",
    "lr_1d",
    "max_eval",
}


def check_values(owner: Any, h: Mapping[str, Any]) -> None:
    """Raise TypeError or ValueError if a value in ``h`` is out of range.

    ``owner`` is the optimizer's class: it knows the defaults, and the ranges that it declares itself.
    """
    ranges = RANGES | owner.ranges if owner.ranges else RANGES  # nearly always the latter
    for name, value in h.items():
        if value is None and (name in OPTIONAL or getattr(owner, name, value) is None):
            continue
        if name in CHOICES:
            if not any(
                value is choice or (isinstance(value, str) and value == choice) for choice in CHOICES[name]
            ):
                allowed = " or ".join(map(repr, CHOICES[name]))
                raise ValueError(f"{owner.__name__}({name}={value!r}): {name} must be {allowed}")
        elif name in ranges:
            default = getattr(owner, name, None)  # a tuple must be as long as its default
            length = len(default) if isinstance(default, tuple) else 0
            _check_numbers(f"{owner.__name__}({name}={value!r}): {name}", value, ranges[name], length)
        elif isinstance(getattr(owner, name, None), bool) and not isinstance(value, (bool, np.bool_)):
            what = f"{owner.__name__}({name}={value!r}): {name}"
            raise TypeError(f"{what} must be True or False, not {type(value).__name__}")


def _check_numbers(what: str, value: Any, within: Range, length: int) -> None:
    """Check one number, or a tuple of ``length`` numbers."""
    test, allowed = within
    values = value if length else (value,)
    if not isinstance(values, (tuple, list)) or len(values) != (length or 1):
        raise ValueError(f"{what} must be a tuple of {length} numbers, each {allowed}")
    for number in values:
        if isinstance(number, (bool, np.bool_)) or not isinstance(number, Real):
            advice = "; wrap it: fastopt.schedules.function(f)" if callable(number) else ""
            raise TypeError(f"{what} must be {allowed}, not {type(number).__name__}{advice}")
        if not passes(test, number):
            raise ValueError(f"{what} must be {allowed}")


def passes(test: Callable[[Any], bool], number: Real) -> bool:
    """Tell whether a number passes a range's test; an int beyond float64 passes none."""
    try:
        return test(float(number))
    except OverflowError:
        return False
