"""Values and gradients of the library's losses against torch 2.13 and scikit-learn 1.9, and in their limits.

The plain Python functions are compared, in float64; what is compiled from them is held to them by
`tests/engine/test_activations_and_losses.py`. Each comparison runs the other library.
"""

import math

import numpy as np
import pytest
from reference import loss_cases
from reference.peers import needs_torch, torch
from scipy.special import softmax
from sklearn._loss import loss as sklearn_loss
from sklearn.metrics import mean_gamma_deviance, mean_pinball_loss, mean_tweedie_deviance

from fastopt.rules.activations import OUTPUTS
from fastopt.rules.losses import LOSSES, PARAMETERS

POWERS = (-0.5, 0.0, 1.0, 1.5, 1.9, 2.0, 3.0)
#: A few roundings of each, and of powers and logarithms.
RTOL = 1e-12
RS = np.random.RandomState(0)
P, Y = RS.standard_normal(200) * 3, RS.standard_normal(200) * 3
#: Errors from tiny to huge, and none.
P[:8], Y[:8] = [1e-9, -1e-9, 1e-4, 700.0, -800.0, 3.0, 1.0, -1.0], [0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0]


def ours(name, p, y, *k, field="value"):
    function = getattr(LOSSES[name], field)
    return np.array([function(float(a), float(b), *k) for a, b in zip(p, y, strict=True)])


def torch_value_and_gradient(loss, z, *others):
    """Return each row's loss by torch, and the gradient of their sum at ``z``."""
    z = torch.tensor(z, requires_grad=True)
    value = loss(z, *(torch.tensor(other) for other in others))
    value.sum().backward()
    return value.detach().numpy(), z.grad.numpy()


def torch_log_cosh(p, y):
    d = p - y  # torch has no such loss: log cosh as the difference of logarithms that it has
    return torch.logaddexp(d, -d) - math.log(2.0)


@needs_torch
@pytest.mark.parametrize(
    ("name", "theirs", "k", "atol"),
    [
        ("absolute_error", lambda: torch.nn.L1Loss(reduction="none"), (), 0.0),
        ("huber", lambda: torch.nn.HuberLoss(reduction="none", delta=1.0), (1.0,), 0.0),
        ("huber", lambda: torch.nn.HuberLoss(reduction="none", delta=0.3), (0.3,), 0.0),
        # Near 0 theirs is a difference of two logarithms of about log 2.
        ("log_cosh", lambda: torch_log_cosh, (), 4e-16),
    ],
)
def test_losses_of_errors_are_torchs(name, theirs, k, atol):
    value, gradient = torch_value_and_gradient(theirs(), P, Y)
    np.testing.assert_allclose(ours(name, P, Y, *k), value, rtol=RTOL, atol=atol)
    np.testing.assert_allclose(ours(name, P, Y, *k, field="gradient"), gradient, rtol=RTOL, atol=atol)


def test_log_cosh_is_accurate_for_tiny_and_huge_errors():
    # Taylor: d**2 / 2 - d**4 / 12; and |d| - log 2 where e**(-2 |d|) is below the rounding error.
    for d in (1e-12, 1e-8, 1e-5):
        assert LOSSES["log_cosh"].value(d, 0.0) == pytest.approx(d * d / 2 - d**4 / 12, rel=1e-14)
    for d in (50.0, -1e6, 1e300):
        assert LOSSES["log_cosh"].value(d, 0.0) == pytest.approx(abs(d) - math.log(2.0), rel=1e-15)


@pytest.mark.parametrize("k", [0.05, 0.5, 0.9])
def test_the_quantile_loss_is_scikit_learns(k):
    value, gradient = sklearn_loss.PinballLoss(quantile=k).loss_gradient(y_true=Y, raw_prediction=P)
    np.testing.assert_allclose(ours("quantile", P, Y, k), value, rtol=RTOL)
    np.testing.assert_array_equal(ours("quantile", P, Y, k, field="gradient"), gradient)  # ties included
    assert np.mean(value) == pytest.approx(mean_pinball_loss(Y, P, alpha=k), rel=RTOL)


