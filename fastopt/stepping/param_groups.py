"""Parameter groups: torch's list of dicts, checked whenever a value changes."""

from collections.abc import Mapping, MappingView, Set
from typing import Any, NamedTuple

import numpy as np

from fastopt._parameters import suggestion
from fastopt.kernels import recording
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


def to_groups(params: Any) -> list[dict]:
    """Return what `bind` was given as a list of group dicts; see `to_group`."""
    if isinstance(params, Mapping) and "params" not in params and all(map(_is_array, params.values())):
        return [to_group({"params": params})]
    params = to_list(params)
    if params and all(isinstance(p, dict) for p in params):
        return [to_group(group) for group in params]
    if any(isinstance(p, dict) for p in params):
        raise TypeError("params mixes arrays and group dicts; pass one or the other")
    return [to_group({"params": params})]


def _is_array(x):
    return hasattr(x, "shape") or hasattr(x, "__array_interface__") or hasattr(x, "__dlpack__")


def to_group(group: dict) -> dict:
    """Return a copy of a group with a list of arrays under ``'params'``.

    Where they are given as pairs (name, array), as by torch's ``named_parameters()``, or as a dict of name to
    array, their names stand under ``'param_names'``, as in torch.
    """
    if "params" not in group:
        return dict(group)
    params = group["params"]
    pairs = list(params.items()) if isinstance(params, Mapping) else to_list(params)
    is_pair = [isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], str) for p in pairs]
    if not any(is_pair):
        given = group.get("param_names")
        if given is not None and len(given) != len(pairs):
            raise ValueError(f"param_names has {len(given)} names for {len(pairs)} arrays")
        return group | {"params": pairs}
    if not all(is_pair):
        raise ValueError("params mixes arrays and pairs (name, array); pass one or the other")
    names = [name for name, _ in pairs]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"params has more than one array called {sorted(twice)}; names are to be unique")
    return group | {"params": [array for _, array in pairs], "param_names": names}


def to_list(x: Any) -> list:
    """Return a list: of one for a single array, of all for anything else that iterates in an order."""
    if isinstance(x, (list, tuple)):
        return list(x)
    if isinstance(x, Set) and not isinstance(x, MappingView):
        raise TypeError(
            f"a {type(x).__name__} has no order, or another one in each run, and arrays are known by their "
            "order; pass a list"
        )
    if isinstance(x, Mapping) or hasattr(x, "shape") or not hasattr(x, "__iter__"):
        return [x]
    return list(x)


def rule_of(cls, values, shape):
    """Return the rule by which a class updates parameters of ``shape``, its state in ``state_dtype``."""
    return reduced(cls.rule_for(values, shape), values.get("state_dtype"))


class Group:
    """A live parameter group: the user's dict, and what was computed from its values at the last change.

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

    Attributes
    ----------
    names : list of str
        Of the arrays, where they were bound with names.
    seen : tuple
        The values at the last `refresh`, a new tuple each time.
    """

    def __init__(self, optimizer, values, index, progress):
        self.optimizer, self.values, self.index, self.progress = optimizer, values, index, progress
        self.names = values.pop("param_names", [])
        for name, value in optimizer.get_params(deep=False).items():
            values.setdefault(name, value)
        self._state_dtype = values.get("state_dtype")
        self.refresh()

    def is_changed(self):
        """Tell whether a value has changed since `refresh`."""
        try:
            return tuple(self.values.values()) != self.seen
        except ValueError:  # an array, which `check` refuses
            return True

    def unscheduled(self):
        """Return the values with None in place of schedules, which a recorded step does not hold."""
        return [None if k in self.scheduled else v for k, v in self.values.items() if k != "params"]

    def refresh(self):
        """Check the values and remember them."""
        self.check(self.values)
        self.scheduled = scheduling.scheduled(self.values)
        self._ahead, self._rules = (None, 0, ()), {}
        self.seen = tuple(self.values.values())

    def current(self):
        """Return the values of the next step: the live dict, or a copy with numbers in place of schedules."""
        if not self.scheduled:
            return self.values
        recorder = recording.current()
        if recorder is not None:
            return self._recorded(recorder)
        (run, first, ahead), progress = self._ahead, self.progress
        if run is not progress.run or not first <= progress.step < first + len(ahead):
            run, first = progress.run, progress.step
            steps = np.arange(first, first + _STEPS_AHEAD)
            arrays = scheduling.evaluate(self.optimizer, self.values, run, steps)
            ahead = [scheduling.pick(arrays, self.scheduled, i) for i in range(_STEPS_AHEAD)]
            self._ahead = run, first, ahead
        return ahead[progress.step - first]

    def _recorded(self, recorder):
        """Return the values of a step that is recorded: for schedules, numbers that are computed ahead."""
        values, progress = self.values, self.progress
        places = [(name, i) for name in self.scheduled for i in scheduling.places(values[name])]

        def ahead(n):
            steps = np.arange(progress.step, progress.step + n)
            arrays = scheduling.evaluate(self.optimizer, values, progress.run, steps)
            return np.stack([arrays[name] if i is None else arrays[name][i] for name, i in places], axis=1)

        numbers = dict(zip(places, recorder.feed(self, ahead, (len(places),)), strict=True))
        new = dict(values)
        for name in self.scheduled:
            if (name, None) in numbers:
                new[name] = numbers[name, None]
            else:
                new[name] = tuple(numbers.get((name, i), value) for i, value in enumerate(values[name]))
        return new

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
        dtype = values.get("state_dtype")
        if not (dtype is None or isinstance(dtype, str)) or dtype != self._state_dtype:
            raise ValueError(
                f"param_groups[{self.index}] keeps its state with state_dtype={self._state_dtype!r}, not "
                f"{dtype!r}: state is never cast; bind an optimizer with that state_dtype"
            )
        self.optimizer.check(
            scheduling.at_step(self.optimizer, values, self.progress.run, self.progress.step)
        )
