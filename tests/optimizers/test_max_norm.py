"""`MaxNorm` among other wrappers, and against torch's and Keras' forms of the constraint."""

import numpy as np
import pytest
from reference import wrapper_oracles as by_hand
from reference.problems import distance

import fastopt
from fastopt import EMA, LAMB, LBFGS, SAM, SGD, Adam, Lookahead, MaxNorm

W = np.array([[3.0, 1.0, 0.2], [4.0, 0.0, 0.1], [0.0, 0.5, -0.3]])


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (
            "io",
            [[0.599999988, 0.8944271109999229, 0.2], [0.799999984, 0, 0.1], [0, 0.44721355549996145, -0.3]],
        ),
        (
            "oi",
            [
                [0.9467915747662277, 0.31559719158874255, 0.06311943831774851],
                [0.9996876214237385, 0.0, 0.024992190535593463],
                [0.0, 0.5, -0.3],
            ],
        ),
    ],
)
def test_the_bound_is_torchs(layout, expected):
    """torch 2.13.0 ``renorm(w, 2, dim, 1.0)``, executed; it adds 1e-7 to norms of 1 or more."""
    w = W.copy()
    MaxNorm(SGD(lr=1.0), 1.0, layout).bind(w).step(np.zeros_like(w))
    np.testing.assert_allclose(w, expected, rtol=1.1e-7, atol=0)


def test_keras_shrinks_weights_inside_the_bound_too():
    """keras 3.15.1 ``MaxNorm(1.0, axis=0)``, executed: every norm is divided by itself and 1e-7 more."""
    theirs = np.array(
        [
            [0.5999999880000002, 0.8944271109999229, 0.1999999465477659],
            [0.7999999840000003, 0.0, 0.09999997327388295],
            [0.0, 0.44721355549996145, -0.2999999198216488],
        ]
    )
    w = W.copy()
    MaxNorm(SGD(lr=1.0), 1.0).bind(w).step(np.zeros_like(w))
    np.testing.assert_allclose(w, theirs, rtol=3e-7, atol=0)  # 1e-7 beside a norm of 0.37
    assert w[0, 2] == 0.2


def test_weights_within_the_bound_keep_their_bits():
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        w = rng.normal(size=(40, 30)).astype(dtype)
        before = w.copy()
        radius = float(np.sqrt((w.astype(np.float64) ** 2).sum(axis=0)).max())
        MaxNorm(SGD(lr=1.0), radius).bind(w).step(np.zeros_like(w))
        np.testing.assert_array_equal(w, before)


@pytest.mark.parametrize("inner", [Adam(lr=0.1), LAMB(lr=0.1)], ids=["fused", "apart"])
def test_wrappers_around_it_see_bounded_weights_and_it_those_of_wrappers_inside(inner):
    rng = np.random.default_rng(1)
    params, averages = [rng.normal(size=(4, 3)), rng.normal(size=3)], []
    expected = [p.copy() for p in params]
    stepper = EMA(MaxNorm(Lookahead(inner, k=2), 1.5), decay=0.5).bind(params)
    step = by_hand.max_norm(by_hand.lookahead(inner.bind(expected).step, expected, 2), expected, 1.5)
    step = by_hand.ema(step, expected, averages, 0.5)
    for _ in range(7):
        grads = [rng.normal(size=p.shape) for p in params]
        stepper.step(grads)
        step(grads)
    assert distance(params, expected) < 1e-12  # float64 roundings of a few steps
    stepper.eval()
    assert distance(params, averages) < 1e-12


@pytest.mark.parametrize("make", [lambda: MaxNorm(SAM(SGD(lr=0.5)), 1.0), lambda: MaxNorm(LBFGS(), 1.0)])
def test_optimizers_that_take_a_closure_are_bounded_too(make):
    w = np.full((3, 2), 0.1)
    stepper = make().bind(w)
    for _ in range(4):
        stepper.step(closure=lambda: (float(((w - 5.0) ** 2).sum()), [2.0 * (w - 5.0)]))
    np.testing.assert_allclose(np.sqrt((w * w).sum(axis=0)), 1.0, rtol=1e-14)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.inf, np.nan, True, "1"])
def test_a_bound_is_a_finite_number_above_0(bad):
    with pytest.raises(ValueError, match="max_norm must be a finite number > 0"):
        fastopt.MaxNorm(SGD(lr=0.1), bad).bind(np.ones((2, 2)))