@pytest.mark.parametrize(
    ("name", "theirs", "k"),
    [
        ("gamma", sklearn_loss.HalfGammaLoss(), ()),
        *(("tweedie", sklearn_loss.HalfTweedieLoss(power=k), (k,)) for k in POWERS),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, sklearn_loss.BaseLoss) else str(value),
)
def test_deviances_are_twice_the_losses_and_gradients_scikit_learns(name, theirs, k):
    z = RS.standard_normal(100)
    y = RS.gamma(2.0, 1.0, 100)
    power = k[0] if k else 2.0
    if 1 <= power < 2:
        y[:20] = 0.0
    if power <= 0:
        y[:20] *= -1
    p = np.exp(z)
    gradient = theirs.loss_gradient(y_true=y, raw_prediction=z)[1]
    loss = LOSSES[name]
    # theirs subtracts powers of e**z, which nearly cancel where p is near y
    atol = 1e-13
    np.testing.assert_allclose(ours(name, p, y, *k, field="fused"), gradient, rtol=RTOL, atol=atol)
    chained = ours(name, p, y, *k, field="gradient") * p
    np.testing.assert_allclose(chained, gradient, rtol=RTOL, atol=atol)
    deviance = [mean_tweedie_deviance([a], [b], power=power) for a, b in zip(y, p, strict=True)]
    np.testing.assert_allclose(2 * ours(name, p, y, *k), deviance, rtol=RTOL, atol=atol)
    if name == "gamma":
        assert 2 * ours(name, p, y).mean() == pytest.approx(mean_gamma_deviance(y, p), rel=RTOL)
    assert loss.output == "exp"


def test_tweedie_has_its_limits_and_no_cancellation_near_them():
    for p, y in ((0.3, 2.0), (5.0, 0.7), (1.0, 1.0 + 1e-6)):
        for power, name in ((1.0, "poisson"), (2.0, "gamma")):
            limit = LOSSES[name].value(p, y)
            assert LOSSES["tweedie"].value(p, y, power) == pytest.approx(limit, rel=1e-9, abs=1e-16)
            for nearby in (power + 1e-13, power - 1e-13 if power > 1 else power):
                # the derivative by the power is of the order of the value
                assert LOSSES["tweedie"].value(p, y, nearby) == pytest.approx(limit, rel=1e-9, abs=1e-16)
        assert LOSSES["tweedie"].value(p, y, 0.0) == LOSSES["squared_error"].value(p, y)


@needs_torch
def test_the_gaussian_likelihood_is_torchs():
    mean, log_variance = RS.standard_normal((2, 50, 2))  # torch clamps variances below 1e-6; none is here
    y = RS.standard_normal((50, 2))
    nll = torch.nn.GaussianNLLLoss(full=False, reduction="none")
    outputs = np.stack([mean, log_variance], axis=2)
    value, gradient = torch_value_and_gradient(
        lambda z, y: nll(z[:, :, 0], y, torch.exp(z[:, :, 1])).sum(axis=1), outputs, y
    )
    written = np.empty((50, 4))
    rows = zip(outputs.reshape(50, 4), np.repeat(y, 2, axis=1), written, strict=True)
    losses = [LOSSES["gaussian_nll"].row(*row) for row in rows]
    np.testing.assert_allclose(losses, value, rtol=RTOL, atol=1e-14)
    np.testing.assert_allclose(written, gradient.reshape(50, 4), rtol=RTOL, atol=1e-14)


def focal_rows(z, y, k):
    p, written = softmax(z, axis=1), np.empty_like(z)
    row = LOSSES["focal"].row
    losses = [row(*arrays, np.full(z.shape[1], k)) for arrays in zip(p, y, written, strict=True)]
    return np.array(losses), written


