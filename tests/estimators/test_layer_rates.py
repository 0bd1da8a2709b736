"""``input_scale`` and ``learning_rate_factors`` of the estimators."""

import copy
import pickle
import re
import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import fastopt
from fastopt import MLPClassifier, MLPRegressor

RECIPE = {"weights": "fan_in", "biases": 0.1, "input_scale": 6.0}
SMALL = {
    "hidden_layer_sizes": (9, 6), "activation": "silu", "init": "realmlp", "input_scale": True,
    "learning_rate_factors": RECIPE, "solver": fastopt.AdamW(lr=0.04, betas=(0.9, 0.95)), "alpha": 0.0,
    "batch_size": 32, "max_iter": 5, "random_state": 0, "tol": 0.0,
}  # fmt: skip
N = 120


@pytest.fixture
def data():
    rs = np.random.RandomState(0)
    X = rs.standard_normal((N, 7)) * 10.0 ** rs.uniform(-1, 1, 7)
    return X, X[:, 0] - X[:, 1] ** 2 / 100


def fitted(data, cls=MLPRegressor, **changes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return cls(**SMALL | changes).fit(*data)


def test_a_fit_with_the_recipe_is_torchs(data):
    """Scale, rates and initial parameters of ours, twenty batches of AdamW with torch's parameter groups."""
    torch = pytest.importorskip("torch")  # executed: 2.13.0
    X, y = data
    network = fitted(data, shuffle=False)
    start = fitted(data, solver=fastopt.AdamW(lr=0.0), max_iter=1)
    tensors = [torch.tensor(a) for a in (*start.coefs_, *start.intercepts_, start.input_scale_)]
    rates = [7**-0.5, 3**-1.0, 6**-0.5, 0.1, 0.1, 0.1, 6.0]  # 1 / sqrt(7, 9, 6) for the weights
    for tensor in tensors:
        tensor.requires_grad_()
    groups = [
        {"params": [t], "lr": 0.04 * rate, "weight_decay": 0.01 * (i < 3)}
        for i, (t, rate) in enumerate(zip(tensors, rates, strict=True))
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    for _ in range(5):
        for at in range(0, N, 32):
            x, target = torch.tensor(X[at : at + 32]) * tensors[6], torch.tensor(y[at : at + 32])
            for layer in range(3):
                x = x @ tensors[layer] + tensors[3 + layer]
                x = torch.nn.functional.silu(x) if layer < 2 else x
            optimizer.zero_grad()
            (0.5 * (x[:, 0] - target) ** 2).mean().backward()
            optimizer.step()
    ours = (*network.coefs_, *network.intercepts_, network.input_scale_)
    for mine, theirs in zip(ours, tensors, strict=True):
        # Twenty steps of at most 0.24, each of which divides a rounded gradient by its own size.
        np.testing.assert_allclose(mine, theirs.detach().numpy(), rtol=0, atol=1e-9)
    assert (network.input_scale_ != 1.0).all()


def test_predictions_multiply_the_inputs(data):
    network, X = fitted(data), data[0]
    hidden = X * network.input_scale_
    for weights, biases in zip(network.coefs_, network.intercepts_, strict=True):
        z = hidden @ weights + biases
        hidden = z / (1 + np.exp(-z))
    np.testing.assert_allclose(network.predict(X), z[:, 0], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(network.predict(X[:3]), network.predict(X)[:3])
    sparse = network.predict(scipy.sparse.csr_array(X))
    np.testing.assert_allclose(sparse, network.predict(X), rtol=1e-12, atol=1e-12)  # another order of sums


def test_the_scale_can_be_assigned_and_is_a_view(data):
    network, X = fitted(data), data[0]
    before, scale = network.predict(X), network.input_scale_.copy()
    network.input_scale_[:] = 1.0
    np.testing.assert_allclose(network.predict(X * scale), before, rtol=1e-12, atol=1e-12)
    network.input_scale_ = scale
    np.testing.assert_array_equal(network.predict(X), before)
    assert fitted(data, input_scale=False, learning_rate_factors=None).input_scale_ is None
    with pytest.raises(AttributeError, match="has no attribute 'input_scale_'"):
        _ = MLPRegressor().input_scale_
    network.input_scale_ = np.ones(3)
    with pytest.raises(ValueError, match=r"input_scale_ with shape \(3,\) does not belong"):
        network.predict(X)


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_files_pickles_and_copies_go_on_alike(cls, data, tmp_path):
    pytest.importorskip("safetensors")
    X, y = data
    y = y > 0 if cls is MLPClassifier else y
    network = fitted((X, y), cls)
    fastopt.save(network, tmp_path / "m.safetensors", optimizer=True)
    others = [
        pickle.loads(pickle.dumps(network)), copy.deepcopy(network), fastopt.load(tmp_path / "m.safetensors")
    ]  # fmt: skip
    network.partial_fit(X[:40], y[:40])
    for other in others:
        other.partial_fit(X[:40], y[:40])
        np.testing.assert_array_equal(other.predict(X), network.predict(X))
        np.testing.assert_array_equal(other.input_scale_, network.input_scale_)
    assert clone(network).get_params()["learning_rate_factors"] == RECIPE


def test_a_wrapper_is_saved_with_its_groups(data, tmp_path):
    pytest.importorskip("safetensors")
    X, y = data
    network = fitted(data, clip_norm=0.1)
    fastopt.save(network, tmp_path / "m.safetensors", optimizer=True)
    other = fastopt.load(tmp_path / "m.safetensors")
    for one in (network, other):
        one.partial_fit(X, y)
    np.testing.assert_array_equal(other.predict(X), network.predict(X))


def test_partial_fit_and_warm_starts_keep_scale_and_rates(data):
    X, y = data
    one = fitted(data, shuffle=False, max_iter=2)
    two = MLPRegressor(**SMALL | {"shuffle": False})
    for _ in range(2):
        two.partial_fit(X, y)
    np.testing.assert_array_equal(one.predict(X), two.predict(X))
    one.set_params(warm_start=True, reset_optimizer=False, learning_rate_factors={"biases": 0.0}, max_iter=1)
    biases, weights = [b.copy() for b in one.intercepts_], one.coefs_[0].copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        one.fit(X, y)
    for mine, before in zip(one.intercepts_, biases, strict=True):
        np.testing.assert_array_equal(mine, before)
    assert (one.coefs_[0] != weights).all()
    with pytest.raises(ValueError, match="input_scale=False, but the network to be trained further has a"):
        one.set_params(input_scale=False).fit(X, y)


def test_lbfgs_learns_the_scale_and_says_that_it_has_no_rates(data):
    with pytest.warns(UserWarning, match="no effect here: learning_rate_factors={'weights': 'fan_in'"):
        network = fitted(data, solver="lbfgs", init="auto", batch_size="auto", max_iter=30)
    plain = fitted(
        data, solver="lbfgs", init="auto", batch_size="auto", max_iter=30, input_scale=False,
        learning_rate_factors=None,
    )  # fmt: skip
    assert (network.input_scale_ != 1.0).all()
    assert network.loss_ != plain.loss_


def test_scikit_learn_gets_the_scale_as_part_of_the_weights(data):
    network = fitted(data, activation="tanh", solver="adam")
    with pytest.warns(UserWarning, match="the converted estimator predicts the same") as caught:
        theirs = network.to_sklearn()
    said = " ".join(str(one.message) for one in caught)
    assert "no input_scale=True" in said
    assert "no learning_rate_factors={'weights': 'fan_in'" in said
    np.testing.assert_allclose(theirs.predict(data[0]), network.predict(data[0]), rtol=1e-10, atol=1e-10)
    assert not hasattr(theirs, "_optimizer")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"learning_rate_factors": {"bias": 0.1}},
            "takes 'weights', 'biases', 'input_scale'. Did you mean",
        ),
        ({"learning_rate_factors": {"weights": [1.0]}}, "has 1 numbers for 3 layers"),
        ({"learning_rate_factors": {"biases": -0.1}}, "biases must be finite and at least 0, not -0.1"),
        ({"learning_rate_factors": "fan_out"}, "'learning_rate_factors' parameter of MLPRegressor"),
        ({"input_scale": 2}, "'input_scale' parameter of MLPRegressor"),
        ({"input_scale": False}, "the network has no scale of its inputs; set input_scale=True"),
        (
            {"solver": fastopt.Rprop()},
            "'input_scale': 6.0}: Rprop",
        ),
    ],
)
def test_what_does_not_fit_is_refused(data, changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        fitted(data, **changes)


def test_a_wrapper_around_no_optimizer_is_refused_as_without_factors(data):
    for factors in (None, {"biases": 0.1}):
        with pytest.raises(TypeError, match="EMA wraps an optimizer such as Adam"):
            fitted(data, solver=fastopt.EMA("adam"), learning_rate_factors=factors)


def test_bits_do_not_depend_on_the_number_of_threads(data):
    X = np.random.RandomState(1).standard_normal((400, 200)).astype("f")
    found = {
        fitted((X, X[:, 0]), n_jobs=n_jobs, hidden_layer_sizes=(128, 64), max_iter=2).predict(X).tobytes()
        for n_jobs in (1, 2)
    }
    assert len(found) == 1


def test_members_of_an_ensemble_are_networks_with_a_scale_and_rates(data):
    ensemble = fitted(data, n_members=2)
    for member in ensemble.members_:
        alone = fitted(data, random_state=member.random_state)
        np.testing.assert_array_equal(member.input_scale_, alone.input_scale_)
        np.testing.assert_array_equal(member.predict(data[0]), alone.predict(data[0]))
