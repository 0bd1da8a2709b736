"""Values that other libraries gave when they were executed, for what went wrong here or differs between them.

The tolerances are the rounding of a few steps in float64.
"""

import numpy as np
import pytest
from reference import catalogue_oracles as oracles

import fastopt


def gradient(t):
    return np.array([1.0, -0.5]) * (t + 1) + np.array([0.25, 3.0]) * (-1) ** t


def after(optimizer, w, rates=None):
    """Return the weights after six steps along `gradient` with other learning rates: step to rate."""
    w = np.array(w)
    stepper = optimizer.bind(w)
    for t in range(6):
        stepper.param_groups[0]["lr"] = (rates or {}).get(t, optimizer.lr)
        stepper.step(gradient(t), **({"loss": 5.0 + t} if optimizer.needs else {}))
    return w


def test_acprop_divides_the_gradient():
    """optax 0.2.8: ``contrib.acprop``; it centres on the average before the gradient."""
    w = np.zeros(1)
    fastopt.AcProp(lr=0.01).bind(w).step(np.ones(1))
    assert w == pytest.approx(-0.01, rel=1e-15)
    acprop = fastopt.AcProp(lr=0.1, betas=(0.5, 0.75), eps=1e-3, eps_root=1e-3, weight_decay=0.1)
    expected = [-0.4433536952295651, -1.7276203419316103]
    np.testing.assert_allclose(after(acprop, [1.0, -2.0]), expected, rtol=1e-13)


#: timm 1.0.31: ``optim.Lars`` and ``optim.Lamb(max_grad_norm=None)`` from (3, -4), the rate 0.1 for three
#: steps, then 0.01.
TIMM = [
    (
        fastopt.LARS(lr=0.1, norm="sum", lr_in_momentum=False, always_adapt=False, eps=1e-8),
        {0.0: [1.6024983749999997, -3.87967075], 0.1: [2.998121574765197, -3.9999928729212577]},
    ),
    (
        fastopt.LARS(
            lr=0.1, norm="sum", lr_in_momentum=False, nesterov=True, trust_coefficient=0.02, eps=1e-8
        ),
        {0.0: [2.9468762663402486, -4.010683708690431], 0.1: [2.9464016821253898, -3.998369746778874]},
    ),
    (
        fastopt.LAMB(lr=0.1, always_adapt=False),
        {0.0: [2.6756581620120543, -4.058640080748046], 0.1: [1.5900382825165986, -3.750454640946589]},
    ),
]


@pytest.mark.parametrize(("optimizer", "values"), TIMM)
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lars_and_lamb_have_the_forms_of_timm(optimizer, values, decay):
    optimizer = type(optimizer)(**optimizer.get_params() | {"weight_decay": decay})
    w = after(optimizer, [3.0, -4.0], rates={3: 0.01, 4: 0.01, 5: 0.01})
    np.testing.assert_allclose(w, values[decay], rtol=1e-13)


def test_a_tensor_without_gradient_only_decays_under_the_sum_of_norms():
    """timm 1.0.31 leaves the ratio out where the gradient is 0."""
    w = np.array([3.0, -4.0])
    fastopt.LARS(lr=0.1, norm="sum", weight_decay=0.1).bind(w).step(np.zeros(2))
    np.testing.assert_allclose(w, [2.97, -3.96], rtol=1e-15)


def test_madgrad_keeps_a_rate_of_0():
    """madgrad 1.3 adds eps to the learning rate unless that is 0; optax 0.2.8 and timm 1.0.31 always do."""
    w = after(fastopt.MADGRAD(lr=0.1, weight_decay=0.1, eps=1e-2), [3.0, -4.0], rates={0: 0.0, 3: 0.0})
    np.testing.assert_allclose(w, [2.6300257322860534, -3.8041039599848903], rtol=1e-13)


#: momo-opt 0.1.0; optax 0.2.8 applies the decay before the step.
MOMO = [
    (fastopt.MoMo(lr=0.1, weight_decay=0.1), [1.8290798667951205, -4.605008069952177]),
    (fastopt.MoMoAdam(lr=0.1, weight_decay=0.1), [2.259632608031677, -3.709773280362152]),
]


@pytest.mark.parametrize(("optimizer", "expected"), MOMO)
def test_momo_divides_by_the_decay_after_the_step(optimizer, expected):
    np.testing.assert_allclose(after(optimizer, [3.0, -4.0]), expected, rtol=1e-13)