@needs_torch
@pytest.mark.parametrize("k", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_losses_of_several_classes_follow_lin_et_al(k, smoothing):
    z, n_classes = RS.standard_normal((60, 4)), 4
    y = np.eye(n_classes)[RS.randint(n_classes, size=60)] * (1 - smoothing) + smoothing / n_classes

    def formula(z, y):  # equation 4 of the paper, for each class with its target as weight
        log_p = torch.log_softmax(z, dim=1)
        return -(y * (1 - log_p.exp()) ** k * log_p).sum(axis=1)

    value, gradient = torch_value_and_gradient(formula, z, y)
    losses, written = focal_rows(z, y, k)
    np.testing.assert_allclose(losses, value, rtol=RTOL)
    np.testing.assert_allclose(written, gradient, rtol=RTOL, atol=1e-14)


@needs_torch
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_without_focus_it_is_torchs_cross_entropy(smoothing):
    z, labels = RS.standard_normal((60, 4)), RS.randint(4, size=60)
    value, gradient = torch_value_and_gradient(
        lambda z, y: torch.nn.functional.cross_entropy(z, y, label_smoothing=smoothing, reduction="none"),
        z,
        labels,
    )
    losses, written = focal_rows(z, np.eye(4)[labels] * (1 - smoothing) + smoothing / 4, 0.0)
    np.testing.assert_allclose(losses, value, rtol=RTOL)
    np.testing.assert_allclose(written, gradient, rtol=RTOL, atol=1e-14)


@needs_torch
@pytest.mark.parametrize("k", [0.0, 0.5, 2.0])
def test_the_binary_focal_loss_follows_lin_et_al(k):
    z, y = RS.standard_normal(100) * 3, RS.randint(2, size=100).astype(float)

    def formula(z, y):  # equations 2 and 4 of the paper
        log_p = torch.nn.functional.logsigmoid(torch.where(y > 0, z, -z))
        return -((1 - log_p.exp()) ** k) * log_p

    value, gradient = torch_value_and_gradient(formula, z, y)
    p = 1 / (1 + np.exp(-z))
    # 1 - p of a p near 1 loses digits, here at most three.
    np.testing.assert_allclose(ours("binary_focal", p, y, k), value, rtol=1e-12, atol=1e-15)
    for field, factor in (("fused", 1.0), ("gradient", p * (1 - p))):
        slopes = ours("binary_focal", p, y, k, field=field) * factor
        np.testing.assert_allclose(slopes, gradient, rtol=1e-12, atol=1e-15)
    plain = ours("binary_log_loss", p, y)
    np.testing.assert_allclose(ours("binary_focal", p, y, 0.0), plain, rtol=RTOL)


@pytest.mark.parametrize("name", [name for name in loss_cases.BUILT_IN if LOSSES[name].row is None])
def test_a_nan_output_gives_a_nan_gradient(name):
    loss = LOSSES[name]
    k = () if loss.parameter is None else (loss.parameter.default,)
    assert math.isnan(loss.output_gradient(OUTPUTS[loss.output])(math.nan, 1.0, *k))


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("delta", [1e-3, 5.0], [0.0, -1.0, math.nan, math.inf]),
        ("quantile", [0.01, 0.99], [0.0, 1.0, math.nan]),
        ("power", [-1.0, 0.0, 1.0, 1.5, 3.0], [0.5, math.nan]),
        ("focal_gamma", [0.0, 2.0], [-0.1, math.inf]),
    ],
)
def test_parameters_are_refused_outside_their_ranges(name, good, bad):
    parameter = PARAMETERS[name]
    assert parameter.name == name
    parameter.check(parameter.default)
    for k in good:
        parameter.check(k)
    for k in bad:
        with pytest.raises(ValueError, match=f"{name}=.* must be a number"):
            parameter.check(k)


def test_what_tweedie_takes_depends_on_its_power():
    targets = [LOSSES["tweedie"].targets_for(k) for k in (-1.0, 0.0, 1.0, 1.9, 2.0, 3.0)]
    assert targets == ["real", "real", "nonnegative", "nonnegative", "positive", "positive"]
