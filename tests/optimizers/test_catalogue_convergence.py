"""Every optimizer reaches the solution of a strongly convex problem and learns to read digits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

import fastopt

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

#: Learning rate on the quadratic, and on the digits; None is the default. From 0.001, 0.01, 0.1, 1, and from
#: between for methods that move by their rate however small the gradient.
RATES = {
    "acprop": (0.01, 0.01),
    "adabelief": (0.1, 0.01),
    "adadelta": (20.0, 1.0),
    "adafactor": (None, 0.1),
    "adagrad": (1.0, 0.1),
    "adam": (0.1, 0.01),
    "adamax": (0.1, 0.01),
    "adamw": (0.1, 0.01),
    "adan": (0.1, 0.01),
    "ademamix": (0.1, 0.01),
    "adopt": (0.1, 0.01),
    "asgd": (0.01, 1.0),
    "cocob": (None, None),
    "dadaptadam": (None, None),
    "dog": (None, None),
    "dowg": (None, 0.5),
    "fromage": (0.01, 0.01),
    "ftrl": (1.0, 0.1),
    "lamb": (0.01, 0.01),
    "lars": (1.0, 1.0),
    "lbfgs": (None, None),
    "lion": (0.02, 0.01),
    "madgrad": (0.01, 0.01),
    "mars": (0.03, 0.01),
    "mechanic": (None, None),
    "momo": (None, None),
    "momoadam": (0.1, 0.1),
    "muon": (0.03, 0.05),
    "nadam": (0.1, 0.01),
    "noisysgd": (0.01, 0.3),
    "normuon": (0.03, 0.05),
    "novograd": (0.01, 0.01),
    "optimisticadam": (0.1, 0.01),
    "optimisticgradientdescent": (0.01, 0.1),
    "polyaksgd": (None, None),
    "prodigy": (None, None),
    "radam": (0.1, 0.1),
    "rmsprop": (0.01, 0.01),
    "rprop": (None, None),
    "schedulefreeadamw": (0.5, 0.1),
    "schedulefreeradam": (0.5, 0.1),
    "schedulefreesgd": (None, None),
    "shampoo": (1.0, 0.1),
    "soap": (0.1, 0.01),
    "sgd": (0.01, 1.0),
    "signsgd": (0.01, 0.01),
    "signum": (0.01, 0.003),
    "sm3": (1.0, 0.1),
    "sophiag": (0.01, 0.01),
    "sparseadam": (0.1, 0.01),
    "yogi": (0.1, 0.01),
}


def test_every_optimizer_has_its_rates():
    assert sorted(RATES) == fastopt.list_optimizers()


def make(name, which):
    lr, settings = RATES[name][which], {}
    if lr is not None:
        settings["lr"] = lr
    if name == "acprop" and which:
        settings["eps"] = 1e-3  # the first gradient of a pixel that is dark at first is divided by eps alone
    if name == "lbfgs":
        settings |= {"line_search_fn": "strong_wolfe", "max_iter": 5}
    return fastopt.get_optimizer(name, **settings)


@pytest.mark.parametrize("name", RATES)
def test_a_strongly_convex_problem_is_solved(name):
    """Half of sum d (w - 1)^2 with a condition of 10; sign-like methods end a few rates away."""
    optimizer = make(name, 0)
    curvature, w = np.linspace(1, 10, 20).reshape(4, 5), np.linspace(1, 3, 20).reshape(4, 5)
    stepper = optimizer.bind(w)

    def loss():
        return float((curvature * (w - 1) ** 2).sum() / 2)

    start = loss()
    for _ in range(300):
        stepper.step(closure=lambda: (loss(), curvature * (w - 1)))
    stepper.eval()
    assert loss() < 1e-3 * start


@pytest.mark.parametrize("name", RATES)
def test_digits_are_learned(name):
    """Chance is 0.1; scikit-learn's Adam reaches 0.85 to 0.92 in these eight epochs, by its rate."""
    X, y = load_digits(return_X_y=True)
    batch_size = 1200 if name == "lbfgs" else 64  # a method for whole batches
    network = fastopt.MLPClassifier(
        (32,), solver=make(name, 1), max_iter=8, batch_size=batch_size, random_state=0
    )
    network.fit(X[:1200] / 16, y[:1200])
    assert network.score(X[1200:] / 16, y[1200:]) > 0.8
