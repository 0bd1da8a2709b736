"""Schedules by name, as the estimators' ``learning_rate`` takes them."""

import dataclasses
from typing import Any

from fastopt._parameters import suggestion
from fastopt.schedules.base import SCHEDULES, Schedule


def list_schedules() -> list[str]:
    """Return the sorted names of the schedules that need no argument but the value.

    Examples
    --------
    >>> from fastopt.schedules import list_schedules
    >>> "cosine" in list_schedules()
    True
    """
    needed = {
        name: [f for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING]
        for name, cls in SCHEDULES.items()
    }
    return sorted(name for name, fields in needed.items() if not fields)


def get_schedule(name: str, **params: Any) -> Schedule:
    """Make a schedule by name.

    Parameters
    ----------
    name : str
        Any schedule's name; case does not matter.
    **params
        Its parameters.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError
        If there is no such schedule; the message suggests the nearest name.

    Examples
    --------
    >>> from fastopt.schedules import get_schedule
    >>> get_schedule("cosine", value=0.1, length=100)
    cosine(value=0.1, length=100)
    """
    key = str(name).lower()
    if key not in SCHEDULES:
        names = sorted(SCHEDULES)
        raise ValueError(
            f"schedule {name!r} is not one of {', '.join(map(repr, names))}.{suggestion(name, names)}"
        )
    return SCHEDULES[key](**params)
