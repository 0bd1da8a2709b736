"""The catalogue beyond torch: each optimizer against its oracle, in float64 and float32."""

import numpy as np
import pytest
from reference import catalogue_oracles as oracles
from reference.problems import advance, distance, problem

import fastopt

N_STEPS = 30
SHAPES = ((5, 7), (67,), (9, 4), ())
LOSSES = [5.0 + np.sin(t) for t in range(N_STEPS)]


def muon_scale(rows, columns):
    return max(1.0, columns / rows) ** 0.5


#: A label to the optimizer, its oracle and the oracle's hyper-parameters.
CASES = {
    "adabelief": (
        fastopt.AdaBelief(lr=0.01, eps=1e-3, eps_root=1e-3, weight_decay=0.1),
        oracles.adabelief,
        {"lr": 0.01, "b1": 0.9, "b2": 0.999, "eps": 1e-3, "eps_root": 1e-3, "wd": 0.1},
    ),
    "acprop": (
        fastopt.AcProp(lr=0.01, eps=1e-3, eps_root=1e-3),
        oracles.acprop,
        {"lr": 0.01, "b1": 0.9, "b2": 0.999, "eps": 1e-3, "eps_root": 1e-3},
    ),
    "yogi": (
        fastopt.Yogi(lr=0.01),
        oracles.yogi,
        {"lr": 0.01, "b1": 0.9, "b2": 0.999, "eps": 1e-3, "start": 1e-6},
    ),
    "adopt": (
        fastopt.ADOPT(lr=0.01, betas=(0.9, 0.99), weight_decay=0.1, decoupled_weight_decay=True),
        oracles.adopt,
        {"lr": 0.01, "b1": 0.9, "b2": 0.99, "eps": 1e-6, "wd": 0.1},
    ),
    "adan": (
        fastopt.Adan(lr=0.01, weight_decay=0.1),
        oracles.adan,
        {"lr": 0.01, "b1": 0.98, "b2": 0.92, "b3": 0.99, "eps": 1e-8, "wd": 0.1, "no_prox": False},
    ),
    "adan without prox": (
        fastopt.Adan(lr=0.01, weight_decay=0.1, no_prox=True),
        oracles.adan,
        {"lr": 0.01, "b1": 0.98, "b2": 0.92, "b3": 0.99, "eps": 1e-8, "wd": 0.1, "no_prox": True},
    ),
    "ademamix": (
        fastopt.AdEMAMix(lr=0.01, weight_decay=0.1),
        oracles.ademamix,
        {"lr": 0.01, "b1": 0.9, "b2": 0.999, "b3": 0.9999, "eps": 1e-8, "wd": 0.1, "alpha": 2.0},
    ),
    "ademamix with warm-ups": (
        fastopt.AdEMAMix(lr=0.01, alpha=5.0, alpha_warmup=20, beta3_warmup=20),
        oracles.ademamix,
        {"lr": 0.01, "b1": 0.9, "b2": 0.999, "b3": 0.9999, "eps": 1e-8, "wd": 0, "alpha": 5.0, "warmup": 20},
    ),
    "optimistic gradient descent": (
        fastopt.OptimisticGradientDescent(lr=0.01, alpha=1.5, beta=0.5),
        oracles.optimistic,
        {"lr": 0.01, "a": 1.5, "b": 0.5},
    ),
    "optimistic adam": (
        fastopt.OptimisticAdam(lr=0.01, optimism=0.02),
        oracles.optimistic_adam,
        {"lr": 0.01, "optimism": 0.02, "b1": 0.9, "b2": 0.999, "eps": 1e-8},
    ),
    "ftrl": (
        fastopt.FTRL(lr=0.1, l1=0.05, l2=0.1, l2_shrinkage=0.2, beta=0.3),
        oracles.ftrl,
        {"lr": 0.1, "n0": 0.1, "l1": 0.05, "l2": 0.1, "shrinkage": 0.2, "beta": 0.3},
    ),
    "cocob": (fastopt.COCOB(), oracles.cocob, {"alpha": 100.0, "eps": 1e-8}),
    "madgrad": (fastopt.MADGRAD(lr=0.1), oracles.madgrad, {"lr": 0.1, "mu": 0.9, "eps": 1e-6}),
    "schedule-free sgd": (
        fastopt.ScheduleFreeSGD(lr=0.1, weight_decay=0.1, warmup_steps=5, r=1.0),
        oracles.schedule_free_sgd,
        {"lr": 0.1, "beta": 0.9, "wd": 0.1, "r": 1.0, "warmup": 5},
    ),
    "schedule-free adamw": (
        fastopt.ScheduleFreeAdamW(lr=0.01, weight_decay=0.1),
        oracles.schedule_free_adamw,
        {"lr": 0.01, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "wd": 0.1},
    ),
    "schedule-free radam": (
        fastopt.ScheduleFreeRAdam(lr=0.01, weight_decay=0.1),
        oracles.schedule_free_radam,
        {"lr": 0.01, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "wd": 0.1},
    ),
    "schedule-free radam, not silent": (
        fastopt.ScheduleFreeRAdam(lr=0.01, betas=(0.9, 0.99), silent_sgd_phase=False),
        oracles.schedule_free_radam,
        {"lr": 0.01, "b1": 0.9, "b2": 0.99, "eps": 1e-8, "wd": 0.0, "silent": False},
    ),
    "noisy sgd": (
        fastopt.NoisySGD(lr=0.1, eta=0.5, seed=2**32 - 1),
        oracles.noisy_sgd,
        {"lr": 0.1, "eta": 0.5, "gamma": 0.55, "seed": 2**32 - 1},
    ),
    "lars": (
        fastopt.LARS(lr=0.1, weight_decay=0.1),
        oracles.lars,
        {"lr": 0.1, "mu": 0.9, "wd": 0.1, "k": 1e-3, "nesterov": False},
    ),
    "lars of timm, nesterov": (
        fastopt.LARS(
            lr=0.1, weight_decay=0.1, trust_coefficient=0.02, nesterov=True, norm="sum", lr_in_momentum=False
        ),
        oracles.lars,
        {"lr": 0.1, "mu": 0.9, "wd": 0.1, "k": 0.02, "nesterov": True, "timm": True},
    ),
    "lars of timm, without decay": (
        fastopt.LARS(lr=0.1, norm="sum", lr_in_momentum=False, always_adapt=False),
        oracles.lars,
        {"lr": 0.1, "mu": 0.9, "wd": 0.0, "k": 1e-3, "nesterov": False, "timm": True, "always_adapt": False},
    ),
    "lamb of optax": (
        fastopt.LAMB(lr=0.01, weight_decay=0.1),
        oracles.lamb,
        {"lr": 0.01, "b1": 0.9, "b2": 0.999, "eps": 1e-6, "wd": 0.1, "inside": True},
    ),
    "lamb of Keras": (
        fastopt.LAMB(lr=0.01, weight_decay=0.1, decay_in_ratio=False),
        oracles.lamb,
        {"lr": 0.01, "b1": 0.9, "b2": 0.999, "eps": 1e-6, "wd": 0.1, "inside": False},
    ),
    "lamb of timm, without decay": (
        fastopt.LAMB(lr=0.01, always_adapt=False),
        oracles.lamb,
        {"lr": 0.01, "b1": 0.9, "b2": 0.999, "eps": 1e-6, "wd": 0.0, "inside": True, "always_adapt": False},
    ),
    "mars": (
        fastopt.MARS(lr=0.01, weight_decay=0.1, optimize_1d=True),
        oracles.mars,
        {"lr": 0.01, "b1": 0.95, "b2": 0.99, "eps": 1e-8, "wd": 0.1, "gamma": 0.025},
    ),
    "novograd": (
        fastopt.NovoGrad(lr=0.01, weight_decay=0.1),
        oracles.novograd,
        {"lr": 0.01, "b1": 0.9, "b2": 0.25, "eps": 1e-6, "wd": 0.1},
    ),
    "fromage": (fastopt.Fromage(lr=0.05), oracles.fromage, {"lr": 0.05}),
    "sm3": (fastopt.SM3(lr=0.01), oracles.sm3, {"lr": 0.01, "b": 0.9, "eps": 1e-8}),
    "prodigy": (fastopt.Prodigy(weight_decay=0.1, d0=1e-2), oracles.prodigy, {"wd": 0.1, "d0": 1e-2}),
    "prodigy with its options": (
        fastopt.Prodigy(d0=1e-2, use_bias_correction=True, growth_rate=1.02, d_coef=2.0),
        oracles.prodigy,
        {"d0": 1e-2, "bias": True, "growth": 1.02, "coef": 2.0},
    ),
    "d-adapted adam": (fastopt.DAdaptAdam(d0=1e-3), oracles.dadapt_adam, {"d0": 1e-3}),
    "dog": (fastopt.DoG(reps_rel=1e-2, weight_decay=0.1), oracles.dog, {"reps": 1e-2, "wd": 0.1}),
    "dowg": (fastopt.DoWG(), oracles.dowg, {}),
    "polyak": (fastopt.PolyakSGD(lr=0.1), oracles.polyak, {"losses": LOSSES, "lr": 0.1}),
    "momo": (
        fastopt.MoMo(lr=0.1, weight_decay=0.1),
        oracles.momo,
        {"losses": LOSSES, "lr": 0.1, "beta": 0.9, "wd": 0.1},
    ),
    "momo that adapts its bound": (
        fastopt.MoMo(lr=0.1, lower_bound=4.0, adapt_lower_bound=True),
        oracles.momo,
        {"losses": LOSSES, "lr": 0.1, "beta": 0.9, "wd": 0.0, "adapt": True, "bound": 4.0},
    ),
    "momo-adam": (
        fastopt.MoMoAdam(lr=0.1, weight_decay=0.1),
        oracles.momo,
        {"losses": LOSSES, "lr": 0.1, "beta": 0.9, "wd": 0.1, "adam": (0.999, 1e-8)},
    ),
}

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
