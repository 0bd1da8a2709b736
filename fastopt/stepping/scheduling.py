"""Hyper-parameters that are schedules, and their values at given steps."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from fastopt.schedules import Run, Schedule
from fastopt.stepping.arrays import check_dtype

if TYPE_CHECKING:
    from fastopt.optimizers.base import Optimizer

#: Types of most values, none of which is or holds a schedule: a test that takes no time.
_PLAIN = frozenset({float, int, bool, str, type(None)})


def scheduled(h):
    """Return the names of the hyper-parameters in ``h`` that are schedules, or tuples with one."""
    return [name for name, value in h.items() if type(value) not in _PLAIN and _is_scheduled(value)]


def _is_scheduled(value):
    if isinstance(value, (tuple, list)):
        return not _PLAIN.issuperset(map(type, value)) and any(isinstance(v, Schedule) for v in value)
    return isinstance(value, Schedule)


def places(value):
    """Return where schedules are in a hyper-parameter: indices of a tuple, or None for the whole."""
    if isinstance(value, (tuple, list)):
        return [i for i, one in enumerate(value) if isinstance(one, Schedule)]
    return [None]


def _mapped(h, change):
    """Return ``h`` with ``change`` applied to every schedule in it."""
    names = scheduled(h)
    if not names:
        return h
    new = dict(h)
    for name in names:
        value = h[name]
        if isinstance(value, Schedule):
            new[name] = change(value)
        else:
            new[name] = tuple(change(v) if isinstance(v, Schedule) else v for v in value)
    return new


def evaluate(optimizer, h, run, steps):
    """Return ``h`` with float64 arrays in place of schedules.

    Parameters
    ----------
    optimizer : Optimizer
        Checks the values.
    h : dict
        Hyper-parameters.
    run : Run
    steps : ndarray of int
        Completed steps.

    Raises
    ------
    TypeError, ValueError
        If a value is out of range at one of the steps; the message names the schedules.
    """
    names = scheduled(h)
    if not names:
        return h
    clock = run.clock(steps)
    values = _mapped(h, lambda schedule: schedule.at(clock))
    # Ranges are intervals, so it is enough to check minimum and maximum; both are NaN if a value is.
    for extreme in (np.min, np.max):
        try:
            optimizer.check(_numbers(values, names, extreme))
        except (TypeError, ValueError) as error:
            shown = ", ".join(f"{name}={h[name]!r}" for name in names)
            raise type(error)(f"{error}; this is what {shown} gives at step {steps[0]} or later") from error
    return values


def at_step(optimizer, h, run, step):
    """Return ``h`` with numbers in place of schedules, those of one step; arguments as `evaluate`."""
    return pick(evaluate(optimizer, h, run, np.array([step])), scheduled(h), 0)


def pick(values, names, i):
    """Return the hyper-parameters at step ``i`` of what `evaluate` returned, as plain floats."""
    return _numbers(values, names, lambda array: array[i])


def _numbers(values, names, choose):
    new = dict(values)
    for name in names:
        value = values[name]
        if isinstance(value, tuple):
            new[name] = tuple(float(choose(v)) if isinstance(v, np.ndarray) else v for v in value)
        else:
            new[name] = float(choose(value))
    return new


def fold_ahead(cls, rule, h, t, n_steps, scalars):
    """Return the kernel constants of the next steps, and what they make of the rule's scalars.

    Parameters
    ----------
    cls : type
        The optimizer's class.
    rule : Rule
    h : dict
        Hyper-parameters, as `evaluate` returns them for these steps.
    t, n_steps : int
        Steps made, and steps to come.
    scalars : tuple of float
        Their values after step ``t``.

    Returns
    -------
    ndarray of float64, shape (n_steps, 3 + n_constants + n_scalars)
    """
    rows = np.empty((n_steps, 3 + rule.n_constants + len(scalars)))
    for column, value in zip(rows.T, cls.prologue(h), strict=False):
        column[:] = value
    if not scalars:
        constants, _ = rule.fold(h, np.arange(t + 1, t + n_steps + 1), ())
        for column, value in zip(rows.T[3:], constants, strict=True):
            column[:] = value
        return rows
    names = [name for name, value in h.items() if _is_evaluated(value)]
    for i, row in enumerate(rows):  # each step's scalars need the last one's
        constants, scalars = rule.fold(pick(h, names, i) if names else h, t + 1 + i, scalars)
        row[3:] = (*constants, *scalars)
    return rows


def _is_evaluated(value):
    return any(isinstance(one, np.ndarray) for one in (value if isinstance(value, tuple) else (value,)))


def observe(h, metric, greater_is_better):
    """Return ``h`` with each schedule as it is after an epoch with this loss or score."""
    return _mapped(h, lambda schedule: schedule.observe(metric, greater_is_better=greater_is_better))


@dataclasses.dataclass
class Progress:
    """The number of steps that a bound stepper has made in its run; shared with its groups."""

    run: Run
    step: int = 0


class Scheduled:
    """Base of the training engine's states: hyper-parameters with schedules, and the number of steps."""

    optimizer: "Optimizer"
    hyper: dict[str, Any]
    run: Run
    t: int
    dtype: np.dtype[Any]
    size: int
    n_decay: int
    #: Share of the gradients of step ``t + 1`` accumulated so far; see `fastopt.MultiSteps`.
    pending: float = 0.0
    #: Whether the engine is to add the penalty's gradient to that of the next mini-batch.
    takes_penalty: bool = True

    def values(self) -> dict[str, Any]:
        """Return the hyper-parameters of the next step as numbers."""
        return at_step(self.optimizer.innermost, self.hyper, self.optimizer.inner_run(self.run), self.t)

    def _check_restored(self) -> None:
        """Raise ValueError or TypeError unless the attributes fit together, which a file may have given."""
        if getattr(self.optimizer, "_family", None) != "optimizer" or not isinstance(self.run, Run):
            raise ValueError(f"{self.optimizer!r} and {self.run!r} are no optimizer and its run")
        if any(type(n) is not int for n in (self.t, self.size, self.n_decay)) or not (
            self.t >= 0 and self.size >= self.n_decay >= 0
        ):
            raise ValueError(f"no state has t={self.t!r}, size={self.size!r} and n_decay={self.n_decay!r}")
        if self.hyper.keys() != self.optimizer.innermost.get_params(deep=False).keys():
            raise ValueError(f"{sorted(self.hyper)} are not the hyper-parameters of {self.optimizer!r}")
        check_dtype(self.dtype)
        self.optimizer.innermost.check(self.values())

    def observe(self, metric: float, *, greater_is_better: bool = False) -> None:
        """Pass the loss or score of an epoch to the schedules; `plateau` reacts to it."""
        self.hyper = observe(self.hyper, metric, greater_is_better)
