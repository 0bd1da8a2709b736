"""Initial weights: the deviations that the papers state, and scikit-learn's for its own activations."""

import dataclasses
import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.neural_network import MLPRegressor as Theirs

from fastopt import MLPRegressor
from fastopt.engine import Layout
from fastopt.neural_network.initialization import initialize
from fastopt.rules.activations import ACTIVATIONS
from fastopt.rules.initializations import INITIALIZATIONS

SIZES = [300, 200, 120, 90]
#: Variance of the weights of a layer with n inputs and m outputs, as written in the papers.
VARIANCE = {
    "sklearn": lambda n, m: 2 / (n + m),
    "glorot_uniform": lambda n, m: 2 / (n + m),
    "glorot_normal": lambda n, m: 2 / (n + m),
    "he_uniform": lambda n, m: 2 / n,
    "he_normal": lambda n, m: 2 / n,
    "lecun_uniform": lambda n, m: 1 / n,
    "lecun_normal": lambda n, m: 1 / n,
}
#: That of the activations with ``init='auto'``.
AUTO = {
    "identity": VARIANCE["sklearn"],
    "relu": VARIANCE["sklearn"],
    "tanh": VARIANCE["sklearn"],
    "logistic": lambda n, m: 2 / (n + m) / 3,
    "leaky_relu": lambda n, m: 2 / (1 + 0.01**2) / n,
    "prelu": lambda n, m: 2 / (1 + 0.25**2) / n,
    "selu": VARIANCE["lecun_normal"],
    "softsign": VARIANCE["glorot_uniform"],
    "snake": VARIANCE["lecun_uniform"],
    **dict.fromkeys(
        "relu6 elu celu softplus hard_swish silu mish gelu gelu_tanh sine".split(), VARIANCE["he_normal"]
    ),
}
SKLEARNS = ("identity", "relu", "tanh", "logistic")


def drawn(activation="relu", init="auto", sizes=SIZES, seed=0, dtype=np.float64):
    hidden = [activation] * (len(sizes) - 2) if isinstance(activation, str) else activation
    layout = Layout(sizes, [ACTIVATIONS[name].learns for name in hidden])
    flat = initialize(layout, activation, np.random.RandomState(seed), dtype, init)
    return layout.weights(flat), layout.biases(flat)


def assert_variance(weights, expected, is_uniform):
    # The variance of n numbers is off by sqrt((k - 1) / n) of itself, k = 3 of normal ones and 1.8 of
    # uniform ones; their mean by sqrt(variance / n). Five times as much: one test in a million fails.
    n = weights.size
    assert abs(weights.mean()) < 5 * math.sqrt(expected / n)
    assert abs(weights.var() / expected - 1) < 5 * math.sqrt((0.8 if is_uniform else 2) / n)
    bound = math.sqrt(3 * expected)
    if is_uniform:
        assert 0.99 * bound < np.abs(weights).max() <= bound
    else:
        assert 3 < np.abs(weights).max() / math.sqrt(expected) < 6.5


@pytest.mark.parametrize("name", VARIANCE)
def test_a_distribution_by_name_has_the_papers_variance_in_every_layer(name):
    weights, biases = drawn("gelu", name)
    for one, (n, m) in zip(weights, itertools.pairwise(SIZES), strict=True):
        assert_variance(one, VARIANCE[name](n, m), not name.endswith("normal"))
    assert all(b.any() for b in biases) if name == "sklearn" else not any(b.any() for b in biases)


def test_every_name_has_its_variance():
    assert {*VARIANCE, "orthogonal", "realmlp"} == INITIALIZATIONS.keys()


def test_realmlp_is_lecuns_with_standard_normal_biases_and_outputs_of_zero():
    """Weights N(0, 1 / n), biases N(0, 1), the last layer 0 (Holzmüller et al., 2024, RealMLP-TD-S)."""
    weights, biases = drawn("silu", "realmlp")
    for one, bias, (n, _) in zip(weights[:-1], biases[:-1], itertools.pairwise(SIZES), strict=False):
        assert_variance(one, 1 / n, is_uniform=False)
        assert abs(bias.mean()) < 5 / math.sqrt(bias.size)
        assert abs(bias.var() - 1) < 5 * math.sqrt(2 / bias.size)
    assert not weights[-1].any()
    assert not biases[-1].any()


def test_the_scale_of_the_inputs_begins_at_one_and_draws_nothing():
    plain, scaled = Layout([4, 3, 2]), Layout([4, 3, 2], scales_inputs=True)
    found = [initialize(one, "relu", np.random.RandomState(0), np.float64) for one in (plain, scaled)]
    np.testing.assert_array_equal(scaled.scale(found[1]), np.ones(4))
    np.testing.assert_array_equal(found[1][: plain.size], found[0])


def test_every_activation_has_its_variance():
    assert AUTO.keys() == ACTIVATIONS.keys()


