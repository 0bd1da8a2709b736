"""The hyper-parameter object: scikit-learn's protocol, names, values."""

import collections
import inspect
import pickle

import numpy as np
import pytest
from reference.problems import advance, is_flat
from sklearn.base import clone

import fastopt
from fastopt.optimizers.base import ALIASES, OPTIMIZERS
from fastopt.rules.ranges import is_numeric
from fastopt.rules.registry import RULES
from fastopt.rules.tensorwise import TENSOR_RULES

NAMES = sorted(OPTIMIZERS)


@pytest.mark.parametrize("name", NAMES)
def test_the_repr_evaluates_to_an_equal_optimizer(name):
    optimizer = fastopt.get_optimizer(name, lr=np.float64(0.125))
    assert eval(repr(optimizer), vars(fastopt)) == optimizer


@pytest.mark.parametrize("name", NAMES)
def test_clone_and_pickle_keep_every_value(name):
    optimizer = fastopt.get_optimizer(name, lr=0.5)
    assert clone(optimizer) == optimizer == pickle.loads(pickle.dumps(optimizer))


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_is_documented(name):
    cls = OPTIMIZERS[name]
    text = inspect.getdoc(cls)
    missing = [argument for argument in inspect.signature(cls).parameters if argument not in text]
    assert not missing


@pytest.mark.parametrize("name", NAMES)
def test_the_class_is_public_under_its_own_name(name):
    cls = OPTIMIZERS[name]
    assert getattr(fastopt, cls.__name__) is cls
    assert cls.__name__ in fastopt.__all__


@pytest.mark.parametrize("name", ["adam", "lars", "prodigy"])
def test_arrays_at_construction_where_torch_takes_them_are_sent_to_bind(name):
    cls, w = OPTIMIZERS[name], np.ones(3)
    for params in (w, [w], (w, w), {"w": w}, iter([w]), [{"params": [w]}]):
        with pytest.raises(TypeError, match=rf"bind takes the arrays: {cls.__name__}\(\.\.\.\)\.bind"):
            cls(params, lr=0.1)


def test_an_unknown_argument_is_a_type_error_at_construction():
    with pytest.raises(TypeError, match="learning_rate"):
        fastopt.Adam(learning_rate=0.1)


def test_set_params_names_the_valid_ones():
    with pytest.raises(ValueError, match=r"Invalid parameter 'lrr' for SGD. Valid parameters are: \['lr'"):
        fastopt.SGD().set_params(lrr=1.0)


@pytest.mark.parametrize(
    ("optimizer", "error", "words"),
    [
        (fastopt.Adam(lr=-1.0), ValueError, r"Adam\(lr=-1.0\): lr must be a finite number >= 0"),
        (fastopt.Adam(lr=float("nan")), ValueError, "lr must be a finite number >= 0"),
        (fastopt.Adam(lr="fast"), TypeError, "lr must be a finite number >= 0, not str"),
        (fastopt.Adam(lr=True), TypeError, "not bool"),
        (fastopt.Adam(lr=abs), TypeError, r"wrap it: fastopt.schedules.function\(f\)"),
        (fastopt.Adam(betas=(0.9, 1.0)), ValueError, r"betas must be a number in \[0, 1\)"),
        (fastopt.Adam(betas=0.9), ValueError, "betas must be a tuple of 2 numbers"),
        (fastopt.Adam(eps_mode="keras"), ValueError, "eps_mode must be 'torch' or 'hat'"),
        (fastopt.Adam(amsgrad=1), TypeError, "amsgrad must be True or False, not int"),
        (fastopt.SGD(nesterov=True), ValueError, "needs momentum > 0"),
        (fastopt.SGD(momentum=0.9, nesterov=True, dampening=0.1), ValueError, "dampening == 0"),
        (fastopt.Rprop(etas=(1.2, 0.5)), ValueError, "etas must be below and above 1"),
        (fastopt.Rprop(step_sizes=(1.0, 0.5)), ValueError, "must not exceed the largest"),
    ],
)
def test_a_value_out_of_range_is_refused_by_bind_and_by_flat(optimizer, error, words):
    with pytest.raises(error, match=words):
        optimizer.bind(np.ones(2))
    with pytest.raises(error, match=words):
        optimizer.flat(4, 2, np.float32)


NUMERIC = [
    (name, key)
    for name in NAMES
    for key, value in OPTIMIZERS[name]().get_params(deep=False).items()
    if is_numeric(value)
]


@pytest.mark.parametrize(("name", "key"), NUMERIC)
def test_every_number_has_a_range_that_nan_and_some_number_are_out_of(name, key):
    """No hyper-parameter of any optimizer may be every number."""

    def refused(number):
        value = OPTIMIZERS[name]().get_params()[key]
        value = (number,) * len(value) if isinstance(value, tuple) else number
        optimizer = OPTIMIZERS[name](**{key: value})
        try:
            optimizer.check(optimizer.get_params(deep=False))
        except ValueError as error:
            return key in str(error)
        return False

    assert refused(float("nan"))
    assert any(map(refused, (-5.0, 5.0, 0.5, float("inf"))))


