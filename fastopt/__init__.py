"""fastopt: fast neural-network training and honest optimizer comparison for NumPy users."""

from fastopt.neural_network import MLPClassifier, MLPRegressor, from_sklearn
from fastopt.optimizers import *  # noqa: F403  the names of __all__
from fastopt.optimizers import __all__ as _optimizers

__version__ = "0.1.0"

__all__ = [*_optimizers, "MLPClassifier", "MLPRegressor", "from_sklearn"]
