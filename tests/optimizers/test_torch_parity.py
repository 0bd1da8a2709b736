"""Every optimizer that torch has, against torch: parameters and every slot, over 100 steps."""

import inspect

import numpy as np
import pytest
from reference.problems import distance, problem

import fastopt
from fastopt.optimizers.base import OPTIMIZERS

torch = pytest.importorskip("torch")

#: Settings to compare: our optimizer's name to keyword arguments that torch takes by the same names.
CASES = {
    "sgd": [
        {},
        {"lr": 0.1, "weight_decay": 0.1},
        {"lr": 0.1, "maximize": True, "weight_decay": 0.1},
        {"lr": 0.05, "momentum": 0.9},
        {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1, "maximize": True},
        {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ],
    "adam": [
        {},
        {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1, "maximize": True},
        {"lr": 0.01, "amsgrad": True},
        {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True},
    ],
    "adamw": [{}, {"lr": 0.01, "weight_decay": 0.3, "amsgrad": True, "maximize": True}],
    "nadam": [
        {},
        {"lr": 0.01, "momentum_decay": 0.1, "weight_decay": 0.1},
        {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True},
    ],
    "radam": [
        {},
        {"lr": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.1, "maximize": True},
        {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True, "eps": 1e-3},
    ],
    "adamax": [{}, {"lr": 0.01, "weight_decay": 0.1, "eps": 1e-2, "maximize": True}],
    "rmsprop": [
        {},
        {"centered": True, "weight_decay": 0.1},
        {"momentum": 0.9, "alpha": 0.9, "maximize": True},
        {"centered": True, "momentum": 0.5, "eps": 1e-3},
    ],
    "adagrad": [
        {},
        {"lr": 0.1, "lr_decay": 0.01, "weight_decay": 0.1},
        {"initial_accumulator_value": 0.1, "eps": 1e-3, "maximize": True},
    ],
    "adadelta": [{}, {"lr": 0.5, "rho": 0.95, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}],
    "asgd": [{}, {"lr": 0.1, "lambd": 0.01, "t0": 20, "weight_decay": 0.1}, {"t0": 0, "maximize": True}],
    "rprop": [{}, {"lr": 0.1, "etas": (0.6, 1.1), "step_sizes": (1e-3, 0.2), "maximize": True}],
}
FLAT = [(name, kwargs) for name, settings in CASES.items() for kwargs in settings]
IDS = [f"{name}-{'-'.join(kwargs) or 'defaults'}" for name, kwargs in FLAT]

#: float64: 100 steps of rounding, with a margin of 50 over the worst measured (2e-14).
#: float32: the project's promise; the worst measured is 4e-7.
TOLERANCE = {np.float64: 1e-12, np.float32: 2e-6}


@pytest.fixture(autouse=True)
def _double_scalars():
    """Keep NAdam's and ASGD's scalars in float64: torch rounds them to its default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def torch_class(name):
    return getattr(torch.optim, OPTIMIZERS[name].__name__)


def as_tensors(arrays):
    return [torch.tensor(a) for a in arrays]


def test_every_optimizer_of_torch_with_our_name_is_compared():
    shared = {name for name, cls in OPTIMIZERS.items() if hasattr(torch.optim, cls.__name__)}
    special = {"muon", "adafactor", "sparseadam", "lbfgs"}  # not scalar rules: compared in their own tests
    assert shared - special == set(CASES)


SAME_DEFAULTS = sorted(name for name, cls in OPTIMIZERS.items() if "defaults included" in cls.__doc__)


@pytest.mark.parametrize(
    "name", [name for name in SAME_DEFAULTS if hasattr(torch.optim, OPTIMIZERS[name].__name__)]
)
def test_defaults_are_those_of_torch_where_the_docstring_says_so(name):
    ours = OPTIMIZERS[name]().get_params()
    theirs = inspect.signature(torch_class(name)).parameters
    shared = {key: value.default for key, value in theirs.items() if key in ours}
    assert {"lr"} < set(shared)
    assert {key: ours[key] for key in shared} == shared


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("name", "kwargs"), FLAT, ids=IDS)
def test_parameters_and_slots_are_those_of_torch(name, kwargs, dtype):
    params, steps = problem(dtype)
    tensors = as_tensors(params)
    reference = torch_class(name)(tensors, **kwargs)
    stepper = fastopt.get_optimizer(name, **kwargs).bind(params)
    for grads in steps:
        for tensor, gradient in zip(tensors, grads, strict=True):
            tensor.grad = torch.tensor(gradient)
        reference.step()
        stepper.step(grads)
    assert distance(params, tensors) <= TOLERANCE[dtype]
    ours, theirs = stepper.state_dict()["state"], reference.state_dict()["state"]
    for key, value in theirs.get(0, {}).items():
        if value is not None:
            slots = [[state[i][key] for i in range(len(params))] for state in (ours, theirs)]
            assert distance(*slots) <= TOLERANCE[dtype], key


@pytest.mark.parametrize(("name", "kwargs"), FLAT, ids=IDS)
def test_a_state_of_torch_is_loaded_and_goes_on_with_equal_numbers(name, kwargs):
    params, steps = problem(np.float64, n_steps=20)
    tensors = as_tensors(params)
    reference = torch_class(name)(tensors, **kwargs)
    step_torch(reference, tensors, steps[:10])
    ours = [tensor.numpy().copy() for tensor in tensors]
    stepper = fastopt.get_optimizer(name).bind(ours)
    stepper.load_state_dict(reference.state_dict())
    step_torch(reference, tensors, steps[10:])
    for grads in steps[10:]:
        stepper.step(grads)
    assert distance(ours, tensors) <= 1e-13  # ten steps of rounding


@pytest.mark.parametrize(("name", "kwargs"), FLAT, ids=IDS)
def test_a_state_of_ours_is_loaded_by_torch_and_goes_on_with_equal_numbers(name, kwargs):
    params, steps = problem(np.float64, n_steps=20)
    tensors = as_tensors(params)
    stepper = fastopt.get_optimizer(name, **kwargs).bind(tensors)
    for grads in steps[:10]:
        stepper.step(grads)
    theirs = [tensor.clone() for tensor in tensors]
    reference = torch_class(name)(theirs)
    reference.load_state_dict(stepper.state_dict())
    step_torch(reference, theirs, steps[10:])
    for grads in steps[10:]:
        stepper.step(grads)
    assert distance(tensors, theirs) <= 1e-13  # ten steps of rounding


def step_torch(optimizer, tensors, steps):
    for grads in steps:
        for tensor, gradient in zip(tensors, grads, strict=True):
            tensor.grad = torch.tensor(gradient)
        optimizer.step()
