"""Parameter groups: torch's list of dicts, checked whenever a value changes."""

from typing import NamedTuple

import numpy as np

from fastopt._parameters import suggestion
from fastopt.rules.quantized_state import reduced
from fastopt.rules.registry import Rule
from fastopt.rules.tensorwise import TensorRule
from fastopt.stepping import scheduling

#: Steps for which schedules are evaluated at once.
_STEPS_AHEAD = 64


class UpdateSpec(NamedTuple):
    """How a parameter is updated: by which class's rule, with which hyper-parameters."""

    cls: type
    values: dict
    rule: Rule | TensorRule


def to_groups(params):
    """Return what `bind` was given as a list of group dicts, each with a list under ``'params'``."""
    params = to_list(params)
    if params and all(isinstance(p, dict) for p in params):
        return [g | {"params": to_list(g["params"])} if "params" in g else g for g in params]
    if any(isinstance(p, dict) for p in params):
        raise TypeError("params mixes arrays and group dicts; pass one or the other")
    return [{"params": params}]


def to_list(x):
    """Return a list: of one for a single array, of all for anything else that iterates."""
    if isinstance(x, (list, tuple)):
        return list(x)
    if isinstance(x, dict) or hasattr(x, "shape") or not hasattr(x, "__iter__"):
        return [x]
    return list(x)


def rule_of(cls, values, shape):
    """Return the rule by which a class updates parameters of ``shape``, its state in ``state_dtype``."""
    return reduced(cls.rule_for(values, shape), values.get("state_dtype"))


class Group:
    """A live group: the user's dict, and what was made of its values when they last changed.

    Parameters
    ----------
    optimizer : Optimizer
        Gives the values that the dict leaves out, the checks and the rule.
    values : dict
        ``'params'`` and hyper-parameters. Completed in place; this very dict is the live one.
    index : int
        The group's position, for messages.
    progress : Progress
        Read for schedules.
    """

    def __init__(self, optimizer, values, index, progress):
        self.optimizer, self.values, self.index, self.progress = optimizer, values, index, progress
        for name, value in optimizer.get_params(deep=False).items():
            values.setdefault(name, value)
        self._state_dtype = values.get("state_dtype")
        self.refresh()

    def is_changed(self):
        """Tell whether a value has changed since `refresh`."""
        return tuple(self.values.values()) != self._seen

    def refresh(self):
        """Check the values and take note of them."""
        self.check(self.values)
        self.scheduled = scheduling.scheduled(self.values)
        self._ahead, self._rules = (None, 0, ()), {}
        self._seen = tuple(self.values.values())

    def current(self):
        """Return the values of the next step: the live dict, or a copy with numbers in place of schedules."""
        if not self.scheduled:
            return self.values
        (run, first, ahead), progress = self._ahead, self.progress
        if run is not progress.run or not first <= progress.step < first + len(ahead):
            run, first = progress.run, progress.step
            steps = np.arange(first, first + _STEPS_AHEAD)
            arrays = scheduling.evaluate(self.optimizer, self.values, run, steps)
            ahead = [scheduling.pick(arrays, self.scheduled, i) for i in range(_STEPS_AHEAD)]
            self._ahead = run, first, ahead
        return ahead[progress.step - first]

    def spec(self, shape):
        """Return the `UpdateSpec` of parameters of ``shape``."""
        if shape not in self._rules:  # by the schedules themselves, not by what they give now
            cls, values = self.optimizer.for_shape(self.values, shape)
            self._rules[shape] = rule_of(cls, values, shape)
        return UpdateSpec(*self.optimizer.for_shape(self.current(), shape), self._rules[shape])

    def check(self, values):
        """Raise if a key is unknown or a value out of range."""
        known = self.optimizer.get_params(deep=False)
        for key in values:
            if key not in known and key != "params":
                raise ValueError(
                    f"param_groups[{self.index}] has {key!r}, which {type(self.optimizer).__name__} does not "
                    f"take; its hyper-parameters are {', '.join(map(repr, known))}.{suggestion(key, known)}"
                )
        if values.get("state_dtype") != self._state_dtype:
            raise ValueError(
                f"param_groups[{self.index}] keeps its state with state_dtype={self._state_dtype!r}, not "
                f"{values['state_dtype']!r}: state is never cast; bind an optimizer with that state_dtype"
            )
        self.optimizer.check(
            scheduling.at_step(self.optimizer, values, self.progress.run, self.progress.step)
        )
