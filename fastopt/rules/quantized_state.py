"""Rules whose moments are stored in 16 or 8 bits, and the test of which rules that is possible for."""

import dataclasses
import functools
import math

from fastopt.rules.registry import Rule

#: Moments of either sign. Stochastic rounding does not bias them.
SIGNED = ("exp_avg", "exp_avg_fast", "exp_avg_slow", "momentum_buffer")

#: Moments of squares or magnitudes. One above 0 must not be rounded to 0: steps are divided by it.
UNSIGNED = ("exp_avg_sq", "max_exp_avg_sq", "exp_avg_var", "exp_inf", "square_avg")

#: ``state_dtype`` to the dtype of its codes.
STATE_DTYPES = {"bfloat16": "uint16", "int8": "uint8"}

#: Elements that share one scale.
BLOCK = 256

_SCALE = "_scale"


@dataclasses.dataclass(frozen=True, eq=False)
class Reduced(Rule):
    """A rule whose slots are kept as bfloat16 or as block-wise 8-bit codes.

    ``slots`` lists the codes, then with 8 bits the scales of the blocks; ``moments`` are those of the rule
    itself. After its own constants comes the key of the step's random numbers.
    """

    base: Rule | None = None
    state_dtype: str | None = None

    def __reduce__(self):
        return reduced, (self.base, self.state_dtype)

    @functools.cached_property
    def moments(self):
        """Names of the slots of the rule without quantization."""
        return self.base.slots

    @functools.cached_property
    def n_constants(self):
        """How many constants the kernel takes: the rule's, and the key."""
        return self.base.n_constants + 1

    def fold(self, h, t, scalars):
        """Return the constants of step ``t``, or of several, and the scalars after it; see `Rule.fold`."""
        constants, scalars = super().fold(h, t, scalars)
        key = float(step_key(t)) if isinstance(t, int) else [float(step_key(k)) for k in t.tolist()]
        return (*constants, key), scalars

    def moment(self, name):
        """Return the name of the moment that a slot (codes or scales) belongs to."""
        return name.removesuffix(_SCALE)

    def slot_shape(self, name, shape):
        """Return the shape of a slot: a code for each element, a scale for each block."""
        return shape if name == self.moment(name) else (-(-math.prod(shape) // BLOCK),)

    def slot_dtype(self, name, dtype):
        """Return the dtype of the codes and scales, which does not depend on the parameter's."""
        return STATE_DTYPES[self.state_dtype]


def step_key(t):
    """Return the key of step ``t``'s random numbers: 24 bits, which a float32 holds exactly."""
    x = t * 0x9E3779B1 & 0xFFFFFFFF  # in Python's integers, which take a tenth of NumPy's time
    x = (x ^ x >> 15) * 0x85EBCA6B & 0xFFFFFFFF
    return x >> 8


def keeps_moments(rule):
    """Tell whether a rule keeps moments of the gradient and nothing else."""
    return isinstance(rule, Rule) and 0 < len(rule.slots) == sum(s in SIGNED + UNSIGNED for s in rule.slots)


@functools.cache
def reduced(rule, state_dtype):
    """Return ``rule`` with its state in ``state_dtype``, or itself for None.

    Raises
    ------
    ValueError
        If the rule keeps anything but moments of the gradient.
    """
    if state_dtype is None:
        return rule
    if not keeps_moments(rule):
        kept = ", ".join(map(repr, rule.slots)) or "no state"
        raise ValueError(
            f"state_dtype={state_dtype!r} is for rules that keep nothing but moments of the gradient, and "
            f"{rule.name!r} keeps {kept}: leave it out"
        )
    scales = tuple(name + _SCALE for name in rule.slots) if state_dtype == "int8" else ()
    values = {field.name: getattr(rule, field.name) for field in dataclasses.fields(Rule)}
    return Reduced(**values | {"slots": rule.slots + scales}, base=rule, state_dtype=state_dtype)