#: prodigyopt 1.1.2 and dadaptation 3.2: weights and estimate after 60 steps from (3, -4) with the gradient
#: ``w - 1`` and the rate ``min(1, t / 20)``, which begins with 0.
RAMP = [
    (fastopt.Prodigy(), [1.0203396062875973, 0.7014121828851374], 1.2542447298877633),
    (
        fastopt.Prodigy(use_bias_correction=True, weight_decay=0.1),
        [0.72469538715845, 1.431669551755741],
        1.4276173688944147,
    ),
    (fastopt.DAdaptAdam(), [1.091862771593622, 1.3844670235361332], 8.18336941251744),
    (
        fastopt.DAdaptAdam(use_bias_correction=True),
        [1.4194487340131612, 2.7469337310322635],
        5.153674297900569,
    ),
]


@pytest.mark.parametrize(("optimizer", "expected", "d"), RAMP)
def test_a_step_with_a_rate_of_0_is_not_counted(optimizer, expected, d):
    w = np.array([3.0, -4.0])
    stepper = optimizer.bind(w)
    for t in range(60):
        stepper.param_groups[0]["lr"] = min(1.0, t / 20)
        stepper.step(w - 1.0)
    # The estimate magnifies roundings of a first distance of 1e-6 (2e-9 seen).
    np.testing.assert_allclose(w, expected, rtol=1e-8)
    assert stepper.state_dict()["state"][0]["d"] == pytest.approx(d, rel=1e-8)


@pytest.mark.parametrize("cls", [fastopt.Prodigy, fastopt.DAdaptAdam])
def test_a_group_with_a_rate_of_0_is_left_alone_and_the_other_goes_on_as_without_it(cls):
    """A frozen group adds nothing to the estimate, and neither weights nor moments of it move."""
    w, frozen, alone = np.array([3.0, -4.0]), np.array([5.0]), np.array([3.0, -4.0])
    stepper = cls(weight_decay=0.1).bind([{"params": w}, {"params": frozen, "lr": 0.0}])
    single = cls(weight_decay=0.1).bind(alone)
    for _ in range(30):
        stepper.step([w - 1.0, np.array([7.0])])
        single.step(alone - 1.0)
    np.testing.assert_array_equal(w, alone)
    assert frozen == 5.0
    state = stepper.state_dict()["state"][1]
    assert not any(np.any(state[name]) for name in ("exp_avg", "exp_avg_sq", "s"))


def test_adaptive_clip_has_the_units_of_optax_and_of_timm():
    """optax 0.2.8 ``adaptive_grad_clip`` and timm 1.0.31 ``utils.agc.adaptive_clip_grad``, clipping 0.1."""
    w = np.array([[3.0, 1.0], [4.0, 0.0], [0.0, 0.5]])
    g = np.array([[5.0, 0.0], [0.0, 0.01], [2.0, -1.0]])
    expected = {
        "io": [
            [0.46423834544262965, 0.0],
            [0.0, 0.0011179780912427357],
            [0.18569533817705186, -0.11179780912427356],
        ],
        "oi": [[0.316227766016838, 0.0], [0.0, 0.01], [0.044721359549995794, -0.022360679774997897]],
    }
    for layout, clipped in expected.items():
        moved = w.copy()
        fastopt.AdaptiveClip(fastopt.SGD(lr=1.0), clipping=0.1, layout=layout).bind(moved).step(g)
        np.testing.assert_allclose(w - moved, clipped, rtol=1e-12, atol=1e-15)  # after a subtraction


#: From (1, 1), after three steps along `gradient` at 0.1, with ``eps_root=0``.
ADAN_OF_OPTAX = [0.708799937783252, 0.9294486852902168]


def test_adans_oracle_with_the_mistake_is_optax():
    """optax 0.2.8 takes ``1 - b2`` where the authors take ``b2``."""
    w = np.ones(2)
    stepper = fastopt.Adan(lr=0.1).bind(w)
    for t in range(3):
        stepper.step(gradient(t))
    assert not np.allclose(w, ADAN_OF_OPTAX, rtol=1e-3)
    grads = [[gradient(t)] for t in range(3)]
    h = {"lr": 0.1, "b1": 0.98, "b2": 0.92, "b3": 0.99, "eps": 1e-8, "wd": 0.0, "no_prox": False}
    np.testing.assert_allclose(
        oracles.adan([np.ones(2)], grads, **h, optax=True)[0], ADAN_OF_OPTAX, rtol=1e-7
    )
