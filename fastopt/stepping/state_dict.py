"""Saving and loading state in torch's layout: numbers, lists and arrays that any format can hold."""

import sys
from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np

from fastopt._parameters import plain, suggestion
from fastopt.rules.quantized_state import Reduced
from fastopt.rules.registry import Rule
from fastopt.schedules import Schedule, get_schedule
from fastopt.stepping import arrays, scheduling
from fastopt.stepping.param_groups import Group, rule_of
from fastopt.stepping.parameters import Param, ParamState

#: Keys of groups that say how torch or its schedulers work, and nothing about the update.
_TORCH_KEYS = frozenset(
    "foreach fused capturable differentiable "  # how it works
    "initial_lr max_lr min_lr base_momentum max_momentum swa_lr".split()  # what its schedulers note
)

#: Keys of groups that are read elsewhere in this package.
_OWN_KEYS = frozenset(("params", "param_names", "schedules", "train_mode"))


def dump(groups: list[Group], states: list[ParamState]) -> dict:
    """Return the ``state_dict`` of groups and their parameters; see `Stepper.state_dict`."""
    state = {}
    for p, rule, t, numbers in states:
        if t:
            state[p.index] = {"step": int(t), **dict(zip(rule.numbers, map(float, numbers), strict=True))}
            for name, row in zip(rule.slots, p.read(), strict=True):
                slot = row.reshape(rule.slot_shape(name, p.array.shape), order=arrays.order_of(p.array))
                state[p.index][name] = export(slot, p.given)
    return {"state": dict(sorted(state.items())), "param_groups": dump_groups(groups)}


def dump_groups(groups: list[Group]) -> list[dict]:
    """Return the hyper-parameters of groups, with a number and a description for each schedule."""
    saved, first = [], 0
    for group in groups:
        progress = group.progress
        current = scheduling.at_step(group.optimizer, group.values, progress.run, progress.step)
        hyper = {key: plain(value) for key, value in current.items() if key != "params"}
        names = scheduling.scheduled(group.values)
        described = {name: _description(group.values[name]) for name in names}
        if described:
            hyper["schedules"] = {name: one for name, one in described.items() if one is not None}
        if group.names:
            hyper["param_names"] = list(group.names)
        n = len(group.values["params"])
        saved.append(hyper | {"params": list(range(first, first + n))})
        first += n
    return saved


def export(array: np.ndarray, given) -> object:
    """Return a copy of state in C order: a torch tensor if the parameter is one, else an ndarray."""
    array = np.array(array, order="C")
    if not arrays.is_torch(given):
        return array
    torch = sys.modules["torch"]
    if array.dtype == np.uint16:  # torch has the number type of these codes
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array).to(given.device)


def _description(value):
    """Return a schedule, or a tuple with one, as plain values; None if it holds a function."""
    try:
        return _described(value)
    except TypeError:
        return None


