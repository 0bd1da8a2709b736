"""Every registered activation and loss, those of `own_functions` included: derivatives, devices, precision.

The registry is the table of cases. The plain Python functions are the oracle of what is compiled from them,
and central differences that of the derivatives; `test_naive_engine.py` holds the formulas to scikit-learn's.
"""

import copy
import dataclasses
import math
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from reference import loss_cases, own_functions
from scipy.special import expit, softmax

import fastopt
from fastopt import MLPRegressor, register_activation, register_loss
from fastopt.engine import Layout, Trainer
from fastopt.engine.cpu import compilation
from fastopt.rules import activations, losses
from fastopt.rules.activations import ACTIVATIONS, OUTPUTS
from fastopt.rules.losses import LOSSES, REGRESSION_LOSSES

#: Away from 0, where the ReLU has no derivative.
POINTS = [-30.0, -4.0, -1.3, -0.2, 0.1, 0.7, 2.0, 5.0]
#: Of units that learn a parameter.
SLOPE = 0.3
#: Step of central differences: their error is of the order of its square.
H = 1e-5
RTOL = 1e-7


def slope(function, x):
    return (function(x + H) - function(x - H)) / (2 * H)


def pairs(loss):
    """Return the outputs that a loss can be trained with."""
    return [loss.output, *(name for name in OUTPUTS if name != "softmax" and name != loss.output)]


LOSS_AND_OUTPUT = [(name, output) for name in loss_cases.ELEMENTS for output in pairs(LOSSES[name])]


def valid(loss, p):
    """Return whether a loss is meant for an output: a probability, a positive number, or any."""
    kind = loss.targets_for(*loss_cases.parameter(loss))
    return kind == "real" or (p > 0 and (p < 1 or kind != "labels"))


def numbers(loss):
    """Return some targets of a loss."""
    return (0.25, 1.0) if loss.targets_for(*loss_cases.parameter(loss)) == "positive" else (0.0, 1.0)


def plain(activation, parameter=SLOPE):
    """Return an activation without a learnt parameter: where there is one, as it is at this value."""
    if not activation.learns:
        return activation
    return dataclasses.replace(
        activation,
        value=lambda z: activation.value(z, parameter),
        derivative=lambda z: activation.derivative(z, parameter),
        parameter=None,
        parameter_derivative=None,
    )


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_derivative_of_an_activation_is_its_slope(name):
    activation = plain(ACTIVATIONS[name])
    for z in POINTS:
        point = z if activation.keeps_input else activation.value(z)
        expected = slope(activation.value, z)
        assert activation.derivative(point) == pytest.approx(expected, rel=RTOL, abs=1e-10), z
        assert activation.backward(3.0, point) == 3.0 * activation.derivative(point)


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if ACTIVATIONS[name].learns])
@pytest.mark.parametrize("parameter", [0.25, 1.7])
def test_the_derivative_by_a_learnt_parameter_is_the_slope_there(name, parameter):
    activation = ACTIVATIONS[name]
    for z in POINTS:
        expected = slope(lambda p, z=z: activation.value(z, p), parameter)
        assert activation.parameter_derivative(z, parameter) == pytest.approx(expected, rel=RTOL, abs=1e-10)
        assert activation.parameter_backward(3.0, z, parameter) == pytest.approx(
            3.0 * expected, rel=RTOL, abs=1e-9
        )
        assert activation.parameter_backward(math.inf, 1.0, parameter) in (
            0.0,
            math.inf,
            -math.inf,
        )  # not NaN


@pytest.mark.parametrize("name", loss_cases.ELEMENTS)
def test_the_gradient_of_a_loss_is_its_slope(name):
    loss = LOSSES[name]
    k = loss_cases.parameter(loss)
    for y in numbers(loss):
        for p in (0.07, 0.4, 0.93):
            expected = slope(lambda q, y=y: loss.value(q, y, *k), p)
            assert loss.gradient(p, y, *k) == pytest.approx(expected, rel=RTOL, abs=1e-9), (p, y)


