"""The switches for the forms of Keras, optax and scikit-learn, and what torch does not have.

The tolerance is 100 steps of rounding in float64, with a margin of about 100.
"""

import numpy as np
import pytest
from reference import oracles
from reference.problems import distance, is_flat

import fastopt

RTOL = 1e-12
N_STEPS = 100


def stream(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=67), [rng.normal(size=67) for _ in range(N_STEPS)]


CASES = {
    "lion": (fastopt.Lion(lr=0.01, weight_decay=0.1), oracles.lion, (0.01, 0.9, 0.99, 0.1)),
    "signum": (fastopt.Signum(lr=0.01, weight_decay=0.1), oracles.signum, (0.01, 0.9, 0.1)),
    "signsgd": (fastopt.SignSGD(lr=0.01, weight_decay=0.1), oracles.signum, (0.01, 0.0, 0.1)),
    "adam of Keras and scikit-learn": (
        fastopt.Adam(lr=0.01, eps=1e-2, eps_mode="hat"),
        oracles.adam_hat,
        (0.01, 0.9, 0.999, 1e-2),
    ),
    "adam of optax": (
        fastopt.Adam(lr=0.01, eps=1e-2, eps_root=1e-2),
        oracles.adam_optax,
        (0.01, 0.9, 0.999, 1e-2, 1e-2, False),
    ),
    "amsgrad of optax": (
        fastopt.Adam(lr=0.01, eps=1e-2, eps_root=1e-2, amsgrad=True, amsgrad_corrected=True),
        oracles.adam_optax,
        (0.01, 0.9, 0.999, 1e-2, 1e-2, True),
    ),
    "nadam of optax": (
        fastopt.NAdam(lr=0.01, eps=1e-2, momentum_decay=None),
        oracles.nadam_optax,
        (0.01, 0.9, 0.999, 1e-2),
    ),
    "radam of optax": (
        fastopt.RAdam(lr=0.01, betas=(0.9, 0.99), eps=1e-2, eps_mode="corrected"),
        oracles.radam_optax,
        (0.01, 0.9, 0.99, 1e-2),
    ),
    "adamax of Keras": (
        fastopt.Adamax(lr=0.01, eps=1e-2, eps_in_max=False),
        oracles.adamax_keras,
        (0.01, 0.9, 0.999, 1e-2),
    ),
    "adagrad of optax and Keras": (
        fastopt.Adagrad(lr=0.1, initial_accumulator_value=0.1, eps=1e-2, eps_in_sqrt=True),
        oracles.adagrad_optax,
        (0.1, 0.1, 1e-2),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_form_is_that_of_its_formula(case):
    optimizer, oracle, arguments = CASES[case]
    w, grads = stream()
    expected = oracle(w.copy(), grads, *arguments)
    stepper = optimizer.bind(w)
    for g in grads:
        stepper.step(g)
    assert distance([w], [expected]) <= RTOL


LRS = np.linspace(0.1, 0.01, N_STEPS)  # the forms agree while the learning rate is constant


def follow(optimizer, w, grads):
    stepper = optimizer.bind(w)
    for g, lr in zip(grads, LRS, strict=True):
        stepper.param_groups[0]["lr"] = lr
        stepper.step(g)


@pytest.mark.parametrize("nesterov", [False, True])
def test_lr_in_momentum_is_the_velocity_of_keras_under_a_changing_rate(nesterov):
    w, grads = stream()
    expected = oracles.sgd_velocity(w.copy(), grads, LRS, 0.9, nesterov)
    follow(fastopt.SGD(momentum=0.9, nesterov=nesterov, lr_in_momentum=True), w, grads)
    assert distance([w], [expected]) <= RTOL


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_rmsprop_of_optax_and_keras_under_a_changing_rate(centered, momentum):
    w, grads = stream()
    expected = oracles.rmsprop_optax(w.copy(), grads, LRS, 0.9, 1e-2, momentum, centered)
    optimizer = fastopt.RMSprop(
        alpha=0.9, eps=1e-2, momentum=momentum, centered=centered, eps_in_sqrt=True, lr_in_momentum=True
    )
    follow(optimizer, w, grads)
    assert distance([w], [expected]) <= RTOL


@pytest.mark.parametrize("name", [name for name in fastopt.list_optimizers() if is_flat(name)])
def test_the_flat_state_takes_the_same_steps_as_the_stepper(name):
    """The engine folds many steps at once; every row must be the stepper's."""
    flat = fastopt.get_optimizer(name).flat(8, 8, np.float64)
    stepper = fastopt.get_optimizer(name).bind(np.zeros(8))
    rows = flat.constants(5)
    for i in range(5):
        stepper.step(np.ones(8))
        np.testing.assert_allclose(
            stepper.bound.elementwise[0].row, rows[i], rtol=1e-13
        )  # scalar and array powers
    flat.advance(5)
    assert flat.t == 5


def test_decay_spares_the_biases_of_a_flat_vector():
    flat = fastopt.AdamW(weight_decay=0.5, lr=0.1).flat(8, 4, np.float64)
    assert flat.constants(1)[0, 2] == pytest.approx(0.95)
    assert flat.constants(1, decay=False)[0, 2] == 1.0
