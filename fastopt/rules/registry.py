"""The registry: what the library knows about each rule, and how a rule is added to it."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.rules.ranges import Range, check_declared

#: Every rule by name. The tests and the benchmarks take their cases from here.
RULES: dict[str, "Rule"] = {}

#: What each update kernel applies before its rule; the first columns of a row of constants.
PROLOGUE = ("grad_scale", "l2", "keep")


class Slots:
    """Base of `Rule` and `TensorRule`: the dtype and the first value of a slot."""

    def slot_dtype(self, name: str, dtype: Any) -> Any:
        """Return the dtype of a slot for a parameter of ``dtype``: the same."""
        return dtype

    def first(self, h: Mapping[str, Any], values: Mapping[str, Any], name: str) -> float:
        """Return the first value of slot or scalar ``name`` under the hyper-parameters ``h``."""
        value = values.get(name, 0.0)
        return float(h[value] if isinstance(value, str) else value)


@dataclasses.dataclass(frozen=True, eq=False)
class Rule(Slots):
    """One optimizer's mathematics and what the rest of the library must know about it.

    Attributes
    ----------
    name : str
        The key in the registry.
    function : callable
        ``function(w, g, *slots, *constants) -> (w, *slots)`` on scalars.
    slots : tuple of str
        Names of the state slots, torch's where torch has the optimizer.
    constants : callable
        ``constants(h, t)`` folds the hyper-parameters ``h`` (a mapping) and the step ``t`` (from 1; an
        integer or an array of them) in float64 into the rule's constants. With ``scalars`` it is
        ``constants(h, t, *scalars)`` and returns ``(constants, scalars)``.
    initial : mapping
        Slot name to its first value: a number, or the name of the hyper-parameter that holds it. 0 if absent.
    scalars : mapping
        State that is one number per parameter array: name to its first value, as in ``initial``.
    defaults : mapping or None
        Hyper-parameters and their defaults; when given, the rule is an optimizer of its own.
    ranges : mapping or None
        Of numeric hyper-parameters that `fastopt.rules.ranges.RANGES` does not know: name to a test of one
        number and what is allowed, in words.
    """

    name: str
    function: Callable[..., Any]
    slots: tuple[str, ...]
    constants: Callable[..., Any]
    initial: Mapping[str, Any]
    scalars: Mapping[str, Any]
    defaults: Mapping[str, Any] | None = None
    ranges: Mapping[str, Range] | None = None

    def __call__(self, *args: Any) -> Any:
        """Evaluate the rule in plain Python."""
        return self.function(*args)

    def __reduce__(self) -> tuple[Any, ...]:
        return lookup, (self.name,)

    @functools.cached_property
    def n_constants(self) -> int:
        """Number of constants that the rule takes after its slots."""
        return len(inspect.signature(self.function).parameters) - 2 - len(self.slots)

    def fold(self, h: Mapping[str, Any], t: Any, scalars: tuple[Any, ...]) -> tuple[Any, Any]:
        """Return the constants of step ``t`` and the scalars after it, given those before.

        Where Python's floats raise (a division by 0, a power that overflows), the constants are those of
        NumPy's, which go on with infinity or NaN as IEEE 754 says.
        """
        try:
            return self._fold(h, t, scalars) if self.scalars else (self.constants(h, t), scalars)
        except (ZeroDivisionError, OverflowError):
            with np.errstate(all="ignore"):
                constants, scalars = self._fold(*map(_in_numpy, (h, t, scalars)))
            return constants, tuple(map(float, scalars))

    def _fold(self, h: Mapping[str, Any], t: Any, scalars: tuple[Any, ...]) -> tuple[Any, Any]:
        if self.scalars:
            return self.constants(h, t, *scalars)
        return self.constants(h, t), scalars

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of the state that is one number per parameter."""
        return tuple(self.scalars)

    def first_numbers(self, h: Mapping[str, Any]) -> tuple[float, ...]:
        """Return the first values of the state that is one number per parameter."""
        return tuple(self.first(h, self.scalars, name) for name in self.numbers)

    def slot_shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a slot for a parameter of ``shape``: the same."""
        return shape


def _in_numpy(value: Any) -> Any:
    """Return a number, or the numbers in a container, as NumPy's float64."""
    if isinstance(value, Mapping):
        return {key: _in_numpy(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_in_numpy, value))
    return np.float64(value) if type(value) in (int, float) else value