@pytest.mark.parametrize(("name", "output"), [pair for pair in LOSS_AND_OUTPUT if pair[1] != "softmax"])
def test_the_gradient_at_the_pre_activation_is_the_slope_there(name, output):
    loss, last = LOSSES[name], OUTPUTS[output]
    k = loss_cases.parameter(loss)
    for y in numbers(loss):
        for z in (0.3, 0.8, -0.4, -1.1):
            if not valid(loss, last.value(z)):
                continue
            expected = slope(lambda x, y=y: loss.value(last.value(x), y, *k), z)
            actual = loss.output_gradient(last)(last.value(z), y, *k)
            assert actual == pytest.approx(expected, rel=RTOL, abs=1e-9), (z, y)


def layer(activation, dtype):
    """Return a trainer and the parameters of a network whose hidden unit is the activation of its input."""
    layout = Layout([1, 1, 1], [ACTIVATIONS[activation].learns])
    params = np.zeros(layout.size, dtype)
    for weights in layout.weights(params):
        weights[...] = 1
    if ACTIVATIONS[activation].learns:
        layout.slopes(params)[0][...] = SLOPE
    names = {"activation": activation, "out_activation": "identity", "loss": "squared_error"}
    return layout, Trainer(layout, dtype=dtype, **names), params


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_compiled_activation_is_the_plain_function(name, dtype):
    layout, trainer, params = layer(name, dtype)
    activation = plain(ACTIVATIONS[name], float(dtype(SLOPE)))
    X = np.array(POINTS, dtype)[:, None]
    expected = np.array([[activation.value(float(z))] for z in X[:, 0]])
    # 3 ulp, as `test_vector_math.py` allows a quotient of exponentials; z * logistic(z) rounds once more.
    rtol = 4 * np.finfo(dtype).eps
    # Tails of the GELU are as accurate as the argument of their exponential.
    atol = np.finfo(dtype).eps if name.startswith("gelu") else 1e-37
    np.testing.assert_allclose(trainer.predict(params, X), expected, rtol=rtol, atol=atol)
    for z, a in zip(X[:, 0], expected[:, 0], strict=True):
        row = np.array([[z]])
        gradient = trainer.loss_and_gradient(params, row, np.array([[a - 1]], dtype), alpha=0.0)[1]
        derivative = activation.derivative(float(z) if activation.keeps_input else a)
        # 1 - a * a of a rounded a loses what it cancels.
        np.testing.assert_allclose(
            layout.biases(gradient)[0], derivative, rtol=rtol, atol=4 * np.finfo(dtype).eps
        )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "output"), [pair for pair in LOSS_AND_OUTPUT if pair[1] != "softmax"])
def test_a_compiled_loss_is_the_plain_function(name, output, dtype, weighted):
    rs = np.random.RandomState(0)
    loss, last, layout = LOSSES[name], OUTPUTS[output], Layout([3, 3])
    trainer = Trainer(layout, activation="relu", out_activation=output, loss=name, dtype=dtype)
    params = np.zeros(layout.size, dtype)
    layout.weights(params)[0][...] = np.eye(3)
    X = rs.uniform(0.1, 0.9, (40, 3)).astype(dtype)
    X = X if valid(loss, last.value(0.9)) else -X
    Y = loss_cases.targets(loss, rs, X.shape).astype(dtype)
    weight = rs.uniform(0.5, 2.0, 40).astype(dtype) if weighted else None
    value, gradient = trainer.loss_and_gradient(params, X, Y, alpha=0.0, sample_weight=weight)
    P = np.vectorize(last.value)(X.astype(float))
    w = np.ones(40) if weight is None else weight.astype(float)
    k = [float(dtype(number)) for number in loss_cases.parameter(loss)]
    rows = np.vectorize(loss.value, otypes=[float])(P, Y.astype(float), *k)
    rows = rows.mean(axis=1) if loss.is_mean else rows.sum(axis=1)
    # Forty terms, each rounded some times: the error of their sum is within some ulp of the largest.
    rtol = 10 * np.finfo(dtype).eps
    np.testing.assert_allclose(value, rows @ w / w.sum(), rtol=rtol)
    slopes = np.vectorize(loss.output_gradient(last), otypes=[float])(P, Y.astype(float), *k) * w[:, None]
    atol = rtol * np.abs(slopes).max()
    np.testing.assert_allclose(layout.biases(gradient)[0], slopes.sum(axis=0) / w.sum(), rtol=rtol, atol=atol)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", loss_cases.ROWS)
