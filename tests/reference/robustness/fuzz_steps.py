"""Fuzzing of optimizers, wrappers, steppers and state dicts."""

import copy
import pickle

import numpy as np
from hypothesis import strategies as st

import fastopt
from fastopt.optimizers import wrappers
from fastopt.optimizers.wrappers.base import WrappedStepper

from .odd import ARRAYS, NUMBERS, Unusable, same, works_or_explains

WRAPPERS = [getattr(wrappers, name) for name in wrappers.__all__ if name != "Wrapper"]

#: Few enough that tests compile their kernels in seconds, of every family.
SOME = (
    "adam sgd lion adafactor lamb lbfgs muon prodigy sophiag schedulefreesgd polyaksgd sparseadam mechanic"
).split()


def names(is_long):
    """Return a strategy for names of optimizers: all, or one or two of each family."""
    return st.sampled_from(fastopt.list_optimizers() if is_long else SOME)


@st.composite
def optimizers(draw, is_long, odd=2, depth=2):
    """Draw an optimizer, perhaps wrapped, with up to ``odd`` odd hyper-parameters; None if refused."""
    name = draw(names(is_long))
    cls = type(fastopt.get_optimizer(name))
    known = cls._names()
    chosen = draw(st.lists(st.sampled_from(known), max_size=odd, unique=True))
    made = works_or_explains(lambda: fastopt.get_optimizer(name, **{k: draw(NUMBERS) for k in chosen}))
    for _ in range(draw(st.integers(0, depth))):
        wrapper = draw(st.sampled_from(WRAPPERS))
        own = [k for k in wrapper._names() if k != "optimizer"]
        chosen = draw(st.lists(st.sampled_from(own), max_size=odd and 1, unique=True)) if own else []
        inside, values = made, {k: draw(NUMBERS) for k in chosen}
        made = works_or_explains(lambda inside=inside, cls=wrapper, v=values: cls(inside, **v)) or made
    return made


def step(stepper, arrays, gradients, rows=None):
    """Make a step as this optimizer wants it."""
    optimizer = stepper.bound.optimizer
    if optimizer.needs == "closure" or isinstance(stepper, WrappedStepper):
        calls = []

        def closure():
            calls.append(None)
            if len(calls) > 60:
                raise Unusable("a step evaluated its closure more than 60 times")
            return 1.0, gradients

        return stepper.step(closure=closure)
    return stepper.step(gradients, **({"loss": 1.0} if optimizer.needs == "loss" else {}))


def two_arrays(dtype=np.float64):
    rng = np.random.default_rng(1)
    return [rng.normal(size=shape).astype(dtype) for shape in ((4, 3), (5,))]


@st.composite
def optimizer_cases(draw, is_long):
    return draw(optimizers(is_long)), draw(st.sampled_from([np.float32, np.float64])), draw(st.integers(1, 3))


def check_optimizer(case):
    """An optimizer of any values can be shown, copied and compared; it binds and steps, or says why not."""
    optimizer, dtype, n_steps = case
    if optimizer is None:
        return
    repr(optimizer)
    works_or_explains(lambda: optimizer.get_params())
    works_or_explains(lambda: copy.deepcopy(optimizer), also=(pickle.PicklingError,))
    arrays, gradients = two_arrays(dtype), two_arrays(dtype)
    before = copy.deepcopy(gradients)
    stepper = works_or_explains(lambda: optimizer.bind(arrays))
    if stepper is None:
        return
    for _ in range(n_steps):
        works_or_explains(lambda: step(stepper, arrays, gradients))
    assert same(gradients, before), "a step wrote to gradients"
    state = works_or_explains(stepper.state_dict)
    if state is not None:
        other = works_or_explains(lambda: optimizer.bind(two_arrays(dtype)))
        if other is not None:
            works_or_explains(lambda: other.load_state_dict(state))


@st.composite
def array_cases(draw, is_long):
    optimizer = draw(optimizers(is_long, odd=0, depth=1))
    bound = draw(st.one_of(ARRAYS, st.lists(ARRAYS, max_size=3), st.just("valid")))
    gradients = draw(st.one_of(ARRAYS, st.lists(ARRAYS, max_size=3)))
    return optimizer, bound, gradients, draw(NUMBERS), draw(NUMBERS)


