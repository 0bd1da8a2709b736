"""The catalogue beyond torch: each optimizer against its oracle, in float64 and float32."""

import ast
from pathlib import Path

import numpy as np
import pytest
from reference import catalogue_oracles as oracles
from reference.catalogue_oracles.common import LOSSES, N_STEPS
from reference.problems import advance, distance, problem

import fastopt
from fastopt.optimizers.base import OPTIMIZERS

CASES = oracles.CASES
SHAPES = ((5, 7), (67,), (9, 4), ())

#: float64: rounding of 30 steps with a wide margin. float32: the project's promise of 2e-6 for an elementwise
#: step; what follows from a norm or a sum over all weights has a few roundings more.
RTOL = {np.float64: 1e-12, np.float32: 2e-5}


def follow(optimizer, params, steps):
    stepper = optimizer.bind(params)
    for grads, loss in zip(steps, LOSSES, strict=False):
        advance(stepper, optimizer, grads, loss)
    return stepper


@pytest.mark.parametrize("case", CASES)
def test_the_optimizer_follows_its_oracle(case):
    optimizer, oracle, h = CASES[case]
    for dtype in (np.float64, np.float32):
        params, steps = problem(dtype, n_steps=N_STEPS, shapes=SHAPES)
        start = [np.float64(p) for p in params]
        expected = oracle(start, [[np.float64(g) for g in grads] for grads in steps], **h)
        follow(optimizer, params, steps)
        # The polynomials of the noise are right to 1e-7 of a deviation; a step is a tenth of that.
        assert distance(params, expected) <= max(RTOL[dtype], 1e-7 * (case == "noisy sgd")), dtype


@pytest.mark.parametrize("case", [case for case in CASES if case != "noisy sgd"])
def test_maximize_is_descent_along_the_negative_gradient(case):
    optimizer = CASES[case][0]
    params, steps = problem(np.float64, n_steps=5, shapes=SHAPES)
    others = [p.copy() for p in params]
    follow(optimizer, params, [[np.asarray(-g) for g in grads] for grads in steps])
    follow(type(optimizer)(**optimizer.get_params() | {"maximize": True}), others, steps)
    for a, b in zip(params, others, strict=True):
        np.testing.assert_array_equal(a, b)


TESTS = Path(__file__).parents[1]

#: Optimizers whose oracle needs shapes or arguments of its own: the test that follows it.
TESTED_APART = {
    "adafactor": "stepping/test_tensor_rules.py::test_adafactor_is_that_of_torch",
    "lbfgs": "optimizers/test_lbfgs.py::test_steps_and_state_are_those_of_torch",
    "mechanic": "stepping/test_tensor_rules.py::test_mechanic_scales_the_steps_of_another_optimizer",
    "muon": "stepping/test_tensor_rules.py::test_muon_is_a_polynomial_of_the_singular_values",
    "normuon": "stepping/test_tensor_rules.py::test_normuon_evens_out_the_outputs",
    "shampoo": "stepping/test_tensor_rules.py::test_shampoo_multiplies_by_roots_of_its_sums",
    "soap": "stepping/test_tensor_rules.py::test_soap_is_adam_in_a_turning_basis",
    "sophiag": "stepping/test_tensor_rules.py::test_sophia_averages_the_estimates_that_it_is_given",
    "sparseadam": "stepping/test_sparse_gradients.py::test_the_rows_are_those_of_torch",
}


def cases_of(file):
    """Return the optimizers that the table ``CASES`` of a test file names, without importing torch."""
    for node in ast.parse((TESTS / file).read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CASES":
            names = {key.value for key in node.value.keys}
            classes = {one.attr for one in ast.walk(node.value) if isinstance(one, ast.Attribute)}
            return (names & set(OPTIMIZERS)) | {n for n, cls in OPTIMIZERS.items() if cls.__name__ in classes}
    raise AssertionError(f"{file} has no CASES")


def with_oracle():
    """Return the names of all optimizers that some test compares with an oracle."""
    return (
        {type(optimizer).name for optimizer, _, _ in CASES.values()}
        | cases_of("optimizers/test_torch_parity.py")
        | cases_of("optimizers/test_library_forms.py")
        | set(TESTED_APART)
    )


def test_every_registered_optimizer_has_an_oracle():
    built_in = {name for name, cls in OPTIMIZERS.items() if cls.__module__.startswith("fastopt.")}
    missing = built_in - with_oracle()
    assert not missing, "add a case to tests/reference/catalogue_oracles"


@pytest.mark.parametrize("name", TESTED_APART)
def test_the_test_that_follows_an_oracle_apart_exists(name):
    file, function = TESTED_APART[name].split("::")
    text = (TESTS / file).read_text("utf-8")
    assert f"def {function}(" in text
    assert OPTIMIZERS[name].__name__ in text


def test_an_optimizer_without_an_oracle_is_noticed(monkeypatch):
    new = type("Freshling", (fastopt.SGD,), {"__module__": "fastopt.optimizers.sgd", "name": "freshling"})
    monkeypatch.setitem(OPTIMIZERS, "freshling", new)
    with pytest.raises(AssertionError, match="add a case"):
        test_every_registered_optimizer_has_an_oracle()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["shampoo", "soap", "muon", "normuon"])
def test_matrices_that_are_not_finite_make_weights_nan_and_no_error(name, value, dtype):
    """As the arithmetic of every other optimizer does, so that a fit that diverges ends as with those."""
    params, grad = np.ones((3, 4), dtype), np.ones((3, 4), dtype)
    stepper = fastopt.get_optimizer(name).bind([params])
    stepper.step([grad])
    grad[1, 2] = value
    for _ in range(2):  # SOAP's and Shampoo's roots count from the step after
        stepper.step([grad])
    assert np.isnan(params).all()


@pytest.mark.parametrize("name", ["shampoo", "soap", "muon", "adam"])
def test_a_fit_that_diverges_is_refused_in_the_same_words(name):
    X, y = np.ones((20, 3)) * 1e150, np.arange(20) % 2
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        fastopt.MLPClassifier((4,), solver=fastopt.get_optimizer(name, lr=1e200), max_iter=5).fit(X, y)