def test_the_page_has_a_row_for_every_activation_with_its_weights():
    page = (Path(__file__).parents[2] / "docs" / "activations.md").read_text()
    rows = re.findall(
        r"^\| (`'\w+'`(?:, `'\w+'`)*) \|.*\| (output|input) \| `(\w+)`.*\|$", page, re.MULTILINE
    )
    found = {name: (point, init) for names, point, init in rows for name in re.findall(r"'(\w+)'", names)}
    assert found.keys() == ACTIVATIONS.keys()
    for name, (point, init) in found.items():
        entry = ACTIVATIONS[name]
        assert point == entry.derivative_from
        assert dataclasses.replace(INITIALIZATIONS[init], scale=entry.init.scale) == entry.init


@pytest.mark.parametrize("name", AUTO)
def test_auto_suits_each_activation(name):
    weights, biases = drawn(name)
    is_uniform = name in (*SKLEARNS, "softsign", "snake", "sine")
    for one, (n, m) in zip(weights, itertools.pairwise(SIZES), strict=True):
        assert_variance(one, AUTO[name](n, m), is_uniform)
    assert any(b.any() for b in biases) == (name in SKLEARNS)


def test_gains_are_torchs():
    gain = pytest.importorskip("torch").nn.init.calculate_gain  # executed: 2.13.0
    for name, theirs in (
        ("he_normal", gain("relu")), ("lecun_normal", gain("linear")), ("lecun_uniform", gain("sigmoid"))
    ):  # fmt: skip
        assert INITIALIZATIONS[name].deviation(50, 7) == pytest.approx(theirs / math.sqrt(50), rel=1e-15)
    leaky = ACTIVATIONS["leaky_relu"].init.deviation(50, 7)
    assert leaky == pytest.approx(gain("leaky_relu", 0.01) / math.sqrt(50), rel=1e-15)


def test_each_layer_has_the_distribution_of_its_activation_and_the_last_that_before_it():
    weights, biases = drawn(("logistic", "selu"))
    rules = AUTO["logistic"], AUTO["selu"], AUTO["selu"]
    for one, rule, (n, m) in zip(weights, rules, itertools.pairwise(SIZES), strict=True):
        assert_variance(one, rule(n, m), rule is AUTO["logistic"])
    assert [b.any() for b in biases] == [True, False, False]


@pytest.mark.parametrize("activation", [(), "tanh"])
def test_without_a_hidden_layer_the_weights_are_scikit_learns(activation):
    for ours, theirs in zip(drawn(activation, sizes=[4, 2]), drawn("relu", sizes=[4, 2]), strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])


@pytest.mark.parametrize("activation", SKLEARNS)
def test_the_draws_are_scikit_learns(activation):
    rs = np.random.RandomState(0)
    X, y = rs.standard_normal((20, 4)), rs.standard_normal((20, 2))
    # Steps too short to change a weight.
    settings = {"solver": "sgd", "learning_rate_init": 1e-300, "max_iter": 1, "alpha": 0.0, "random_state": 3}
    settings |= {"hidden_layer_sizes": (7, 5), "activation": activation}
    with pytest.warns(UserWarning, match="Maximum iterations"):
        ours, theirs = MLPRegressor(**settings).fit(X, y), Theirs(**settings).fit(X, y)
    for a, b in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        other = MLPRegressor(init="lecun_normal", **settings).fit(X, y)
    weights, biases = drawn(activation, "lecun_normal", [4, 7, 5, 2], seed=3)
    for a, b in zip(other.coefs_, weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not any(b.any() for b in biases)


@pytest.mark.parametrize("shape", [(30, 12), (12, 30), (9, 9), (1, 5), (5, 1)])
def test_orthogonal_matrices_are_orthogonal(shape):
    ((weights,), (biases,)) = drawn("relu", "orthogonal", list(shape))
    product = weights.T @ weights if shape[0] >= shape[1] else weights @ weights.T
    np.testing.assert_allclose(product, np.eye(min(shape)), rtol=0, atol=1e-14)
    assert not biases.any()


def test_orthogonal_matrices_have_no_preferred_sign():
    """LAPACK's factor alone has a diagonal that is negative on average."""
    diagonals = np.array([np.diag(drawn("relu", "orthogonal", [3, 3], seed)[0][0]) for seed in range(400)])
    # An element of a random rotation of three dimensions has variance 1 / 3.
    assert np.abs(diagonals.mean(axis=0)).max() < 5 * math.sqrt(1 / 3 / 400)


def test_a_selu_network_keeps_mean_0_and_variance_1():
    """Klambauer et al. (2017), theorem 1. With He's weights the variance of layer 8 is more than 2."""
    found = {}
    for init in ("auto", "he_normal"):
        weights, biases = drawn("selu", init, [400] * 10)
        a = np.random.RandomState(1).standard_normal((500, 400))
        for one, bias in zip(weights[:8], biases[:8], strict=True):
            a = np.vectorize(ACTIVATIONS["selu"].value)(a @ one + bias)
        found[init] = a.mean(), a.var()
    assert abs(found["auto"][0]) < 0.1
    assert abs(found["auto"][1] - 1) < 0.2
    assert found["he_normal"][1] > 2
