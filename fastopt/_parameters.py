"""Scikit-learn's parameter protocol (``get_params``, ``set_params``, repr) for dataclasses."""

import copy
import dataclasses
import difflib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from fastopt.persistence import Persistent

if TYPE_CHECKING:  # type checkers know typing_extensions; at run time Python 3.10 lacks the decorator
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_):
        """Do nothing; see `typing.dataclass_transform`."""
        return lambda function: function


def plain(value: Any) -> Any:
    """Return a NumPy scalar as a plain Python number, so that its repr can be evaluated."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (tuple, list):
        return type(value)(map(plain, value))
    return value


def safe_repr(value: Any, show: Callable[[Any], str] = repr) -> str:
    """Return the repr of a value, or a note in its place where that raises."""
    try:
        return show(value)
    except Exception as error:
        return f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"


def _is_equal(value: Any, default: Any) -> bool:
    try:
        return bool(value == default)
    except Exception:  # arrays of several elements, and whatever a caller's object does
        return False


def suggestion(name: object, known: Iterable[object]) -> str:
    """Return " Did you mean 'adam'?" with the most similar of the ``known`` names, or an empty string."""
    lowered = {str(other).lower(): other for other in known}
    near = difflib.get_close_matches(str(name).lower(), lowered, n=8)
    # Letters are swapped more often than forgotten or mistaken: 'adma' is 'adam', not 'adamax' or 'adan'.
    letters = sorted(str(name).lower())
    near = min(near, key=lambda other: sorted(other) != letters, default=None)  # else the likeliest, first
    return "" if near is None else f" Did you mean {lowered[near]!r}?"


_Self = TypeVar("_Self", bound="Parameters")


#: Types of values that cannot change, so that a copy may share them.
_ATOMS = frozenset({int, float, bool, str, type(None)})


class Parameters(Persistent):
    """Base of dataclasses with ``get_params``, ``set_params`` and a repr that can be evaluated."""

    #: Parameters that the repr shows although they have their default.
    _always_shown: ClassVar[tuple[str, ...]] = ()

    def __deepcopy__(self: _Self, memo: dict[int, Any]) -> _Self:
        """Return a copy whose parameters are copies, too: see `copy.deepcopy`, which takes longer."""
        new = memo[id(self)] = object.__new__(type(self))
        for name, value in vars(self).items():
            new.__dict__[name] = value if type(value) in _ATOMS else copy.deepcopy(value, memo)
        return new

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters as a dict (scikit-learn's protocol).

        Parameters
        ----------
        deep : bool
            Add the parameters of parameters, such as a schedule's, as ``name__inner``.
        """
        params = {name: getattr(self, name) for name in self._names()}
        if deep:
            for name, value in list(params.items()):
                if isinstance(value, Parameters):
                    params.update({f"{name}__{key}": inner for key, inner in value.get_params().items()})
        return params

    def set_params(self: _Self, **params: Any) -> _Self:
        """Set parameters, or those of a parameter as ``name__inner``.

        Raises
        ------
        ValueError
            If there is no such parameter; the message names the known ones.
        """
        names = self._names()
        for key, value in params.items():
            name, _, inner = key.partition("__")
            if name not in names or (inner and not isinstance(getattr(self, name), Parameters)):
                raise ValueError(
                    f"Invalid parameter {key!r} for {type(self).__name__}. Valid parameters are: {names}."
                )
            if inner:
                getattr(self, name).set_params(**{inner: value})
            else:
                setattr(self, name, value)
        return self

    @classmethod
    def _names(cls) -> list[str]:
        """Return the names of the parameters in the order of the signature."""
        return [f.name for f in sorted(dataclasses.fields(cls), key=lambda f: f.kw_only)]

    def __repr__(self) -> str:
        shown = []
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name, value in self.get_params(deep=False).items():
            if name in self._always_shown or not _is_equal(value, defaults[name]):
                shown.append(f"{name}={safe_repr(plain(value), self._show)}")
        return f"{type(self).__name__}({', '.join(shown)})"

    @staticmethod
    def _show(value):
        return repr(value)