def test_a_compiled_loss_of_rows_is_the_plain_function(name, dtype, weighted):
    rs = np.random.RandomState(0)
    loss, layout = LOSSES[name], Layout([4, 4])
    trainer = Trainer(layout, activation="relu", out_activation=loss.output, loss=name, dtype=dtype)
    params = np.zeros(layout.size, dtype)
    layout.weights(params)[0][...] = np.eye(4)
    X = rs.uniform(-1, 1, (40, 4)).astype(dtype)
    Y = loss_cases.targets(loss, rs, X.shape).astype(dtype)
    weight = rs.uniform(0.5, 2.0, 40).astype(dtype) if weighted else None
    value, gradient = trainer.loss_and_gradient(params, X, Y, alpha=0.0, sample_weight=weight)
    Z, slopes = X.astype(float), np.empty((40, 4))
    P = softmax(Z, axis=1) if loss.output == "softmax" else Z
    w = np.ones(40) if weight is None else weight.astype(float)
    k = [np.full(4, number) for number in loss_cases.parameter(loss)]
    rows = [loss.row(p, y, into, *k) for p, y, into in zip(P, Y.astype(float), slopes, strict=True)]
    rtol = 10 * np.finfo(dtype).eps  # as above
    np.testing.assert_allclose(value, rows @ w / w.sum(), rtol=rtol)
    atol = rtol * np.abs(slopes).max()
    np.testing.assert_allclose(layout.biases(gradient)[0], w @ slopes / w.sum(), rtol=rtol, atol=atol)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_parameter_may_differ_between_outputs_and_is_not_compiled(dtype):
    rs = np.random.RandomState(0)
    layout, X, Y = Layout([2, 3]), rs.standard_normal((30, 2)).astype(dtype), np.zeros((30, 3), dtype)
    names = {"activation": "relu", "out_activation": "identity", "loss": "quantile", "dtype": dtype}
    params = np.zeros(layout.size, dtype)
    layout.biases(params)[0][...] = 1.0  # all above their targets: the slopes are 1 - k
    for k in ((0.1, 0.5, 0.9), (0.2, 0.3, 0.4), 0.25):
        gradient = Trainer(layout, loss_parameter=k, **names).loss_and_gradient(params, X, Y, alpha=0.0)[1]
        expected = 1 - np.broadcast_to(np.array(k, dtype), 3)
        np.testing.assert_allclose(layout.biases(gradient)[0], expected, rtol=1e-6)
    known = compilation.loss_routine.cache_info().currsize
    Trainer(layout, loss_parameter=0.77, **names).loss_and_gradient(params, X, Y, alpha=0.0)
    assert compilation.loss_routine.cache_info().currsize == known


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["dense", "mostly_zero", "csr"])
def test_a_derivative_of_the_input_goes_through_deep_networks(dtype, kind):
    rs = np.random.RandomState(2)
    layout = Layout([70, 7, 6, 5, 2])
    params = rs.uniform(-0.5, 0.5, layout.size).astype(dtype)
    X = rs.standard_normal((150, 70)) * (rs.uniform(size=(150, 70)) < (1.0 if kind == "dense" else 0.1))
    X, Y = X.astype(dtype), rs.standard_normal((150, 2)).astype(dtype)
    trainer = Trainer(layout, activation="silu", out_activation="identity", loss="huber", dtype=dtype)
    rows = scipy.sparse.csr_array(X) if kind == "csr" else X
    value, gradient = trainer.loss_and_gradient(params, rows, Y, alpha=0.0)
    expected = numpy_silu_huber(layout, params.astype(float), X.astype(float), Y.astype(float))
    tolerance = 2e-5 if dtype == np.float32 else 1e-12  # sums of 150 rows, through four products
    assert value == pytest.approx(expected[0], rel=tolerance)
    for actual, wanted in zip(layout.weights(gradient) + layout.biases(gradient), expected[1], strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())
    bits = {
        Trainer(
            layout, activation="silu", out_activation="identity", loss="huber", dtype=dtype, n_threads=n
        ).loss_and_gradient(params, rows, Y, alpha=0.0)[1].tobytes()
        for n in (1, 2)
    }  # fmt: skip
    assert bits == {gradient.tobytes()}


