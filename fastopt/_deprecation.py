"""Deprecation of public names: the wording of the warnings, and a check of the policy.

The policy is on the page "What is stable" of the documentation (docs/stability.md). Internal.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Deprecation(NamedTuple):
    """A public name or parameter that is going to be removed.

    Attributes
    ----------
    what : str
        How the user writes it, such as ``"fastopt.study.compare()"``.
    since, until : str
        The version that begins to warn, and the one that removes it.
    instead : str
        What to write in its place.
    """

    what: str
    since: str
    until: str
    instead: str

    def warn(self, stacklevel: int) -> None:
        """Issue the warning, with the location of the caller ``stacklevel`` levels up."""
        text = (
            f"{self.what} is deprecated since fastopt {self.since} and will be removed in {self.until}. "
            f"Use {self.instead}."
        )
        warnings.warn(text, FutureWarning, stacklevel=stacklevel + 1)


#: Everything that is deprecated now. A test fails once the version that removes a thing has come.
DECLARED: list[Deprecation] = []


def declare(what: str, *, since: str, until: str, instead: str) -> Deprecation:
    """Add a deprecation to `DECLARED`, and return it.

    Raises
    ------
    ValueError
        If ``until`` is not a version that may remove what warned since ``since``: the next or a later major
        version, or while the major version is 0 a later minor one.

    Examples
    --------
    >>> gone = declare("fastopt.old()", since="1.3", until="2.0", instead="fastopt.new()")
    >>> DECLARED.remove(gone)
    >>> declare("fastopt.old()", since="1.3", until="1.4", instead="fastopt.new()")
    Traceback (most recent call last):
    ...
    ValueError: fastopt.old() warns since 1.3, so it may go in 2.0 or a later major version, not in 1.4.
    """
    major, minor = parsed(since)
    earliest = (0, minor + 1) if major == 0 else (major + 1, 0)
    is_breaking = parsed(until)[0] == 0 or parsed(until)[1] == 0
    if parsed(until) < earliest or not is_breaking:
        kind = "minor" if major == 0 else "major"
        raise ValueError(
            f"{what} warns since {since}, so it may go in {earliest[0]}.{earliest[1]} or a later {kind} "
            f"version, not in {until}."
        )
    DECLARED.append(Deprecation(what, since, until, instead))
    return DECLARED[-1]


def parsed(version: str) -> tuple[int, int]:
    """Return the major and the minor number of a version such as ``"1.3"`` or ``"1.3.0.dev1"``."""
    major, minor, *_ = version.split(".")
    return int(major), int(minor)


def deprecated(*, since: str, until: str, instead: str) -> Callable[[_Function], _Function]:
    """Return a decorator for a function or method that warns whenever it is called.

    Examples
    --------
    >>> @deprecated(since="0.1", until="0.3", instead="sum()")
    ... def total(values):
    ...     return sum(values)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     total([1, 2])
    3
    >>> print(caught[0].message)
    fastopt._deprecation.total() is deprecated since fastopt 0.1 and will be removed in 0.3. Use sum().
    >>> _ = DECLARED.pop()
    """

    def decorate(function: _Function) -> _Function:
        name = f"{function.__module__}.{function.__qualname__}()"
        deprecation = declare(name, since=since, until=until, instead=instead)

        @functools.wraps(function)
        def warned(*args: Any, **kwargs: Any) -> Any:
            deprecation.warn(stacklevel=2)
            return function(*args, **kwargs)

        return warned  # type: ignore[return-value]

    return decorate


def renamed_parameter(old: str, new: str, *, since: str, until: str) -> Callable[[_Function], _Function]:
    """Return a decorator for a function whose keyword ``old`` is now called ``new``.

    Both given at once is a TypeError, as an unknown keyword is.

    Examples
    --------
    >>> @renamed_parameter("rate", "lr", since="0.1", until="0.3")
    ... def step(lr):
    ...     return lr
    >>> with warnings.catch_warnings(record=True):
    ...     step(rate=0.1)
    0.1
    >>> _ = DECLARED.pop()
    """

    def decorate(function: _Function) -> _Function:
        name = f"{function.__module__}.{function.__qualname__}"
        deprecation = declare(f"{name}({old}=)", since=since, until=until, instead=f"{new}=")

        @functools.wraps(function)
        def warned(*args: Any, **kwargs: Any) -> Any:
            if old in kwargs:
                if new in kwargs:
                    raise TypeError(f"{name}() got both {old}= and {new}=, its new name. Give {new}= alone.")
                deprecation.warn(stacklevel=2)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return warned  # type: ignore[return-value]

    return decorate


def renamed_names(module: str, names: dict[str, Any], *, since: str, until: str) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for a module whose names have been renamed.

    Parameters
    ----------
    module : str
        Its ``__name__``.
    names : dict
        Maps each old name to the new object.

    Examples
    --------
    >>> old_names = renamed_names("fastopt.example", {"Summation": sum}, since="0.1", until="0.3")
    >>> with warnings.catch_warnings(record=True):
    ...     old_names("Summation")([1, 2])
    3
    >>> _ = DECLARED.pop()
    """
    deprecations = {
        old: declare(
            f"{module}.{old}", since=since, until=until, instead=f"{thing.__module__}.{thing.__qualname__}"
        )
        for old, thing in names.items()
    }

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        deprecations[name].warn(stacklevel=2)
        return names[name]

    return __getattr__
