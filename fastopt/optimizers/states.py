"""State in torch's layout, out and in."""

import copy
import sys
from numbers import Integral

import numpy as np

from fastopt.optimizers import arrays


def dump(groups, cohorts):
    """Return the ``state_dict`` of these groups; see `Stepper.state_dict`."""
    state = {}
    for cohort in cohorts:
        rule = cohort.group.rule
        for p in cohort.members if cohort.t else ():
            state[p.index] = {"step": cohort.t, **dict(zip(rule.scalars, cohort.scalars, strict=True))}
            for name, row in zip(rule.slots, p.slots, strict=True):
                state[p.index][name] = _export(row, p)
    saved, first = [], 0
    for group in groups:
        n = len(group.values["params"])
        hyper = {key: copy.deepcopy(value) for key, value in group.values.items() if key != "params"}
        saved.append(hyper | {"params": list(range(first, first + n))})
        first += n
    return {"state": dict(sorted(state.items())), "param_groups": saved}


def _order(array):
    return "C" if array.flags.c_contiguous else "F"


def _export(row, p):
    array = row[: p.array.size].copy().reshape(p.array.shape, order=_order(p.array))
    return sys.modules["torch"].from_numpy(array) if arrays.is_torch(p.given) else array


class Loaded:
    """What a saved state says about one parameter, checked."""

    def __init__(self, p, rule, saved, name):
        self.p = p
        self.slots, self.scalars = {}, ()
        saved = {key: value for key, value in saved.items() if value is not None}  # torch: no buffer yet
        unknown = set(saved) - {"step", *rule.slots, *rule.scalars}
        if unknown:
            raise ValueError(
                f"{name} has {sorted(unknown)}, which {rule.name!r} does not keep: it has {rule.slots}"
            )
        self.t = _step(saved, rule, name)
        missing = [key for key in (*rule.slots, *rule.scalars) if self.t and key not in saved]
        if missing:
            raise ValueError(f"{name} lacks {missing}, which {rule.name!r} needs")
        if self.t:
            self.slots = {key: _import(saved[key], p, f"{name}[{key!r}]") for key in rule.slots}
            self.scalars = tuple(float(saved[key]) for key in rule.scalars)


def _step(saved, rule, name):
    if "step" not in saved:
        if set(saved) <= {"momentum_buffer"}:  # torch's SGD counts nothing; any step but the first will do
            return int(bool(saved))
        raise ValueError(f"{name} lacks 'step', which {rule.name!r} needs")
    step = saved["step"]
    step = step.item() if hasattr(step, "item") else step
    if not isinstance(step, (Integral, float)) or step < 0 or step != int(step):
        raise ValueError(f"{name}['step'] is {step!r}, not a whole number >= 0")
    return int(step)


def calls(state_dict, parsed):
    """Return how many steps the stepper had made; a state without schedules does not say it apart."""
    if "step" in state_dict:
        return _step(state_dict, None, "the state_dict")
    return max((one.t for *_, loaded in parsed for one in loaded), default=0)


def _import(value, p, name):
    """Return a copy of one saved slot in the parameter's memory order."""
    array = arrays.view(value, name)
    if array.shape != p.array.shape:
        raise ValueError(f"{name} has shape {array.shape} but {p.name} has {p.array.shape}")
    if array.dtype != p.array.dtype:
        raise TypeError(
            f"{name} has dtype {array.dtype} but {p.name} has {p.array.dtype}; state is never cast"
        )
    return np.array(array, order=_order(p.array)).reshape(-1, order=_order(p.array))


def _number(value):
    """Return a saved hyper-parameter as plain Python: torch may keep one in a tensor, JSON makes lists."""
    if isinstance(value, (tuple, list)):
        return tuple(map(_number, value))
    return value.item() if hasattr(value, "item") else value


def parse(groups, params, state_dict):
    """Check a ``state_dict`` against what is bound.

    Parameters
    ----------
    groups : list of Group
    params : list of list of Param
        By group.
    state_dict : dict

    Returns
    -------
    list of (dict, Rule, list of Loaded)
        For each group its new values, their rule, and its parameters' state.
    """
    if not isinstance(state_dict, dict) or not {"state", "param_groups"} <= set(state_dict):
        raise ValueError("a state_dict is a dict with 'state' and 'param_groups'")
    saved_groups, states = state_dict["param_groups"], state_dict["state"]
    if len(saved_groups) != len(groups):
        raise ValueError(f"the state_dict has {len(saved_groups)} parameter groups, not {len(groups)}")
    result = []
    for group, members, saved in zip(groups, params, saved_groups, strict=True):
        ids = saved["params"]
        if len(ids) != len(members):
            raise ValueError(
                f"param_groups[{group.index}] of the state_dict has {len(ids)} parameters, not {len(members)}"
            )
        known = group.optimizer.get_params(deep=False)
        values = group.values | {k: _number(v) for k, v in saved.items() if k in known}
        group.check(values)
        rule = group.optimizer.rule(values)
        loaded = [
            Loaded(p, rule, states.get(key, {}), f"state[{key!r}]")
            for p, key in zip(members, ids, strict=True)
        ]
        result.append((values, rule, loaded))
    return result