def numpy_silu_huber(layout, params, X, Y):
    """Return the mean Huber loss of a SiLU network and its gradients, in NumPy with scipy's expit."""
    weights, biases = layout.weights(params), layout.biases(params)
    zs, a = [], X
    for W, b in zip(weights, biases, strict=True):
        inputs = a
        zs.append((inputs, inputs @ W + b))
        a = zs[-1][1] * expit(zs[-1][1])
    d = zs[-1][1] - Y
    value = np.where(abs(d) <= 1, 0.5 * d**2, abs(d) - 0.5).sum(axis=1).mean()
    delta, into = np.clip(d, -1, 1) / len(X), []
    for i in reversed(range(len(weights))):
        into.insert(0, (zs[i][0].T @ delta, delta.sum(axis=0)))
        if i:
            z = zs[i - 1][1]
            p = expit(z)
            delta = (delta @ weights[i].T) * (p + z * p * (1 - p))
    return value, [w for w, _ in into] + [b for _, b in into]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("loss", REGRESSION_LOSSES)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("activation", ["relu", "own_silu"])
def test_the_regressor_takes_every_registered_loss_and_pickles(loss, solver, activation):
    rs = np.random.RandomState(0)
    X = rs.standard_normal((200, 3))
    y = np.exp(X[:, 0])
    model = MLPRegressor(loss, (8,), activation, solver=solver, random_state=0, max_iter=200, tol=0)
    model.fit(X, y)
    level = MLPRegressor(loss, (8,), activation, solver=solver, random_state=0, max_iter=1)
    level.fit(X, y)
    assert model.loss_ < 0.5 * level.loss_
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.predict(X), model.predict(X))


def test_huber_minds_an_outlier_less_than_the_squared_error():
    rs = np.random.RandomState(0)
    X = rs.uniform(-1, 1, (100, 1))
    y = X[:, 0].copy()
    y[:10] += 50.0
    errors = {}
    for loss in ("squared_error", "huber", "absolute_error"):
        model = MLPRegressor(loss, (), solver="lbfgs", random_state=0, max_iter=1000).fit(X, y)
        errors[loss] = np.abs(model.predict(X) - X[:, 0])[10:].mean()
    assert errors["squared_error"] > 3  # a tenth of the rows, 50 away, shift the mean by 5
    assert max(errors["huber"], errors["absolute_error"]) < 0.3


def test_the_classifier_takes_a_registered_activation():
    X = np.random.RandomState(0).standard_normal((300, 4)).astype(np.float32)
    y = X[:, 0] * X[:, 1] > 0
    model = fastopt.MLPClassifier((32,), activation="own_silu", solver="lbfgs", random_state=0).fit(X, y)
    assert model.score(X, y) > 0.95
    with pytest.raises(ValueError, match="scikit-learn has no activation='own_silu'"):
        model.to_sklearn()


def test_compiled_activations_are_vectorised_in_single_precision():
    for name in ACTIVATIONS:
        for routine, compiled in compilation.activation_routines(ACTIVATIONS[name], "float32").items():
            if compiled.cache_hits:
                continue  # loaded from the disk cache, without its source
            text = compiled.inspect_llvm()
            # The identity copies, and its derivative changes nothing.
            assert name == "identity" or re.search(r"<\d+ x float>", text), (name, routine)
            assert " double" not in text, (name, routine)


