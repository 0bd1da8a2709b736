"""How objects are saved: by names that this module defines, so that other modules may move.

A pickle names the classes that it needs by the modules that define them, and can no longer be read when one
of them moves. The objects of a fitted model are therefore pickled as ``rebuild(kind, version)`` and a state:
the kind is a name from the tables below, the version says what the state looks like. **This module and
`rebuild` must never move, and a kind never changes its name.** Where a class moves, its line below changes.

Classes of one's own that derive from fastopt's are pickled by their own module's name, as Python does.

Pickles execute code when they are loaded: load only those that you trust. Model files
(`fastopt.model_files`) hold the same kinds and states, and `restore` executes nothing: it makes objects of
the classes below only, with the attributes that these declare.
"""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any, ClassVar

#: Version of the states. It changes when states of earlier versions can no longer be read; an attribute that
#: is added with a default in the class, or one that is left out, does not change it.
STATE_VERSION = 1

#: The module that has the classes of a family.
_FAMILIES = {
    "estimator": "fastopt.neural_network",
    "estimator on Dask": "fastopt.dask",
    "optimizer": "fastopt.optimizers",
    "schedule": "fastopt.schedules",
    "tabular": "fastopt.tabular",
}
#: The module of each class that belongs to no public family.
_INTERNAL = {
    "CategoryColumn": "fastopt.tabular.category_columns",
    "DroppedColumn": "fastopt.tabular.encoding",
    "DropoutState": "fastopt.stepping.dropout",
    "EarlyStopping": "fastopt.neural_network.early_stopping",
    "FlatState": "fastopt.stepping.flat_state",
    "LayerwiseState": "fastopt.stepping.layerwise_state",
    "Layout": "fastopt.engine.layout",
    "NumberColumn": "fastopt.tabular.number_columns",
    "RateFactors": "fastopt.stepping.rate_factors",
    "Run": "fastopt.schedules.clock",
    "StochasticSolver": "fastopt.neural_network.solvers",
    "TableEncoder": "fastopt.tabular.columns",
}
#: The family of the optimizer classes that `fastopt.register` and its like make from a rule.
_REGISTERED = "registered"
#: The family of schedules of one's own, by the names under which `fastopt.schedules.schedule` knows them.
#: Only in files without code: a pickle finds such a class by its module.
_OWN_SCHEDULE = "registered schedule"


class Persistent:
    """Base of classes whose pickles name no module but this one.

    The state is what ``__getstate__`` returns, or the attributes; it is handed to ``__setstate__``, or
    becomes the attributes.
    """

    #: Family of the kind, a key of the table above; None for classes that stand in the other table.
    _family: ClassVar[str | None] = None
    #: Names of the entries that the state has, of classes that are no dataclasses and stand in model files.
    _state_names: ClassVar[tuple[str, ...]] = ()
    #: Those of them that a state may leave out.
    _may_lack: ClassVar[tuple[str, ...]] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild, (kind_of(type(self)), STATE_VERSION), state_of(self)

    def _check_restored(self) -> None:
        """Raise ValueError if attributes that `restore` has set do not fit together."""


class PersistentModel(Persistent):
    """Base of fitted models that `fastopt.save` stores as one object, with its state."""

    def for_file(self) -> PersistentModel:
        """Return a copy whose state a file without code can hold.

        Raises
        ------
        NotFittedError, TypeError
            If there is none.
        """
        raise NotImplementedError


def state_of(value: Persistent) -> dict[str, Any]:
    """Return the state of an object, which a pickle or a model file holds."""
    getstate = getattr(value, "__getstate__", None)  # every object has it from Python 3.11 on
    return dict(vars(value)) if getstate is None else getstate()


def kind_of(cls: type[Persistent]) -> str | type[Any]:
    """Return the name under which a class is pickled; of a class that is not fastopt's, the class itself."""
    if "_made_from" in vars(cls):
        return f"{_REGISTERED}.{cls.name}"
    if cls.__module__.partition(".")[0] != __package__:
        return cls
    return cls.__name__ if cls._family is None else f"{cls._family}.{cls.__name__}"


def name_of(cls: type[Persistent]) -> str:
    """Return the name of a class in a file without code.

    Raises
    ------
    TypeError
        If only its own module can give the class.
    """
    kind = kind_of(cls)
    if isinstance(kind, str):
        return kind
    if _own_schedules().get(cls.__name__) is cls:
        return f"{_OWN_SCHEDULE}.{cls.__name__}"
    raise TypeError(
        f"{cls.__module__}.{cls.__qualname__} is a class of your own, which a file without code cannot hold. "
        "Register it (fastopt.register, fastopt.tensor_rule, fastopt.schedules.schedule), or use pickle."
    )


def _own_schedules():
    return importlib.import_module("fastopt.schedules.base").SCHEDULES


def class_of(kind: str | type[Any]) -> type[Any]:
    """Return the class that `kind_of` or `name_of` gave this name.

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
            raise ValueError(_not_registered("optimizer", name, "fastopt.register"))
        return type(optimizers.get_optimizer(name))
    if family == _OWN_SCHEDULE:
        if name not in _own_schedules():
            raise ValueError(_not_registered("schedule", name, "fastopt.schedules.schedule"))
        return _own_schedules()[name]
    home = _FAMILIES.get(family) if family else _INTERNAL.get(name)
    found = home and getattr(importlib.import_module(home), name, None)
    if not isinstance(found, type):
        raise ValueError(
            f"the model holds a {kind!r}, which this version of fastopt does not know. Load it with the "
            "version that saved it."
        )
    return found


def _not_registered(what, name, function):
    return (
        f"the model holds the {what} {name!r}, which is not registered here: before loading, import the "
        f"module that registers it with {function}."
    )


def restore(kind: str, state: dict[str, Any]) -> Any:
    """Return the object that a file without code describes.

    Parameters
    ----------
    kind : str
        From `name_of`.
    state : dict
        What `state_of` returned, or anything at all.

    Raises
    ------
    ValueError
        If the kind is unknown, or the state is not that of such an object.
    """
    cls = class_of(str(kind))
    is_data = dataclasses.is_dataclass(cls)
    known = [field.name for field in dataclasses.fields(cls)] if is_data else getattr(cls, "_state_names", ())
    if not issubclass(cls, Persistent) or not known:
        raise ValueError(f"a file without code cannot hold a {kind!r}")
    unknown = sorted(state.keys() - {*known})
    if unknown:
        raise ValueError(
            f"{kind!r} has {unknown}, which this version of fastopt does not know. Load it with the version "
            "that saved it."
        )
    if is_data:
        found = cls(**state)
    else:
        lacking = sorted({*known} - {*cls._may_lack} - state.keys())
        if lacking:
            raise ValueError(f"{kind!r} lacks {lacking}")
        found = cls.__new__(cls)
        found.__setstate__(state) if hasattr(cls, "__setstate__") else vars(found).update(state)
    found._check_restored()
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
    check_version(version)
    cls = class_of(kind)
    return cls.__new__(cls)


def check_version(version: object) -> None:
    """Raise ValueError unless states of this version can be read."""
    if version == STATE_VERSION:
        return
    from fastopt import __version__

    raise ValueError(
        f"the model was saved with state version {version!r}, but fastopt {__version__} reads state "
        f"version {STATE_VERSION}. Load it with the version of fastopt that saved it, or train it again."
    )
