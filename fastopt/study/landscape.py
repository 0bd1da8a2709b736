"""What the landscape of optimizers says of learning rates, and of who was first on how many data sets.

The figures are in ``landscape.json``, which ``python bench/bench_landscape.py --page`` writes from its
results; docs/landscape.md says how they were measured.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._parameters import suggestion
from ..neural_network.caller_warnings import warn
from ..optimizers import ASAM, EMA, SAM, SGD, Lookahead, Optimizer
from ..optimizers.wrappers import Wrapper

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .contenders import Contender

FILE: Path = Path(__file__).with_name("landscape.json")

#: Wrappers that the landscape has with Adam and momentum inside.
_WRAPPERS = {SAM: "sam", ASAM: "sam", Lookahead: "lookahead", EMA: "ema"}
#: A rate of the landscape stands for the half decade around it.
_HALF_STEP = 10**0.25


class UnusualRateWarning(UserWarning):
    """A study has no learning rate, for an optimizer, of those that have worked on any data set."""


def recommended_grid(optimizer: str | Optimizer) -> tuple[float, ...]:
    """Return the learning rates from which an optimizer is best chosen on new data.

    Six for every optimizer, half a decade apart: those that hold a good rate on the most data sets of the
    landscape (docs/landscape.md). Networks of one to three hidden layers, batches of 32, inputs and
    regression targets standardised; other work may need other rates.

    Parameters
    ----------
    optimizer : str or Optimizer
        A name of `fastopt.list_optimizers`, ``'momentum'``, ``'nesterov'``, or an optimizer. A wrapper that
        the landscape does not have counts as the optimizer inside.

    Returns
    -------
    tuple of float

    Raises
    ------
    ValueError
        If the optimizer is not in the landscape, such as one of your own.

    Examples
    --------
    >>> from fastopt.study import recommended_grid
    >>> len(recommended_grid("lion")), recommended_grid("lion")[0] < recommended_grid("sgd")[0]
    (6, True)
    """
    name = optimizer if isinstance(optimizer, str) else name_of(optimizer)
    found = _of_optimizers().get(" ".join(name.lower().replace("_", " ").split())) if name else None
    if found is None:
        known = _of_optimizers()
        raise ValueError(
            f"{optimizer!r} is not in the landscape, so it has no recommended rates; there are "
            f"{', '.join(map(repr, known))}.{suggestion(str(optimizer), known)}"
        )
    return tuple(found["grid"])


def name_of(optimizer: Optimizer) -> str | None:
    """Return the name of an optimizer in the landscape, or None if it is not there."""
    known = _of_optimizers()
    if isinstance(optimizer, Wrapper):
        inner = name_of(optimizer.optimizer)
        wrapped = f"{_WRAPPERS.get(type(optimizer))}({inner})"
        return wrapped if wrapped in known else inner
    if type(optimizer) is SGD and optimizer.momentum:
        return "nesterov" if optimizer.nesterov else "momentum"
    name = type(optimizer).__name__.lower()
    return name if name in known else None


def name_of_contender(contender: Contender) -> str | None:
    """Return the name in the landscape of what trains a contender's network, or None."""
    parameters = contender.network.get_params(deep=False)
    solver = parameters.get("solver")
    if isinstance(solver, Optimizer):
        return name_of(solver)
    if not isinstance(solver, str):
        return None
    if solver.lower() == "sgd" and parameters.get("momentum", 0):
        return "nesterov" if parameters.get("nesterovs_momentum") else "momentum"
    return solver.lower() if solver.lower() in _of_optimizers() and solver.lower() != "lbfgs" else None


def grid_of(contender: Contender) -> tuple[float, ...] | None:
    """Return the recommended grid of a contender, or None if the landscape does not have it."""
    name = name_of_contender(contender)
    return None if name is None else tuple(_of_optimizers()[name]["grid"])


def warn_of_rates(contenders: Iterable[Contender]) -> None:
    """Warn of contenders of whose learning rates none has worked on any data set of the landscape."""
    found = []
    for contender in contenders:
        name = name_of_contender(contender)
        rates = {config.lr for config in contender.configs if config.lr is not None}
        if name is None or not rates:
            continue
        low, high = _of_optimizers()[name]["worked"]
        if all(rate * _HALF_STEP < low or rate > high * _HALF_STEP for rate in rates):
            given = ", ".join(f"{rate:g}" for rate in sorted(rates))
            found.append(f"{contender.label} at {given} (worked: {low:g} to {high:g})")
    if found:
        n_sets = len(_landscape()["sets"])
        warn(
            f"learning rates that have not worked on any of the landscape's {n_sets} data sets: "
            f"{'; '.join(found)}. See fastopt.study.recommended_grid.",
            UnusualRateWarning,
        )


def place(contenders: Iterable[Contender], best: str) -> list[str]:
    """Return a sentence on how often the contenders of a study were first in the landscape, or none.

    Parameters
    ----------
    contenders : iterable of Contender
        Those that competed.
    best : str
        Label of the one that has won here.
    """
    named = {}
    for contender in sorted(contenders, key=lambda contender: -len(contender.configs)):  # those tuned first
        name = name_of_contender(contender)
        if name is not None:
            named.setdefault(name, contender.label)
    names = {label: name for name, label in named.items()}
    if best not in names or len(named) < 2:
        return []
    n_sets, losses = len(_landscape()["sets"]), {name: _of_optimizers()[name]["losses"] for name in named}
    firsts = dict.fromkeys(named, 0)
    for number in range(n_sets):
        firsts[min(named, key=lambda name: losses[name][number])] += 1
    leader = max(firsts, key=lambda name: firsts[name])
    share = f"{firsts[names[best]]} of {n_sets} data sets"
    sentence = f"In the landscape, of these {len(named)} {best} was first on {share}"
    if leader != names[best]:
        sentence += f", {named[leader]} on {firsts[leader]}"
    return [f"{sentence}, each at its best rate (docs/landscape.md)."]


@functools.cache
def _landscape() -> dict[str, Any]:
    return json.loads(FILE.read_text("utf-8"))


def _of_optimizers() -> dict[str, dict[str, Any]]:
    return _landscape()["optimizers"]
