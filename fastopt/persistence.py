"""How objects are pickled: by names that this module defines, so that other modules may move.

A pickle names the classes that it needs by the modules that define them, and can no longer be read when one
of them moves. The objects of a fitted model are therefore pickled as ``rebuild(kind, version)`` and a state:
the kind is a name from the tables below, the version says what the state looks like. **This module and
`rebuild` must never move, and a kind never changes its name.** Where a class moves, its line below changes.

Classes of one's own that derive from fastopt's are pickled by their own module's name, as Python does.

Pickles execute code when they are loaded: load only those that you trust.
"""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

#: Version of the states. It changes when states of earlier versions can no longer be read; an attribute that
#: is added with a default in the class, or one that is left out, does not change it.
STATE_VERSION = 1

#: The module that has the classes of a family.
_FAMILIES = {
    "estimator": "fastopt.neural_network",
    "optimizer": "fastopt.optimizers",
    "schedule": "fastopt.schedules",
}
#: The module of each class that belongs to no public family.
_INTERNAL = {
    "FlatState": "fastopt.stepping.flat_state",
    "LayerwiseState": "fastopt.stepping.layerwise_state",
    "Layout": "fastopt.engine.layout",
    "Run": "fastopt.schedules.clock",
    "StochasticSolver": "fastopt.neural_network.solvers",
}
#: The family of the optimizer classes that `fastopt.register` and its like make from a rule.
_REGISTERED = "registered"


class Persistent:
    """Base of classes whose pickles name no module but this one.

    The state is what ``__getstate__`` returns, or the attributes; it is handed to ``__setstate__``, or
    becomes the attributes.
    """

    #: Family of the kind, a key of the table above; None for classes that stand in the other table.
    _family: ClassVar[str | None] = None

    def __reduce__(self) -> tuple[Any, ...]:
        getstate = getattr(self, "__getstate__", None)  # every object has it from Python 3.11 on
        state = dict(self.__dict__) if getstate is None else getstate()
        return rebuild, (kind_of(type(self)), STATE_VERSION), state


def kind_of(cls: type[Persistent]) -> str | type[Any]:
    """Return the name under which a class is pickled; of a class that is not fastopt's, the class itself."""
    if "_made_from" in vars(cls):
        return f"{_REGISTERED}.{cls.name}"
    if cls.__module__.partition(".")[0] != __package__:
        return cls
    return cls.__name__ if cls._family is None else f"{cls._family}.{cls.__name__}"


def class_of(kind: str | type[Any]) -> type[Any]:
    """Return the class that `kind_of` gave this name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if isinstance(kind, type):
        return kind
    family, _, name = kind.rpartition(".")
    if family == _REGISTERED:
        optimizers = importlib.import_module(_FAMILIES["optimizer"])
        if name not in optimizers.list_optimizers():
            raise ValueError(
                f"the pickle holds the optimizer {name!r}, which is not registered here: before loading, "
                "import the module that registers it with fastopt.register."
            )
        return type(optimizers.get_optimizer(name))
    home = _FAMILIES.get(family) if family else _INTERNAL.get(name)
    found = home and getattr(importlib.import_module(home), name, None)
    if not isinstance(found, type):
        raise ValueError(
            f"the pickle holds a {kind!r}, which this version of fastopt does not know. Load it with the "
            "version that saved it."
        )
    return found


def rebuild(kind: str | type[Any], version: int) -> Any:
    """Return an object without attributes, whose state a pickle then fills in.

    Parameters
    ----------
    kind : str or type
        From `kind_of`.
    version : int
        The `STATE_VERSION` of the fastopt that wrote the pickle.

    Raises
    ------
    ValueError
        If the version is not the present one, or the kind is unknown.
    """
    if version != STATE_VERSION:
        from fastopt import __version__

        raise ValueError(
            f"the model was saved with state version {version!r}, but fastopt {__version__} reads state "
            f"version {STATE_VERSION}. Load it with the version of fastopt that saved it, or train it again."
        )
    cls = class_of(kind)
    return cls.__new__(cls)
