"""The ranges of numeric hyper-parameters, by name."""

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, TypeAlias

#: Test of one number, and what is allowed, for a message. NaN must fail the test.
Range: TypeAlias = tuple[Callable[[Any], bool], str]

IN_0_1 = (lambda x: 0 <= x <= 1, "a number in [0, 1]")
FINITE = (math.isfinite, "a finite number")
ABOVE_0 = (lambda x: 0 < x < math.inf, "a finite number > 0")
AT_LEAST_0 = (lambda x: 0 <= x < math.inf, "a finite number >= 0")
COUNT = (lambda x: x >= 1 and x == int(x), "a whole number >= 1")
WHOLE = (lambda x: x >= 0 and x == int(x), "a whole number >= 0")
BELOW_1 = (lambda x: 0 <= x < 1, "a number in [0, 1)")

#: Hyper-parameters whose names mean the same in all optimizers. Of a tuple, the range of each number.
RANGES: dict[str, Range] = {
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


def is_numeric(value: Any) -> bool:
    """Tell whether a hyper-parameter with this default is a number, or a tuple of numbers."""
    values = value if isinstance(value, tuple) else (value,)
    return any(isinstance(x, Real) and not isinstance(x, bool) for x in values)


def check_declared(name: str, defaults: Mapping[str, Any], ranges: Mapping[str, Range]) -> None:
    """Raise ValueError if the range of a numeric hyper-parameter is not known.

    Parameters
    ----------
    name : str
        The optimizer's, for the message.
    defaults : mapping
        Hyper-parameters and their defaults.
    ranges : mapping
        What the optimizer declares beside `RANGES`.
    """
    for key, value in defaults.items():
        if is_numeric(value) and key not in ranges and key not in RANGES:
            raise ValueError(
                f"optimizer {name!r} has a hyper-parameter {key}={value!r} without a range; say which "
                f"numbers are allowed: ranges={{{key!r}: (lambda x: 0 <= x < 1, 'a number in [0, 1)')}}"
            )