@pytest.mark.parametrize("decorator", [fastopt.register, fastopt.tensor_rule])
def test_a_rule_of_ones_own_must_say_which_numbers_are_allowed(decorator):
    def ranged(w, g, lr, nu):
        return w - lr * nu * g

    more = {"constants": lambda h, t: (h["lr"], h["nu"])} if decorator is fastopt.register else {}
    defaults = {"lr": 0.1, "nu": 0.5}
    with pytest.raises(ValueError, match=r"nu=0.5 without a range; say which numbers are allowed"):
        decorator("ranged", defaults=defaults, **more)(ranged)
    decorator("ranged", defaults=defaults, ranges={"nu": (lambda x: 0 <= x < 1, "in [0, 1)")}, **more)(ranged)
    try:
        for number in (-5, 1.0, float("nan")):
            optimizer = fastopt.get_optimizer("ranged", nu=number)
            with pytest.raises(ValueError, match=r"nu must be in \[0, 1\)"):
                optimizer.bind(np.ones(2))
        fastopt.get_optimizer("ranged", nu=0.9).check({"lr": 0.1, "nu": 0.9})
    finally:
        for table in (RULES, TENSOR_RULES, OPTIMIZERS):
            table.pop("ranged", None)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"'adma' is not one of .*Did you mean 'adam'"):
        fastopt.get_optimizer("adma")


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_every_alias_makes_its_optimizer(alias):
    name, settings = ALIASES[alias]
    assert fastopt.get_optimizer(alias.upper(), lr=0.5) == OPTIMIZERS[name](**settings | {"lr": 0.5})


def test_names_are_canonical_lower_case_and_sorted():
    names = fastopt.list_optimizers()
    assert names == sorted(names) == [name.lower() for name in names]
    assert not set(names) & set(ALIASES)


@pytest.mark.parametrize("name", [name for name in NAMES if is_flat(name)])
def test_constants_do_not_depend_on_how_many_steps_are_folded_at_once(name):
    """The engine folds ahead by what time allows, and the bits of a fit must not depend on that."""
    whole = fastopt.get_optimizer(name).flat(8, 8, np.float64).constants(700)
    pieces, update = [], fastopt.get_optimizer(name).flat(8, 8, np.float64)
    for n_steps in (1, 2, 3, 61, 64, 100, 469):
        pieces.append(update.constants(n_steps).copy())
        update.advance(n_steps)
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


SWITCHED = [name for name in NAMES if "decoupled_weight_decay" in fastopt.get_optimizer(name).get_params()]


@pytest.mark.parametrize("name", SWITCHED)
def test_decay_joins_the_gradient_or_shrinks_the_weights(name):
    """Either form of the first step is one without decay, of another gradient or from other weights."""
    rng = np.random.default_rng(0)
    w, g = rng.standard_normal((2, 6, 5))
    lr, decay = 0.01, 0.3

    def step(w, g, **options):
        w = w.copy()
        stepper = fastopt.get_optimizer(name, lr=lr, **options).bind(w)
        advance(stepper, stepper.bound.optimizer, [g])
        return w

    coupled = step(w, g, weight_decay=decay, decoupled_weight_decay=False)
    np.testing.assert_allclose(coupled, step(w, g + decay * w, weight_decay=0.0), rtol=1e-12)
    if name in ("dadaptadam", "prodigy", "dog"):
        return  # the first two shrink by their own rate, and DoG begins by the norm of the weights
    decoupled = step(w, g, weight_decay=decay, decoupled_weight_decay=True)
    np.testing.assert_allclose(decoupled, step(w * (1 - lr * decay), g, weight_decay=0.0), rtol=1e-12)


class Odd:
    """An object that can be neither compared nor shown."""

    def __eq__(self, other):
        raise ArithmeticError

    __hash__ = None

    def __repr__(self):
        raise ArithmeticError


Pair = collections.namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (np.ones(2), "array([1., 1.])"),
        (float("nan"), "nan"),
        (Pair(1, 2), "Pair(a=1, b=2)"),
        (Odd(), "<Odd, whose repr raises ArithmeticError>"),
        ([Odd()], "<list, whose repr raises ArithmeticError>"),
    ],
)
def test_the_repr_shows_any_value(value, shown):
    assert repr(fastopt.Adam(lr=value)) == f"Adam(lr={shown})"
    assert repr(fastopt.EMA(fastopt.SGD(lr=value))) == f"EMA(optimizer=SGD(lr={shown}))"
    assert shown in repr(fastopt.schedules.step(value, 3))
    assert shown in repr(fastopt.MLPClassifier(alpha=value))
