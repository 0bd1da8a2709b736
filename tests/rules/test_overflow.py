"""One gradient whose square overflows float32, then ordinary ones."""

import warnings

import numpy as np
import pytest
import sklearn.neural_network
from reference.peers import needs_torch, torch
from reference.problems import advance

import fastopt

#: Optimizers whose reference ends in NaN, too, and that reference, executed with these gradients.
NAN_THERE = {"adafactor": "torch 2.13", "ftrl": "Keras 3.15.1", "mechanic": "optax 0.2.8"}
#: Decompositions of overflowed matrices: these raise here, and in pytorch_optimizer 4.1.0.
RAISE = {"shampoo", "soap"}
CLOSURE = {"lbfgs", "sparseadam"}
NAMES = sorted({*fastopt.list_optimizers()} - {*NAN_THERE} - RAISE - CLOSURE)

#: Of torch: our name to its class and the options.
TORCH = {
    "adam": ("Adam", {}),
    "adamw": ("AdamW", {}),
    "amsgrad": ("Adam", {"amsgrad": True}),
    "nadam": ("NAdam", {}),
    "radam": ("RAdam", {}),
    "adamax": ("Adamax", {}),
    "rmsprop": ("RMSprop", {}),
    "centered rmsprop": ("RMSprop", {"centered": True}),
    "centered rmsprop with momentum": ("RMSprop", {"centered": True, "momentum": 0.9}),
    "adagrad": ("Adagrad", {}),
    "adadelta": ("Adadelta", {}),
}


def stream(large, at):
    """Return weights and gradients, the first row of one of which is ``large``."""
    rng = np.random.default_rng(0)
    w, *grads = rng.normal(size=(9, 4, 3)).astype(np.float32)
    grads[at][0] = large
    return w, grads


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_stay_finite(name):
    """As in the executed references: torch 2.13, optax 0.2.8, the authors' packages and pytorch_optimizer."""
    for at in (0, 3):
        w, grads = stream(1e25, at)
        optimizer = fastopt.get_optimizer(name)
        stepper = optimizer.bind(w)
        for g in grads:
            advance(stepper, optimizer, [g])
        assert np.isfinite(w).all(), at


@pytest.mark.parametrize("name", [*NAN_THERE, "lamb", "prodigy", "dowg"])
def test_numpy_does_not_warn_of_it(name):
    """The rules that look at whole tensors compute with NumPy, which would; compiled loops never do."""
    optimizer = fastopt.get_optimizer(name)
    for large in (1e25, np.inf):
        w, grads = stream(large, 3)
        stepper = optimizer.bind(w)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for g in grads:
                advance(stepper, optimizer, [g])


@needs_torch
@pytest.mark.parametrize("case", TORCH)
def test_the_weights_are_those_of_torch(case):
    cls, options = TORCH[case]
    # torch's NAdam divides the moment by its bias correction, which overflows for 1e20; ours does not.
    for large in (1e20, 1e25)[case == "nadam" :]:
        w, grads = stream(large, 3)
        tensor = torch.tensor(w)
        reference = getattr(torch.optim, cls)([tensor], **options)
        stepper = getattr(fastopt, cls)(**options).bind(w)
        for g in grads:
            tensor.grad = torch.tensor(g)
            reference.step()
            stepper.step([g])
        # Eight steps of float32. Weights are of order 1; while RAdam is not rectified, of the gradient's.
        np.testing.assert_allclose(w, tensor.numpy(), rtol=2e-5, atol=2e-6)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["adam", "adamw", "rmsprop", "nadam"])
def test_an_unscaled_column_of_float32_is_fitted(solver):
    """As by scikit-learn's Adam, whose second moment overflows as well."""
    X = np.random.default_rng(0).normal(size=(200, 4))
    y = X[:, 0] > 0
    X[:, 1] *= 1e12
    X = X.astype(np.float32)
    options = {"max_iter": 5, "random_state": 0}
    network = fastopt.MLPClassifier((8,), solver=solver, **options).fit(X, y)
    reference = sklearn.neural_network.MLPClassifier((8,), solver="adam", **options).fit(X, y)
    # Whole groups of rows are on the wrong side and stay so: the loss counts them.
    assert network.loss_ == pytest.approx(reference.loss_, rel=1e-3)