CACHED = """
import sys
import fastopt
from fastopt.engine.cpu import compilation
from fastopt.rules.activations import ACTIVATIONS

def scaled(factor):
    def value(z):
        return factor * z
    def derivative(a):
        return factor
    return value, derivative

fastopt.register_activation("scaled", *scaled(float(sys.argv[1])))
routines = compilation.activation_routines(ACTIVATIONS["scaled"], "float64")
print([routine.cache_hits for routine in routines.values()])
"""


def test_functions_that_differ_in_a_closure_only_are_not_taken_for_each_other(tmp_path):
    script = tmp_path / "own.py"
    script.write_text(CACHED)

    def hits(factor):
        done = subprocess.run(
            [sys.executable, script, factor], capture_output=True, text=True, timeout=300,
            env=compilation_environment(tmp_path),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert hits("2.0") == "[0, 0]"
    assert hits("2.0") == "[1, 1]"
    assert hits("3.0") == "[0, 0]"


def compilation_environment(folder):
    root = str(Path(fastopt.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": root, "NUMBA_CACHE_DIR": str(folder / "cache")}


@pytest.mark.parametrize("entry", [own_functions.SILU, own_functions.HUBER], ids=lambda e: e.name)
def test_an_entry_is_pickled_by_name(entry):
    assert pickle.loads(pickle.dumps(entry)) is entry
    assert copy.deepcopy(entry) is entry


def two(a, b):
    return a


def one(a):
    return a


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: register_activation("relu", one, one), ValueError, "'relu' is already registered"),
        (lambda: register_activation("mine", two, one), TypeError, "value of activation 'mine' must"),
        (lambda: register_activation("mine", one, two), TypeError, "derivative of activation 'mine'"),
        (lambda: register_activation("mine", np.tanh, one), TypeError, "a function written in Python"),
        (lambda: register_activation("mine", one, one, derivative_from="z"), ValueError, "'output' or 'inp"),
        (lambda: register_activation("mine", two, two, parameter=1.0), ValueError, "takes both, its initial"),
        (lambda: register_activation("mine", one, one, parameter_derivative=two), ValueError, "takes both"),
        (
            lambda: register_activation("mine", one, two, parameter=1.0, parameter_derivative=two),
            TypeError,
            "value of activation 'mine' must take 2 arguments",
        ),
        (
            lambda: register_activation("mine", two, two, parameter=np.inf, parameter_derivative=two),
            ValueError,
            "parameter=inf of activation 'mine' must be finite",
        ),
        (lambda: register_loss("poisson", two, two), ValueError, "'poisson' is already registered"),
        (lambda: register_loss("mine", one, two), TypeError, "value of loss 'mine' must take 2 arguments"),
        (lambda: register_loss("mine", two, two, fused=one), TypeError, "fused of loss 'mine' must take 2"),
        (lambda: register_loss("mine", two, two, output="relu"), ValueError, "out_activation='relu'"),
        (lambda: register_loss("mine", two, two, output="softmax"), ValueError, "needs fused="),
        (lambda: register_loss("mine", two, two, targets="any"), ValueError, "targets='any' must be one"),
        (lambda: register_loss("mine", two, two, parameter="beta"), ValueError, "parameter='beta' must be"),
        (lambda: register_loss("mine", two, two, parameter="delta"), TypeError, "must take 3 arguments"),
        (lambda: register_loss("mine", row=two), TypeError, "row of loss 'mine' must take 3 arguments"),
        (lambda: register_loss("mine", two, row=two), ValueError, "needs value and gradient, or row alone"),
        (lambda: register_loss("mine", two), ValueError, "needs value and gradient, or row alone"),
        (lambda: register_loss("mine", two, two, outputs_per_target=2), ValueError, "or more with row="),
    ],
)  # fmt: skip
def test_what_cannot_be_registered_is_refused_and_leaves_nothing(call, error, message):
    before = dict(ACTIVATIONS), dict(LOSSES), dict(REGRESSION_LOSSES)
    with pytest.raises(error, match=message):
        call()
    assert before == (ACTIVATIONS, LOSSES, REGRESSION_LOSSES)