def lookup(name: str) -> Rule:
    """Return the rule called ``name``."""
    return RULES[name]


def register(
    name: str,
    *,
    slots: Sequence[str] = (),
    constants: Callable[..., Any],
    initial: Mapping[str, Any] | None = None,
    scalars: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    ranges: Mapping[str, Range] | None = None,
) -> Callable[[Callable[..., Any]], Rule]:
    """Register a rule; use it as a decorator.

    A rule is a pure function of scalars. It returns the new weight and the new slots in the order in which
    it takes them, may use `math` and functions of its own file, and must not branch on a hyper-parameter:
    a flag that changes the formula is another rule. Floating-point literals take the array's dtype.

    Before the rule runs, every kernel has already scaled the gradient (negated under ``maximize``), added
    ``weight_decay * w`` to it (coupled decay), or shrunk ``w`` by ``1 - lr * weight_decay``
    (``decoupled_weight_decay``), so a rule does not deal with those.

    Parameters
    ----------
    name : str
        Lower case; the name for ``get_optimizer`` and the estimators' ``solver``.
    slots : tuple of str
        One name for each array of state.
    constants : callable
        ``constants(h, t) -> tuple``: everything that is the same for all elements, folded in Python.
        ``t`` may be an array of steps, so write ``** 0.5`` for a square root.
    initial, scalars, defaults : mapping, optional
        See `Rule`. With ``defaults``, `fastopt.get_optimizer` makes the optimizer.
    ranges : mapping, optional
        Which numbers a hyper-parameter of ``defaults`` may be: its name to a function that tells whether a
        number is allowed, and to words for the message: ``(lambda x: 0 <= x < 1, "a number in [0, 1)")``.
        Names that the library's own optimizers share, such as 'lr' and 'betas', have their ranges.

    Returns
    -------
    callable
        The decorator; it returns a `Rule`, which can be called like the plain function.

    Raises
    ------
    ValueError
        If the name is taken by another function, the function's arguments do not fit the slots, or a numeric
        hyper-parameter has no range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> @fastopt.register("halfway", slots=("seen",), constants=lambda h, t: (h["lr"],), defaults={"lr": 0.1})
    ... def halfway(w, g, seen, lr):
    ...     seen = 0.5 * (seen + g)
    ...     return w - lr * seen, seen
    >>> w = np.zeros(3)
    >>> fastopt.get_optimizer("halfway", lr=1.0).bind(w).step([np.ones(3)])
    >>> w
    array([-0.5, -0.5, -0.5])
    """

    def decorate(function: Callable[..., Any]) -> Rule:
        rule = Rule(name, function, tuple(slots), constants, initial or {}, scalars or {}, defaults, ranges)
        _check(rule)
        RULES[name] = rule
        return rule

    return decorate


def _check(rule):
    known = RULES.get(rule.name)
    where = (rule.function.__module__, rule.function.__qualname__)
    if known is not None and (known.function.__module__, known.function.__qualname__) != where:
        raise ValueError(f"the name {rule.name!r} is already registered, by {known.function.__module__}")
    check_declared(rule.name, rule.defaults or {}, rule.ranges or {})
    if rule.n_constants < 1:
        raise ValueError(
            f"rule {rule.name!r} must take the weight, the gradient, its slots {rule.slots} and "
            f"at least one constant; its arguments are {inspect.signature(rule.function)}"
        )
    for name in [*rule.initial, *rule.scalars]:
        if name not in rule.slots and name not in rule.scalars:
            raise ValueError(
                f"initial value for {name!r}, which is not a slot of rule {rule.name!r}: {rule.slots}"
            )