def check_arrays(case):
    """Any object as parameters, gradients, grad_scale or a group's value is taken or refused in words."""
    optimizer, bound, gradients, scale, value = case
    if optimizer is None:
        return
    bound = two_arrays() if isinstance(bound, str) else bound
    before = (
        copy.deepcopy([g for g in gradients if isinstance(g, np.ndarray)]) if type(gradients) is list else []
    )
    stepper = works_or_explains(lambda: optimizer.bind(bound))
    if stepper is None:
        return
    works_or_explains(lambda: stepper.step(gradients))
    works_or_explains(lambda: step(stepper, bound, gradients))
    if not isinstance(stepper, WrappedStepper):
        works_or_explains(lambda: stepper.step(gradients, grad_scale=scale))
    group = stepper.param_groups[0]
    name = next(k for k in group if k != "params")
    old, group[name] = group[name], value
    works_or_explains(lambda: step(stepper, bound, gradients))
    group[name] = old
    if type(gradients) is list:
        assert same([g for g in gradients if isinstance(g, np.ndarray)], before), "a step wrote to gradients"


def paths(value, at=()):
    """Yield the places in nested dicts and lists."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, (list, tuple))
        else ()
    )
    for key, inner in items:
        yield (*at, key)
        yield from paths(inner, (*at, key))


@st.composite
def state_cases(draw, is_long):
    optimizer = draw(optimizers(is_long, odd=0, depth=1))
    damage = draw(
        st.lists(
            st.tuples(
                st.integers(0, 10**6), st.sampled_from(["delete", "replace", "rename", "cast", "cut"]),
                st.one_of(NUMBERS, ARRAYS),
            ),
            min_size=1, max_size=3,
        )
    )  # fmt: skip
    return optimizer, damage


def damaged(state, damage):
    """Return a copy of a state with changes at some places."""
    state = copy.deepcopy(state)
    for place, kind, value in damage:
        if isinstance(value, (list, dict, set)):
            value = value.copy()  # or it could come to lie in itself
        places = list(paths(state)) if isinstance(state, dict) else []
        if not places:
            return state
        *outer, key = places[place % len(places)]
        inside = state
        for step_ in outer:
            inside = inside[step_]
        if isinstance(inside, tuple):
            continue
        old = inside[key]
        if kind == "delete":
            del inside[key]
        elif kind == "rename" and isinstance(inside, dict):
            inside[value if isinstance(value, (str, int, float)) else "other"] = inside.pop(key)
        elif kind == "cast" and isinstance(old, np.ndarray) and old.dtype.kind in "fiub":
            inside[key] = old.astype("f2" if place % 2 else "c16")
        elif kind == "cut" and isinstance(old, (np.ndarray, list)):
            inside[key] = old[:-1] if getattr(old, "ndim", 1) else old
        else:
            inside[key] = value
    return state


def check_state(case):
    """A damaged state dict is loaded, or refused in words and nothing has changed; a step after it works."""
    optimizer, damage = case
    if optimizer is None:
        return
    arrays, gradients = two_arrays(), two_arrays()
    steppers = [works_or_explains(lambda a=a: optimizer.bind(a)) for a in (two_arrays(), arrays)]
    if None in steppers:
        return
    for stepper, n in zip(steppers, (2, 1), strict=True):
        for _ in range(n):
            works_or_explains(lambda s=stepper: step(s, arrays, gradients))
    wrong = damaged(steppers[0].state_dict(), damage)
    is_copyable = not any(isinstance(v, memoryview) or hasattr(v, "__next__") for _, _, v in damage)
    given = copy.deepcopy(wrong) if is_copyable else None
    before = copy.deepcopy((arrays, steppers[1].state_dict()))
    loaded = works_or_explains(lambda: steppers[1].load_state_dict(wrong) or True)
    if given is not None:
        assert same(given, wrong), "load_state_dict changed its argument"
    if loaded is None:
        now = arrays, steppers[1].state_dict()
        assert same(before, now), "a refused state dict changed something"
    works_or_explains(lambda: step(steppers[1], arrays, gradients), also=(RuntimeError,))  # in eval mode
