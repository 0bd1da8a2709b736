"""Schedule-free methods: training at one point, evaluation at the average; decay under estimators."""

import copy
import pickle

import numpy as np
import pytest
from reference import catalogue_oracles as oracles
from reference.problems import advance, distance, problem

import fastopt


def run(optimizer, params, steps, **options):
    stepper = optimizer.bind(params, **options)
    for grads in steps:
        advance(stepper, optimizer, grads)
    return stepper


SCHEDULE_FREE = [
    (fastopt.ScheduleFreeSGD(lr=0.1), oracles.schedule_free_sgd, {"lr": 0.1, "beta": 0.9, "wd": 0.0}),
    (
        fastopt.ScheduleFreeAdamW(lr=0.01, weight_decay=0.1),
        oracles.schedule_free_adamw,
        {"lr": 0.01, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "wd": 0.1},
    ),
]


@pytest.mark.parametrize(("optimizer", "oracle", "h"), SCHEDULE_FREE)
def test_evaluation_is_at_the_average_and_training_goes_on_where_it_was(optimizer, oracle, h):
    params, steps = problem(np.float64, n_steps=20, shapes=((5, 7), (67,)))
    expected = oracle(params, steps, **h)
    averages = oracle(params, steps[:10], **h, evaluate=True)
    stepper = run(optimizer, params, steps[:10])
    stepper.eval()
    stepper.eval()
    assert distance(params, averages) <= 1e-12
    with pytest.raises(RuntimeError, match=r"call train\(\)"):
        stepper.step(steps[10])
    copies = [p.copy() for p in params]
    restored = optimizer.bind(copies)
    restored.load_state_dict(copy.deepcopy(stepper.state_dict()))
    for one, arrays in ((stepper, params), (restored, copies)):
        one.train()
        for grads in steps[10:]:
            one.step(grads)
        assert distance(arrays, expected) <= 1e-12


@pytest.mark.parametrize("optimizer", [case[0] for case in SCHEDULE_FREE], ids=repr)
def test_the_estimators_evaluate_at_the_average(optimizer):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    y = (X.sum(axis=1) > 0).astype(int)
    network = fastopt.MLPClassifier((5,), solver=optimizer, batch_size=20, random_state=0)
    for _ in range(3):
        network.partial_fit(X, y, classes=[0, 1])
    averages = network._params.copy()
    again = pickle.loads(pickle.dumps(network))
    network._optimizer.update.train(network._params)
    assert not np.allclose(network._params, averages)
    network._optimizer.update.eval(network._params)
    np.testing.assert_allclose(network._params, averages, rtol=1e-12, atol=1e-15)  # there and back
    for one in (network, again):
        one.partial_fit(X, y)
    np.testing.assert_allclose(network._params, again._params, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    "optimizer", [fastopt.Muon(lr=0.02), fastopt.Prodigy(), fastopt.Adafactor(lr=0.1)], ids=repr
)
def test_a_pickled_network_goes_on_training_with_the_same_bits(optimizer):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), np.arange(60) % 3
    network = fastopt.MLPClassifier((5,), solver=optimizer, batch_size=20, random_state=0)
    network.partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, y)
    again = pickle.loads(pickle.dumps(network)).partial_fit(X, y)
    network.partial_fit(X, y)
    np.testing.assert_array_equal(network._params, again._params)


def test_decay_spares_the_biases_of_a_network():
    X, y = np.zeros((20, 3)), np.arange(20) % 2.0
    for optimizer in (fastopt.LAMB(lr=0.1, weight_decay=5.0), fastopt.Adan(lr=0.1, weight_decay=5.0)):
        network = fastopt.MLPRegressor(
            hidden_layer_sizes=(4,), solver=optimizer, max_iter=1, random_state=0, alpha=0.0
        )
        start = fastopt.MLPRegressor(
            hidden_layer_sizes=(4,), solver="sgd", learning_rate_init=1e-300, max_iter=1, random_state=0
        )
        network.fit(X, y)
        start.fit(X, y)
        # All inputs are 0: nothing but the decay moves the first weights, and the gradient alone the biases.
        assert np.abs(network.coefs_[0]).max() < 0.95 * np.abs(start.coefs_[0]).max()
        plain = type(optimizer)(lr=0.1, weight_decay=0.0)
        spared = fastopt.MLPRegressor(
            hidden_layer_sizes=(4,), solver=plain, max_iter=1, random_state=0, alpha=0.0
        ).fit(X, y)
        np.testing.assert_allclose(network.intercepts_[1], spared.intercepts_[1], rtol=1e-12)
