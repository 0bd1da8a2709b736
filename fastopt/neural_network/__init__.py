"""Multi-layer perceptrons with scikit-learn's interface, trained by fastopt's engine."""

from fastopt.neural_network.classifier import MLPClassifier
from fastopt.neural_network.files import load, save
from fastopt.neural_network.interop import from_sklearn
from fastopt.neural_network.regressor import MLPRegressor
from fastopt.rules.activations import list_activations, register_activation
from fastopt.rules.losses import register_loss

__all__ = [
    "MLPClassifier",
    "MLPRegressor",
    "from_sklearn",
    "list_activations",
    "load",
    "register_activation",
    "register_loss",
    "save",
]
