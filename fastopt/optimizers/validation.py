"""The ranges of hyper-parameters, by name, and the sentences that refuse a value outside."""

import math
from numbers import Real

import numpy as np

from fastopt.rules.quantized_state import STATE_DTYPES

IN_0_1 = (lambda x: 0 <= x <= 1, "a number in [0, 1]")
FINITE = (math.isfinite, "a finite number")
ABOVE_0 = (lambda x: 0 < x < math.inf, "a finite number > 0")
AT_LEAST_0 = (lambda x: 0 <= x < math.inf, "a finite number >= 0")
COUNT = (lambda x: x >= 1 and x == int(x), "a whole number >= 1")
WHOLE = (lambda x: x >= 0 and x == int(x), "a whole number >= 0")
BELOW_1 = (lambda x: 0 <= x < 1, "a number in [0, 1)")

#: Hyper-parameter name to (test of one number, what is allowed). A tuple is tested number by number.
RANGES = {
    "lr": AT_LEAST_0,
    "eps": AT_LEAST_0,
    "eps_root": AT_LEAST_0,
    "weight_decay": AT_LEAST_0,
    "momentum": IN_0_1,  # scikit-learn and torch let momentum be 1
    "dampening": IN_0_1,
    "rho": IN_0_1,
    "betas": BELOW_1,
    "momentum_decay": AT_LEAST_0,
    "lr_decay": AT_LEAST_0,
    "initial_accumulator_value": AT_LEAST_0,
    "alpha": AT_LEAST_0,
    "lambd": AT_LEAST_0,
    "t0": AT_LEAST_0,
    "etas": AT_LEAST_0,
    "step_sizes": AT_LEAST_0,
    "beta": AT_LEAST_0,
    "optimism": AT_LEAST_0,
    "l1": AT_LEAST_0,
    "l2": AT_LEAST_0,
    "l2_shrinkage": AT_LEAST_0,
    "warmup_steps": WHOLE,
    "alpha_warmup": WHOLE,
    "beta3_warmup": WHOLE,
    "r": AT_LEAST_0,
    "weight_lr_power": AT_LEAST_0,
    "trust_coefficient": AT_LEAST_0,
    "min_norm": AT_LEAST_0,
    "gamma": AT_LEAST_0,
    "lr_1d": AT_LEAST_0,
    "betas_1d": BELOW_1,
    "weight_decay_1d": AT_LEAST_0,
    "s_init": AT_LEAST_0,
    "empirical_fisher": AT_LEAST_0,
    "eta": AT_LEAST_0,
    "seed": WHOLE,
    "beta2": BELOW_1,
    "beta3": BELOW_1,
    "d0": ABOVE_0,
    "d_coef": AT_LEAST_0,
    "reps_rel": ABOVE_0,
    "init_estim_sq_dist": ABOVE_0,
    "scaling": AT_LEAST_0,
    "fallback_lr": AT_LEAST_0,
}

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


def check_values(owner, h, ranges=RANGES):
    """Raise if a value of ``h`` is out of range; ``owner`` is the optimizer's class, for its defaults."""
    for name, value in h.items():
        if value is None and name in OPTIONAL:
            continue
        if name in CHOICES:
            if value not in CHOICES[name]:
                allowed = " or ".join(map(repr, CHOICES[name]))
                raise ValueError(f"{owner.__name__}({name}={value!r}): {name} must be {allowed}")
        elif name in ranges:
            default = getattr(owner, name, None)  # a tuple must be as long as its default
            length = len(default) if isinstance(default, tuple) else 0
            _check_numbers(f"{owner.__name__}({name}={value!r}): {name}", value, *ranges[name], length)
        elif isinstance(getattr(owner, name, None), bool) and not isinstance(value, (bool, np.bool_)):
            what = f"{owner.__name__}({name}={value!r}): {name}"
            raise TypeError(f"{what} must be True or False, not {type(value).__name__}")


def _check_numbers(what, value, test, allowed, length):
    """Check one number, or with a ``length`` a tuple of so many."""
    values = value if length else (value,)
    if not isinstance(values, (tuple, list)) or len(values) != (length or 1):
        raise ValueError(f"{what} must be a tuple of {length} numbers, each {allowed}")
    for number in values:
        if isinstance(number, (bool, np.bool_)) or not isinstance(number, Real):
            raise TypeError(f"{what} must be {allowed}, not {type(number).__name__}")
        if not test(number):
            raise ValueError(f"{what} must be {allowed}")