def test_a_last_layer_that_splits_a_pair_of_outputs_is_refused():
    names = {"activation": "relu", "out_activation": "identity", "loss": "gaussian_nll"}
    with pytest.raises(ValueError, match="2 outputs for each target; a last layer of 3 units is no multiple"):
        Trainer(Layout([2, 3]), dtype=np.float64, **names)


def test_unknown_names_are_refused_with_those_that_there_are():
    names = {"activation": "relu", "out_activation": "identity", "loss": "squared_error"}
    for change, message in (
        (
            {"activation": "swish"},
            r"activation='swish' is not registered; there are .*'tanh'.*register_activation",
        ),
        ({"out_activation": "relu"}, "out_activation='relu' must be one of 'exp', 'identity'"),
        ({"loss": "hinge"}, "loss='hinge' is not registered.*register_loss"),
        ({"out_activation": "softmax"}, "loss='squared_error' has no gradient for out_activation='softmax'"),
        (
            {"out_activation": "exp", "loss": "gaussian_nll"},
            "loss='gaussian_nll' has no gradient for out_act",
        ),
        ({"loss_parameter": 1.0}, "loss='squared_error' has no parameter; got loss_parameter=1.0"),
        ({"loss": "huber", "loss_parameter": -1.0}, "delta=-1.0 must be a number > 0"),
        ({"loss": "quantile", "loss_parameter": (0.1,) * 3}, "must be one number, or one for each of 2"),
    ):
        with pytest.raises(ValueError, match=message):
            Trainer(Layout([2, 2]), dtype=np.float64, **(names | change))


def test_the_estimators_name_what_is_registered():
    with pytest.raises(
        ValueError, match=r"'activation' parameter of MLPRegressor must be a str among .*'own_silu'"
    ):
        MLPRegressor(activation="swish").fit([[0.0]], [0.0])
    with pytest.raises(ValueError, match=r"'loss' parameter of MLPRegressor must be a str among .*'huber'"):
        MLPRegressor("log_loss").fit([[0.0]], [0.0])
    with pytest.raises(ValueError, match="loss='half_log' needs y >= 0"):
        MLPRegressor("half_log").fit([[0.0], [1.0]], [0.0, -1.0])


def test_a_name_that_is_registered_anew_is_compiled_anew(monkeypatch):
    monkeypatch.setitem(ACTIVATIONS, "changing", None)  # undone after the test
    del ACTIVATIONS["changing"]
    X = np.array([[1.0], [2.0]])
    outputs = []
    for factor in (2.0, 3.0):
        space = {"factor": factor}
        exec("def value(z): return factor * z\ndef derivative(a): return factor", space)
        register_activation("changing", space["value"], space["derivative"])
        model = MLPRegressor("squared_error", (1,), "changing", solver="lbfgs", random_state=0)
        model.fit(X, X[:, 0])
        model.coefs_ = [np.ones((1, 1)), np.ones((1, 1))]
        model.intercepts_ = [np.zeros(1), np.zeros(1)]
        outputs.append(model.predict(X))
    np.testing.assert_array_equal(outputs, [[2, 4], [3, 6]])


def test_the_built_in_ones_are_scikit_learns():
    assert {"identity", "relu", "tanh", "logistic"} <= set(ACTIVATIONS)
    assert {"squared_error", "poisson"} <= set(REGRESSION_LOSSES)
    assert {"identity", "softmax", "logistic", "exp"} <= set(OUTPUTS)
    assert activations.lookup_activation("relu") is ACTIVATIONS["relu"]
    assert losses.lookup_loss("log_loss").output == "softmax"
