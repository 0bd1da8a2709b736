"""Where other libraries are known to be wrong; the oracles hold the rest."""

import numpy as np
import pytest
from reference import catalogue_oracles as oracles
from reference.problems import distance, problem

import fastopt


def test_adan_takes_the_authors_beta2_and_not_optaxs():
    params, steps = problem(np.float64, n_steps=12)
    h = {"lr": 0.01, "b1": 0.98, "b2": 0.92, "b3": 0.99, "eps": 1e-8, "wd": 0.0, "no_prox": False}
    wrong = oracles.adan(params, steps, **h, optax=True)
    stepper = fastopt.Adan(lr=0.01).bind(params)
    for grads in steps:
        stepper.step(grads)
    assert distance(params, wrong) > 1e-3


def test_novograd_applies_its_first_gradient_once():
    w = np.zeros(2)
    fastopt.NovoGrad(lr=1.0, eps=0.0).bind(w).step(np.array([3.0, 4.0]))
    np.testing.assert_allclose(w, [-0.6, -0.8], rtol=1e-15)


def test_lion_stays_where_momentum_and_gradient_are_zero():
    w = np.ones(3)
    fastopt.Lion(lr=0.1).bind(w).step(np.zeros(3))
    assert (w == 1).all()


def test_the_slow_average_of_ademamix_is_not_debiased():
    w = np.zeros(1)
    fastopt.AdEMAMix(lr=1.0, eps=0.0).bind(w).step(np.ones(1))
    assert w[0] == pytest.approx(-(1 + 2 * 1e-4), rel=1e-9)


def test_lamb_takes_the_whole_norm_of_large_weights():
    w = np.full(4, 100.0)
    fastopt.LAMB(lr=0.01, eps=0.0).bind(w).step(np.ones(4))
    np.testing.assert_allclose(w, 99.0)  # pytorch_optimizer clamps the norm to 10
