"""Activations as graphs: every one that is registered, and what users may register."""

import math
from math import exp, tanh

import numpy as np
import pytest
from reference import own_functions
from reference.onnx_sessions import of_the_library, session

from fastopt.onnx_export.graph import Graph
from fastopt.onnx_export.traced_functions import traced
from fastopt.rules.activations import ACTIVATIONS, OUTPUTS

#: Small numbers, where cancellation shows, and those at which pieces meet.
POINTS = np.concatenate(
    [np.linspace(-12, 12, 2001), *(s * np.logspace(-8, 2, 300) for s in (-1, 1)), [0.0, -0.0, 3, -3, 6, 1]]
).astype(np.float32)
#: Elementwise activations of the last layer; the softmax is tested on networks.
CASES = {name: ACTIVATIONS[name] for name in of_the_library(ACTIVATIONS)} | {
    f"output {name}": one for name, one in OUTPUTS.items() if name != "softmax"
}


def computed(function, *arrays):
    pytest.importorskip("onnx")
    graph = Graph()
    names = [graph.unique(f"x{i}") for i in range(len(arrays))]
    graph.name_output(traced(graph, function, *names), "y")
    inputs = {name: (np.float32, ["n"]) for name in names}
    model = graph.to_model("function", inputs, {"y": (np.float32, ["n"])})
    return session(model).run(None, dict(zip(names, arrays, strict=True)))[0]


def in_double(function, *arrays):
    """Return what the plain function of Python gives in float64, infinity where it overflows."""

    def one(*numbers):
        try:
            return function(*map(float, numbers))
        except OverflowError:
            return math.inf

    return np.array([one(*numbers) for numbers in zip(*arrays, strict=True)])


@pytest.mark.parametrize("name", CASES)
def test_every_registered_activation_is_the_formula_in_float32(name):
    activation = CASES[name]
    arguments = [POINTS, np.full_like(POINTS, 0.3)][: 1 + activation.learns]
    expected = in_double(activation.value, *arguments)
    is_number = expected < np.finfo(np.float32).max
    found = computed(activation.value, *arguments)[is_number]
    expected, points = expected[is_number], POINTS[is_number]
    # Two roundings of float32, and the 2.5e-7 by which onnxruntime's tanh is off.
    assert (np.abs(found - expected) / np.maximum(1, np.abs(expected))).max() < 4e-7
    is_small = np.abs(points) < 0.01
    np.testing.assert_allclose(found[is_small], expected[is_small], rtol=5e-7)


@pytest.mark.parametrize("name", CASES)
def test_what_is_not_a_number_stays_so(name):
    activation = CASES[name]
    arguments = [np.full(3, np.nan, np.float32), np.full(3, 0.3, np.float32)][: 1 + activation.learns]
    assert np.isnan(computed(activation.value, *arguments)).all()


def test_small_predictions_keep_their_digits():
    z = np.linspace(-80, -10, 50).astype(np.float32)  # onnxruntime's own Sigmoid is 0 from -18 on
    for name in ("exp", "softplus", "logistic"):
        value = OUTPUTS[name].value
        np.testing.assert_allclose(computed(value, z), in_double(value, z), rtol=2e-6)
    assert (computed(OUTPUTS["logistic"].value, np.array([-1e30], np.float32)) > 0).all()  # as the engine's


LIMIT = 2.0


def of_a_closure(steepness):
    def value(z):
        return steepness * z if z > 0.0 else math.expm1(z)

    return value


def with_pieces(z):
    if z < -LIMIT:
        return -1.0
    if -LIMIT <= z <= 0.5 and z != 0.25:
        return tanh(z) * exp(-abs(z))
    return min(z, LIMIT) ** 2 if z != 1.0 else 7


def with_a_loop(z):
    total = 0.0
    for power in range(1, 5):
        total += z**power / math.factorial(power) * (z > -1.0)
    return total


def with_functions(z):
    inside = max(-0.9, min(0.9, z))
    found = math.asin(inside) + math.atanh(inside) + math.sqrt(abs(z)) + math.erfc(z) + math.pow(2.0, inside)
    return found + math.sinh(inside) * math.cosh(inside) - math.floor(z) + math.pi + math.log1p(abs(z))


def with_infinity(z):
    return 0.0 if math.isnan(z) else z / (1.0 + math.fabs(z))


@pytest.mark.parametrize(
    "function",
    [of_a_closure(3.0), with_pieces, with_a_loop, with_functions, with_infinity, own_functions.silu],
    ids=lambda function: function.__name__,
)
def test_functions_of_users_are_exported_from_their_code(function):
    z = np.concatenate([np.linspace(-4, 4, 161), [0.25, 1.0, -2.0]]).astype(np.float32)
    np.testing.assert_allclose(computed(function, z), in_double(function, z), rtol=2e-6, atol=2e-6)


def test_a_learnt_parameter_is_an_argument():
    z, s = np.linspace(-4, 4, 9).astype(np.float32), np.linspace(0.1, 2, 9).astype(np.float32)
    found = computed(own_functions.learnt_softsign, z, s)
    np.testing.assert_allclose(found, in_double(own_functions.learnt_softsign, z, s), rtol=1e-6)


def counts(z):
    n = 0
    while z > n:
        n += 1
    return float(n)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda z: math.gamma(z), r"no operator for math\.gamma"),
        (lambda z: float(int(z)), "int"),
        (lambda z: [1.0, 2.0][z], "indices"),
        (lambda z: "text", "'text', which is no number"),
        (lambda z: None, "None, which is no number"),
        (lambda z: np.exp(z), "ufunc"),
        (counts, "more than 12 times"),
    ],
    ids=["gamma", "int", "index", "text", "none", "numpy", "counts"],
)
def test_what_no_graph_can_do_is_refused_in_words(function, why):
    with pytest.raises(NotImplementedError, match=f"cannot be exported to ONNX: .*{why}"):
        computed(function, POINTS)


def test_values_that_nothing_uses_are_left_out():
    onnx = pytest.importorskip("onnx")
    graph = Graph()
    graph.unique("x")
    traced(graph, lambda z: z * 17.0, "x")
    graph.name_output(traced(graph, lambda z: (z + 1.0) * (z + 1.0), "x"), "y")
    model = graph.to_model("few", {"x": (np.float32, ["n"])}, {"y": (np.float32, ["n"])})
    assert [node.op_type for node in model.graph.node] == ["Add", "Mul", "Identity"]  # one addition, not two
    assert [onnx.numpy_helper.to_array(one) for one in model.graph.initializer] == [1.0]
