"""Registries of scalar functions (activations, losses), which every device compiles.

An entry's functions are plain Python, so that one definition serves the CPU engine, which compiles them into
loops over blocks of rows with vectorised forms of `math.exp`, `math.log` and `math.tanh`, the CUDA engine,
which compiles them as device functions, and the tests, which call them.
"""

import inspect
import math
import types
from collections.abc import Callable, Mapping

import numpy as np


def epsilon(x) -> float:
    """Return the machine epsilon of the precision of ``x``; compiled, a constant."""
    return np.finfo(type(x)).eps


def bounded_exp(z):
    """Return e**z for a probability; the CPU engine clamps it to normal numbers, so that none becomes 0.

    Otherwise the logarithm of a float32 probability would often be infinite. Elsewhere this is `math.exp`,
    which overflows to infinity in compiled code.
    """
    return math.exp(z)


def normal_tail(x):
    """Return the probability that a standard normal number exceeds ``x``, which is not negative.

    The CPU engine takes its exponential, of ``-0.5 * (x * x)``, for the density as well.
    """
    return 0.5 * math.erfc(0.7071067811865476 * x)


def with_globals(function: Callable, **names) -> Callable:
    """Return a copy of a plain function that has ``names`` as globals, beside its own."""
    return types.FunctionType(function.__code__, {**function.__globals__, **names}, function.__name__)


def lookup(registry: Mapping, kind: str, name: str):
    """Return an entry of a registry; a ValueError lists the registered names."""
    if name not in registry:
        raise ValueError(
            f"{kind}={name!r} is not registered; there are {', '.join(map(repr, sorted(registry)))}. "
            f"fastopt.register_{kind} adds one; call it in every process that uses it."
        )
    return registry[name]


def enter(registry: dict, kind: str, entry, n_arguments: Mapping[str, int]) -> None:
    """Add an entry to a registry, after checking its name and how many arguments its functions take."""
    for field, n in n_arguments.items():
        function = getattr(entry, field)
        if not isinstance(function, types.FunctionType):
            raise TypeError(
                f"{field}={function!r} of {kind} {entry.name!r} must be a function written in Python, "
                "which the library compiles; wrap it: def value(z): return ..."
            )
        signature = inspect.signature(function)
        if len(signature.parameters) != n:
            raise TypeError(
                f"{field} of {kind} {entry.name!r} must take {n} argument{'s' * (n > 1)}; "
                f"it takes {signature}"
            )
    known = registry.get(entry.name)
    if known is not None and _origin(known) != _origin(entry):
        raise ValueError(
            f"the {kind} {entry.name!r} is already registered, by {_origin(known)[0]}; choose another name"
        )
    registry[entry.name] = entry


def _origin(entry):
    """Return where an entry's function was defined, so that a notebook's cell may be run again."""
    function = entry.row if entry.value is None else entry.value
    return function.__module__, function.__qualname__