def _described(value):
    if isinstance(value, Schedule):
        params = {name: _described(own) for name, own in value.get_params(deep=False).items()}
        return {"schedule": type(value).__name__, **params}
    if isinstance(value, (tuple, list)):
        return list(map(_described, value))
    value = plain(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{value!r} is not plain")


def _from_description(value):
    if isinstance(value, Mapping):
        params = {name: _from_description(own) for name, own in value.items() if name != "schedule"}
        return get_schedule(value["schedule"], **params)
    if isinstance(value, (tuple, list)):
        return tuple(map(_from_description, value))
    return value


def parse(groups: list[Group], params: list[list[Param]], state_dict: Mapping) -> list[tuple[dict, list]]:
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
        For each group its new values, and for each parameter its state and its slots by name.

    Raises
    ------
    ValueError, TypeError
        If something does not match; the message names it.
    """
    saved_groups, states = parts(state_dict)
    if len(saved_groups) != len(groups):
        raise ValueError(f"the state_dict has {len(saved_groups)} parameter groups, not {len(groups)}")
    result, read = [], set()
    for group, members, saved in zip(groups, params, saved_groups, strict=True):
        values = group_values(group, saved)
        loaded = []
        for p, key in zip(members, keys_of(group, members, saved), strict=True):
            cls, h = group.optimizer.for_shape(values, p.array.shape)
            key = key if key in states or str(key) not in states else str(key)  # JSON's keys are strings
            read.add(key)
            rule = rule_of(cls, h, p.array.shape)
            numbers = scheduling.at_step(cls, h, group.progress.run, 0)  # a fallback checks its own values
            loaded.append(_load(p, rule, numbers, states.get(key, {}), f"state[{key!r}]"))
        result.append((values, loaded))
    unread = [key for key in states if key not in read]
    if unread:
        raise ValueError(f"the state_dict has state of {unread}, which none of its param_groups names")
    return result


def parts(state_dict):
    """Return the groups and the states of a ``state_dict``, or raise ValueError."""
    if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
        raise ValueError("a state_dict is a dict with 'state' and 'param_groups'")
    groups, states = state_dict["param_groups"], state_dict["state"]
    if not isinstance(groups, (list, tuple)) or not all(isinstance(group, Mapping) for group in groups):
        raise ValueError(f"'param_groups' of a state_dict is a list of dicts, not {arrays.kind(groups)}")
    if not isinstance(states, Mapping):
        raise ValueError(f"'state' of a state_dict is a dict of dicts, not {arrays.kind(states)}")
    for key, state in states.items():
        if not isinstance(state, Mapping):
            raise ValueError(f"state[{key!r}] of a state_dict is a dict, not {arrays.kind(state)}")
    return groups, states


def group_values(group: Group, saved: Mapping) -> dict:
    """Return a group's values as a saved one says; schedules that it does not describe stay."""
    where, optimizer = f"param_groups[{group.index}] of the state_dict", group.optimizer
    known = optimizer.get_params(deep=False)
    is_decoupled = saved.get("decoupled_weight_decay")
    if "decoupled_weight_decay" not in known and not (
        is_decoupled is None or is_decoupled is optimizer.decoupled
    ):
        raise ValueError(
            f"{where} has decoupled_weight_decay={is_decoupled!r}, but {type(optimizer).__name__} has "
            f"{optimizer.decoupled!r}: it is of another optimizer"
        )
    for key in saved:
        if key not in known and key not in _TORCH_KEYS | _OWN_KEYS | {"decoupled_weight_decay"}:
            raise ValueError(
                f"{where} has {key!r}, which {type(optimizer).__name__} does not know: it is of another "
                f"optimizer or library. Its hyper-parameters are {', '.join(map(repr, known))}."
                f"{suggestion(key, known)}"
            )
    new = {key: _number(value) for key, value in saved.items() if key in known}
    described = saved.get("schedules", {})
    if not isinstance(described, Mapping):
        raise ValueError(f"{where} has {described!r} as its 'schedules', not a dict")
    for name in scheduling.scheduled(group.values):
        if not scheduling.scheduled({name: new.get(name)}):
            new[name] = group.values[name]
    for name, description in described.items():
        try:
            new[name] = _from_description(description)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{where} describes no schedule for {name!r}: {error}") from error
    values = group.values | new
    group.check(values)
    return values


def keys_of(group, members, saved):
    """Return the keys under which a saved group's parameters have their state, in the order of `members`."""
    where = f"param_groups[{group.index}] of the state_dict"
    ids, names = saved.get("params"), saved.get("param_names")
    if not isinstance(ids, (list, tuple)):
        raise ValueError(f"{where} has no list 'params'")
    if len(ids) != len(members):
        raise ValueError(f"{where} has {len(ids)} parameters, not {len(members)}")
    wrong = next((i for i in ids if isinstance(i, bool) or not isinstance(i, (Integral, str))), None)
    if wrong is not None:
        raise ValueError(f"{where} has {wrong!r} among its 'params', which are numbers or names of states")
    if names is None or not group.names:
        return ids
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{where} has {names!r} as its 'param_names', not a list of names")
    if not names or list(names) == group.names:
        return ids
    if len(names) != len(ids) or set(names) != set(group.names):
        other = next((name for name in group.names if name not in names), names)
        raise ValueError(
            f"{where} has param_names {list(names)}, not {group.names}: {other!r} is missing; delete "
            f"'param_names' there to match parameters by their order"
        )
    return [ids[list(names).index(name)] for name in group.names]


def _load(p, rule, numbers, saved, name):
    """Check what a saved state says about one parameter; return its `ParamState` and its slots."""
    saved = {key: value for key, value in saved.items() if value is not None}  # torch: no buffer yet
    unknown = set(saved) - {"step", *rule.slots, *rule.numbers}
    if unknown:
        raise ValueError(
            f"{name} has {sorted(map(str, unknown))}, which {rule.name!r} does not keep: it has {rule.slots}"
        )
    t = _step(saved, rule, name, numbers)
    if not t:
        return ParamState(p, rule, 0, rule.first_numbers(numbers)), {}
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
    own = tuple(real(saved[key], f"{name}[{key!r}]") for key in rule.numbers)
    return ParamState(p, rule, t, own), slots


def _step(saved, rule, name, h):
    if "step" in saved:
        return whole_number(saved["step"], f"{name}['step']")
    if not saved:
        return 0
    # torch's SGD and Muon count nothing; for a rule that does not look at the count any step will do.
    if set(saved) <= {"momentum_buffer"} or _ignores_step(rule, h):
        return 1
    raise ValueError(f"{name} lacks 'step', which {rule.name!r} needs")


def _ignores_step(rule, h):
    """Tell whether a rule does not depend on the step's number, except for the first step."""
    if not isinstance(rule, Rule) or isinstance(rule, Reduced) or rule.scalars:
        return False
    return rule.constants(h, 2) == rule.constants(h, 1_000_003)


def _item(value):
    """Return the number that an array or tensor of one element holds; else the value itself."""
    try:
        return value.item()
    except (AttributeError, ValueError, RuntimeError):
        return value


def real(value: object, name: str) -> float:
    """Return a saved number as a float, or raise ValueError."""
    value = _item(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} is {value!r}, not a number")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} is beyond the range of float64") from None


