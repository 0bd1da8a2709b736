"""State in torch's layout, out and in."""

import copy
import sys
from numbers import Integral

import numpy as np

from fastopt.stepping import arrays
from fastopt.stepping.arrays import order_of
from fastopt.stepping.param_groups import rule_of
from fastopt.stepping.parameters import ParamState


def dump(groups, holders):
    """Return the ``state_dict`` of these groups, whose state the buckets hold; see `Stepper`."""
    state = {}
    for p, rule, t, numbers in (entry for holder in holders for entry in holder.states()):
        if t:
            state[p.index] = {"step": t, **dict(zip(rule.numbers, numbers, strict=True))}
            for name, row in zip(rule.slots, p.read(), strict=True):
                state[p.index][name] = _export(row, p, rule.slot_shape(name, p.array.shape))
    saved, first = [], 0
    for group in groups:
        n = len(group.values["params"])
        hyper = {key: copy.deepcopy(value) for key, value in group.values.items() if key != "params"}
        saved.append(hyper | {"params": list(range(first, first + n))})
        first += n
    return {"state": dict(sorted(state.items())), "param_groups": saved}


def _export(row, p, shape):
    array = row.reshape(shape, order=order_of(p.array))
    if not arrays.is_torch(p.given):
        return array
    torch = sys.modules["torch"]
    if array.dtype == np.uint16:  # torch has the number type of these codes
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array).to(p.given.device)


def _load(p, rule, saved, name):
    """Check what a saved state says about one parameter; return its entry and its slots."""
    saved = {key: value for key, value in saved.items() if value is not None}  # torch: no buffer yet
    unknown = set(saved) - {"step", *rule.slots, *rule.numbers}
    if unknown:
        raise ValueError(
            f"{name} has {sorted(unknown)}, which {rule.name!r} does not keep: it has {rule.slots}"
        )
    t = _step(saved, rule, name)
    if not t:
        _, h, _ = p.group.spec(p.array.shape)
        return ParamState(p, rule, 0, rule.first_numbers(h)), {}
    missing = [key for key in (*rule.slots, *rule.numbers) if key not in saved]
    if missing:
        raise ValueError(f"{name} lacks {missing}, which {rule.name!r} needs")
    slots = {
        key: _import(
            saved[key],
            p,
            rule.slot_shape(key, p.array.shape),
            np.dtype(rule.slot_dtype(key, p.array.dtype)),
            f"{name}[{key!r}]",
        )
        for key in rule.slots
    }
    return ParamState(p, rule, t, tuple(float(saved[key]) for key in rule.numbers)), slots


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
    return max((entry.t for _, loaded in parsed for entry, _ in loaded), default=0)


def _import(value, p, shape, dtype, name):
    """Return a copy of one saved slot in the parameter's memory order."""
    array = p.open_saved(value, name) if dtype == p.array.dtype else arrays.codes(value, name)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape} but {p.name}, of {p.array.shape}, needs {shape}")
    if array.dtype != dtype:
        needed = f"{p.name} has {dtype}" if dtype == p.array.dtype else f"{p.name} needs codes of {dtype}"
        raise TypeError(f"{name} has dtype {array.dtype} but {needed}; state is never cast")
    return np.array(array, order=order_of(p.array)).reshape(-1, order=order_of(p.array))


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
    list of (dict, list of (ParamState, dict))
        For each group its new values, and for each parameter its entry and its slots by name.
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
        loaded = []
        for p, key in zip(members, ids, strict=True):
            cls, h = group.optimizer.for_shape(values, p.array.shape)
            rule = rule_of(cls, h, p.array.shape)
            loaded.append(_load(p, rule, states.get(key, {}), f"state[{key!r}]"))
        result.append((values, loaded))
    return result