def whole_number(value: object, name: str) -> int:
    """Return a saved count as an int, or raise ValueError."""
    value = _item(value)
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not 0 <= value < 2**62 or value != int(value):
        raise ValueError(f"{name} is {value!r}, not a whole number >= 0")
    return int(value)


def calls(state_dict: Mapping, parsed: list) -> int:
    """Return the number of steps made; a state without schedules does not hold it separately."""
    if "step" in state_dict:
        return whole_number(state_dict["step"], "state_dict['step']")
    return max((state.t for _, loaded in parsed for state, _ in loaded), default=0)


def _import(value, p, shape, dtype, name):
    """Return a copy of one saved slot in the parameter's memory order."""
    array = p.open_saved(value, name) if dtype == p.array.dtype else arrays.codes(value, name)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape} but {p.name}, of {p.array.shape}, needs {shape}")
    if array.dtype != dtype:
        needed = f"{p.name} has {dtype}" if dtype == p.array.dtype else f"{p.name} needs codes of {dtype}"
        raise TypeError(f"{name} has dtype {array.dtype} but {needed}; state is never cast")
    return np.array(array, order=arrays.order_of(p.array)).reshape(-1, order=arrays.order_of(p.array))


def _number(value):
    """Return a saved hyper-parameter as plain Python values: torch may store a tensor, JSON a list."""
    if isinstance(value, (tuple, list)):
        return tuple(map(_number, value))
    return _item(value)
